//! The kinds of values that stand in a configuration: sizes, ports, hosts, addresses, secrets.
//!
//! Each reads itself from TOML and says in its error what it expects, so that a message about a
//! wrong value needs nothing added but the place.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use peer::{HostAddr, HostAddrError};
use serde::Deserialize;
use serde::de::{Deserializer, Error, Expected, Unexpected, Visitor};

/// A number of bytes, written `"64MiB"` or as a plain number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ByteSize(u64);

impl ByteSize {
    pub(crate) const KIB: u64 = 1 << 10;
    pub(crate) const MIB: u64 = 1 << 20;
    pub(crate) const GIB: u64 = 1 << 30;

    const UNITS: [(&'static str, u64); 5] = [
        ("TiB", 1 << 40),
        ("GiB", ByteSize::GIB),
        ("MiB", ByteSize::MIB),
        ("KiB", ByteSize::KIB),
        ("B", 1),
    ];

    pub(crate) const fn from_bytes(bytes: u64) -> ByteSize {
        ByteSize(bytes)
    }

    pub(crate) const fn bytes(self) -> u64 {
        self.0
    }
}

/// The largest unit that divides the size, so that it reads back as the same.
impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, bytes) = ByteSize::UNITS
            .into_iter()
            .find(|(_, bytes)| self.0 >= *bytes && self.0.is_multiple_of(*bytes))
            .unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / bytes)
    }
}

impl FromStr for ByteSize {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<ByteSize, &'static str> {
        let digits = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| "no whole number at its start")?;
        let unit = unit.trim_start();
        let factor = match unit {
            "" => 1,
            _ => ByteSize::UNITS
                .into_iter()
                .find_map(|(name, bytes)| (name == unit).then_some(bytes))
                .ok_or("no such unit")?,
        };
        number
            .checked_mul(factor)
            .map(ByteSize)
            .ok_or("larger than 2^64 bytes")
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
        struct SizeVisitor;

        impl Visitor<'_> for SizeVisitor {
            type Value = ByteSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as \"64MiB\" (B, KiB, MiB, GiB, TiB) or a number of bytes")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<ByteSize, E> {
                text.parse().map_err(|reason| refused(text, reason, &self))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<ByteSize, E> {
                u64::try_from(number)
                    .map(ByteSize)
                    .map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
            }
        }

        deserializer.deserialize_any(SizeVisitor)
    }
}

/// Reads a port; for `#[serde(deserialize_with)]`.
pub(crate) fn port<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    struct PortVisitor;

    impl Visitor<'_> for PortVisitor {
        type Value = u16;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a port: a number from 1 to 65535, or 0 for any free one")
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<u16, E> {
            u16::try_from(number).map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
        }
    }

    deserializer.deserialize_any(PortVisitor)
}

/// Reads a count of things; for `#[serde(deserialize_with)]`.
pub(crate) fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    struct CountVisitor;

    impl Visitor<'_> for CountVisitor {
        type Value = u32;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number")
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<u32, E> {
            u32::try_from(number).map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
        }
    }

    deserializer.deserialize_any(CountVisitor)
}

/// Reads a duration that stands as whole milliseconds; for `#[serde(deserialize_with)]`.
pub(crate) fn millis<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    struct MillisVisitor;

    impl Visitor<'_> for MillisVisitor {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number of milliseconds")
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<Duration, E> {
            u64::try_from(number)
                .map(Duration::from_millis)
                .map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
        }
    }

    deserializer.deserialize_any(MillisVisitor)
}

/// Where a machine is found: an address, or a name that is resolved anew each time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Host {
    /// An IPv4 or IPv6 address.
    Ip(IpAddr),
    /// A host name, in lower case.
    Name(String),
}

/// An IPv6 address stands in brackets, as before a port.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Ip(IpAddr::V4(address)) => write!(f, "{address}"),
            Host::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Host::Name(name) => f.write_str(name),
        }
    }
}

impl FromStr for Host {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Host, &'static str> {
        if let Ok(address) = text.parse() {
            return Ok(Host::Ip(address));
        }
        if let Some(inner) = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            return inner
                .parse()
                .map(|address| Host::Ip(IpAddr::V6(address)))
                .map_err(|_| "no IPv6 address in the brackets");
        }
        match format!("{text}:1").parse::<HostAddr>() {
            Ok(address) => Ok(Host::Name(address.host())),
            Err(_) => Err("neither an address nor a host name"),
        }
    }
}

