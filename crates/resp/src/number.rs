//! Numbers as Redis reads and writes them.

/// A decimal number in its one canonical form, as Redis's `string2ll` takes it: no sign but `-`, no
/// leading zeros, no `-0`, within `i64`.
pub(crate) fn decimal(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [] | [b'0', ..] => return None,
        _ => {}
    }
    let mut value: i64 = 0;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        // Counts down, because the least number has no positive counterpart.
        value = value
            .checked_mul(10)?
            .checked_sub(i64::from(digit - b'0'))?;
    }
    if negative {
        Some(value)
    } else {
        value.checked_neg()
    }
}

/// Appends a double in the form of C's `%.17g`; `inf`, `-inf` and `nan` for those.
pub(crate) fn push_double(out: &mut Vec<u8>, value: f64) {
    use std::io::Write;

    /// Integers below this print as integers.
    const EXACT: f64 = 9_007_199_254_740_992.0;

    if value.is_nan() {
        return out.extend_from_slice(b"nan");
    }
    if value.is_infinite() {
        return out.extend_from_slice(if value > 0.0 { b"inf" } else { b"-inf" });
    }
    if value == 0.0 && value.is_sign_negative() {
        return out.extend_from_slice(b"-0");
    }
    if value.abs() < EXACT && value.trunc() == value {
        let mut buffer = itoa::Buffer::new();
        return out.extend_from_slice(buffer.format(value as i64).as_bytes());
    }

    // Seventeen significant digits: `-d.dddddddddddddddde-308`.
    let mut scratch = [0; 32];
    let mut rest = &mut scratch[..];
    write!(rest, "{value:.16e}").expect("17 digits, a sign, a point and an exponent fit");
    let unused = rest.len();
    let text = &scratch[..32 - unused];
    let text = match text {
        [b'-', text @ ..] => {
            out.push(b'-');
            text
        }
        text => text,
    };
    let split = text
        .iter()
        .position(|&byte| byte == b'e')
        .expect("scientific form has an exponent");
    let exponent = decimal(&text[split + 1..]).expect("the exponent is a number");
    let mut digits = [0; 17];
    digits[0] = text[0];
    digits[1..].copy_from_slice(&text[2..split]);
    let significant = 17
        - digits
            .iter()
            .rev()
            .take_while(|&&digit| digit == b'0')
            .count();

    if (-4..17).contains(&exponent) {
        if exponent < 0 {
            out.extend_from_slice(b"0.");
            out.extend(std::iter::repeat_n(
                b'0',
                exponent.unsigned_abs() as usize - 1,
            ));
            out.extend_from_slice(&digits[..significant]);
        } else {
            let point = exponent as usize + 1;
            out.extend_from_slice(&digits[..point]);
            if significant > point {
                out.push(b'.');
                out.extend_from_slice(&digits[point..significant]);
            }
        }
    } else {
        out.push(digits[0]);
        if significant > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..significant]);
        }
        write!(
            out,
            "e{}{:02}",
            if exponent < 0 { '-' } else { '+' },
            exponent.unsigned_abs()
        )
        .expect("writing to a vector does not fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_form() {
        let table: &[(&str, Option<i64>)] = &[
            ("0", Some(0)),
            ("7", Some(7)),
            ("-1", Some(-1)),
            ("1048576", Some(1_048_576)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-9223372036854775809", None),
            ("99999999999999999999999999", None),
            ("", None),
            ("-", None),
            ("-0", None),
            ("00", None),
            ("01", None),
            ("+1", None),
            (" 1", None),
            ("1 ", None),
            ("1a", None),
        ];
        for (text, expected) in table {
            assert_eq!(decimal(text.as_bytes()), *expected, "{text:?}");
        }
    }

    #[test]
    fn doubles_are_written_as_printf_does() {
        // The right column is what glibc's printf("%.17g") prints.
        let table: &[(f64, &str)] = &[
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-3.0, "-3"),
            (0.1, "0.10000000000000001"),
            (3.5, "3.5"),
            (-1.25, "-1.25"),
            (100.5, "100.5"),
            (0.0001, "0.0001"),
            (0.00001, "1.0000000000000001e-05"),
            (1e15, "1000000000000000"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (1.5e300, "1.5000000000000001e+300"),
            (5e-324, "4.9406564584124654e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::from_bits(0x430c_6bf5_2634_0002), "1000000000000000.2"),
            (f64::from_bits(0x430c_6bf5_2634_0006), "1000000000000000.8"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
            (-f64::NAN, "nan"),
        ];
        for (value, expected) in table {
            let mut out = Vec::new();
            push_double(&mut out, *value);
            assert_eq!(std::str::from_utf8(&out), Ok(*expected));
        }
    }
}
