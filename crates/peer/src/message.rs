//! The messages that follow a greeting, but for payloads, which are opaque.
//!
//! Integers are little-endian. What follows the fields of a message is of newer minor versions and is
//! ignored.

use base::{ClusterId, NodeId, Timestamp};

use crate::HostAddr;
use crate::field::{FieldError, Fields, put_text};
use crate::frame::UNGREETED_PAYLOAD_LIMIT;

/// The longest text of a [`Refused`] or of a goodbye, in bytes.
pub const TEXT_LIMIT: usize = 1024;

/// The most introductions of one frame.
pub const INTRODUCTIONS_LIMIT: usize = 1024;

/// Asks for an answer, and measures how long it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping {
    /// Counts the pings of one side of a connection from 1.
    pub sequence: u64,
    /// The sender's wall clock.
    pub sent_at: Timestamp,
}

impl Ping {
    /// `sequence` and `sent_at`, 8 bytes each.
    pub fn encode(self) -> [u8; 16] {
        let mut out = [0; 16];
        out[..8].copy_from_slice(&self.sequence.to_le_bytes());
        out[8..].copy_from_slice(&self.sent_at.millis().to_le_bytes());
        out
    }

    /// Reads what [`Ping::encode`] writes.
    ///
    /// # Errors
    /// [`FieldError`].
    pub fn decode(payload: &[u8]) -> Result<Ping, FieldError> {
        let mut fields = Fields(payload);
        let sequence = fields.id("sequence of a ping")?;
        Ok(Ping {
            sequence,
            sent_at: timestamp(&mut fields)?,
        })
    }
}

/// Answers a ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pong {
    /// The ping, echoed.
    pub ping: Ping,
    /// The answerer's wall clock.
    pub answered_at: Timestamp,
}

impl Pong {
    /// The ping and `answered_at`, 8 bytes.
    pub fn encode(self) -> [u8; 24] {
        let mut out = [0; 24];
        out[..16].copy_from_slice(&self.ping.encode());
        out[16..].copy_from_slice(&self.answered_at.millis().to_le_bytes());
        out
    }

    /// Reads what [`Pong::encode`] writes.
    ///
    /// # Errors
    /// [`FieldError`].
    pub fn decode(payload: &[u8]) -> Result<Pong, FieldError> {
        let ping = Ping::decode(payload)?;
        let mut fields = Fields(&payload[16..]);
        Ok(Pong {
            ping,
            answered_at: timestamp(&mut fields)?,
        })
    }
}

fn timestamp(fields: &mut Fields<'_>) -> Result<Timestamp, FieldError> {
    fields.u64("wall-clock time").map(Timestamp::from_millis)
}

/// Says why the sender ends the connection, to a node that it does not want to be connected to. The
/// same in all major versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// For programs: [`Refusal::code`](crate::Refusal::code).
    pub code: u16,
    /// For people.
    pub text: String,
}

impl Refused {
    /// `code`, 2 bytes, and the text, 2 bytes of length and UTF-8. A text that is too long is cut.
    pub fn encode(&self) -> Vec<u8> {
        encode_words(self.code, &self.text)
    }

    /// Reads what [`Refused::encode`] writes.
    ///
    /// # Errors
    /// [`FieldError`].
    pub fn decode(payload: &[u8]) -> Result<Refused, FieldError> {
        let (code, text) = decode_words(payload, "code of a refusal", "text of a refusal")?;
        Ok(Refused { code, text })
    }
}

/// Says why the sender ends the connection, when nobody is to blame. Nothing follows it, so whoever reads
/// it has read all that was sent on that connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goodbye {
    /// For programs: [`HangUp::goodbye_code`](crate::HangUp::goodbye_code).
    pub code: u16,
    /// For people.
    pub text: String,
}

impl Goodbye {
    /// The code of a node that stops: it ends all its connections.
    pub const STOPPING: u16 = 1;

    /// As [`Refused::encode`].
    pub fn encode(&self) -> Vec<u8> {
        encode_words(self.code, &self.text)
    }

    /// Reads what [`Goodbye::encode`] writes.
    ///
    /// # Errors
    /// [`FieldError`].
    pub fn decode(payload: &[u8]) -> Result<Goodbye, FieldError> {
        let (code, text) = decode_words(payload, "code of a goodbye", "text of a goodbye")?;
        Ok(Goodbye { code, text })
    }

    /// Whether the sender announces that it stops.
    pub fn is_stop(&self) -> bool {
        self.code == Goodbye::STOPPING
    }
}

fn encode_words(code: u16, text: &str) -> Vec<u8> {
    let mut out = code.to_le_bytes().to_vec();
    put_text(&mut out, &text[..text.floor_char_boundary(TEXT_LIMIT)]);
    out
}

fn decode_words(
    payload: &[u8],
    code: &'static str,
    text: &'static str,
) -> Result<(u16, String), FieldError> {
    let mut fields = Fields(payload);
    let code = fields.u16(code)?;
    Ok((code, fields.text(0, TEXT_LIMIT, text)?.to_owned()))
}

/// Corrects the greeting of its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update {
    /// The cluster that the sender belongs to by now.
    pub cluster_id: ClusterId,
}

