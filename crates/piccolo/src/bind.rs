//! Listeners: a port that is taken is passed over for the next one that is free.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};

use socket2::{Domain, Protocol, Socket, Type};
use tracing::{error, info};

use crate::config::Host;

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 1024;

/// What a listener is for; it names the keys that an error speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listener {
    /// Node to node: `discovery.bind_host`, `discovery.bind_port`.
    Peer,
    /// Clients: `redis.bind_host`, `redis.bind_port`.
    Redis,
}

impl Listener {
    fn table(self) -> &'static str {
        match self {
            Listener::Peer => "discovery",
            Listener::Redis => "redis",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Listener::Peer => "peer",
            Listener::Redis => "redis",
        }
    }
}

/// Why there is no listener, and what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BindError {
    #[error(
        "cannot resolve {table}.bind_host = {host}: {source}; set it to an address of this machine"
    )]
    Resolve {
        table: &'static str,
        host: String,
        source: io::Error,
    },
    #[error(
        "cannot bind {address}: it is no address of this machine; set {table}.bind_host to one that \
         is, such as 127.0.0.1 or 0.0.0.0"
    )]
    NotOfThisMachine {
        table: &'static str,
        address: SocketAddr,
    },
    #[error(
        "cannot bind {address}: no permission; set {table}.bind_port to 1024 or above, or give this \
         program the capability CAP_NET_BIND_SERVICE"
    )]
    NoPermission {
        table: &'static str,
        address: SocketAddr,
    },
    #[error(
        "cannot bind {table}.bind_port: every port from {first} to 65535 of {ip} is taken; set it to \
         a lower one"
    )]
    NoPortLeft {
        table: &'static str,
        ip: IpAddr,
        first: u16,
    },
    #[error("cannot bind {address} ({table}.bind_host, {table}.bind_port): {source}")]
    Other {
        table: &'static str,
        address: SocketAddr,
        source: io::Error,
    },
}

