//! What is written is read back; nothing else is read, and nothing makes a reader panic.

#![allow(clippy::unwrap_used, reason = "a failure of a test is a panic")]

use std::fmt::Debug;

use base::{ClusterId, Incarnation, NodeId, ReplicaId, ShardId};
use meta::{
    Change, ClusterMap, DecodeError, Founder, Member, Membership, NodeState, NodeStatus,
    ReplicaProgress, ReplicaStatus, Role,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Voter), Just(Role::Learner)]
}

fn state() -> impl Strategy<Value = NodeState> {
    prop_oneof![
        Just(NodeState::Member),
        Just(NodeState::Draining),
        Just(NodeState::Leaving)
    ]
}

/// Small enough that changes meet.
fn node() -> impl Strategy<Value = NodeId> {
    (1..8u64).prop_map(NodeId)
}

fn shard() -> impl Strategy<Value = ShardId> {
    (0..4u32).prop_map(ShardId)
}

fn replica() -> impl Strategy<Value = ReplicaId> {
    (1..30u64).prop_map(ReplicaId)
}

fn founder() -> impl Strategy<Value = Founder> {
    let texts = ("[a-z]{0,9}", ".{0,30}", ".{0,30}", "[0-9.]{0,9}");
    (node(), 0..5u64, texts, any::<u32>()).prop_map(|(node, incarnation, texts, formats)| Founder {
        node,
        incarnation: Incarnation(incarnation),
        name: texts.0,
        address: texts.1,
        redis: texts.2,
        version: texts.3,
        formats,
    })
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        founder().prop_map(Change::join),
        (node(), state()).prop_map(|(node, state)| Change::SetState { node, state }),
        node().prop_map(|node| Change::Remove { node }),
        (shard(), node()).prop_map(|(shard, node)| Change::Allocate { shard, node }),
        (shard(), replica(), role()).prop_map(|(shard, replica, role)| Change::Place {
            shard,
            replica,
            role
        }),
        (shard(), replica()).prop_map(|(shard, replica)| Change::Unplace { shard, replica }),
    ]
}

/// A map to which things have happened.
fn cluster_map() -> impl Strategy<Value = ClusterMap> {
    (vec(founder(), 1..5), 1..4u32, 1..6u32, vec(change(), 0..40)).prop_map(
        |(mut founders, shards, replicas, changes)| {
            founders.sort_by_key(|founder| founder.node);
            founders.dedup_by_key(|founder| founder.node);
            let mut map = ClusterMap::founding(ClusterId(9), &founders, shards, replicas, 77);
            for change in &changes {
                let before = map.clone();
                let applied = map.apply(change);
                let grown = u64::from(map != before);
                assert_eq!(map.epoch, before.epoch + grown, "{change:?}: {applied:?}");
                if let Err(rejected) = applied {
                    assert_eq!(map, before);
                    assert!(rejected.to_string().len() > 20);
                }
                check(&map);
            }
            map
        },
    )
}

/// What the map promises of itself.
fn check(map: &ClusterMap) {
    assert!(map.nodes.keys().all(|node| !map.removed.contains_key(node)));
    assert_eq!(map.placements.len(), map.shards as usize);
    for placed in map.placements.values() {
        let mut nodes: Vec<NodeId> = placed.values().map(|placement| placement.node).collect();
        assert!(nodes.iter().all(|node| map.nodes.contains_key(node)));
        assert!(placed.keys().all(|replica| replica.0 < map.next_replica));
        nodes.sort();
        nodes.dedup();
        assert_eq!(nodes.len(), placed.len(), "two replicas on a node");
    }
}

fn membership() -> impl Strategy<Value = Membership> {
    btree_map(1..u64::MAX, (1..u64::MAX, role()), 0..9).prop_map(|members| {
        Membership::new(members.into_iter().map(|(replica, (node, role))| Member {
            replica: ReplicaId(replica),
            node: NodeId(node),
            role,
        }))
    })
}

fn replica_status() -> impl Strategy<Value = ReplicaStatus> {
    let indices = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>());
    let progress =
        (1..u64::MAX, any::<u64>(), any::<bool>()).prop_map(|(replica, matched, active)| {
            ReplicaProgress {
                replica: ReplicaId(replica),
                matched,
                active,
            }
        });
    let flags = (any::<bool>(), any::<bool>());
    let members = (option::of(membership()), vec(progress, 0..5));
    let leader = option::of(any::<u64>().prop_map(ReplicaId));
    (flags, leader, indices, members).prop_map(|(flags, leader, indices, members)| ReplicaStatus {
        shard: ShardId(0),
        replica: ReplicaId(1),
        leads: flags.0,
        leader,
        term: indices.0,
        last: indices.1,
        commit: indices.2,
        applied: indices.3,
        membership: members.0,
        progress: members.1,
        change_pending: flags.1,
    })
}

