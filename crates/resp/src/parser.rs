//! Requests: from bytes to slices of them.
//!
//! A request is an array of bulk strings (`*2\r\n$3\r\nGET\r\n$1\r\nk\r\n`) or an inline command. The usual
//! case, all of it in the buffer, is one pass that pushes slices and writes nothing else. A command that
//! has not arrived whole leaves its place in the parser as offsets, and the next call goes on there: its
//! cost is linear in its bytes however they are cut, and whatever the cut, the outcome is the same.
//!
//! Nothing is allocated for a length or a count that was merely announced.

use crate::{Limits, ProtocolError, inline, number};

/// Reads commands one after another from a connection's buffer.
#[derive(Debug, Default)]
pub struct Parser {
    /// What is known of the command at the start of the buffer, when it has not arrived whole.
    progress: Progress,
    /// How many more bytes are known to be missing.
    missing: usize,
    /// The arguments that are complete (offset, length), while `progress` is `Args`.
    complete: Vec<(u32, u32)>,
}

#[derive(Debug, Default, Clone, Copy)]
enum Progress {
    /// Nothing yet.
    #[default]
    Start,
    /// An inline command or a `*` line without an end in its first `scanned` bytes.
    Line { scanned: usize },
    /// In the arguments.
    Args(Cursor),
}

/// A place between the arguments of a command.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    /// The offset of the next length line, or of the content whose length is known.
    at: usize,
    /// How many arguments are to come.
    remaining: usize,
    /// The length of the argument at `at`, when its line has been read.
    bulk: Option<usize>,
    /// How many bytes from `at` are known to hold no CR.
    scanned: usize,
}

/// Why a pass over the arguments stopped.
enum Pass {
    Complete(usize),
    Incomplete(Cursor),
}

impl Parser {
    /// The most that [`Parser::needed`] tells.
    pub const MAX_NEEDED: usize = 64 * 1024;

    /// A parser for a new connection.
    pub fn new() -> Parser {
        Parser::default()
    }

