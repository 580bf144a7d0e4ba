//! The 80-bit floating-point numbers of the x87, in which Redis computes INCRBYFLOAT.
//!
//! Replicas on any hardware must come to the same digits, and clients see those of Redis on x86-64:
//! so the format is computed here, in whole numbers. Reading and adding round to nearest, ties to
//! even; printing is exact before it is cut, as `%.17Lf` of glibc.

mod natural;

use std::fmt;

use natural::Natural;

/// The exponent of the least significant bit of the smallest numbers.
const EXPONENT_MIN: i32 = -16445;
/// The exponent of the least significant bit of the largest numbers.
const EXPONENT_MAX: i32 = 16320;
/// Redis reads numbers into a buffer of this size, with a final NUL.
const TEXT_BYTES_MAX: usize = 5 * 1024;

/// A number, or an infinity of either sign: nothing that is computed with one is of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extended {
    /// `mantissa` times 2 to the `exponent`.
    Finite {
        negative: bool,
        mantissa: u64,
        exponent: i32,
    },
    Infinite,
}

impl Extended {
    pub(crate) const ZERO: Extended = Extended::Finite {
        negative: false,
        mantissa: 0,
        exponent: 0,
    };

    /// Reads what `strtold` of glibc reads to the end: decimal and hexadecimal numbers and
    /// infinities; but no leading space, no NaN, and nothing too large or too small to tell from zero.
    pub(crate) fn parse(text: &[u8]) -> Option<Extended> {
        if text.len() >= TEXT_BYTES_MAX {
            return None;
        }
        let (negative, digits) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };
        if digits.eq_ignore_ascii_case(b"inf") || digits.eq_ignore_ascii_case(b"infinity") {
            return Some(Extended::Infinite);
        }
        match digits {
            [b'0', b'x' | b'X', rest @ ..] => parse_hexadecimal(negative, rest),
            _ => parse_decimal(negative, digits),
        }
    }

    /// The sum; none where it is not a finite number.
    pub(crate) fn add(self, other: Extended) -> Option<Extended> {
        let (
            Extended::Finite {
                negative,
                mantissa,
                exponent,
            },
            Extended::Finite {
                negative: other_negative,
                mantissa: other_mantissa,
                exponent: other_exponent,
            },
        ) = (self, other)
        else {
            return None;
        };
        if mantissa == 0 || other_mantissa == 0 {
            return Some(if mantissa == 0 { other } else { self });
        }
        if exponent < other_exponent {
            return other.add(self);
        }
        // Two bits are left above for the carry, 62 below: what falls off below them is kept as
        // one bit that says "a little more", which is all that rounding asks.
        let wide = u128::from(mantissa) << 62;
        let other_wide = u128::from(other_mantissa) << 62;
        let distance = (exponent - other_exponent) as u32;
        let shifted = other_wide.checked_shr(distance).unwrap_or(0);
        let lost = shifted.checked_shl(distance) != Some(other_wide);
        let other_wide = shifted | u128::from(lost);
        let (negative, sum) = if negative == other_negative {
            (negative, wide + other_wide)
        } else if wide >= other_wide {
            (negative, wide - other_wide)
        } else {
            (other_negative, other_wide - wide)
        };
        round(negative, sum, exponent - 62, false)
    }
}

/// The nearest number to `number` times 2 to the `exponent`, or a little more where `sticky`, which
/// asks for at least 66 bits of `number`. None where it is too large.
fn round(negative: bool, number: u128, exponent: i32, sticky: bool) -> Option<Extended> {
    if number == 0 {
        return Some(Extended::ZERO);
    }
    let bits = 128 - number.leading_zeros() as i32;
    let drop = (bits - 64).max(EXPONENT_MIN - exponent);
    let mut exponent = exponent + drop;
    let mut mantissa = if drop <= 0 {
        number << -drop
    } else {
        let drop = drop as u32;
        let kept = number.checked_shr(drop).unwrap_or(0);
        // All bits go: the half bit is the top one of `number` or above it.
        let half = if drop > 128 {
            0
        } else {
            number >> (drop - 1) & 1
        };
        let below = sticky
            || match drop {
                1 => false,
                2..=128 => number << (129 - drop) != 0,
                _ => true,
            };
        kept + u128::from(half == 1 && (below || kept & 1 == 1))
    };
    if mantissa >> 64 != 0 {
        mantissa >>= 1;
        exponent += 1;
    }
    let mantissa = mantissa as u64;
    (exponent <= EXPONENT_MAX).then_some(Extended::Finite {
        negative,
        mantissa,
        exponent,
    })
}

