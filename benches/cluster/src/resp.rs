//! A client that speaks RESP2: `SET` and `GET`, one at a time.

use anyhow::{Result, bail};
use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Answer;

/// The longest reply that is taken.
const MAX_REPLY_BYTES: usize = 4 << 20;

pub(crate) struct Client {
    stream: TcpStream,
    request: Vec<u8>,
    received: BytesMut,
}

impl Client {
    pub(crate) async fn connect(address: &str) -> Result<Client> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Client {
            stream,
            request: Vec::new(),
            received: BytesMut::with_capacity(4096),
        })
    }

    pub(crate) async fn put(&mut self, key: &[u8], value: &[u8]) -> Result<Answer> {
        self.call(&[b"SET", key, value]).await
    }

    pub(crate) async fn get(&mut self, key: &[u8]) -> Result<Answer> {
        self.call(&[b"GET", key]).await
    }

    async fn call(&mut self, words: &[&[u8]]) -> Result<Answer> {
        self.request.clear();
        self.request
            .extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
        for word in words {
            self.request
                .extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            self.request.extend_from_slice(word);
            self.request.extend_from_slice(b"\r\n");
        }
        self.stream.write_all(&self.request).await?;
        loop {
            if let Some((answer, length)) = decode(&self.received)? {
                self.received.advance(length);
                if !self.received.is_empty() {
                    bail!("it answered more than it was asked");
                }
                return Ok(answer);
            }
            if self.received.len() > MAX_REPLY_BYTES {
                bail!("a reply longer than {MAX_REPLY_BYTES} bytes");
            }
            if self.stream.read_buf(&mut self.received).await? == 0 {
                bail!("the server closed the connection");
            }
        }
    }
}

/// A simple string, an error or a bulk string, and its length; none while it is not complete.
fn decode(bytes: &[u8]) -> Result<Option<(Answer, usize)>> {
    let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else {
        return Ok(None);
    };
    let line = String::from_utf8_lossy(&bytes[..end]);
    let length = end + 2;
    Ok(match line.split_at_checked(1) {
        Some(("+", _)) => Some((Answer::Done, length)),
        Some(("-", text)) => Some((Answer::Refused(text.to_owned()), length)),
        Some(("$", "-1")) => Some((Answer::Missing, length)),
        Some(("$", size)) => {
            let size: usize = size.parse()?;
            let whole = length + size.min(MAX_REPLY_BYTES) + 2;
            (bytes.len() >= whole).then_some((Answer::Done, whole))
        }
        _ => bail!("no reply starts with `{line}`"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_told_apart_and_may_come_in_pieces() {
        for (bytes, answer) in [
            (&b"+OK\r\n"[..], Answer::Done),
            (b"$3\r\na\r\n\r\n", Answer::Done),
            (b"$-1\r\n", Answer::Missing),
            (b"-BUSY later\r\n", Answer::Refused("BUSY later".to_owned())),
        ] {
            assert_eq!(decode(bytes).unwrap(), Some((answer, bytes.len())));
            for cut in 0..bytes.len() {
                assert_eq!(decode(&bytes[..cut]).unwrap(), None);
            }
        }
        assert!(decode(b"HTTP/1.1 400\r\n").is_err());
    }
}