/// Listens on `host` and the first free port from `port` on; 0 takes any free one. The listener does
/// not block, and `port` is the one that it has.
///
/// A name is resolved, and its addresses are tried in the resolver's order until one is of this
/// machine.
///
/// # Errors
/// [`BindError`]; `port` is unchanged then.
pub(crate) fn bind(
    listener: Listener,
    host: &Host,
    port: &mut u16,
) -> Result<(TcpListener, SocketAddr), BindError> {
    info!(listener = listener.name(), host = %host, port = *port, "binding");
    let mut last_error = None;
    for ip in addresses(listener, host)? {
        match bind_ip(listener, ip, *port) {
            Ok((socket, address)) => {
                *port = address.port();
                info!(listener = listener.name(), address = %address, "bound");
                return Ok((socket, address));
            }
            Err(error @ BindError::NotOfThisMachine { .. }) => last_error = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(last_error.expect("a host resolves to at least one address"))
}

/// At least one.
fn addresses(listener: Listener, host: &Host) -> Result<Vec<IpAddr>, BindError> {
    let name = match host {
        Host::Ip(ip) => return Ok(vec![*ip]),
        Host::Name(name) => name,
    };
    let failed = |source| BindError::Resolve {
        table: listener.table(),
        host: name.clone(),
        source,
    };
    let found: Vec<IpAddr> = (name.as_str(), 0)
        .to_socket_addrs()
        .map_err(failed)?
        .map(|address| address.ip())
        .collect();
    match found.is_empty() {
        true => Err(failed(io::Error::new(
            io::ErrorKind::NotFound,
            "the name has no address",
        ))),
        false => Ok(found),
    }
}

fn bind_ip(
    listener: Listener,
    ip: IpAddr,
    first: u16,
) -> Result<(TcpListener, SocketAddr), BindError> {
    let table = listener.table();
    let mut port = first;
    loop {
        let address = SocketAddr::new(ip, port);
        let source = match listen(address) {
            Ok(bound) => return Ok(bound),
            Err(error) => error,
        };
        match source.kind() {
            io::ErrorKind::AddrInUse if port == u16::MAX || port == 0 => {
                return Err(BindError::NoPortLeft { table, ip, first });
            }
            io::ErrorKind::AddrInUse => {
                error!(
                    listener = listener.name(),
                    address = %address,
                    next_port = port + 1,
                    "port {port} is taken by another program, trying the next one"
                );
                port += 1;
            }
            // An address of a family that this machine has none of is not its own either.
            io::ErrorKind::AddrNotAvailable => {
                return Err(BindError::NotOfThisMachine { table, address });
            }
            _ if source.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error()) => {
                return Err(BindError::NotOfThisMachine { table, address });
            }
            io::ErrorKind::PermissionDenied => {
                return Err(BindError::NoPermission { table, address });
            }
            _ => {
                return Err(BindError::Other {
                    table,
                    address,
                    source,
                });
            }
        }
    }
}

/// With `SO_REUSEADDR` a port is free as soon as its last listener is gone, although connections of
/// that one linger. Two that listen still exclude each other: at `bind`, or at `listen` when both
/// bound before either listened.
fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let listener = TcpListener::from(socket);
    let address = listener.local_addr()?;
    Ok((listener, address))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpStream};

    use super::*;

    const LOCALHOST: Host = Host::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST));

    fn bind_port(mut port: u16) -> (TcpListener, u16) {
        let (listener, address) = bind(Listener::Redis, &LOCALHOST, &mut port).unwrap();
        assert_eq!(address.port(), port);
        (listener, port)
    }

    #[test]
    fn port_zero_takes_any_and_says_which() {
        let (_listener, port) = bind_port(0);
        assert_ne!(port, 0);
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
    }

    #[test]
    fn a_taken_port_is_passed_over() {
        let (_first, taken) = bind_port(0);
        let (_second, next) = bind_port(taken);
        assert!(next > taken, "{next} after {taken}");
        let (_third, after) = bind_port(taken);
        assert!(after > next, "{after} after {next}");
    }

    #[test]
    fn a_port_is_free_again_once_its_listener_is_gone() {
        let (listener, port) = bind_port(0);
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        // Not blocking, yet the connection is there: connect returned.
        let (served, _) = listener.accept().unwrap();
        drop((served, listener, client));
        assert_eq!(bind_port(port).1, port);
    }

    #[test]
    fn the_last_port_has_no_next() {
        let mut port = u16::MAX;
        let first = bind(Listener::Peer, &LOCALHOST, &mut port);
        let error = bind(Listener::Peer, &LOCALHOST, &mut port).unwrap_err();
        assert!(matches!(
            error,
            BindError::NoPortLeft {
                table: "discovery",
                first: u16::MAX,
                ..
            }
        ));
        drop(first);
    }

    #[test]
    fn an_address_of_another_machine_is_refused_with_the_key_to_set() {
        // 192.0.2.0/24 is kept for documentation (RFC 5737).
        let host = Host::Ip(Ipv4Addr::new(192, 0, 2, 1).into());
        let error = bind(Listener::Redis, &host, &mut 0).unwrap_err();
        assert!(
            matches!(error, BindError::NotOfThisMachine { .. }),
            "{error}"
        );
        assert!(error.to_string().contains("redis.bind_host"), "{error}");
    }

    #[test]
    fn a_name_is_resolved() {
        let (_listener, address) =
            bind(Listener::Redis, &Host::Name("localhost".to_owned()), &mut 0).unwrap();
        assert!(address.ip().is_loopback());
    }

    #[test]
    fn a_name_that_does_not_resolve_is_refused_with_the_key_to_set() {
        let host = Host::Name("no-such-host.invalid".to_owned());
        let error = bind(Listener::Peer, &host, &mut 0).unwrap_err();
        assert!(matches!(error, BindError::Resolve { .. }), "{error}");
        assert!(error.to_string().contains("discovery.bind_host"), "{error}");
    }
}
