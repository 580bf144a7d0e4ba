//! Reading scripts, and writing replies back into them.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use crate::Value;

/// One step of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The line where it stands, from 1.
    pub line: usize,
    /// What is to be done.
    pub action: Action,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Sends a command and compares the reply.
    Call(Call),
    /// Lets that much time pass.
    Wait(Duration),
    /// Replies come in this version of the protocol from here on: 2 or 3.
    Protocol(u8),
}

/// A command and its reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The words, the command's name first.
    pub args: Vec<Vec<u8>>,
    /// The reply as text, without a final line end.
    pub expected: String,
    /// How replies are compared.
    pub comparison: Comparison,
    /// Redis answers otherwise and is not asked.
    pub piccolo_only: bool,
    /// The lines of the reply, from 0.
    reply_lines: Range<usize>,
}

/// How a reply is compared with the expected one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// The texts are equal.
    Exact,
    /// Both are whole numbers that differ by no more than this.
    Within(i64),
    /// The texts are equal once arrays of strings are sorted.
    Unordered,
}

impl Call {
    /// The reply as text, as a script should have it, if it is other than expected.
    pub fn mismatch(&self, reply: &Value) -> Option<String> {
        let text = match self.comparison {
            Comparison::Unordered => reply.clone().sorted().to_string(),
            Comparison::Exact | Comparison::Within(_) => reply.to_string(),
        };
        let expected = self
            .expected
            .strip_prefix("(integer) ")
            .and_then(|text| text.parse().ok());
        let near = match (self.comparison, reply, expected) {
            (Comparison::Within(most), Value::Integer(number), Some(expected)) => {
                number.abs_diff(expected) <= most.unsigned_abs()
            }
            _ => false,
        };
        (!near && text != self.expected).then_some(text)
    }
}

/// Why a script cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

impl std::error::Error for ParseError {}

/// Reads a script.
///
/// # Errors
/// For a line that has no meaning where it stands, with its number.
pub fn parse(script: &str) -> Result<Vec<Step>, ParseError> {
    let lines: Vec<&str> = script.lines().collect();
    let mut steps = Vec::new();
    let (mut comparison, mut piccolo_only) = (Comparison::Exact, false);
    let mut at = 0;
    while at < lines.len() {
        let line = at + 1;
        let fail = |reason: String| ParseError { line, reason };
        let text = lines[at];
        at += 1;
        if let Some(directive) = text.strip_prefix("# ") {
            let words: Vec<&str> = directive.split_whitespace().collect();
            let unknown = || fail(format!("no directive is written like this: {directive}"));
            let action = match words[..] {
                ["wait", time] => {
                    let millis = time
                        .strip_suffix("ms")
                        .and_then(|millis| millis.parse().ok());
                    Some(Action::Wait(Duration::from_millis(
                        millis.ok_or_else(unknown)?,
                    )))
                }
                ["resp2"] => Some(Action::Protocol(2)),
                ["resp3"] => Some(Action::Protocol(3)),
                ["within", most] => {
                    comparison = Comparison::Within(most.parse().map_err(|_| unknown())?);
                    None
                }
                ["unordered"] => {
                    comparison = Comparison::Unordered;
                    None
                }
                ["piccolo"] => {
                    piccolo_only = true;
                    None
                }
                _ => return Err(unknown()),
            };
            steps.extend(action.map(|action| Step { line, action }));
        } else if let Some(command) = text.strip_prefix("> ") {
            let args = split_words(command).map_err(|reason| fail(reason.to_owned()))?;
            let first = at;
            while at < lines.len() && is_reply(lines[at]) {
                at += 1;
            }
            let call = Call {
                args,
                expected: lines[first..at].join("\n"),
                comparison,
                piccolo_only,
                reply_lines: first..at,
            };
            steps.push(Step {
                line,
                action: Action::Call(call),
            });
            (comparison, piccolo_only) = (Comparison::Exact, false);
        } else if is_reply(text) {
            return Err(fail(format!("a reply without a command: {text}")));
        }
    }
    Ok(steps)
}

fn is_reply(line: &str) -> bool {
    !(line.is_empty() || ["> ", "# ", ";"].iter().any(|mark| line.starts_with(mark)))
}

/// The script with other replies at the commands of these lines.
///
/// # Errors
/// Where the script cannot be read.
pub fn rewrite(script: &str, replies: &BTreeMap<usize, String>) -> Result<String, ParseError> {
    let steps = parse(script)?;
    let mut changes = BTreeMap::new();
    for step in &steps {
        if let (Action::Call(call), Some(reply)) = (&step.action, replies.get(&step.line)) {
            changes.insert(call.reply_lines.start, (call.reply_lines.end, reply));
        }
    }
    let lines: Vec<&str> = script.lines().collect();
    let mut rewritten = String::new();
    let mut at = 0;
    while at <= lines.len() {
        if let Some((end, reply)) = changes.remove(&at) {
            rewritten.push_str(reply);
            rewritten.push('\n');
            at = end.max(at);
        }
        if let Some(line) = lines.get(at) {
            rewritten.push_str(line);
            rewritten.push('\n');
        }
        at += 1;
    }
    Ok(rewritten)
}

