//! Greetings: the first frame of each side, by which nodes know each other.

use base::{ClusterId, Incarnation, NodeId};

use crate::HostAddr;
use crate::field::{FieldError, Fields, put_text};
use crate::status::LocalNode;

/// The protocol version of this crate. Nodes of different major versions refuse each other; a minor
/// version only adds what older ones may ignore: fields at the end of messages, and kinds of frames.
pub const VERSION: Version = Version { major: 1, minor: 0 };

const MAGIC: [u8; 8] = *b"PICCOLO\0";

/// The longest name of a node, in bytes.
pub const NAME_LIMIT: usize = 255;

/// The longest version of Piccolo, in bytes.
pub const PICCOLO_VERSION_LIMIT: usize = 64;

/// A protocol version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Nodes of different ones refuse each other.
    pub major: u16,
    /// Nodes of different ones understand each other.
    pub minor: u16,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Which side of a connection one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// It made the connection, and greets first.
    Dialled,
    /// It accepted the connection, and greets only whom it does not refuse.
    Accepted,
}

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// The protocol it speaks; its major version is that of [`VERSION`].
    pub protocol: Version,
    /// Its side of the connection. An echo of one's own greeting has the wrong one.
    pub side: Side,
    /// Its cluster, once it knows one.
    pub cluster_id: Option<ClusterId>,
    /// Of its data folder.
    pub node_id: NodeId,
    /// Of its process.
    pub run_nonce: u64,
    /// Of its data folder.
    pub incarnation: Incarnation,
    /// [`HostAddr::list_hash`] of its `discovery.hosts`.
    pub hosts_hash: u64,
    /// Shown to people.
    pub name: String,
    /// What others dial to reach it.
    pub advertised: HostAddr,
    /// The version of Piccolo that it runs.
    pub version: String,
}

/// Why a greeting cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GreetingError {
    /// It does not start with the magic bytes.
    #[error("its greeting is not one of Piccolo")]
    Magic,
    /// The major version is another one. Nothing after it was read.
    #[error("it speaks protocol {0}, this node speaks {VERSION}")]
    Version(Version),
    /// A field is not what it must be.
    #[error("its greeting is malformed: {0}")]
    Field(#[from] FieldError),
}

impl Greeting {
    /// What `local` says of itself on that side of a connection.
    pub fn of(
        local: &LocalNode,
        cluster_id: Option<ClusterId>,
        hosts_hash: u64,
        side: Side,
    ) -> Greeting {
        Greeting {
            protocol: VERSION,
            side,
            cluster_id,
            node_id: local.node_id,
            run_nonce: local.run_nonce,
            incarnation: local.incarnation,
            hosts_hash,
            name: local.name.clone(),
            advertised: local.advertised.clone(),
            version: local.version.clone(),
        }
    }

    /// The payload of its frame. Integers are little-endian; a text is a length of two bytes and UTF-8
    /// without control characters.
    ///
    /// | bytes | |
    /// | --- | --- |
    /// | 8 | `PICCOLO\0` |
    /// | 2 | protocol, major |
    /// | 2 | protocol, minor |
    /// | 1 | side: 0 dialled, 1 accepted |
    /// | 8 | cluster id, 0 for none |
    /// | 8 | node id, not 0 |
    /// | 8 | nonce of the process |
    /// | 8 | incarnation, not 0 |
    /// | 8 | hash of the host list |
    /// | text | name, 1 to 255 bytes |
    /// | text | advertised address, a [`HostAddr`] |
    /// | text | version of Piccolo, at most 64 bytes |
    ///
    /// What follows is of newer minor versions and is ignored. The first 10 bytes are the same in all
    /// major versions.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.protocol.major.to_le_bytes());
        out.extend_from_slice(&self.protocol.minor.to_le_bytes());
        out.push(match self.side {
            Side::Dialled => 0,
            Side::Accepted => 1,
        });
        let cluster_id = self.cluster_id.map_or(0, |id| id.0);
        for number in [
            cluster_id,
            self.node_id.0,
            self.run_nonce,
            self.incarnation.0,
            self.hosts_hash,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        put_text(&mut out, &self.name);
        put_text(&mut out, &self.advertised.to_string());
        put_text(&mut out, &self.version);
        out
    }