fn node_status() -> impl Strategy<Value = NodeStatus> {
    let numbers = (
        any::<u64>(),
        any::<u64>(),
        any::<u64>(),
        any::<u64>(),
        any::<u64>(),
    );
    let keys = btree_map((any::<u32>(), 1..u64::MAX), replica_status(), 0..4);
    (numbers, keys).prop_map(|(numbers, replicas)| {
        let named = replicas
            .into_iter()
            .map(|((shard, replica), status)| ReplicaStatus {
                shard: ShardId(shard),
                replica: ReplicaId(replica),
                ..status
            });
        NodeStatus {
            epoch: numbers.0,
            incarnation: Incarnation(numbers.1),
            disk_free_bytes: numbers.2,
            disk_total_bytes: numbers.3,
            memory_bytes: numbers.4,
            refuses_writes: numbers.1 % 2 == 1,
            replicas: named.collect(),
        }
    })
}

/// The value is read back, alone or with something behind it, and nothing shorter is read.
fn reads_back<T: PartialEq + Debug>(
    value: &T,
    encode: impl Fn(&T, &mut Vec<u8>),
    decode: impl Fn(&[u8]) -> Result<T, DecodeError>,
    decode_front: impl Fn(&[u8]) -> Result<(T, usize), DecodeError>,
) {
    let mut bytes = vec![0xee];
    encode(value, &mut bytes);
    assert_eq!(bytes[0], 0xee, "what was there stays");
    let mut bytes = bytes.split_off(1);
    assert_eq!(decode(&bytes).as_ref(), Ok(value));
    for cut in 0..bytes.len() {
        let short = decode(&bytes[..cut]);
        assert!(
            matches!(short, Err(DecodeError::Short(_))),
            "{cut}: {short:?}"
        );
    }
    // A later minor version appends to the record.
    let length = bytes.len();
    let mut later = bytes.clone();
    later.extend_from_slice(b"more");
    later[2] = 1;
    let record = u32::from_le_bytes([later[4], later[5], later[6], later[7]]) + 4;
    later[4..8].copy_from_slice(&record.to_le_bytes());
    assert_eq!(decode(&later).as_ref(), Ok(value));
    // A later major version is refused as such.
    later[0] = 2;
    let refused = decode(&later).unwrap_err();
    assert!(matches!(
        refused,
        DecodeError::Version {
            major: 2,
            minor: 1,
            ..
        }
    ));
    assert!(refused.to_string().contains("start a newer version"));
    // Something else behind it.
    bytes.push(0);
    assert_eq!(
        decode_front(&bytes),
        Ok((decode(&bytes[..length]).unwrap(), length))
    );
    let trailing = decode(&bytes);
    assert!(matches!(
        trailing,
        Err(DecodeError::Trailing { count: 1, .. })
    ));
}

/// Bytes are refused, or they are read as something that is written and read the same.
fn survives<T: PartialEq + Debug>(
    bytes: &[u8],
    encode: impl Fn(&T, &mut Vec<u8>),
    decode: impl Fn(&[u8]) -> Result<T, DecodeError>,
) {
    if let Ok(value) = decode(bytes) {
        let mut again = Vec::new();
        encode(&value, &mut again);
        assert_eq!(decode(&again), Ok(value));
    }
}

fn survives_as_anything(bytes: &[u8]) {
    survives(bytes, ClusterMap::encode, ClusterMap::decode);
    survives(bytes, Change::encode, Change::decode);
    survives(bytes, Membership::encode, Membership::decode);
    survives(bytes, NodeStatus::encode, NodeStatus::decode);
}