impl<'de> Deserialize<'de> for Host {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Host, D::Error> {
        struct HostVisitor;

        impl Visitor<'_> for HostVisitor {
            type Value = Host;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an IPv4 address, an IPv6 address or a host name")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Host, E> {
                text.parse().map_err(|reason| refused(text, reason, &self))
            }
        }

        deserializer.deserialize_str(HostVisitor)
    }
}

/// An address that others dial, as it stands in a configuration.
struct Dialled(HostAddr);

impl<'de> Deserialize<'de> for Dialled {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Dialled, D::Error> {
        struct DialledVisitor;

        impl Visitor<'_> for DialledVisitor {
            type Value = Dialled;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"host:port\", such as \"127.0.0.1:19919\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Dialled, E> {
                text.parse()
                    .map(Dialled)
                    .map_err(|error: HostAddrError| E::custom(error))
            }
        }

        deserializer.deserialize_str(DialledVisitor)
    }
}

/// Reads an address that others dial; for `#[serde(deserialize_with)]`.
pub(crate) fn address<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<HostAddr>, D::Error> {
    Dialled::deserialize(deserializer).map(|Dialled(address)| Some(address))
}

/// Reads a list of addresses that are dialled; for `#[serde(deserialize_with)]`.
pub(crate) fn addresses<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<HostAddr>, D::Error> {
    let addresses: Vec<Dialled> = Vec::deserialize(deserializer)?;
    Ok(addresses
        .into_iter()
        .map(|Dialled(address)| address)
        .collect())
}

/// A password. `Debug` never shows it, nor does an error about it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        struct SecretVisitor;

        impl SecretVisitor {
            fn refuse<T, E: Error>(kind: &str) -> Result<T, E> {
                Err(E::custom(format_args!(
                    "{kind}, expected a string that is not empty"
                )))
            }
        }

        // What serde says of a wrong type holds the value, so each type is refused here.
        impl Visitor<'_> for SecretVisitor {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string that is not empty")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Secret, E> {
                match text {
                    "" => SecretVisitor::refuse("an empty string"),
                    _ => Ok(Secret(text.to_owned())),
                }
            }

            fn visit_i64<E: Error>(self, _: i64) -> Result<Secret, E> {
                SecretVisitor::refuse("a number")
            }

            fn visit_f64<E: Error>(self, _: f64) -> Result<Secret, E> {
                SecretVisitor::refuse("a number")
            }

            fn visit_bool<E: Error>(self, _: bool) -> Result<Secret, E> {
                SecretVisitor::refuse("true or false")
            }
        }

        deserializer.deserialize_any(SecretVisitor)
    }
}

fn refused<E: Error>(text: &str, reason: &str, expected: &dyn Expected) -> E {
    E::custom(format_args!(
        "invalid value: {text:?} ({reason}), expected {expected}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_back_what_they_show() {
        for (text, bytes) in [
            ("0B", 0),
            ("1B", 1),
            ("64KiB", 65_536),
            ("64MiB", 64 << 20),
            ("3TiB", 3 << 40),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)));
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
        assert_eq!(
            "1048577"
                .parse::<ByteSize>()
                .map(|size| size.to_string())
                .unwrap(),
            "1048577B"
        );
        assert_eq!("64 MiB".parse(), Ok(ByteSize(64 << 20)));
    }

    #[test]
    fn sizes_that_say_nothing_are_refused() {
        for text in [
            "",
            "MiB",
            "64MB",
            "64mib",
            "-1B",
            "1.5GiB",
            "18446744073709551616",
            "16777216TiB",
        ] {
            assert!(text.parse::<ByteSize>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn hosts_are_addresses_or_names() {
        assert_eq!("127.0.0.1".parse(), Ok(Host::Ip([127, 0, 0, 1].into())));
        assert_eq!("[::1]".parse::<Host>(), "::1".parse());
        assert_eq!(
            "Node-1.example".parse(),
            Ok(Host::Name("node-1.example".to_owned()))
        );
        for text in [
            "",
            "256.1.1.1",
            "1.2.3",
            "a b",
            "a..b",
            "host:1",
            "[::1",
            ".",
            "a,b",
            "ü",
        ] {
            assert!(text.parse::<Host>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_secret_is_never_shown() {
        assert_eq!(format!("{:?}", Secret("hunter2".to_owned())), "<redacted>");
    }
}