    /// Reads what [`Greeting::encode`] writes.
    ///
    /// # Errors
    /// Each of [`GreetingError`].
    pub fn decode(payload: &[u8]) -> Result<Greeting, GreetingError> {
        let mut fields = Fields(payload);
        if fields.bytes(MAGIC.len(), "magic bytes").ok() != Some(&MAGIC) {
            return Err(GreetingError::Magic);
        }
        let major = fields.u16("protocol version")?;
        let minor = fields.u16("protocol version")?;
        let protocol = Version { major, minor };
        if major != VERSION.major {
            return Err(GreetingError::Version(protocol));
        }
        let side = match fields.u8("side")? {
            0 => Side::Dialled,
            1 => Side::Accepted,
            _ => return Err(FieldError::Value("side").into()),
        };
        let cluster_id = match fields.u64("cluster id")? {
            0 => None,
            id => Some(ClusterId(id)),
        };
        Ok(Greeting {
            protocol,
            side,
            cluster_id,
            node_id: NodeId(fields.id("node id")?),
            run_nonce: fields.u64("nonce of the process")?,
            incarnation: Incarnation(fields.id("incarnation")?),
            hosts_hash: fields.u64("hash of the host list")?,
            name: fields.text(1, NAME_LIMIT, "name")?.to_owned(),
            advertised: fields
                .text(1, HostAddr::TEXT_LIMIT, "advertised address")?
                .parse()
                .map_err(|_| FieldError::Value("advertised address"))?,
            version: fields
                .text(0, PICCOLO_VERSION_LIMIT, "version of Piccolo")?
                .to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn greeting() -> Greeting {
        Greeting {
            protocol: VERSION,
            side: Side::Dialled,
            cluster_id: None,
            node_id: NodeId(7),
            run_nonce: 8,
            incarnation: Incarnation(9),
            hosts_hash: 10,
            name: "näme".into(),
            advertised: "[::1]:19919".parse().expect("an address"),
            version: "0.1.0".into(),
        }
    }

    #[test]
    fn greetings_read_back() {
        let with_cluster = Greeting {
            cluster_id: Some(ClusterId(5)),
            side: Side::Accepted,
            name: "n".repeat(NAME_LIMIT),
            ..greeting()
        };
        for greeting in [greeting(), with_cluster] {
            assert_eq!(Greeting::decode(&greeting.encode()), Ok(greeting));
        }
    }

    #[test]
    fn newer_minor_versions_may_say_more() {
        let newer = Greeting {
            protocol: Version { major: 1, minor: 9 },
            ..greeting()
        };
        let mut bytes = newer.encode();
        bytes.extend_from_slice(b"and more");
        assert_eq!(Greeting::decode(&bytes), Ok(newer));
    }

    #[test]
    fn other_major_versions_are_known_whatever_follows() {
        for major in [0, 2, u16::MAX] {
            let protocol = Version { major, minor: 3 };
            let bytes = Greeting {
                protocol,
                ..greeting()
            }
            .encode();
            assert_eq!(
                Greeting::decode(&bytes[..12]),
                Err(GreetingError::Version(protocol))
            );
            assert_eq!(
                Greeting::decode(&bytes),
                Err(GreetingError::Version(protocol))
            );
        }
    }

    #[test]
    fn each_prefix_is_refused() {
        let bytes = greeting().encode();
        for length in 0..bytes.len() {
            assert!(Greeting::decode(&bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn malformed_fields_are_named() {
        let error = |greeting: Greeting| match Greeting::decode(&greeting.encode()) {
            Err(GreetingError::Field(error)) => error,
            other => panic!("{other:?}"),
        };
        let length = |field, length, least, most| FieldError::Length {
            field,
            length,
            least,
            most,
        };
        let name = |name: &str| {
            error(Greeting {
                name: name.into(),
                ..greeting()
            })
        };
        assert_eq!(name(""), length("name", 0, 1, 255));
        assert_eq!(name(&"n".repeat(256)), length("name", 256, 1, 255));
        assert_eq!(name("a\r\nb"), FieldError::Unprintable("name"));
        let version = Greeting {
            version: "9".repeat(65),
            ..greeting()
        };
        assert_eq!(error(version), length("version of Piccolo", 65, 0, 64));
        let nobody = Greeting {
            node_id: NodeId(0),
            ..greeting()
        };
        assert_eq!(error(nobody), FieldError::Value("node id"));
        let never = Greeting {
            incarnation: Incarnation(0),
            ..greeting()
        };
        assert_eq!(error(never), FieldError::Value("incarnation"));
        let mut bytes = greeting().encode();
        bytes[12] = 2;
        assert_eq!(
            Greeting::decode(&bytes),
            Err(FieldError::Value("side").into())
        );
        bytes[0] = b'p';
        assert_eq!(Greeting::decode(&bytes), Err(GreetingError::Magic));
        let port_zero = std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into();
        let nowhere = Greeting {
            advertised: port_zero,
            ..greeting()
        };
        assert_eq!(error(nowhere), FieldError::Value("advertised address"));
    }

    proptest! {
        #[test]
        fn what_is_read_from_any_bytes_reads_back(tail in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = greeting().encode();
            bytes.truncate(13);
            bytes.extend(tail);
            if let Ok(greeting) = Greeting::decode(&bytes) {
                prop_assert_eq!(Greeting::decode(&greeting.encode()), Ok(greeting));
            }
        }
    }
}
