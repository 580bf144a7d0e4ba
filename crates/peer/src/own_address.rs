//! Which addresses are certainly this node's own.
//!
//! A node that cannot reach its own address, because a firewall or a translation of addresses is between, would
//! otherwise never know itself in the list of hosts. Only addresses count that no other process can have:
//! - the very address that this node listens on;
//! - where it listens on all addresses of a family: its port, and an address of that family that is this
//!   machine's. The system gives that port on any of these addresses to nobody else.
//!
//! A node that listens on one address knows nothing of the others: on each of them, loopback or not, another node may
//! listen on the same port. The address that a node advertises proves nothing either: several may advertise
//! that of one proxy.

use std::net::{IpAddr, SocketAddr, UdpSocket};

/// Whether a connection to that address could lead to none but the node that listens on `bound`.
pub(crate) fn is_own(bound: SocketAddr, address: SocketAddr) -> bool {
    if address.port() != bound.port() {
        return false;
    }
    address.ip() == bound.ip()
        || (bound.ip().is_unspecified()
            && bound.is_ipv4() == address.is_ipv4()
            && is_of_this_machine(address.ip()))
}

/// Whether an interface of this machine has the address. The system is asked which address it would send from to
/// that one: for an address of its own, and for no other, that is the same. Nothing is sent.
fn is_of_this_machine(ip: IpAddr) -> bool {
    if ip.is_loopback() || ip.is_unspecified() {
        return true;
    }
    let any: SocketAddr = match ip {
        IpAddr::V4(_) => ([0; 4], 0).into(),
        IpAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let source = UdpSocket::bind(any).and_then(|socket| {
        // The discard port; nothing is sent there.
        socket.connect((ip, 9))?;
        socket.local_addr()
    });
    source.is_ok_and(|source| source.ip() == ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(bound: &str, address: &str) -> bool {
        let parse = |text: &str| text.parse().expect("an address");
        is_own(parse(bound), parse(address))
    }

    #[test]
    fn the_bound_address_is_own_and_its_neighbours_are_not() {
        assert!(own("127.0.0.1:7", "127.0.0.1:7"));
        assert!(own("[::1]:7", "[::1]:7"));
        for other in ["127.0.0.1:8", "127.0.0.2:7", "[::1]:7", "192.0.2.1:7"] {
            assert!(!own("127.0.0.1:7", other), "{other}");
        }
    }

    #[test]
    fn who_listens_everywhere_owns_the_port_on_this_machine() {
        for address in ["127.0.0.1:7", "127.0.0.2:7", "0.0.0.0:7"] {
            assert!(own("0.0.0.0:7", address), "{address}");
        }
        assert!(own("[::]:7", "[::1]:7"));
        // Of another port, of another family, and of a network for documentation (RFC 5737).
        for other in ["127.0.0.1:8", "[::1]:7", "192.0.2.1:7"] {
            assert!(!own("0.0.0.0:7", other), "{other}");
        }
    }

    #[test]
    fn the_address_of_an_interface_is_of_this_machine() {
        // Where there is no other interface than the loopback, there is nothing to ask for.
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
        if socket.connect("192.0.2.1:9").is_ok() {
            let ip = socket.local_addr().expect("connected").ip();
            assert!(is_of_this_machine(ip), "{ip}");
        }
    }
}
