//! Questions to a server: few, short, and each answered within a bound.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// The longest bulk that is taken for an answer.
const MAX_BULK_BYTES: usize = 1024 * 1024;

/// A connection to a server of this machine.
pub(super) struct Connection {
    stream: BufReader<TcpStream>,
}

/// What a server says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Simple(String),
    Integer(u64),
    Bulk(String),
    /// A refusal, such as `LOADING ...`.
    Error(String),
}

impl Connection {
    /// Connects; this and each later wait ends after `patience`.
    pub(super) fn open(port: u16, patience: Duration) -> Result<Connection> {
        let address = (Ipv4Addr::LOCALHOST, port).into();
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Connection {
            stream: BufReader::new(stream),
        })
    }

    /// Sends words as an inline command and waits for the answer.
    pub(super) fn ask(&mut self, words: &str) -> Result<Answer> {
        let command = format!("{words}\r\n");
        self.stream.get_mut().write_all(command.as_bytes())?;
        answer(&mut self.stream).with_context(|| format!("the answer to {words}"))
    }

    /// A field of a section of INFO.
    pub(super) fn info(&mut self, section: &str, field: &str) -> Result<String> {
        match self.ask(&format!("INFO {section}"))? {
            Answer::Bulk(text) => text
                .lines()
                .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
                .map(|value| value.trim_end().to_owned())
                .with_context(|| format!("INFO {section} has no {field}")),
            other => bail!("INFO {section} is answered with {other:?}"),
        }
    }
}

fn answer(from: &mut impl BufRead) -> Result<Answer> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let Some(line) = line.strip_suffix("\r\n") else {
        bail!("the connection ended before it was complete");
    };
    let (Some(kind), Some(rest)) = (line.get(..1), line.get(1..)) else {
        bail!("an empty line");
    };
    Ok(match kind {
        "+" => Answer::Simple(rest.to_owned()),
        "-" => Answer::Error(rest.to_owned()),
        ":" => Answer::Integer(rest.parse()?),
        "$" => {
            let length: usize = rest.parse()?;
            if length > MAX_BULK_BYTES {
                bail!("a bulk of {length} bytes");
            }
            let mut bytes = vec![0; length + 2];
            from.read_exact(&mut bytes)?;
            bytes.truncate(length);
            Answer::Bulk(String::from_utf8(bytes)?)
        }
        _ => bail!("{line}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_answer_is_read() {
        let mut bytes: &[u8] = b"+PONG\r\n:5000000\r\n-LOADING it loads\r\n$3\r\na:b\r\n+cut";
        for expected in [
            Answer::Simple("PONG".into()),
            Answer::Integer(5_000_000),
            Answer::Error("LOADING it loads".into()),
            Answer::Bulk("a:b".into()),
        ] {
            assert_eq!(answer(&mut bytes).unwrap(), expected);
        }
        assert!(answer(&mut bytes).is_err());
        assert!(answer(&mut &b"$9999999999\r\n"[..]).is_err());
    }
}
