//! What a node decides, without clock, socket, thread or chance of its own: the turns that its shards
//! take, the way to the leaders of others, founding, joining, balancing, snapshots on their way.

mod control;
pub mod startup;
pub mod transfer;
mod turn;
pub mod wire;

pub use control::{
    Action, AdminCommand, ClusterState, Control, ControlConfig, ControlInput, HostState, HostView,
    PeerInfo, RestoreError, Restored, ShardOrder,
};
pub use turn::{FromPeer, Inputs, LogNumber, Order, Outputs, Outside, Turn, TurnConfig};
