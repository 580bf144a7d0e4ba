//! Scores as users write and read them, and the ranges of scores and members that commands take.

use keyspace::Element;

use crate::Reply;

const NOT_A_FLOAT: Reply<'static> = Reply::refusal("ERR value is not a valid float");

/// A score or a weight: whatever `strtod` of C reads to the end, but no leading space, no NaN, and nothing that is too
/// large or too small to be told from infinity or zero.
pub(crate) fn parse(arg: &[u8]) -> Option<f64> {
    if arg.first().is_none_or(|first| is_space(*first)) {
        return None;
    }
    let number = read(arg)?;
    let is_named = arg.iter().any(|byte| byte.eq_ignore_ascii_case(&b'n'));
    let overflows = number.is_infinite() && !is_named;
    let underflows = number == 0.0 && has_digit_but_zero(arg);
    (!number.is_nan() && !overflows && !underflows).then_some(number)
}

/// [`parse`] with its refusal.
pub(crate) fn score(arg: &[u8]) -> Result<f64, Reply<'static>> {
    parse(arg).ok_or(NOT_A_FLOAT)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Whether the mantissa is another number than zero.
fn has_digit_but_zero(arg: &[u8]) -> bool {
    let digits = arg.strip_prefix(b"-").or(arg.strip_prefix(b"+"));
    let digits = digits.unwrap_or(arg);
    let (digits, exponent) = match digits {
        [b'0', b'x' | b'X', rest @ ..] => (rest, b'p'),
        _ => (digits, b'e'),
    };
    let mut mantissa = digits
        .iter()
        .take_while(|byte| !byte.eq_ignore_ascii_case(&exponent));
    mantissa.any(|byte| byte.is_ascii_hexdigit() && *byte != b'0')
}

/// What `strtod` reads, if that is all; spaces may stand before it.
fn read(text: &[u8]) -> Option<f64> {
    let text = str::from_utf8(text).ok()?;
    let text = text.trim_start_matches(|letter: char| u8::try_from(letter).is_ok_and(is_space));
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let magnitude = match digits.as_bytes() {
        [b'-' | b'+', ..] => return None,
        [b'0', b'x' | b'X', rest @ ..] => read_hexadecimal(rest)?,
        _ => digits.parse().ok()?,
    };
    Some(if text.starts_with('-') {
        -magnitude
    } else {
        magnitude
    })
}

fn read_hexadecimal(text: &[u8]) -> Option<f64> {
    let end = text
        .iter()
        .position(|byte| matches!(byte, b'p' | b'P'))
        .unwrap_or(text.len());
    let (digits, exponent) = text.split_at(end);
    let mut exponent: i64 = match exponent.split_first() {
        Some((_, exponent)) => {
            let exponent = str::from_utf8(exponent).ok()?;
            let number = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
            if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            let number = number.parse::<i32>().unwrap_or(i32::MAX);
            i64::from(number) * if exponent.starts_with('-') { -1 } else { 1 }
        }
        None => 0,
    };
    let (mut mantissa, mut seen, mut after_point) = (0_u64, false, false);
    for byte in digits {
        let Some(digit) = char::from(*byte).to_digit(16) else {
            if *byte != b'.' || after_point {
                return None;
            }
            after_point = true;
            continue;
        };
        seen = true;
        if mantissa >> 59 == 0 {
            mantissa = mantissa << 4 | u64::from(digit);
            exponent -= if after_point { 4 } else { 0 };
        } else {
            // What no longer fits decides nothing but which way a tie is rounded.
            mantissa |= u64::from(digit != 0);
            exponent += if after_point { 0 } else { 4 };
        }
    }
    // In two steps, for the power alone may be beyond what a double holds.
    let half = exponent.clamp(-4000, 4000) as i32 / 2;
    let rest = exponent.clamp(-4000, 4000) as i32 - half;
    let power = |exponent: i32| 2_f64.powi(exponent.clamp(-1022, 1023));
    seen.then(|| mantissa as f64 * power(half) * power(rest))
}

