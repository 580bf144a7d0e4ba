//! A proposal to found a cluster.

use std::collections::BTreeSet;

use base::{ClusterId, NodeId};
use meta::field::{Fields, put_record, put_u64, put_value, whole};
use meta::{ClusterMap, DecodeError};

use super::message::{put_hosts, read_hosts};

/// The cluster that nodes agree to found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proposal {
    /// The list of hosts that all its founders have, sorted, each once.
    pub(super) hosts: Vec<String>,
    /// The founder that drew it up.
    pub(super) proposer: NodeId,
    /// The map with which the cluster begins; its nodes are the founders.
    pub(super) map: ClusterMap,
}

const VERSION: (u16, u16) = (1, 0);
const WHAT: &str = "proposal to found a cluster";

impl Proposal {
    pub(super) fn cluster(&self) -> ClusterId {
        self.map.cluster
    }

    pub(super) fn founders(&self) -> BTreeSet<NodeId> {
        self.map.nodes.keys().copied().collect()
    }

    /// # Layout
    /// Version 1.0 (see [`meta::field`]): the list of hosts, the proposer u64, the map as a record. So it
    /// stands in the node's folder as well.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_value(out, VERSION, |out| {
            put_hosts(out, &self.hosts);
            put_u64(out, self.proposer.0);
            put_record(out, |out| self.map.encode(out));
        });
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Proposal, DecodeError> {
        whole(bytes, WHAT, Proposal::front)
    }

    pub(super) fn decode_front(bytes: &[u8]) -> Result<Proposal, DecodeError> {
        Proposal::front(bytes).map(|(proposal, _)| proposal)
    }

    fn front(bytes: &[u8]) -> Result<(Proposal, usize), DecodeError> {
        let (mut fields, length) = Fields::of_value(bytes, VERSION.0, WHAT)?;
        let proposal = Proposal {
            hosts: read_hosts(&mut fields)?,
            proposer: NodeId(fields.id("proposer")?),
            map: ClusterMap::decode(fields.record("map")?.rest())?,
        };
        if !proposal.map.nodes.contains_key(&proposal.proposer) {
            return Err(DecodeError::Value("proposer"));
        }
        Ok((proposal, length))
    }
}
