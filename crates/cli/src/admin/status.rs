//! What a node says of its cluster.
//!
//! A field that is not there is shown as not known: a node may be older than this program, or may not have heard of
//! another one yet. Names are those that `PICCOLO STATUS` uses.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

/// The cluster, its nodes and its shards.
#[derive(Debug)]
pub(super) struct Status {
    pub(super) cluster: Cluster,
    pub(super) nodes: Vec<Node>,
    pub(super) shards: Vec<Shard>,
}

#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) id: Option<String>,
    /// `forming`, `ok`, `degraded` or `no_quorum`.
    pub(super) state: String,
    /// Why there is none yet.
    pub(super) reason: Option<String>,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: String,
    pub(super) name: String,
    /// Where other nodes reach it, and where clients do.
    pub(super) address: Option<String>,
    pub(super) redis: Option<String>,
    pub(super) alive: Option<bool>,
    /// From the node that was asked; none to itself.
    pub(super) round_trip: Option<Duration>,
    pub(super) shards_led: Option<u64>,
    pub(super) disk_free_bytes: Option<u64>,
    pub(super) disk_total_bytes: Option<u64>,
    pub(super) memory_bytes: Option<u64>,
    pub(super) version: Option<String>,
    /// `member`, `draining`, `leaving`.
    pub(super) state: Option<String>,
}

#[derive(Debug)]
pub(super) struct Shard {
    pub(super) shard: u64,
    /// The name of the node, as of all below.
    pub(super) leader: Option<String>,
    pub(super) term: Option<u64>,
    pub(super) commit: Option<u64>,
    pub(super) applied: Option<u64>,
    pub(super) voters: Vec<Replica>,
    pub(super) learners: Vec<Replica>,
}

#[derive(Debug)]
pub(super) struct Replica {
    pub(super) node: String,
    /// By how many entries its log is behind the leader's.
    pub(super) lag: Option<u64>,
    pub(super) alive: Option<bool>,
}

impl Status {
    /// Reads the answer to `PICCOLO STATUS`.
    ///
    /// # Errors
    /// It is no JSON, or has no state of a cluster.
    pub(super) fn read(json: &str) -> Result<Status> {
        let value: Value =
            serde_json::from_str(json).context("the node answers with what is no JSON")?;
        let cluster = &value["cluster"];
        let nodes: Vec<Node> = list(&value["nodes"]).map(Node::read).collect();
        let replica = |value: &Value| Replica {
            node: name_or_id(value, "name", "node").unwrap_or_else(|| "?".to_owned()),
            lag: value["lag"].as_u64(),
            alive: value["alive"].as_bool(),
        };
        let shard = |value: &Value| Shard {
            shard: value["shard"].as_u64().unwrap_or_default(),
            leader: name_or_id(value, "leader_name", "leader"),
            term: value["term"].as_u64(),
            commit: value["commit"].as_u64(),
            applied: value["applied"].as_u64(),
            voters: list(&value["voters"]).map(replica).collect(),
            learners: list(&value["learners"]).map(replica).collect(),
        };
        Ok(Status {
            cluster: Cluster {
                id: word(&cluster["id"]),
                state: word(&cluster["state"])
                    .context("the node does not tell the state of its cluster")?,
                reason: word(&cluster["forming"]),
            },
            shards: list(&value["shards"]).map(shard).collect(),
            nodes,
        })
    }
}

impl Node {
    fn read(value: &Value) -> Node {
        let unknown = || "?".to_owned();
        Node {
            id: word(&value["id"]).unwrap_or_else(unknown),
            name: word(&value["name"]).unwrap_or_else(unknown),
            address: word(&value["address"]),
            redis: word(&value["redis"]),
            alive: value["alive"].as_bool(),
            round_trip: value["round_trip_us"].as_u64().map(Duration::from_micros),
            shards_led: value["shards_led"].as_u64(),
            disk_free_bytes: value["disk_free_bytes"].as_u64(),
            disk_total_bytes: value["disk_total_bytes"].as_u64(),
            memory_bytes: value["memory_bytes"].as_u64(),
            version: word(&value["version"]),
            state: word(&value["state"]),
        }
    }
}

/// A node that left while others still know of its replicas has no name any more.
fn name_or_id(value: &Value, name: &str, id: &str) -> Option<String> {
    word(&value[name]).or_else(|| word(&value[id]))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A text that says something.
fn word(value: &Value) -> Option<String> {
    value
        .as_str()
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}
