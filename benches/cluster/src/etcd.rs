//! A client of etcd's v3 API: `Put` and a linearizable `Range`, over gRPC.
//!
//! gRPC is HTTP/2 with a frame of five bytes (a flag of compression, a length) around each protobuf message, and a
//! status in the trailers. The two messages are written and read by hand here, as etcd's `rpc.proto` and `kv.proto`
//! have them; a generated client would want a protobuf compiler at build time and would cost the machine more.

use anyhow::{Context, Result, bail};
use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderMap, Method, Request, Uri, Version};
use tokio::net::TcpStream;

use crate::Answer;

const PUT: &str = "/etcdserverpb.KV/Put";
const RANGE: &str = "/etcdserverpb.KV/Range";
/// The longest answer that is taken.
const MAX_ANSWER_BYTES: usize = 4 << 20;

/// A handle of an HTTP/2 connection. Clones share it; each call is a stream of its own.
#[derive(Clone)]
pub(crate) struct Client {
    requests: SendRequest<Bytes>,
    authority: String,
}

impl Client {
    pub(crate) async fn connect(address: &str) -> Result<Client> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (requests, connection) = h2::client::handshake(stream).await?;
        tokio::task::spawn_local(async move {
            // The call that is under way fails too, and tells it.
            if let Err(error) = connection.await {
                eprintln!("cluster-bench: a connection to etcd ended: {error}");
            }
        });
        Ok(Client {
            requests,
            authority: address.to_owned(),
        })
    }

    pub(crate) async fn put(&mut self, key: &[u8], value: &[u8]) -> Result<Answer> {
        let mut message = Vec::with_capacity(key.len() + value.len() + 16);
        bytes_field(&mut message, 1, key);
        bytes_field(&mut message, 2, value);
        Ok(match self.call(PUT, &message).await? {
            Ok(_) => Answer::Done,
            Err(refused) => Answer::Refused(refused),
        })
    }

    /// Linearizable: `serializable` is left out, which is false.
    pub(crate) async fn get(&mut self, key: &[u8]) -> Result<Answer> {
        let mut message = Vec::with_capacity(key.len() + 8);
        bytes_field(&mut message, 1, key);
        Ok(match self.call(RANGE, &message).await? {
            Ok(answer) if has_field(&answer, KVS)? => Answer::Done,
            Ok(_) => Answer::Missing,
            Err(refused) => Answer::Refused(refused),
        })
    }

    /// The message of the answer, or the status that refuses it.
    async fn call(
        &mut self,
        path: &str,
        message: &[u8],
    ) -> Result<std::result::Result<Bytes, String>> {
        let uri = Uri::builder()
            .scheme("http")
            .authority(self.authority.as_str())
            .path_and_query(path)
            .build()?;
        let request = Request::builder()
            .method(Method::POST)
            .version(Version::HTTP_2)
            .uri(uri)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let mut ready = self.requests.clone().ready().await?;
        let (response, mut body) = ready.send_request(request, false)?;
        body.send_data(frame(message), true)?;
        let (head, mut body) = response.await?.into_parts();
        if !head.status.is_success() {
            bail!("etcd answers with HTTP {}", head.status);
        }
        let mut answer = BytesMut::new();
        while let Some(piece) = body.data().await {
            let piece = piece?;
            body.flow_control().release_capacity(piece.len())?;
            answer.extend_from_slice(&piece);
            if answer.len() > MAX_ANSWER_BYTES {
                bail!("an answer longer than {MAX_ANSWER_BYTES} bytes");
            }
        }
        let trailers = body.trailers().await?.unwrap_or(head.headers);
        if let Some(refused) = refusal(&trailers)? {
            return Ok(Err(refused));
        }
        Ok(Ok(unframed(answer.freeze())?))
    }
}

/// What `grpc-status` says; none for 0, which is well.
fn refusal(trailers: &HeaderMap) -> Result<Option<String>> {
    let status = trailers
        .get("grpc-status")
        .context("an answer without grpc-status")?;
    if status == "0" {
        return Ok(None);
    }
    let message = trailers
        .get("grpc-message")
        .map_or("", |text| text.to_str().unwrap_or("?"));
    Ok(Some(format!(
        "{} {message}",
        status.to_str().unwrap_or("?")
    )))
}

fn frame(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("keys and values have at most a MiB");
    let mut framed = BytesMut::with_capacity(5 + message.len());
    framed.extend_from_slice(&[0]);
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(message);
    framed.freeze()
}

fn unframed(mut framed: Bytes) -> Result<Bytes> {
    if framed.len() < 5 || framed[0] != 0 {
        bail!("an answer that is no plain gRPC message");
    }
    let head = framed.split_to(5);
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    if framed.len() != length as usize {
        bail!("an answer of {} bytes that says {length}", framed.len());
    }
    Ok(framed)
}

/// `kvs` of `RangeResponse`.
const KVS: u64 = 2;

/// A field of bytes: its number and wire type 2, its length, itself.
fn bytes_field(message: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    varint(message, number << 3 | 2);
    varint(message, bytes.len() as u64);
    message.extend_from_slice(bytes);
}

fn varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

/// True if the message has that field, which is one of bytes.
fn has_field(mut message: &[u8], wanted: u64) -> Result<bool> {
    while !message.is_empty() {
        let tag = read_varint(&mut message)?;
        match tag & 7 {
            0 => {
                read_varint(&mut message)?;
            }
            2 => {
                let length = usize::try_from(read_varint(&mut message)?)?;
                if tag >> 3 == wanted {
                    return Ok(true);
                }
                message = message
                    .get(length..)
                    .context("a protobuf message is cut off")?;
            }
            other => bail!("a protobuf message has a field of wire type {other}"),
        }
    }
    Ok(false)
}

fn read_varint(message: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message
            .split_first()
            .context("a protobuf message is cut off")?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    bail!("a protobuf number is too long")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_as_protobuf_has_them() {
        let mut message = Vec::new();
        bytes_field(&mut message, 1, b"key");
        bytes_field(&mut message, 2, &[7; 300]);
        assert_eq!(message[..8], [0x0a, 3, b'k', b'e', b'y', 0x12, 0xac, 0x02]);
        assert!(has_field(&message, 2).unwrap());
        assert!(!has_field(&message, 3).unwrap());
        assert!(has_field(&message[..20], 3).is_err());
        // RangeResponse without kvs: a header, and `count` that is 0 is left out.
        assert!(!has_field(&[0x0a, 2, 0x08, 1], KVS).unwrap());
    }

    #[test]
    fn messages_are_framed() {
        let framed = frame(b"abc");
        assert_eq!(framed[..], [0, 0, 0, 0, 3, b'a', b'b', b'c']);
        assert_eq!(unframed(framed.clone()).unwrap(), "abc");
        assert!(unframed(framed.slice(..7)).is_err());
        assert!(unframed(Bytes::from_static(&[1, 0, 0, 0, 0])).is_err());
    }

    #[test]
    fn a_status_refuses() {
        let mut trailers = HeaderMap::new();
        assert!(refusal(&trailers).is_err());
        trailers.insert("grpc-status", "0".parse().unwrap());
        assert_eq!(refusal(&trailers).unwrap(), None);
        trailers.insert("grpc-status", "14".parse().unwrap());
        trailers.insert("grpc-message", "etcdserver: no leader".parse().unwrap());
        assert_eq!(
            refusal(&trailers).unwrap(),
            Some("14 etcdserver: no leader".to_owned())
        );
    }
}
