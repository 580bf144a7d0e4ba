//! Inline commands: a line of words, as a person types it into `nc`.
//!
//! Words are split by white space. `"..."` takes the escapes `\n \r \t \b \a \xHH` and a backslash
//! before any other byte stands for that byte; `'...'` takes `\'` alone. A closing quote ends its
//! word and must be followed by white space or the end; an opening one may stand inside a word.
//!
//! Unlike Redis, which reads lines as C strings, NUL is a byte like others.

use crate::ProtocolError;

/// A line without its end, and its length with it.
pub(crate) struct Line<'a> {
    pub(crate) text: &'a [u8],
    pub(crate) length: usize,
}

/// The line of `buffer` whose LF stands at `newline`.
pub(crate) fn line(buffer: &[u8], newline: usize) -> Line<'_> {
    let text = &buffer[..newline];
    Line {
        text: text.strip_suffix(b"\r").unwrap_or(text),
        length: newline + 1,
    }
}

/// Splits the inline command at the start of `buffer`, which holds its LF, and undoes its quoting. Gives
/// its length with the line end, and its arguments.
///
/// # Errors
/// [`ProtocolError::UnbalancedQuotes`].
///
/// # Panics
/// When `buffer` has no LF: call it where [`ProtocolError::InlineEscapes`] says so.
pub fn split_inline(buffer: &[u8]) -> Result<(usize, Vec<Vec<u8>>), ProtocolError> {
    let newline = memchr::memchr(b'\n', buffer).expect("the parser saw the end of this line");
    let line = line(buffer, newline);
    let mut words = Words {
        text: line.text,
        at: 0,
    };
    let mut args = Vec::new();
    while let Some(word) = words.next()? {
        args.push(match word {
            Word::Slice(slice) => slice.to_vec(),
            Word::Escaped(raw) => unescape(raw),
        });
    }
    Ok((line.length, args))
}

/// Splits a line into slices of it, of which an unauthenticated client may send `most`.
///
/// # Errors
/// [`ProtocolError::UnbalancedQuotes`], [`ProtocolError::UnauthenticatedMultibulkLength`] when there are more
/// words, or [`ProtocolError::InlineEscapes`] when a word is no slice of the line; `args` is then empty.
pub(crate) fn split<'a>(
    text: &'a [u8],
    most: usize,
    args: &mut Vec<&'a [u8]>,
) -> Result<(), ProtocolError> {
    let mut words = Words { text, at: 0 };
    let mut escaped = false;
    let mut count = 0;
    // Goes on after an escape, so that unbalanced quotes behind it are found here.
    while let Some(word) = words.next().inspect_err(|_| args.clear())? {
        count += 1;
        if count > most {
            args.clear();
            return Err(ProtocolError::UnauthenticatedMultibulkLength);
        }
        match word {
            Word::Slice(slice) => args.push(slice),
            Word::Escaped(_) => escaped = true,
        }
    }
    if escaped {
        args.clear();
        return Err(ProtocolError::InlineEscapes);
    }
    Ok(())
}

enum Word<'a> {
    /// The word itself.
    Slice(&'a [u8]),
    /// The word with its quotes and escapes, which are balanced.
    Escaped(&'a [u8]),
}

struct Words<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Result<Option<Word<'a>>, ProtocolError> {
        let text = self.text;
        while text.get(self.at).is_some_and(|&byte| is_space(byte)) {
            self.at += 1;
        }
        let start = self.at;
        if start == text.len() {
            return Ok(None);
        }
        let plain = text[start..].iter().position(|&byte| ends_plain(byte));
        let open = plain.map_or(text.len(), |length| start + length);
        self.at = open;
        if open == text.len() || !matches!(text[open], b'"' | b'\'') {
            return Ok(Some(Word::Slice(&text[start..open])));
        }
        let quote = text[open];
        let (close, escapes) = closing_quote(text, open + 1, quote)?;
        self.at = close + 1;
        if text.get(self.at).is_some_and(|&byte| !is_space(byte)) {
            return Err(ProtocolError::UnbalancedQuotes);
        }
        Ok(Some(if escapes || open > start {
            Word::Escaped(&text[start..=close])
        } else {
            Word::Slice(&text[open + 1..close])
        }))
    }
}

/// Where the quote that opens before `at` closes, and whether a backslash changes what stands in it.
fn closing_quote(text: &[u8], mut at: usize, quote: u8) -> Result<(usize, bool), ProtocolError> {
    let mut escapes = false;
    while let Some(&byte) = text.get(at) {
        if byte == quote {
            return Ok((at, escapes));
        }
        let next = text.get(at + 1);
        if byte == b'\\' && next.is_some_and(|&next| quote == b'"' || next == b'\'') {
            escapes = true;
            at += 1;
        }
        at += 1;
    }
    Err(ProtocolError::UnbalancedQuotes)
}