    /// Parses the command at the start of `buffer`.
    ///
    /// `Some(n)`: it is complete and `n` bytes long, and `args` holds its arguments in place of what was there;
    /// none for a blank inline line, `*0` and `*-1`, which get no reply. The next command is at `buffer[n..]`.
    ///
    /// `None`: it is not complete, and `args` is empty. The caller calls again with a buffer that holds the
    /// same bytes and more behind them, wherever in memory.
    ///
    /// # Errors
    /// The client broke the protocol; `args` is empty and the connection can only be closed. Or
    /// [`ProtocolError::InlineEscapes`], see there. What is an error is so however the bytes arrive.
    #[inline]
    pub fn parse<'a>(
        &mut self,
        buffer: &'a [u8],
        limits: &Limits,
        args: &mut Vec<&'a [u8]>,
    ) -> Result<Option<usize>, ProtocolError> {
        args.clear();
        if let Progress::Start = self.progress
            && let [b'*', digit @ b'1'..=b'9', b'\r', _, ..] = *buffer
        {
            let count = usize::from(digit - b'0');
            if count <= limits.args {
                return self.parse_args(buffer, limits, args, 4, count);
            }
        }
        self.parse_slowly(buffer, limits, args)
    }

    /// How many more bytes the command at hand needs at least, 1 to [`Parser::MAX_NEEDED`]. With
    /// `Vec::reserve`, a buffer grows by doubling and by no more than what was received and 64 KiB.
    pub fn needed(&self) -> usize {
        self.missing.clamp(1, Parser::MAX_NEEDED)
    }

    /// Whether part of a command has been seen.
    pub fn in_command(&self) -> bool {
        !matches!(self.progress, Progress::Start)
    }

    /// Everything but a fresh command with a count of one digit.
    #[cold]
    #[inline(never)]
    fn parse_slowly<'a>(
        &mut self,
        buffer: &'a [u8],
        limits: &Limits,
        args: &mut Vec<&'a [u8]>,
    ) -> Result<Option<usize>, ProtocolError> {
        let progress = std::mem::take(&mut self.progress);
        let scanned = match progress {
            Progress::Args(cursor) => return self.resume_args(buffer, limits, args, cursor),
            Progress::Line { scanned } => scanned,
            Progress::Start => 0,
        };
        match buffer.first() {
            None => {
                self.missing = 0;
                Ok(None)
            }
            Some(b'*') => self.parse_count(buffer, limits, args, scanned),
            Some(_) => self.parse_inline(buffer, limits, args, scanned),
        }
    }

    fn parse_inline<'a>(
        &mut self,
        buffer: &'a [u8],
        limits: &Limits,
        args: &mut Vec<&'a [u8]>,
        scanned: usize,
    ) -> Result<Option<usize>, ProtocolError> {
        let Some(newline) = find(b'\n', buffer, scanned, limits.inline_bytes) else {
            if buffer.len() > limits.inline_bytes {
                return Err(ProtocolError::TooBigInline);
            }
            self.progress = Progress::Line {
                scanned: buffer.len(),
            };
            self.missing = 1;
            return Ok(None);
        };
        let line = inline::line(buffer, newline);
        let most = if limits.authenticated {
            usize::MAX
        } else {
            Limits::UNAUTHENTICATED_ARGS
        };
        inline::split(line.text, most, args)?;
        Ok(Some(line.length))
    }

    /// The `*` line, of whatever form.
    fn parse_count<'a>(
        &mut self,
        buffer: &'a [u8],
        limits: &Limits,
        args: &mut Vec<&'a [u8]>,
        scanned: usize,
    ) -> Result<Option<usize>, ProtocolError> {
        let cr = match find(b'\r', buffer, scanned, limits.inline_bytes) {
            Some(cr) if cr + 1 < buffer.len() => cr,
            None if buffer.len() > limits.inline_bytes => {
                return Err(ProtocolError::TooBigMultibulkCount);
            }
            found => {
                self.progress = Progress::Line {
                    scanned: found.unwrap_or(buffer.len()),
                };
                self.missing = 1;
                return Ok(None);
            }
        };
        let count = match number::decimal(&buffer[1..cr]) {
            Some(count) if count <= 0 => return Ok(Some(cr + 2)),
            Some(count) => usize::try_from(count).unwrap_or(usize::MAX),
            None => return Err(ProtocolError::InvalidMultibulkLength),
        };
        if count > limits.args {
            return Err(ProtocolError::InvalidMultibulkLength);
        }
        if count > Limits::UNAUTHENTICATED_ARGS && !limits.authenticated {
            return Err(ProtocolError::UnauthenticatedMultibulkLength);
        }
        self.parse_args(buffer, limits, args, cr + 2, count)
    }

    /// The arguments of a command whose `*` line ends at `at`: the hot path.
    #[inline]
    fn parse_args<'a>(
        &mut self,
        buffer: &'a [u8],
        limits: &Limits,
        args: &mut Vec<&'a [u8]>,
        at: usize,
        count: usize,
    ) -> Result<Option<usize>, ProtocolError> {
        let cursor = Cursor {
            at,
            remaining: count,
            bulk: None,
            scanned: 0,
        };
        match pass(buffer, limits, cursor, |content, _| args.push(content)) {
            Ok(Pass::Complete(length)) => Ok(Some(length)),
            Ok(Pass::Incomplete(cursor)) => {
                let start = buffer.as_ptr().addr();
                self.complete.clear();
                self.complete.extend(
                    args.iter()
                        .map(|arg| place(arg.as_ptr().addr() - start, arg)),
                );
                args.clear();
                self.pause(buffer, cursor);
                Ok(None)
            }
            Err(error) => {
                args.clear();
                Err(error)
            }
        }
    }

    /// Goes on in the arguments. Those that were complete are not touched until all are.
    fn resume_args<'a>(
        &mut self,
        buffer: &'a [u8],
        limits: &Limits,
        args: &mut Vec<&'a [u8]>,
        cursor: Cursor,
    ) -> Result<Option<usize>, ProtocolError> {
        let complete = &mut self.complete;
        match pass(buffer, limits, cursor, |content, at| {
            complete.push(place(at, content));
        })? {
            Pass::Complete(length) => {
                args.extend(complete.iter().map(|&(at, length)| {
                    let at = at as usize;
                    &buffer[at..at + length as usize]
                }));
                // A connection that once sent a million arguments does not keep their memory.
                complete.clear();
                complete.shrink_to(64);
                Ok(Some(length))
            }
            Pass::Incomplete(cursor) => {
                self.pause(buffer, cursor);
                Ok(None)
            }
        }
    }

    fn pause(&mut self, buffer: &[u8], cursor: Cursor) {
        // The shortest rest: what is missing of this argument, and `$0\r\n\r\n` for each of the others.
        let this = cursor
            .bulk
            .map_or(1, |length| cursor.at + length + 2 - buffer.len());
        self.missing = this.saturating_add((cursor.remaining - 1).saturating_mul(6));
        self.progress = Progress::Args(cursor);
    }
}

/// Where an argument stands. [`pass`] lets none end beyond 4 GiB.
fn place(at: usize, content: &[u8]) -> (u32, u32) {
    (
        u32::try_from(at).expect("a command is shorter than 4 GiB"),
        u32::try_from(content.len()).expect("a command is shorter than 4 GiB"),
    )
}

