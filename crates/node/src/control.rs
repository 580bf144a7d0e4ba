//! Founding, joining, the spread of the map, the balancer's work, and what operators want.

mod action;
mod admin;
mod input;

use base::Moment;
use thiserror::Error;

pub use action::{Action, ClusterState, ShardOrder};
pub use admin::AdminCommand;
pub use input::{ControlConfig, ControlInput, HostState, HostView, PeerInfo, Restored};

/// What the folder of a node says of its cluster cannot be relied upon.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RestoreError {
    /// The proposal that the node agreed to cannot be read.
    #[error(
        "the proposal to found a cluster that this node agreed to cannot be read: {0}; nothing is stored \
         here yet, so move the node's folder away and start the node again"
    )]
    Founding(meta::DecodeError),
}

/// The part of a node that decides what is not a shard's own matter.
#[derive(Debug)]
pub struct Control {
    config: ControlConfig,
}

impl Control {
    /// Of a node that starts. It does nothing before the first input.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub fn new(
        config: ControlConfig,
        restored: Restored,
        now: Moment,
    ) -> Result<Control, RestoreError> {
        drop((restored, now));
        Ok(Control { config })
    }

    /// Hears what happened at that time and appends what is to be done.
    pub fn handle(&mut self, now: Moment, input: ControlInput, actions: &mut Vec<Action>) {
        drop((now, input));
        actions.push(Action::Forming(format!(
            "node {} does not found clusters yet",
            self.config.local.name
        )));
    }
}
