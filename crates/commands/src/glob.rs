//! Patterns as KEYS, SCAN and PSUBSCRIBE know them.
//!
//! `*` is any run of bytes, `?` any byte, `[abc]`, `[a-z]` and `[^a]` are classes, and `\` takes the
//! next byte as it stands. A class that is not closed ends with the pattern. As in Redis, ranges
//! compare bytes as signed ones, and the empty string matches the empty pattern alone.
//!
//! Redis tries every length for every star, which takes exponential time and deep recursion for
//! patterns that are made for it (CVE-2022-36021, CVE-2024-31228). Here only the last star is ever
//! tried again: since everything else takes exactly one byte, the shortest match of the stars before
//! it is as good as any. So it takes at most the product of both lengths, and no memory.

/// Whether all of `string` matches `pattern`.
pub fn matches(pattern: &[u8], string: &[u8]) -> bool {
    run(pattern, string, || {})
}

/// Calls `step` once per byte of the string that it looks at, also when it looks again.
fn run(pattern: &[u8], string: &[u8], mut step: impl FnMut()) -> bool {
    if string.is_empty() {
        return pattern.is_empty();
    }
    let (mut rest, mut at) = (pattern, 0);
    // What follows the last star, and where in the string its run ends for now.
    let mut star: Option<(&[u8], usize)> = None;
    while let Some(&byte) = string.get(at) {
        step();
        if let [b'*', after @ ..] = rest {
            if after.is_empty() {
                return true;
            }
            star = Some((after, at));
            rest = after;
            continue;
        }
        if let Some(after) = match_byte(rest, byte) {
            rest = after;
            at += 1;
        } else if let Some((after, end)) = star {
            star = Some((after, end + 1));
            rest = after;
            at = end + 1;
        } else {
            return false;
        }
    }
    rest.iter().all(|&byte| byte == b'*')
}

/// What follows the first element of a pattern, which is no star, if that element matches.
fn match_byte(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    match pattern {
        [] => None,
        [b'?', rest @ ..] => Some(rest),
        [b'[', rest @ ..] => match_class(rest, byte),
        [b'\\', literal, rest @ ..] | [literal, rest @ ..] => (*literal == byte).then_some(rest),
    }
}

/// What follows a class, whose inside and end `class` is, if it matches.
fn match_class(class: &[u8], byte: u8) -> Option<&[u8]> {
    let (negated, mut class) = match class {
        [b'^', rest @ ..] => (true, rest),
        _ => (false, class),
    };
    let mut found = false;
    loop {
        class = match class {
            [b'\\', literal, rest @ ..] => {
                found |= *literal == byte;
                rest
            }
            [b']', rest @ ..] => return (found != negated).then_some(rest),
            [] => return (found != negated).then_some(class),
            [start, b'-', end, rest @ ..] => {
                let (start, end) = (*start as i8, *end as i8);
                found |= (start.min(end)..=start.max(end)).contains(&(byte as i8));
                rest
            }
            [literal, rest @ ..] => {
                found |= *literal == byte;
                rest
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, string, expected) in [
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h*llo", "hllo", true),
            ("h*llo", "heeeello", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a\\", "a\\", true),
            ("[\\]]", "]", true),
            ("[a-]", "a", true),
            ("[abc", "c", true),
            ("[abc", "d", false),
            ("[^", "x", true),
            ("[", "[", false),
            ("a*", "a", true),
            ("a**", "a", true),
            ("*?", "a", true),
            ("?*", "", false),
            ("**", "", false),
            ("", "", true),
            ("", "a", false),
            ("*a*b*c*", "xxaxxbxxcxx", true),
            ("*a*b*c", "xxaxxbxxcxx", false),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), string.as_bytes()),
                expected,
                "{pattern} {string}"
            );
        }
    }

    #[test]
    fn ranges_are_of_signed_bytes() {
        assert!(matches(b"[\x80-\xff]", b"\x90"));
        assert!(matches(b"[a-\xff]", b"A"));
        assert!(!matches(b"[a-\xff]", b"b"));
    }

    #[test]
    fn no_pattern_takes_more_than_the_product_of_the_lengths() {
        let string = [b'a'; 1000];
        for pattern in [
            b"*a".repeat(500),
            b"a*".repeat(500),
            b"*".repeat(5000),
            b"*?".repeat(400),
        ] {
            let pattern = [pattern, b"b".to_vec()].concat();
            let mut steps = 0_usize;
            assert!(!run(&pattern, &string, || steps += 1));
            assert!(steps <= 2 * (string.len() + pattern.len()), "{steps} steps");
        }
        let pattern = [b"*".to_vec(), b"a".repeat(500), b"b".to_vec()].concat();
        let mut steps = 0;
        assert!(!run(&pattern, &string, || steps += 1));
        assert!(steps <= string.len() * pattern.len(), "{steps} steps");
    }

    /// By the definition: a star takes nothing, or one byte and then again.
    fn naive(pattern: &[u8], string: &[u8]) -> bool {
        match pattern {
            [] => string.is_empty(),
            [b'*', rest @ ..] => (0..=string.len()).any(|skip| naive(rest, &string[skip..])),
            _ => match string {
                [] => false,
                [byte, tail @ ..] => {
                    match_byte(pattern, *byte).is_some_and(|rest| naive(rest, tail))
                }
            },
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(
            pattern in proptest::collection::vec(prop::sample::select(b"ab*?[]^-\\".to_vec()), 0..12),
            string in proptest::collection::vec(prop::sample::select(b"ab-]^".to_vec()), 1..10),
        ) {
            prop_assert_eq!(matches(&pattern, &string), naive(&pattern, &string));
        }
    }
}