impl Update {
    /// `cluster_id`, 8 bytes.
    pub fn encode(self) -> [u8; 8] {
        self.cluster_id.0.to_le_bytes()
    }

    /// Reads what [`Update::encode`] writes.
    ///
    /// # Errors
    /// [`FieldError`].
    pub fn decode(payload: &[u8]) -> Result<Update, FieldError> {
        Ok(Update {
            cluster_id: ClusterId(Fields(payload).id("cluster id")?),
        })
    }
}

/// Another peer of the sender that is alive: somebody to get in touch with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// The peer.
    pub node_id: NodeId,
    /// What it advertises.
    pub address: HostAddr,
}

/// The payload of a frame of introductions: a count of 2 bytes, and for each the node id, 8 bytes, and
/// the address, 2 bytes of length and UTF-8.
///
/// # Panics
/// For more than [`INTRODUCTIONS_LIMIT`].
pub fn encode_introductions(introductions: &[Introduction]) -> Vec<u8> {
    assert!(introductions.len() <= INTRODUCTIONS_LIMIT);
    let mut out = (introductions.len() as u16).to_le_bytes().to_vec();
    for Introduction { node_id, address } in introductions {
        out.extend_from_slice(&node_id.0.to_le_bytes());
        put_text(&mut out, &address.to_string());
    }
    out
}

/// Reads what [`encode_introductions`] writes.
///
/// # Errors
/// [`FieldError`].
pub fn decode_introductions(payload: &[u8]) -> Result<Vec<Introduction>, FieldError> {
    let mut fields = Fields(payload);
    let count = fields.u16("number of introductions")?;
    if usize::from(count) > INTRODUCTIONS_LIMIT {
        return Err(FieldError::Value("number of introductions"));
    }
    (0..count)
        .map(|_| {
            let node_id = NodeId(fields.id("introduced node id")?);
            let text = fields.text(1, HostAddr::TEXT_LIMIT, "introduced address")?;
            let address = text
                .parse()
                .map_err(|_| FieldError::Value("introduced address"))?;
            Ok(Introduction { node_id, address })
        })
        .collect()
}

// A refusal reaches a node that has not greeted yet.
const _: () = assert!(TEXT_LIMIT + 4 <= UNGREETED_PAYLOAD_LIMIT);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_read_back_and_their_prefixes_do_not() {
        let ping = Ping {
            sequence: 1,
            sent_at: Timestamp::from_millis(2),
        };
        let pong = Pong {
            ping,
            answered_at: Timestamp::from_millis(3),
        };
        let refused = Refused {
            code: 4,
            text: "nö".into(),
        };
        let update = Update {
            cluster_id: ClusterId(5),
        };
        let address = "localhost:6".parse().expect("an address");
        let introductions = vec![
            Introduction {
                node_id: NodeId(7),
                address
            };
            2
        ];
        assert_eq!(Ping::decode(&ping.encode()), Ok(ping));
        assert_eq!(Pong::decode(&pong.encode()), Ok(pong));
        assert_eq!(Refused::decode(&refused.encode()), Ok(refused.clone()));
        assert_eq!(Update::decode(&update.encode()), Ok(update));
        let bytes = encode_introductions(&introductions);
        assert_eq!(decode_introductions(&bytes), Ok(introductions));
        (0..bytes.len()).for_each(|n| assert!(decode_introductions(&bytes[..n]).is_err()));
        (0..16).for_each(|n| assert!(Ping::decode(&ping.encode()[..n]).is_err()));
        (0..24).for_each(|n| assert!(Pong::decode(&pong.encode()[..n]).is_err()));
        (0..8).for_each(|n| assert!(Update::decode(&update.encode()[..n]).is_err()));
        let bytes = refused.encode();
        (0..bytes.len()).for_each(|n| assert!(Refused::decode(&bytes[..n]).is_err()));
    }

    #[test]
    fn texts_are_cut_to_their_limit_and_never_forge_lines() {
        let refused = Refused {
            code: 1,
            text: "ä".repeat(TEXT_LIMIT),
        };
        let read = Refused::decode(&refused.encode()).expect("a refusal");
        assert_eq!(read.text, "ä".repeat(TEXT_LIMIT / 2));
        let goodbye = |text: &str| Goodbye {
            code: 2,
            text: text.into(),
        };
        let so_long = goodbye("so long");
        assert_eq!(Goodbye::decode(&so_long.encode()), Ok(so_long));
        assert!(Goodbye::decode(&goodbye("a\nb").encode()).is_err());
        let mut long = 2_u16.to_le_bytes().to_vec();
        put_text(&mut long, &"a".repeat(TEXT_LIMIT + 1));
        assert!(Goodbye::decode(&long).is_err());
    }

    #[test]
    fn introductions_are_bounded() {
        let mut bytes = encode_introductions(&[]);
        bytes[..2].copy_from_slice(&(INTRODUCTIONS_LIMIT as u16 + 1).to_le_bytes());
        let error = FieldError::Value("number of introductions");
        assert_eq!(decode_introductions(&bytes), Err(error));
    }
}