proptest! {
    #[test]
    fn maps_read_back(map in cluster_map()) {
        reads_back(&map, ClusterMap::encode, ClusterMap::decode, ClusterMap::decode_front);
    }

    #[test]
    fn changes_read_back(change in change()) {
        reads_back(&change, Change::encode, Change::decode, Change::decode_front);
    }

    #[test]
    fn memberships_read_back(membership in membership()) {
        reads_back(
            &membership,
            Membership::encode,
            Membership::decode,
            Membership::decode_front,
        );
    }

    #[test]
    fn statuses_read_back(status in node_status()) {
        reads_back(&status, NodeStatus::encode, NodeStatus::decode, NodeStatus::decode_front);
    }

    #[test]
    fn random_bytes_are_refused(
        bytes in vec(any::<u8>(), 0..200),
        has_head in any::<bool>(),
    ) {
        let mut all = match has_head {
            true => [&[1, 0, 0, 0][..], &(bytes.len() as u32).to_le_bytes()].concat(),
            false => Vec::new(),
        };
        all.extend_from_slice(&bytes);
        survives_as_anything(&all);
    }

    #[test]
    fn damaged_maps_do_no_harm(
        map in cluster_map(),
        status in node_status(),
        damage in vec((any::<usize>(), any::<u8>()), 1..4),
    ) {
        let (mut of_map, mut of_status) = (Vec::new(), Vec::new());
        map.encode(&mut of_map);
        status.encode(&mut of_status);
        for bytes in [&mut of_map, &mut of_status] {
            for &(at, value) in &damage {
                let at = at % bytes.len();
                bytes[at] = value;
            }
            survives_as_anything(bytes);
        }
    }

    #[test]
    fn the_same_changes_make_the_same_map(map in cluster_map(), changes in vec(change(), 0..20)) {
        let (mut one, mut other) = (map.clone(), map);
        for change in &changes {
            let mut bytes = Vec::new();
            change.encode(&mut bytes);
            assert_eq!(one.apply(change), other.apply(&Change::decode(&bytes).unwrap()));
        }
        assert_eq!(one, other);
    }
}

/// The bytes of version 1.0, which stand in logs and snapshots.
#[test]
fn the_layout_is_as_it_was() {
    let membership = Membership::new([
        Member {
            replica: ReplicaId(2),
            node: NodeId(0x11),
            role: Role::Learner,
        },
        Member {
            replica: ReplicaId(1),
            node: NodeId(0x10),
            role: Role::Voter,
        },
    ]);
    let mut bytes = Vec::new();
    membership.encode(&mut bytes);
    #[rustfmt::skip]
    assert_eq!(
        bytes,
        [
            1, 0, 0, 0, 46, 0, 0, 0,
            2, 0, 0, 0,
            17, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 1,
            17, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0x11, 0, 0, 0, 0, 0, 0, 0, 2,
        ]
    );
    let mut bytes = Vec::new();
    let change = Change::Place {
        shard: ShardId(3),
        replica: ReplicaId(4),
        role: Role::Voter,
    };
    change.encode(&mut bytes);
    #[rustfmt::skip]
    assert_eq!(
        bytes,
        [1, 0, 0, 0, 18, 0, 0, 0, 5, 13, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 1]
    );
}

/// Members of a later version have one more field each.
#[test]
fn fields_of_nested_records_that_are_not_known_are_passed_over() {
    #[rustfmt::skip]
    let later = [
        1, 0, 1, 0, 48, 0, 0, 0,
        2, 0, 0, 0,
        18, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 1, 0xff,
        18, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0x11, 0, 0, 0, 0, 0, 0, 0, 2, 0xff,
    ];
    let membership = Membership::decode(&later).unwrap();
    assert_eq!(membership.voters().count(), 1);
    assert_eq!(membership.get(ReplicaId(2)).unwrap().node, NodeId(0x11));
}

#[test]
fn a_kind_of_change_that_is_not_known_is_refused_as_such() {
    let later = [1, 0, 1, 0, 5, 0, 0, 0, 99, 0, 0, 0, 0];
    let refused = Change::decode(&later).unwrap_err();
    assert!(matches!(refused, DecodeError::Kind { found: 99, .. }));
}

#[test]
fn members_out_of_order_and_replicas_twice_are_refused() {
    let mut bytes = Vec::new();
    let member = |replica| Member {
        replica: ReplicaId(replica),
        node: NodeId(1),
        role: Role::Voter,
    };
    Membership::new([member(1), member(2)]).encode(&mut bytes);
    // The replica of the first member.
    for first in [2, 3] {
        bytes[16] = first;
        let refused = Membership::decode(&bytes);
        assert_eq!(refused, Err(DecodeError::Value("order of members")));
    }
}

#[test]
fn a_replica_that_was_never_given_out_is_refused() {
    let founder = Founder {
        node: NodeId(1),
        incarnation: Incarnation(1),
        name: String::new(),
        address: String::new(),
        redis: String::new(),
        version: String::new(),
        formats: 1,
    };
    let mut map = ClusterMap::founding(ClusterId(1), &[founder], 1, 3, 0);
    map.next_replica = 1;
    let mut bytes = Vec::new();
    map.encode(&mut bytes);
    let refused = ClusterMap::decode(&bytes);
    assert_eq!(refused, Err(DecodeError::Value("replica id")));
}
