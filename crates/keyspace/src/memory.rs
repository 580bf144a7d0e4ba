//! What an allocation costs.

/// The bytes that the allocator hands out for a request of `bytes`: mimalloc's size classes, which
/// are multiples of 16 up to 128 and then four to each doubling; above 128 KiB whole pages.
pub(crate) const fn size_class(bytes: usize) -> usize {
    if bytes <= 128 {
        if bytes == 0 {
            0
        } else {
            bytes.next_multiple_of(16)
        }
    } else if bytes <= 128 << 10 {
        let bits = usize::BITS - (bytes - 1).leading_zeros();
        bytes.next_multiple_of(1 << (bits - 3))
    } else {
        bytes.next_multiple_of(4 << 10)
    }
}

#[cfg(test)]
mod tests {
    use super::size_class;

    #[test]
    fn classes_are_those_of_mimalloc() {
        let expected = [
            (0, 0),
            (1, 16),
            (16, 16),
            (92, 96),
            (128, 128),
            (129, 160),
            (160, 160),
            (161, 192),
            (256, 256),
            (257, 320),
            (1025, 1280),
            (131_073, 135_168),
        ];
        for (bytes, class) in expected {
            assert_eq!(size_class(bytes), class, "{bytes}");
        }
    }
}
