//! Node-to-node connections: nodes find each other, greet, stay in touch and reconnect.

pub mod backoff;
mod driver;
mod field;
pub mod frame;
pub mod greeting;
mod hang_up;
mod host_addr;
mod link;
pub mod message;
pub mod session;
mod status;

pub use driver::{Peers, start};
pub use field::FieldError;
pub use hang_up::{HangUp, Refusal};
pub use host_addr::{HostAddr, HostAddrError};
pub use link::Link;
pub use status::{
    Config, Event, HostState, HostStatus, LocalNode, PeerState, PeerStatus, SEND_QUEUE_LIMIT,
    SendError,
};