/// The nearest number to a fraction times 2 to the `exponent`; none where it is too large, or too
/// small though not zero.
fn round_fraction(
    negative: bool,
    mut numerator: Natural,
    mut denominator: Natural,
    exponent: i64,
) -> Option<Extended> {
    // A quotient of 67 or 68 bits.
    let shift = 67 - (numerator.bits() as i32 - denominator.bits() as i32);
    if shift >= 0 {
        numerator.shift_left(shift as u32);
    } else {
        denominator.shift_left(shift.unsigned_abs());
    }
    let (quotient, sticky) = numerator.quotient(denominator, 68);
    let exponent = exponent - i64::from(shift);
    // Far outside, where `i32` might not hold it.
    if !(-40_000..40_000).contains(&exponent) {
        return None;
    }
    let rounded = round(negative, quotient, exponent as i32, sticky)?;
    match rounded {
        Extended::Finite { mantissa: 0, .. } => None,
        _ => Some(rounded),
    }
}

/// The digits before the exponent, without leading zeros, and how many of them follow the point.
struct Digits {
    values: Vec<u8>,
    after_point: usize,
}

/// Takes digits and one point; none where there is not a single digit.
fn take_digits(text: &mut &[u8], radix: u32) -> Option<Digits> {
    let mut digits = Digits {
        values: Vec::new(),
        after_point: 0,
    };
    let (mut point, mut any) = (false, false);
    while let [byte, rest @ ..] = *text {
        if *byte == b'.' && !point {
            point = true;
        } else if let Some(value) = char::from(*byte).to_digit(radix) {
            any = true;
            digits.after_point += usize::from(point);
            if value > 0 || !digits.values.is_empty() {
                digits.values.push(value as u8);
            }
        } else {
            break;
        }
        *text = rest;
    }
    any.then_some(digits)
}

/// The exponent after one of `letters`, to the end of the text; 0 where there is none.
fn take_exponent(text: &[u8], letters: [u8; 2]) -> Option<i64> {
    let [letter, rest @ ..] = text else {
        return Some(0);
    };
    if !letters.contains(letter) {
        return None;
    }
    let (negative, digits) = match rest {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        _ => (false, rest),
    };
    if digits.is_empty() {
        return None;
    }
    let mut exponent = 0_i64;
    for digit in digits {
        let digit = char::from(*digit).to_digit(10)?;
        // Saturates where everything is out of range.
        exponent = (exponent * 10 + i64::from(digit)).min(1_000_000_000);
    }
    Some(if negative { -exponent } else { exponent })
}

fn parse_decimal(negative: bool, mut text: &[u8]) -> Option<Extended> {
    let digits = take_digits(&mut text, 10)?;
    let exponent = take_exponent(text, [b'e', b'E'])? - digits.after_point as i64;
    if digits.values.is_empty() {
        return Some(Extended::Finite {
            negative,
            mantissa: 0,
            exponent: 0,
        });
    }
    // The largest number has 4933 digits before the point, the smallest 4950 zeros after it.
    let magnitude = digits.values.len() as i64 + exponent;
    if !(-5000..5000).contains(&magnitude) {
        return None;
    }
    let mut numerator = Natural::from_u64(0);
    let mut denominator = Natural::from_u64(1);
    for chunk in digits.values.chunks(9) {
        let value = chunk
            .iter()
            .fold(0, |value, digit| value * 10 + u32::from(*digit));
        numerator.multiply_add(10_u32.pow(chunk.len() as u32), value);
    }
    let power = exponent.unsigned_abs() as u32;
    let part = if exponent >= 0 {
        &mut numerator
    } else {
        &mut denominator
    };
    part.multiply_by_power_of_5(power);
    round_fraction(negative, numerator, denominator, exponent)
}

fn parse_hexadecimal(negative: bool, mut text: &[u8]) -> Option<Extended> {
    let digits = take_digits(&mut text, 16)?;
    let exponent = take_exponent(text, [b'p', b'P'])? - 4 * digits.after_point as i64;
    if digits.values.is_empty() {
        return Some(Extended::Finite {
            negative,
            mantissa: 0,
            exponent: 0,
        });
    }
    let mut numerator = Natural::from_u64(0);
    for value in digits.values {
        numerator.multiply_add(16, u32::from(value));
    }
    round_fraction(negative, numerator, Natural::from_u64(1), exponent)
}

/// 17 places after the point, rounded to nearest with ties to even, then without trailing zeros;
/// never `-0`.
impl fmt::Display for Extended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const PLACES: u64 = 100_000_000_000_000_000;
        let Extended::Finite {
            negative,
            mantissa,
            exponent,
        } = *self
        else {
            return f.write_str("inf");
        };
        let mut digits = itoa::Buffer::new();
        if exponent >= 0 {
            let sign = if negative && mantissa != 0 { "-" } else { "" };
            return write!(f, "{sign}{}", integer_digits(mantissa, exponent as u32));
        }
        let shift = exponent.unsigned_abs();
        let whole = mantissa.checked_shr(shift).unwrap_or(0);
        let fraction = if shift < 64 {
            mantissa & ((1 << shift) - 1)
        } else {
            mantissa
        };
        // Below 2^121; shifted by 122 or more it is less than a half.
        let scaled = u128::from(fraction) * u128::from(PLACES);
        let mut places = scaled.checked_shr(shift).unwrap_or(0) as u64;
        if shift < 122 {
            let rest = scaled & ((1 << shift) - 1);
            let half = 1 << (shift - 1);
            places += u64::from(rest > half || (rest == half && places & 1 == 1));
        }
        let whole = u128::from(whole) + u128::from(places / PLACES);
        let places = places % PLACES;
        let sign = if negative && (whole, places) != (0, 0) {
            "-"
        } else {
            ""
        };
        write!(f, "{sign}{}", digits.format(whole))?;
        if places > 0 {
            let text = format!("{places:017}");
            write!(f, ".{}", text.trim_end_matches('0'))?;
        }
        Ok(())
    }
}

