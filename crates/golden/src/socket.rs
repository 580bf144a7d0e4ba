//! Running scripts against a server, with a small client of its own.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::{Action, ParseError, Value, parse};

/// How long a reply may take.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// More than any reply of a script.
const LENGTH_MAX: usize = 1 << 30;
const DEPTH_MAX: usize = 32;

/// What answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A real Redis, which is not asked what `# piccolo` marks.
    Redis,
    /// Piccolo.
    Piccolo,
}

/// A connection to a server.
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Connects; the connection speaks RESP2.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub fn connect(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect_timeout(&address, REPLY_TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        stream.set_write_timeout(Some(REPLY_TIMEOUT))?;
        Ok(Client {
            stream: BufReader::new(stream),
        })
    }

    /// Sends a command and waits for its reply.
    ///
    /// # Errors
    /// When the connection fails or what comes is no reply.
    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<Value> {
        let mut request = Vec::new();
        encode(&mut request, args);
        self.stream.get_mut().write_all(&request)?;
        self.read()
    }

    /// Sends several commands at once and waits for all replies.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn pipeline<A: AsRef<[u8]>>(&mut self, calls: &[Vec<A>]) -> io::Result<Vec<Value>> {
        let mut request = Vec::new();
        for args in calls {
            encode(&mut request, args);
        }
        self.stream.get_mut().write_all(&request)?;
        calls.iter().map(|_| self.read()).collect()
    }

    /// Chooses the version of the protocol, 2 or 3.
    ///
    /// # Errors
    /// As [`Client::call`], and when the server refuses.
    pub fn hello(&mut self, version: u8) -> io::Result<()> {
        match self.call(&["HELLO", &version.to_string()])? {
            Value::Error(text) => Err(malformed(format!("HELLO {version} was refused: {text}"))),
            _ => Ok(()),
        }
    }

    /// Reads one reply.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn read(&mut self) -> io::Result<Value> {
        read_reply(&mut self.stream)
    }
}

/// Reads one reply.
///
/// # Errors
/// When the stream fails or what comes is no reply.
pub fn read_reply(stream: &mut impl BufRead) -> io::Result<Value> {
    read_nested(stream, 0)
}

fn read_nested(stream: &mut impl BufRead, depth: usize) -> io::Result<Value> {
    if depth > DEPTH_MAX {
        return Err(malformed("replies are nested too deep".to_owned()));
    }
    let line = read_line(stream)?;
    let (kind, text) = line
        .split_at_checked(1)
        .ok_or_else(|| malformed("an empty line is no reply".to_owned()))?;
    let value = match kind {
        "+" => Value::Simple(text.to_owned()),
        "-" => Value::Error(text.to_owned()),
        ":" => Value::Integer(number(text)?),
        "_" => Value::Null,
        "," => Value::Double(text.to_owned()),
        "#" => Value::Boolean(text == "t"),
        "(" => Value::BigNumber(text.to_owned()),
        "$" if text == "-1" => Value::Null,
        "*" if text == "-1" => Value::NullArray,
        "$" => Value::Bulk(read_bytes(stream, text)?),
        "=" => {
            let bytes = read_bytes(stream, text)?;
            let format = String::from_utf8_lossy(bytes.get(..3).unwrap_or(b"")).into_owned();
            Value::Verbatim(format, bytes.get(4..).unwrap_or(b"").to_vec())
        }
        "*" => Value::Array(read_all(stream, text, depth)?),
        "~" => Value::Set(read_all(stream, text, depth)?),
        ">" => Value::Push(read_all(stream, text, depth)?),
        "%" => {
            let mut pairs = Vec::new();
            for _ in 0..length(text)? {
                let key = read_nested(stream, depth + 1)?;
                pairs.push((key, read_nested(stream, depth + 1)?));
            }
            Value::Map(pairs)
        }
        _ => return Err(malformed(format!("no reply begins like this: {line:?}"))),
    };
    Ok(value)
}

fn read_all(stream: &mut impl BufRead, count: &str, depth: usize) -> io::Result<Vec<Value>> {
    (0..length(count)?)
        .map(|_| read_nested(stream, depth + 1))
        .collect()
}

fn read_line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    stream.take(64 * 1024).read_until(b'\n', &mut line)?;
    let line = line
        .strip_suffix(b"\r\n")
        .ok_or_else(|| malformed("the connection ended inside a line".to_owned()))?;
    Ok(String::from_utf8_lossy(line).into_owned())
}

