//! Node-to-node connections: nodes find each other, greet, stay in touch and reconnect.

mod driver;
pub mod frame;
pub mod greeting;
mod host_addr;
mod status;

pub use driver::{Peers, start};
pub use host_addr::{HostAddr, HostAddrError};
pub use status::{
    Config, Event, HostState, HostStatus, LocalNode, PeerState, PeerStatus, SEND_QUEUE_LIMIT,
    SendError,
};
