//! Addresses that people write: a host and a port, resolved only when they are dialled.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A host and a port: `127.0.0.1:19919`, `[::1]:19919` or `node-1.example:19919`.
///
/// A name stays a name: it is resolved anew each time it is dialled, because what it stands for may
/// change. Two addresses are equal when they are written alike; whether they lead to the same node
/// is known only after a greeting.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostAddr {
    host: Host,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Host {
    Ip(IpAddr),
    /// Lower case.
    Name(String),
}

/// The longest name that DNS knows, in bytes (RFC 1035, section 2.3.4).
const NAME_LIMIT: usize = 253;

impl HostAddr {
    /// The longest text that `Display` writes, in bytes: a name, a colon and a port.
    pub const TEXT_LIMIT: usize = NAME_LIMIT + 1 + 5;

    /// The host as `tokio::net::lookup_host` takes it: without brackets.
    pub fn host(&self) -> String {
        match &self.host {
            Host::Ip(ip) => ip.to_string(),
            Host::Name(name) => name.clone(),
        }
    }

    /// The port, never 0.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A number that two nodes share when their lists name the same hosts, in whatever order and
    /// however often: FNV-1a over the sorted texts. It travels in greetings, so it stays the same
    /// in all versions.
    pub fn list_hash(hosts: &[HostAddr]) -> u64 {
        let mut texts: Vec<String> = hosts.iter().map(HostAddr::to_string).collect();
        texts.sort_unstable();
        texts.dedup();
        let bytes = texts.iter().flat_map(|text| text.bytes().chain([b'\n']));
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }
}

impl From<std::net::SocketAddr> for HostAddr {
    /// Port 0, which nothing can dial, is kept as it is; the scope of an IPv6 address is not.
    fn from(address: std::net::SocketAddr) -> Self {
        HostAddr {
            host: Host::Ip(address.ip()),
            port: address.port(),
        }
    }
}

impl fmt::Display for HostAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            Host::Ip(IpAddr::V4(ip)) => write!(f, "{ip}:{}", self.port),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// Why a text is not a [`HostAddr`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostAddrError {
    /// No colon separates a port.
    #[error("{0:?} has no port: expected \"host:port\", such as \"127.0.0.1:19919\"")]
    NoPort(String),
    /// What follows the last colon is not a number from 1 to 65535.
    #[error("{port:?} in {text:?} is not a port: expected a number from 1 to 65535")]
    Port {
        /// The whole text.
        text: String,
        /// What stands where the port should.
        port: String,
    },
    /// Nothing stands before the colon.
    #[error("{0:?} has no host: expected \"host:port\", such as \"127.0.0.1:19919\"")]
    NoHost(String),
    /// Several colons and no brackets.
    #[error("{0:?} is ambiguous: an IPv6 address stands in brackets, as in \"[::1]:19919\"")]
    BareIpv6(String),
    /// What stands in brackets is not an IPv6 address.
    #[error("{0:?} does not hold an IPv6 address in its brackets")]
    Ipv6(String),
    /// The host has only digits and dots, yet it is not an IPv4 address.
    #[error("{0:?} does not start with an IPv4 address of four numbers from 0 to 255")]
    Ipv4(String),
    /// The host is neither an address nor a name that DNS could know.
    #[error(
        "{0:?} does not start with a host name: letters, digits, '-' and '_' in parts of 1 to 63 \
         characters, separated by dots, {NAME_LIMIT} in all"
    )]
    Name(String),
}

impl FromStr for HostAddr {
    type Err = HostAddrError;

    fn from_str(text: &str) -> Result<Self, HostAddrError> {
        if let Some(rest) = text.strip_prefix('[') {
            let (ip, port) = rest
                .split_once(']')
                .ok_or_else(|| HostAddrError::Ipv6(text.into()))?;
            let port = port
                .strip_prefix(':')
                .ok_or_else(|| HostAddrError::NoPort(text.into()))?;
            let ip: Ipv6Addr = ip.parse().map_err(|_| HostAddrError::Ipv6(text.into()))?;
            return Ok(HostAddr {
                host: Host::Ip(ip.into()),
                port: parse_port(text, port)?,
            });
        }
        let (host, port) = text
            .rsplit_once(':')
            .ok_or_else(|| HostAddrError::NoPort(text.into()))?;
        if host.contains(':') {
            return Err(HostAddrError::BareIpv6(text.into()));
        }
        if host.is_empty() {
            return Err(HostAddrError::NoHost(text.into()));
        }
        let port = parse_port(text, port)?;
        Ok(HostAddr {
            host: parse_host(text, host)?,
            port,
        })
    }
}