/// Undoes the quoting of a word: plain bytes, then one quoted part up to the end.
fn unescape(raw: &[u8]) -> Vec<u8> {
    let open = raw
        .iter()
        .position(|byte| matches!(byte, b'"' | b'\''))
        .expect("the word has a quote");
    let mut word = raw[..open].to_vec();
    let quoted = &raw[open + 1..raw.len() - 1];
    let double = raw[open] == b'"';
    let mut at = 0;
    while at < quoted.len() {
        let (byte, length) = if double {
            double_quoted(&quoted[at..])
        } else {
            single_quoted(&quoted[at..])
        };
        word.push(byte);
        at += length;
    }
    word
}

/// The byte that stands first in a part of `"..."`, and how many bytes express it.
fn double_quoted(text: &[u8]) -> (u8, usize) {
    match *text {
        [b'\\', b'x', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
            (hex(high) << 4 | hex(low), 4)
        }
        [b'\\', letter, ..] => {
            let byte = match letter {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'b' => 0x08,
                b'a' => 0x07,
                other => other,
            };
            (byte, 2)
        }
        _ => (text[0], 1),
    }
}

/// The byte that stands first in a part of `'...'`, and how many bytes express it.
fn single_quoted(text: &[u8]) -> (u8, usize) {
    if text.starts_with(b"\\'") {
        (b'\'', 2)
    } else {
        (text[0], 1)
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

/// C's `isspace`: what separates words.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | 0x09..=0x0d)
}

/// What ends a run of plain bytes in a word. VT and FF separate words but do not end one, as in Redis.
fn ends_plain(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'"' | b'\'')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the two entry points say of a line, brought to one form.
    fn words(text: &str) -> Result<Vec<String>, ProtocolError> {
        let mut buffer = text.as_bytes().to_vec();
        buffer.push(b'\n');
        let owned = split_inline(&buffer).map(|(length, owned)| {
            assert_eq!(length, buffer.len());
            owned
        });
        let mut args = Vec::new();
        match split(text.as_bytes(), usize::MAX, &mut args) {
            Ok(()) => assert_eq!(owned, Ok(args.iter().map(|arg| arg.to_vec()).collect())),
            Err(ProtocolError::InlineEscapes) => assert!(owned.is_ok() && args.is_empty()),
            Err(error) => {
                assert_eq!(owned, Err(error));
                assert!(args.is_empty());
            }
        }
        let owned = owned?;
        Ok(owned
            .iter()
            .map(|arg| arg.iter().map(|&byte| char::from(byte)).collect())
            .collect())
    }

    #[test]
    fn words_are_split_and_unquoted_as_redis_does() {
        let table: &[(&str, &[&str])] = &[
            ("", &[]),
            (" \t\x0b\x0c ", &[]),
            ("set k v", &["set", "k", "v"]),
            ("  set\tk  v ", &["set", "k", "v"]),
            ("a\x0bb \x0bc", &["a\x0bb", "c"]),
            ("a\0b", &["a\0b"]),
            (r#""hello world" x"#, &["hello world", "x"]),
            (r#""""#, &[""]),
            ("'' ''", &["", ""]),
            (r#"foo"bar baz""#, &["foobar baz"]),
            (r#"foo'b"r'"#, &[r#"foob"r"#]),
            (r#""\n\r\t\b\a\\\"\q""#, &["\n\r\t\x08\x07\\\"q"]),
            (r#""\x41\x4a\xFf\xf""#, &["AJ\u{ff}xf"]),
            (r#""\xg1""#, &["xg1"]),
            (r#"'\n\'\x41'"#, &[r#"\n'\x41"#]),
            (r#"a\nb"#, &[r#"a\nb"#]),
        ];
        for (line, expected) in table {
            assert_eq!(
                words(line).as_deref(),
                Ok(expected.map_to_strings().as_slice()),
                "{line:?}"
            );
        }
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        for line in [
            r#"""#,
            "'",
            r#""a"b"#,
            "'a'b",
            r#""a\""#,
            r#"'a\'"#,
            r#"'a\\'"#,
            r#""\"#,
            r#""\x41" ""#,
            r#"x "a'"#,
        ] {
            assert_eq!(
                words(line),
                Err(ProtocolError::UnbalancedQuotes),
                "{line:?}"
            );
        }
    }

    #[test]
    fn a_line_ends_in_lf_or_crlf() {
        assert_eq!(line(b"PING\r\nx", 5).text, b"PING");
        assert_eq!(line(b"PING\nx", 4).text, b"PING");
        assert_eq!(line(b"\n", 0).text, b"");
        assert_eq!(line(b"\r\n", 1).length, 2);
    }

    trait MapToStrings {
        fn map_to_strings(&self) -> Vec<String>;
    }

    impl MapToStrings for &[&str] {
        fn map_to_strings(&self) -> Vec<String> {
            self.iter().map(ToString::to_string).collect()
        }
    }
}