/// The decimal digits of `mantissa` times 2 to the `exponent`.
fn integer_digits(mantissa: u64, exponent: u32) -> String {
    const CHUNK: u32 = 1_000_000_000;
    let mut number = Natural::from_u64(mantissa);
    number.shift_left(exponent);
    let mut chunks = Vec::new();
    while !number.is_zero() {
        chunks.push(number.divide(CHUNK));
    }
    let mut text = chunks.pop().unwrap_or(0).to_string();
    for chunk in chunks.iter().rev() {
        text.push_str(&format!("{chunk:09}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(a: &str, b: &str) -> Option<String> {
        Some(
            Extended::parse(a.as_bytes())?
                .add(Extended::parse(b.as_bytes())?)?
                .to_string(),
        )
    }

    #[test]
    fn sums_have_the_digits_of_redis() {
        for (a, b, expected) in [
            ("10.50", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("0", "-1.1", "-1.1"),
            ("3.0", "1.000000000000000005", "4.00000000000000001"),
            ("1", "-1", "0"),
            ("-0.0", "-0.0", "0"),
            ("1", "1e-18", "1"),
            ("0", "0x1.8p1", "3"),
            ("0", "0x.8", "0.5"),
            ("18446744073709551615", "1", "18446744073709551616"),
            ("1e20", "-1", "100000000000000000000"),
            ("0.1", "0.2", "0.3"),
            ("9007199254740993", "0.5", "9007199254740993.5"),
        ] {
            assert_eq!(sum(a, b).as_deref(), Some(expected), "{a} + {b}");
        }
    }

    #[test]
    fn the_largest_number_is_read_and_nothing_beyond_it() {
        let largest = sum("1.18973149535723176502e4932", "0").unwrap();
        assert_eq!(largest.len(), 4933);
        assert!(largest.starts_with("118973149535723176502126385303"));
        assert!(Extended::parse(b"1.18973149535723176503e4932").is_some());
        assert_eq!(Extended::parse(b"1.1897314953572317651e4932"), None);
        assert_eq!(
            sum("1.18973149535723176502e4932", "1.18973149535723176502e4932"),
            None
        );
        assert!(sum("3.64519953188247460253e-4951", "0").is_some());
        assert_eq!(Extended::parse(b"1e-4951"), None);
        assert_eq!(
            Extended::parse(b"0e-999999999999999999999"),
            Some(Extended::ZERO)
        );
        assert_eq!(Extended::parse(b"1e999999999999999999999"), None);
    }

    #[test]
    fn only_whole_numbers_are_read() {
        for text in [
            "", " 1", "1 ", "+", ".", "e5", "1e", "1e+", "0x", "0x.p1", "0x1p", "1.2.3", "nan",
            "1f", "--1", "infinit",
        ] {
            assert_eq!(Extended::parse(text.as_bytes()), None, "{text:?}");
        }
        for text in [
            "5.", ".5", "+5", "-inf", "INFINITY", "1E+2", "0x1P-2", "00", "007",
        ] {
            assert!(Extended::parse(text.as_bytes()).is_some(), "{text:?}");
        }
        assert_eq!(Extended::parse(&[b'0'; 5120]), None);
        assert!(Extended::parse(&[b'0'; 5119]).is_some());
    }

    #[test]
    fn ties_go_to_even() {
        // 2^64 + 1 lies between two numbers whose distance is 2.
        assert_eq!(
            sum("18446744073709551617", "0").as_deref(),
            Some("18446744073709551616")
        );
        assert_eq!(
            sum("18446744073709551619", "0").as_deref(),
            Some("18446744073709551620")
        );
        assert_eq!(
            sum("18446744073709551616", "1").as_deref(),
            Some("18446744073709551616")
        );
        assert_eq!(
            sum("18446744073709551616", "1.0000001").as_deref(),
            Some("18446744073709551618")
        );
        assert_eq!(
            sum("18446744073709551616", "-0.5").as_deref(),
            Some("18446744073709551616")
        );
        assert_eq!(
            sum("18446744073709551616", "-0.50001").as_deref(),
            Some("18446744073709551615")
        );
    }
}