fn read_bytes(stream: &mut impl BufRead, count: &str) -> io::Result<Vec<u8>> {
    let count = length(count)?;
    let mut bytes = vec![0; count + 2];
    stream.read_exact(&mut bytes)?;
    bytes.truncate(count);
    Ok(bytes)
}

/// Appends a command as clients send it.
pub fn encode<A: AsRef<[u8]>>(request: &mut Vec<u8>, args: &[A]) {
    request.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
    for arg in args {
        let arg = arg.as_ref();
        request.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        request.extend_from_slice(arg);
        request.extend_from_slice(b"\r\n");
    }
}

fn malformed(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

fn number(text: &str) -> io::Result<i64> {
    text.parse()
        .map_err(|_| malformed(format!("this is no whole number: {text:?}")))
}

fn length(text: &str) -> io::Result<usize> {
    let length = usize::try_from(number(text)?)
        .ok()
        .filter(|&length| length <= LENGTH_MAX);
    length.ok_or_else(|| malformed(format!("this is no length: {text:?}")))
}

/// Why a script did not pass.
#[derive(Debug)]
pub enum Failure {
    /// It cannot be read.
    Script(ParseError),
    /// The connection failed at that line.
    Connection {
        /// The line of the script; 0 before its first one.
        line: usize,
        /// What happened.
        error: io::Error,
    },
    /// Replies were others than expected.
    Mismatches(Vec<Mismatch>),
}

/// A reply that was other than expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The line of the command, from 1.
    pub line: usize,
    /// The command.
    pub command: String,
    /// The reply that the script has.
    pub expected: String,
    /// The reply that came, as the script would have it.
    pub actual: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mismatch {
            line,
            command,
            expected,
            actual,
        } = self;
        write!(
            f,
            "line {line}: {command}\n--- expected\n{expected}\n--- actual\n{actual}"
        )
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Script(error) => write!(f, "{error}"),
            Failure::Connection { line, error } => write!(f, "line {line}: {error}"),
            Failure::Mismatches(all) => all
                .iter()
                .try_for_each(|mismatch| writeln!(f, "{mismatch}\n")),
        }
    }
}

impl std::error::Error for Failure {}

/// Runs a script against a server on databases that it empties first.
///
/// # Errors
/// Unless every reply is as expected.
pub fn run_against(address: SocketAddr, script: &str, target: Target) -> Result<(), Failure> {
    let mismatches = play(address, script, target)?;
    if mismatches.is_empty() {
        Ok(())
    } else {
        Err(Failure::Mismatches(mismatches))
    }
}

/// The script with the replies that the server gives, each written as the script's directives ask.
///
/// # Errors
/// When the script cannot be read or the connection fails.
pub fn record(address: SocketAddr, script: &str, target: Target) -> Result<String, Failure> {
    let mismatches = play(address, script, target)?;
    let replies: BTreeMap<usize, String> = mismatches
        .into_iter()
        .map(|mismatch| (mismatch.line, mismatch.actual))
        .collect();
    crate::rewrite(script, &replies).map_err(Failure::Script)
}

fn play(address: SocketAddr, script: &str, target: Target) -> Result<Vec<Mismatch>, Failure> {
    let steps = parse(script).map_err(Failure::Script)?;
    let at = |line: usize| move |error: io::Error| Failure::Connection { line, error };
    let mut client = Client::connect(address).map_err(at(0))?;
    client.call(&["FLUSHALL"]).map_err(at(0))?;
    let mut mismatches = Vec::new();
    for step in steps {
        match step.action {
            Action::Protocol(version) => client.hello(version).map_err(at(step.line))?,
            // The one thing that there is no condition to wait for: time itself.
            Action::Wait(time) => {
                let start = Instant::now();
                while start.elapsed() <= time {
                    std::thread::sleep(
                        time.saturating_sub(start.elapsed())
                            .max(Duration::from_millis(1)),
                    );
                }
            }
            Action::Call(call) if call.piccolo_only && target == Target::Redis => {}
            Action::Call(call) => {
                let reply = client.call(&call.args).map_err(at(step.line))?;
                if let Some(actual) = call.mismatch(&reply) {
                    let words: Vec<_> = call
                        .args
                        .iter()
                        .map(|arg| String::from_utf8_lossy(arg))
                        .collect();
                    mismatches.push(Mismatch {
                        line: step.line,
                        command: words.join(" "),
                        expected: call.expected,
                        actual,
                    });
                }
            }
        }
    }
    Ok(mismatches)
}