fn parse_port(text: &str, port: &str) -> Result<u16, HostAddrError> {
    let error = || HostAddrError::Port {
        text: text.into(),
        port: port.into(),
    };
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(error());
    }
    match port.parse() {
        Ok(0) | Err(_) => Err(error()),
        Ok(port) => Ok(port),
    }
}

fn parse_host(text: &str, host: &str) -> Result<Host, HostAddrError> {
    if let Ok(ip) = host.parse::<Ipv4Addr>() {
        return Ok(Host::Ip(ip.into()));
    }
    if host
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        return Err(HostAddrError::Ipv4(text.into()));
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if host.len() > NAME_LIMIT || !host.split('.').all(is_label) {
        return Err(HostAddrError::Name(text.into()));
    }
    Ok(Host::Name(host.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<HostAddr, HostAddrError> {
        text.parse()
    }

    #[test]
    fn addresses_read_back_what_they_show() {
        for text in [
            "127.0.0.1:19919",
            "[::1]:1",
            "node-1.example:65535",
            "a_b:80",
            "4you:80",
        ] {
            assert_eq!(
                parse(text).map(|host| host.to_string()),
                Ok(text.to_owned())
            );
        }
        assert_eq!(parse("LocalHost:1"), parse("localhost:1"));
        assert_eq!(parse("[0:0::1]:1"), parse("[::1]:1"));
        assert_eq!(
            parse("[::1]:1").map(|host| host.host()),
            Ok("::1".to_owned())
        );
    }

    #[test]
    fn each_mistake_has_an_error_of_its_own() {
        use HostAddrError as E;
        let port = |text: &str, port: &str| E::Port {
            text: text.into(),
            port: port.into(),
        };
        for (text, error) in [
            ("", E::NoPort("".into())),
            ("localhost", E::NoPort("localhost".into())),
            ("[::1]", E::NoPort("[::1]".into())),
            (":1", E::NoHost(":1".into())),
            ("a:", port("a:", "")),
            ("a:0", port("a:0", "0")),
            ("a:+1", port("a:+1", "+1")),
            ("a:65536", port("a:65536", "65536")),
            ("[::1]:x", port("[::1]:x", "x")),
            ("::1:19919", E::BareIpv6("::1:19919".into())),
            ("[::1:19919", E::Ipv6("[::1:19919".into())),
            ("[localhost]:1", E::Ipv6("[localhost]:1".into())),
            ("256.0.0.1:1", E::Ipv4("256.0.0.1:1".into())),
            ("1.2.3:1", E::Ipv4("1.2.3:1".into())),
            ("a b:1", E::Name("a b:1".into())),
            ("a..b:1", E::Name("a..b:1".into())),
            ("ä:1", E::Name("ä:1".into())),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
        let long = format!("{}:1", ["a".repeat(63).as_str(); 5].join("."));
        assert_eq!(parse(&long), Err(E::Name(long.clone())));
    }

    #[test]
    fn the_hash_of_a_list_ignores_order_and_repeats() {
        let hosts = |texts: &[&str]| -> Vec<HostAddr> {
            texts
                .iter()
                .map(|text| parse(text).expect("an address"))
                .collect()
        };
        let hash = |texts: &[&str]| HostAddr::list_hash(&hosts(texts));
        assert_eq!(hash(&["a:1", "b:2"]), hash(&["b:2", "a:1", "b:2"]));
        assert_ne!(hash(&["a:1", "b:2"]), hash(&["a:1"]));
        assert_ne!(hash(&["a:1", "b:2"]), hash(&["a:1", "b:3"]));
    }
}
