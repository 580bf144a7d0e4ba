//! What an operator sees of the cluster.
//!
//! ```text
//! {"cluster": {"id", "state", "forming", "epoch", "shards", "replicas"},
//!  "node": id of the node that tells,
//!  "nodes": [{"id", "name", "address", "redis", "version", "incarnation", "state", "alive",
//!             "round_trip_us", "replicas", "shards_led",
//!             "disk_free_bytes", "disk_total_bytes", "memory_bytes", "refuses_writes"}],
//!  "shards": [{"shard", "leader", "leader_name", "term", "last", "commit", "applied", "change_pending",
//!              "voters": [replica], "learners": [replica]}]}
//! replica: {"replica", "node", "name", "alive", "applied", "lag"}
//! ```
//!
//! Ids of nodes and of the cluster are texts. What is not known is null: most of a shard without a leader, the
//! figures of a node that is not alive. `lag` counts the entries that a replica lacks of its leader's log.

use base::{NodeId, ShardId};
use meta::{ClusterMap, Member, Membership, NodeState, ReplicaStatus, Role};
use serde_json::{Value, json};

use super::Control;

impl Control {
    pub(super) fn report(&self) -> Value {
        let map = self.map.as_ref();
        let shards = map.map_or_else(Vec::new, |map| {
            map.shard_ids()
                .map(|shard| self.report_shard(map, shard))
                .collect()
        });
        json!({
            "cluster": {
                "id": self.cluster.map(|cluster| cluster.to_string()),
                "state": self.cluster_state().to_string(),
                "forming": self.forming,
                "epoch": self.epoch(),
                "shards": map.map(|map| map.shards),
                "replicas": map.map(|map| map.replicas),
            },
            "node": self.node().to_string(),
            "nodes": self.report_nodes(),
            "shards": shards,
        })
    }

    fn report_nodes(&self) -> Vec<Value> {
        let Some(map) = &self.map else {
            return self.report_met();
        };
        map.nodes
            .iter()
            .map(|(&node, entry)| {
                let state = match entry.state {
                    NodeState::Member => "member",
                    NodeState::Draining => "draining",
                    NodeState::Leaving => "leaving",
                };
                let status = self.status_of(node);
                let led = self
                    .leaders
                    .values()
                    .filter(|leader| leader.node == node)
                    .count();
                json!({
                    "id": node.to_string(),
                    "name": entry.name,
                    "address": entry.address,
                    "redis": entry.redis,
                    "version": entry.version,
                    "incarnation": entry.incarnation.0,
                    "state": state,
                    "alive": self.is_up(node),
                    "round_trip_us": self.round_trip_us(node),
                    "replicas": map
                        .shard_ids()
                        .filter(|&shard| map.placed_on(shard, node).is_some())
                        .count(),
                    "shards_led": led,
                    "disk_free_bytes": status.map(|status| status.disk_free_bytes),
                    "disk_total_bytes": status.map(|status| status.disk_total_bytes),
                    "memory_bytes": status.map(|status| status.memory_bytes),
                    "refuses_writes": status.map(|status| status.refuses_writes),
                })
            })
            .collect()
    }

    /// The nodes that this one knows of without a map.
    fn report_met(&self) -> Vec<Value> {
        let local = &self.config.local;
        let this = json!({
            "id": local.node.to_string(),
            "name": local.name,
            "address": local.address,
            "redis": local.redis,
            "version": local.version,
            "incarnation": local.incarnation.0,
            "state": null,
            "alive": true,
        });
        let others = self.peers.alive().map(|(node, peer)| {
            json!({
                "id": node.to_string(),
                "name": peer.info.name,
                "address": peer.info.address,
                "incarnation": peer.info.incarnation.0,
                "state": null,
                "alive": true,
                "round_trip_us": self.round_trip_us(node),
            })
        });
        std::iter::once(this).chain(others).collect()
    }

    fn round_trip_us(&self, node: NodeId) -> Option<u64> {
        let round_trip = self.round_trips.get(&node)?;
        u64::try_from(round_trip.as_micros()).ok()
    }

    fn report_shard(&self, map: &ClusterMap, shard: ShardId) -> Value {
        let leading = self.leading(shard).map(|(_, leading)| leading);
        let leader = self.leaders.get(&shard).map(|leader| leader.node);
        let placed = || {
            let members = map.placements_of(shard).map(|(replica, placement)| Member {
                replica,
                node: placement.node,
                role: placement.role,
            });
            Membership::new(members)
        };
        let membership = leading
            .and_then(|leading| leading.membership.clone())
            .unwrap_or_else(placed);
        let of_role = |role: Role| -> Vec<Value> {
            membership
                .members()
                .iter()
                .filter(|member| member.role == role)
                .map(|member| self.report_replica(map, shard, member, leading))
                .collect()
        };
        json!({
            "shard": shard.0,
            "leader": leader.map(|node| node.to_string()),
            "leader_name": leader.and_then(|node| name_of(map, node)),
            "term": leading.map(|leading| leading.term),
            "last": leading.map(|leading| leading.last),
            "commit": leading.map(|leading| leading.commit),
            "applied": leading.map(|leading| leading.applied),
            "change_pending": leading.map(|leading| leading.change_pending),
            "voters": of_role(Role::Voter),
            "learners": of_role(Role::Learner),
        })
    }

    fn report_replica(
        &self,
        map: &ClusterMap,
        shard: ShardId,
        member: &Member,
        leading: Option<&ReplicaStatus>,
    ) -> Value {
        let own = self.replica_on(member.node, shard, member.replica);
        let lag = leading.and_then(|leading| {
            if leading.replica == member.replica {
                return Some(0);
            }
            let progress = leading
                .progress
                .iter()
                .find(|progress| progress.replica == member.replica)?;
            Some(leading.last.saturating_sub(progress.matched))
        });
        json!({
            "replica": member.replica.0,
            "node": member.node.to_string(),
            "name": name_of(map, member.node),
            "alive": self.is_up(member.node),
            "applied": own.map(|status| status.applied),
            "lag": lag,
        })
    }
}

fn name_of(map: &ClusterMap, node: NodeId) -> Option<&str> {
    Some(map.nodes.get(&node)?.name.as_str())
}
