//! A reply as a tree, and its one form as text.

use std::fmt;

/// A reply. Its text is close to what `redis-cli` prints, but tells all types apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `OK`
    Simple(String),
    /// `(error) ERR syntax error`
    Error(String),
    /// `(integer) 1`
    Integer(i64),
    /// `(double) 1.5`, with the digits as they were sent.
    Double(String),
    /// `(true)` or `(false)`
    Boolean(bool),
    /// `(big number) 123`
    BigNumber(String),
    /// `(nil)`: the null of RESP3, the null bulk string of RESP2.
    Null,
    /// `(nil array)`: the null array of RESP2.
    NullArray,
    /// `"bytes"`
    Bulk(Vec<u8>),
    /// `(verbatim txt) "text"`
    Verbatim(String, Vec<u8>),
    /// `1) ...`, or `(empty array)`.
    Array(Vec<Value>),
    /// `1~ ...`, or `(empty set)`.
    Set(Vec<Value>),
    /// `1# key => value`, or `(empty map)`.
    Map(Vec<(Value, Value)>),
    /// `1> ...`, or `(empty push)`.
    Push(Vec<Value>),
}

impl Value {
    /// A string.
    pub fn bulk(bytes: impl Into<Vec<u8>>) -> Value {
        Value::Bulk(bytes.into())
    }

    /// The same with sets, maps, and arrays of strings or of arrays sorted, however deep.
    #[must_use]
    pub fn sorted(self) -> Value {
        match self {
            Value::Array(values) => {
                let strings = values.iter().all(|value| matches!(value, Value::Bulk(_)));
                let arrays = values.iter().all(|value| matches!(value, Value::Array(_)));
                let mut values: Vec<Value> = values.into_iter().map(Value::sorted).collect();
                if strings || arrays {
                    values.sort_by_key(ToString::to_string);
                }
                Value::Array(values)
            }
            Value::Set(mut values) => {
                values.sort_by_key(ToString::to_string);
                Value::Set(values)
            }
            Value::Map(mut pairs) => {
                pairs.sort_by_key(|(key, _)| key.to_string());
                Value::Map(pairs)
            }
            other => other,
        }
    }
}

/// Bytes in double quotes, as the scripts write them.
pub(crate) fn quote(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for &byte in bytes {
        match byte {
            b'"' => text.push_str("\\\""),
            b'\\' => text.push_str("\\\\"),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            0x07 => text.push_str("\\a"),
            0x08 => text.push_str("\\b"),
            0x20..=0x7e => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text.push('"');
    text
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Simple(text) => f.write_str(text),
            Value::Error(text) => write!(f, "(error) {text}"),
            Value::Integer(number) => write!(f, "(integer) {number}"),
            Value::Double(digits) => write!(f, "(double) {digits}"),
            Value::Boolean(truth) => write!(f, "({truth})"),
            Value::BigNumber(digits) => write!(f, "(big number) {digits}"),
            Value::Null => f.write_str("(nil)"),
            Value::NullArray => f.write_str("(nil array)"),
            Value::Bulk(bytes) => f.write_str(&quote(bytes)),
            Value::Verbatim(format, bytes) => write!(f, "(verbatim {format}) {}", quote(bytes)),
            Value::Array(values) => write_all(f, values, ')', "array"),
            Value::Set(values) => write_all(f, values, '~', "set"),
            Value::Push(values) => write_all(f, values, '>', "push"),
            Value::Map(pairs) if pairs.is_empty() => f.write_str("(empty map)"),
            Value::Map(pairs) => {
                for (index, (key, value)) in pairs.iter().enumerate() {
                    let head = format!("{}# {key} => ", index + 1);
                    write_indented(f, index, &head, 3, value)?;
                }
                Ok(())
            }
        }
    }
}

fn write_all(f: &mut fmt::Formatter<'_>, values: &[Value], mark: char, name: &str) -> fmt::Result {
    if values.is_empty() {
        return write!(f, "(empty {name})");
    }
    let width = values.len().to_string().len();
    for (index, value) in values.iter().enumerate() {
        let head = format!("{:>width$}{mark} ", index + 1);
        write_indented(f, index, &head, head.len(), value)?;
    }
    Ok(())
}

/// Writes an element after its head. The first line of a nested one follows the head where the
/// rest is indented as far; else it begins a line of its own.
fn write_indented(
    f: &mut fmt::Formatter<'_>,
    index: usize,
    head: &str,
    indent: usize,
    value: &Value,
) -> fmt::Result {
    if index > 0 {
        f.write_str("\n")?;
    }
    let text = value.to_string();
    let own_line = head.len() != indent && text.contains('\n');
    f.write_str(if own_line { head.trim_end() } else { head })?;
    for (number, line) in text.lines().enumerate() {
        if number > 0 || own_line {
            write!(f, "\n{:indent$}", "")?;
        }
        f.write_str(line)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_replies_are_indented() {
        let pair = Value::Array(vec![Value::Integer(1), Value::Array(vec![])]);
        let reply = Value::Array(vec![pair.clone(), Value::bulk("a\n\"\x01"), Value::Null]);
        let text = "1) 1) (integer) 1\n   2) (empty array)\n2) \"a\\n\\\"\\x01\"\n3) (nil)";
        assert_eq!(reply.to_string(), text);
        let map = Value::Map(vec![
            (Value::bulk("k"), Value::Integer(1)),
            (Value::bulk("pair"), pair),
        ]);
        let text =
            "1# \"k\" => (integer) 1\n2# \"pair\" =>\n   1) (integer) 1\n   2) (empty array)";
        assert_eq!(map.to_string(), text);
    }
}
