//! One list of hosts founds one cluster, and who belongs to one never belongs to another.

use base::ClusterId;

use super::{Invariant, Violation, violated};
use crate::network::Machine;

#[derive(Debug, Default)]
pub(super) struct OneCluster {
    known: Option<(Machine, ClusterId)>,
}

impl OneCluster {
    /// The node on a machine belongs to that cluster.
    pub(super) fn belongs(
        &mut self,
        machine: Machine,
        cluster: ClusterId,
    ) -> Result<(), Violation> {
        let (first, known) = *self.known.get_or_insert((machine, cluster));
        if known == cluster {
            return Ok(());
        }
        violated(
            Invariant::OneCluster,
            format!(
                "machine {} belongs to cluster {cluster}, and machine {} to {known}",
                machine.0, first.0
            ),
        )
    }
}