/// Splits a line as `redis-cli` does.
///
/// # Errors
/// For quotes that do not end or are not followed by a space.
pub fn split_words(line: &str) -> Result<Vec<Vec<u8>>, &'static str> {
    let mut words = Vec::new();
    let mut rest = line.as_bytes();
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return Ok(words);
        }
        let mut word = Vec::new();
        while let [byte, tail @ ..] = rest {
            match byte {
                b' ' | b'\t' => break,
                b'"' => rest = take_double_quoted(tail, &mut word)?,
                b'\'' => rest = take_single_quoted(tail, &mut word)?,
                _ => {
                    word.push(*byte);
                    rest = tail;
                }
            }
        }
        words.push(word);
    }
}

const UNTERMINATED: &str = "a quote does not end";

fn take_double_quoted<'a>(
    mut rest: &'a [u8],
    word: &mut Vec<u8>,
) -> Result<&'a [u8], &'static str> {
    let hex = |digit: u8| char::from(digit).to_digit(16);
    loop {
        match rest {
            [b'"', tail @ ..] => return closed(tail),
            [b'\\', b'x', high, low, tail @ ..] => {
                let (Some(high), Some(low)) = (hex(*high), hex(*low)) else {
                    return Err("two hexadecimal digits follow \\x");
                };
                word.push((high * 16 + low) as u8);
                rest = tail;
            }
            [b'\\', escaped, tail @ ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'a' => 0x07,
                    b'b' => 0x08,
                    other => *other,
                });
                rest = tail;
            }
            [byte, tail @ ..] => {
                word.push(*byte);
                rest = tail;
            }
            [] => return Err(UNTERMINATED),
        }
    }
}

fn take_single_quoted<'a>(
    mut rest: &'a [u8],
    word: &mut Vec<u8>,
) -> Result<&'a [u8], &'static str> {
    loop {
        match rest {
            [b'\'', tail @ ..] => return closed(tail),
            [b'\\', b'\'', tail @ ..] => {
                word.push(b'\'');
                rest = tail;
            }
            [byte, tail @ ..] => {
                word.push(*byte);
                rest = tail;
            }
            [] => return Err(UNTERMINATED),
        }
    }
}

fn closed(rest: &[u8]) -> Result<&[u8], &'static str> {
    match rest {
        [] | [b' ' | b'\t', ..] => Ok(rest),
        _ => Err("a space follows a closing quote"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "\
; A comment.
> SET k \"a b\\x00\"
OK

# resp3
# wait 20ms
# within 2
> TTL k
(integer) 100
> MGET k 'it\\'s'
1) \"a\"
2) (nil)
";

    #[test]
    fn a_script_is_read_step_by_step() {
        let steps = parse(SCRIPT).unwrap();
        let lines: Vec<usize> = steps.iter().map(|step| step.line).collect();
        assert_eq!(lines, [2, 5, 6, 8, 10]);
        let Action::Call(set) = &steps[0].action else {
            panic!("{steps:?}")
        };
        assert_eq!(
            set.args,
            [b"SET".to_vec(), b"k".to_vec(), b"a b\0".to_vec()]
        );
        assert_eq!(steps[1].action, Action::Protocol(3));
        assert_eq!(steps[2].action, Action::Wait(Duration::from_millis(20)));
        let Action::Call(ttl) = &steps[3].action else {
            panic!("{steps:?}")
        };
        assert_eq!(ttl.mismatch(&Value::Integer(98)), None);
        assert_eq!(
            ttl.mismatch(&Value::Integer(97)),
            Some("(integer) 97".to_owned())
        );
        let Action::Call(mget) = &steps[4].action else {
            panic!("{steps:?}")
        };
        assert_eq!(mget.args[2], b"it's");
        assert_eq!(
            mget.mismatch(&Value::Array(vec![Value::bulk("a"), Value::Null])),
            None
        );
    }

    #[test]
    fn lines_without_meaning_are_refused() {
        for (script, line) in [
            ("OK\n", 1),
            ("\n# wait 20\n", 2),
            ("# pray\n", 1),
            ("> GET \"k\n", 1),
            ("> GET \"k\"x\n", 1),
        ] {
            assert_eq!(parse(script).unwrap_err().line, line, "{script}");
        }
    }

    #[test]
    fn replies_are_written_back() {
        let replies = BTreeMap::from([(2, "(nil)".to_owned()), (10, "1) a\n2) b".to_owned())]);
        let expected = SCRIPT
            .replace("OK", "(nil)")
            .replace("1) \"a\"\n2) (nil)", "1) a\n2) b");
        assert_eq!(rewrite(SCRIPT, &replies).unwrap(), expected);
        let added = rewrite("> GET k", &BTreeMap::from([(1, "(nil)".to_owned())])).unwrap();
        assert_eq!(added, "> GET k\n(nil)\n");
    }
}