/// A number as `%.17g` of C prints it; the form of Redis 7.0 where a number is no reply of its own.
pub fn format(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    const DIGITS: i32 = 17;
    let exact = format!("{number:.16e}");
    let (mantissa, exponent) = exact.split_once('e').expect("the form has an exponent");
    let exponent: i32 = exponent.parse().expect("the exponent is a number");
    if (-4..DIGITS).contains(&exponent) {
        let decimals = usize::try_from(DIGITS - 1 - exponent).expect("it is below the digits");
        return without_zeros(&format!("{number:.decimals$}")).to_owned();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    let mantissa = without_zeros(mantissa);
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// Without the zeros at the end of the decimals.
fn without_zeros(digits: &str) -> &str {
    if digits.contains('.') {
        digits.trim_end_matches('0').trim_end_matches('.')
    } else {
        digits
    }
}

/// Scores from one bound to another, each of which may be left out itself.
pub(crate) struct ScoreRange {
    min: (f64, bool),
    max: (f64, bool),
}

impl ScoreRange {
    /// The range from `min` to `max`, where `(` leaves out the bound.
    pub(crate) fn parse(min: &[u8], max: &[u8]) -> Result<ScoreRange, Reply<'static>> {
        let bound = |arg: &[u8]| {
            let (text, without) = match arg {
                [b'(', rest @ ..] => (rest, true),
                _ => (arg, false),
            };
            // As a C string that `strtod` reads to its end.
            let text = &text[..memchr::memchr(0, text).unwrap_or(text.len())];
            let number = if text.is_empty() {
                Some(0.0)
            } else {
                read(text).filter(|number| !number.is_nan())
            };
            let number = number.ok_or(Reply::refusal("ERR min or max is not a float"))?;
            Ok::<_, Reply<'static>>((number, without))
        };
        Ok(ScoreRange {
            min: bound(min)?,
            max: bound(max)?,
        })
    }

    /// Whether a score comes before the range.
    pub(crate) fn is_after(&self, score: f64) -> bool {
        let (min, without) = self.min;
        score < min || (without && score == min)
    }

    /// Whether a score comes before the end of the range.
    pub(crate) fn ends_after(&self, score: f64) -> bool {
        let (max, without) = self.max;
        score < max || (!without && score == max)
    }
}

/// A bound among members.
enum LexBound<'a> {
    First,
    Last,
    With(&'a [u8]),
    Without(&'a [u8]),
}

impl<'a> LexBound<'a> {
    fn parse(arg: &'a [u8]) -> Result<LexBound<'a>, Reply<'static>> {
        match arg {
            b"-" => Ok(LexBound::First),
            b"+" => Ok(LexBound::Last),
            [b'[', rest @ ..] => Ok(LexBound::With(rest)),
            [b'(', rest @ ..] => Ok(LexBound::Without(rest)),
            _ => Err(Reply::refusal("ERR min or max not valid string range item")),
        }
    }
}

/// Members from one bound to another.
pub(crate) struct LexRange<'a> {
    min: LexBound<'a>,
    max: LexBound<'a>,
}

impl<'a> LexRange<'a> {
    pub(crate) fn parse(min: &'a [u8], max: &'a [u8]) -> Result<LexRange<'a>, Reply<'static>> {
        Ok(LexRange {
            min: LexBound::parse(min)?,
            max: LexBound::parse(max)?,
        })
    }

    /// Whether a member comes before the range.
    pub(crate) fn is_after(&self, member: Element<'_>) -> bool {
        member.with_bytes(|member| match self.min {
            LexBound::First => false,
            LexBound::Last => true,
            LexBound::With(min) => member < min,
            LexBound::Without(min) => member <= min,
        })
    }

    /// Whether a member comes before the end of the range.
    pub(crate) fn ends_after(&self, member: Element<'_>) -> bool {
        member.with_bytes(|member| match self.max {
            LexBound::First => false,
            LexBound::Last => true,
            LexBound::With(max) => member <= max,
            LexBound::Without(max) => member < max,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_strtod_reads_them() {
        for (text, expected) in [
            ("1", 1.0),
            ("+1.5", 1.5),
            ("-.5e1", -5.0),
            ("5.", 5.0),
            ("0x10", 16.0),
            ("-0x1.8p1", -3.0),
            ("0X.8", 0.5),
            ("0x1p-1074", 5e-324),
            ("0x123456789abcdef01", 20_988_295_479_420_645_121.0),
            ("inf", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("5e-324", 5e-324),
            ("0e500", 0.0),
            ("1e308", 1e308),
        ] {
            assert_eq!(parse(text.as_bytes()), Some(expected), "{text}");
        }
        for text in [
            "",
            " 1",
            "1 ",
            "x",
            "nan",
            "-nan",
            "1e400",
            "-1e400",
            "1e-400",
            "0x",
            "0x1p",
            "0x1p-2000",
            "0x1p5000",
            "--1",
            "+-1",
            "1e",
            "1_0",
            "infi",
            "0x.",
            "1\0",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn numbers_are_printed_as_printf_prints_them() {
        for (number, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (3.3, "3.2999999999999998"),
            (0.1, "0.10000000000000001"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (123_456_789_012_345_680.0, "1.2345678901234568e+17"),
            (0.0001, "0.0001"),
            (0.00001, "1.0000000000000001e-05"),
            (-1e300, "-1.0000000000000001e+300"),
            (5e-324, "4.9406564584124654e-324"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(format(number), expected);
        }
    }
}