/// Reads arguments from `cursor` on and hands each to `push` with its offset.
#[inline(always)]
fn pass<'a>(
    buffer: &'a [u8],
    limits: &Limits,
    mut cursor: Cursor,
    mut push: impl FnMut(&'a [u8], usize),
) -> Result<Pass, ProtocolError> {
    let most = limits.query_bytes.min(u32::MAX as usize);
    while cursor.remaining > 0 {
        let length = match cursor.bulk {
            Some(length) => length,
            None => match short_length(buffer, cursor.at) {
                // One beyond a limit that is odd enough takes the slow way to its error.
                Some((length, line)) if length <= limits.bulk_bytes => {
                    cursor.at += line;
                    cursor.scanned = 0;
                    length
                }
                _ => match length_line(buffer, limits, &mut cursor)? {
                    Some(length) => length,
                    None => return Ok(Pass::Incomplete(cursor)),
                },
            },
        };
        if cursor.at + length > most {
            return Err(ProtocolError::TooBigRequest);
        }
        // As in Redis, the two bytes behind an argument are skipped whatever they are.
        let rest = buffer.get(cursor.at..).unwrap_or_default();
        if length + 2 > rest.len() {
            cursor.bulk = Some(length);
            return Ok(Pass::Incomplete(cursor));
        }
        push(&rest[..length], cursor.at);
        cursor.at += length + 2;
        cursor.remaining -= 1;
        cursor.bulk = None;
    }
    Ok(Pass::Complete(cursor.at))
}

/// The length of one or two digits that is announced at `at`, and the length of its line.
#[inline(always)]
fn short_length(buffer: &[u8], at: usize) -> Option<(usize, usize)> {
    let line = buffer.get(at..at + 5)?;
    let first = usize::from(line[1].wrapping_sub(b'0'));
    if line[0] != b'$' || first > 9 {
        return None;
    }
    if line[2] == b'\r' {
        return Some((first, 4));
    }
    let second = usize::from(line[2].wrapping_sub(b'0'));
    (second <= 9 && first != 0 && line[3] == b'\r').then_some((first * 10 + second, 5))
}

/// A `$` line of any form. Moves the cursor behind it, or notes how far it has looked.
#[inline(never)]
fn length_line(
    buffer: &[u8],
    limits: &Limits,
    cursor: &mut Cursor,
) -> Result<Option<usize>, ProtocolError> {
    // The line before may end at the end of the buffer.
    let rest = buffer.get(cursor.at..).unwrap_or_default();
    let cr = match find(b'\r', rest, cursor.scanned, limits.inline_bytes) {
        Some(cr) if cr + 1 < rest.len() => cr,
        None if rest.len() > limits.inline_bytes => return Err(ProtocolError::TooBigBulkCount),
        found => {
            cursor.scanned = found.unwrap_or(rest.len());
            return Ok(None);
        }
    };
    if rest[0] != b'$' {
        return Err(ProtocolError::ExpectedBulk(rest[0]));
    }
    let length = number::decimal(&rest[1..cr])
        .and_then(|length| usize::try_from(length).ok())
        .filter(|&length| length <= limits.bulk_bytes)
        .ok_or(ProtocolError::InvalidBulkLength)?;
    if length > Limits::UNAUTHENTICATED_BULK_BYTES && !limits.authenticated {
        return Err(ProtocolError::UnauthenticatedBulkLength);
    }
    cursor.at += cr + 2;
    cursor.scanned = 0;
    Ok(Some(length))
}

/// Where `needle` stands in the first `limit + 1` bytes, of which `scanned` do not hold it.
fn find(needle: u8, bytes: &[u8], scanned: usize, limit: usize) -> Option<usize> {
    let window = &bytes[..bytes.len().min(limit.saturating_add(1))];
    Some(scanned + memchr::memchr(needle, window.get(scanned..)?)?)
}

/// Takes the borrow off a vector and keeps its memory, so that one vector serves every read buffer of a
/// connection: `Vec<&'static [u8]>` is a `Vec<&'a [u8]>` for any `'a`. What only an unusually long command needed is
/// given back.
pub fn recycle(mut args: Vec<&[u8]>) -> Vec<&'static [u8]> {
    const MOST: usize = 1024;

    args.clear();
    args.shrink_to(MOST);
    // Collecting a vector's own iterator reuses its allocation.
    args.into_iter().map(|_| -> &'static [u8] { &[] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recycling_keeps_the_memory_of_usual_commands() {
        let mut args: Vec<&[u8]> = Vec::with_capacity(7);
        args.push(b"GET");
        let at = args.as_ptr().addr();
        let kept = recycle(args);
        assert_eq!(
            (kept.len(), kept.capacity(), kept.as_ptr().addr()),
            (0, 7, at)
        );
        assert_eq!(recycle(Vec::with_capacity(1 << 20)).capacity(), 1024);
    }
}
