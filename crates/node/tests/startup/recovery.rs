//! What comes back after a restart, and what does not.

use base::{ReplicaId, ShardId};
use node::startup::OpenError;
use wal::Body;

use crate::world::{World, entry, hard_state, map, replicas, snapshot_id, stored};

#[test]
fn each_shard_gets_its_own_records() {
    let world = World::new();
    world.found(&map(3, 3)).unwrap();
    let ids: Vec<_> = replicas(&world.recover().unwrap());
    assert_eq!(ids.len(), 3);
    for (shard, replica, _, _) in &ids {
        let last = 3 + u64::from(*shard);
        let entries = (2..=last).map(|index| entry(1, index));
        let mut bodies: Vec<_> = entries.collect();
        bodies.push(hard_state(4, *replica, last - 1));
        // Records of the shards alternate.
        for body in bodies {
            world.log(*shard, *replica, &[body]);
        }
    }
    let recovered = world.recover().unwrap();
    for (replica, (shard, id, _, _)) in recovered.replicas.iter().zip(ids) {
        let last = 3 + u64::from(shard);
        assert_eq!(replica.shard.last_index(), last);
        assert_eq!(replica.shard.applied(), last - 1);
        assert_eq!(replica.shard.term(), 4);
        assert_eq!(replica.shard.vote(), Some(ReplicaId(id)));
    }
    assert_eq!(recovered.replayed.entries, 2 + 3 + 4);
}

#[test]
fn a_replica_that_was_never_filled_comes_back_empty_with_its_vote() {
    let world = World::joined();
    world.log(4, 17, &[hard_state(3, 16, 0), hard_state(5, 12, 0)]);
    for _ in 0..2 {
        let recovered = world.recover().unwrap();
        assert_eq!(replicas(&recovered), [(4, 17, None, 0)]);
        let replica = &recovered.replicas[0];
        assert_eq!(replica.shard.term(), 5);
        assert_eq!(replica.shard.vote(), Some(ReplicaId(12)));
        assert_eq!(replica.shard.applied(), 0);
        assert!(!replica.shard.is_leader());
    }
}

#[test]
fn a_replica_that_was_filled_needs_its_snapshot() {
    let proofs: [&[Body<'_>]; 4] = [
        &[Body::Snapshot { term: 2, index: 9 }],
        &[hard_state(3, 0, 9)],
        &[entry(1, 2)],
        &[Body::Purge { index: 5 }],
    ];
    for proof in proofs {
        let world = World::joined();
        world.log(4, 17, &[hard_state(3, 16, 0)]);
        world.log(4, 17, proof);
        let error = world.recover().err().expect("its data is gone");
        let OpenError::NoSnapshot { shard, replica, .. } = &error else {
            panic!("{proof:?}: {error}");
        };
        assert_eq!((shard.0, replica.0), (4, 17));
        let text = error.to_string();
        assert!(text.contains("node/snapshots") && text.contains("restore the folder"));
    }
}

#[test]
fn a_removed_replica_does_not_come_back() {
    let world = World::joined();
    world.snapshot(snapshot_id(0, 5, 1, 7));
    world.log(0, 5, &[hard_state(2, 5, 7), entry(2, 8), Body::Forget]);
    let recovered = world.recover().unwrap();
    assert!(recovered.replicas.is_empty());
    assert_eq!(recovered.removed, [snapshot_id(0, 5, 1, 7)]);
    assert!(recovered.left_behind.is_empty());
    drop(recovered);
    assert!(world.names().is_empty());
    // Nor without its files, though its records are still in the log.
    assert!(world.recover().unwrap().replicas.is_empty());
}

#[test]
fn records_that_come_after_the_removal_are_ignored() {
    let world = World::joined();
    world.log(0, 5, &[hard_state(2, 5, 0), Body::Forget]);
    let late = [
        hard_state(3, 0, 9),
        entry(3, 9),
        Body::Snapshot { term: 2, index: 8 },
    ];
    world.log(0, 5, &late);
    assert!(world.recover().unwrap().replicas.is_empty());
}

#[test]
fn what_is_damaged_of_a_removed_replica_does_not_matter() {
    let world = World::joined();
    let id = snapshot_id(0, 5, 1, 7);
    world.snapshot(id);
    world.disk.flip(&world.snapshot_path(id), 60, 1);
    // Neither is the log of it complete.
    world.log(0, 5, &[entry(1, 30), Body::Forget]);
    world.log(1, 6, &[Body::Snapshot { term: 1, index: 9 }, Body::Forget]);
    assert!(world.recover().unwrap().replicas.is_empty());
    assert!(world.names().is_empty());
}

#[test]
fn another_replica_of_the_shard_that_came_after_is_there_alone() {
    let world = World::joined();
    world.snapshot(snapshot_id(0, 5, 1, 7));
    world.log(0, 5, &[hard_state(2, 5, 7), entry(2, 8), Body::Forget]);
    world.log(0, 9, &[hard_state(4, 3, 0)]);
    let recovered = world.recover().unwrap();
    assert_eq!(replicas(&recovered), [(0, 9, None, 0)]);
    assert_eq!(recovered.replicas[0].shard.vote(), Some(ReplicaId(3)));
    drop(recovered);

    world.snapshot(snapshot_id(0, 9, 4, 20));
    world.log(0, 9, &[Body::Snapshot { term: 4, index: 20 }, entry(4, 21)]);
    let recovered = world.recover().unwrap();
    assert_eq!(replicas(&recovered), [(0, 9, Some(20), 21)]);
    assert_eq!(stored(&recovered.replicas[0].keyspace).unwrap(), "20");
}

#[test]
fn of_two_replicas_without_a_word_of_removal_the_later_one_counts() {
    let world = World::joined();
    // Without a sync before each acknowledgement, the end of the log can be lost while the file that was
    // made after it is not.
    world.snapshot(snapshot_id(0, 5, 1, 7));
    world.log(0, 5, &[hard_state(2, 5, 7), entry(2, 8)]);
    world.snapshot(snapshot_id(0, 9, 4, 20));
    let recovered = world.recover().unwrap();
    assert_eq!(replicas(&recovered), [(0, 9, Some(20), 20)]);
    assert_eq!(recovered.left_behind, [(ShardId(0), ReplicaId(5))]);
    drop(recovered);
    // It is forgotten for good.
    world.disk.crash(3);
    let recovered = world.recover().unwrap();
    assert_eq!(replicas(&recovered), [(0, 9, Some(20), 20)]);
    assert!(recovered.left_behind.is_empty());
}

#[test]
fn the_newest_snapshot_counts_also_when_the_log_has_no_marker_of_it() {
    let world = World::joined();
    world.snapshot(snapshot_id(0, 5, 1, 7));
    world.log(0, 5, &[hard_state(1, 0, 7), entry(1, 8), entry(1, 9)]);
    // It was received, and then the power was cut.
    world.snapshot(snapshot_id(0, 5, 3, 40));
    let recovered = world.recover().unwrap();
    assert_eq!(replicas(&recovered), [(0, 5, Some(40), 40)]);
    assert_eq!(stored(&recovered.replicas[0].keyspace).unwrap(), "40");
    assert_eq!(recovered.removed, [snapshot_id(0, 5, 1, 7)]);
    drop(recovered);
    let again = world.recover().unwrap();
    assert_eq!(replicas(&again), [(0, 5, Some(40), 40)]);
    assert!(again.removed.is_empty());
}

#[test]
fn the_first_snapshot_of_an_empty_replica_counts_without_a_marker() {
    let world = World::joined();
    world.log(0, 5, &[hard_state(6, 2, 0)]);
    world.snapshot(snapshot_id(0, 5, 3, 40));
    let recovered = world.recover().unwrap();
    assert_eq!(replicas(&recovered), [(0, 5, Some(40), 40)]);
    assert_eq!(recovered.replicas[0].shard.term(), 6);
    assert_eq!(recovered.replicas[0].shard.vote(), Some(ReplicaId(2)));
}

#[test]
fn damage_stops_the_start_and_says_where() {
    let world = World::joined();
    let id = snapshot_id(0, 5, 1, 7);
    world.snapshot(id);
    world.log(0, 5, &[hard_state(2, 5, 7), entry(2, 8)]);
    let path = world.snapshot_path(id);
    let length = world.disk.contents(&path).len();
    for offset in 0..length {
        world.disk.flip(&path, offset, 0x10);
        let error = world.recover().err();
        let text = error.unwrap_or_else(|| panic!("byte {offset}")).to_string();
        assert!(text.contains("shard 0"), "{text}");
        world.disk.flip(&path, offset, 0x10);
    }
    world.recover().unwrap();
    // A gap in the log is told as well.
    world.log(0, 5, &[entry(2, 11)]);
    let text = world.recover().err().expect("a gap").to_string();
    assert!(text.contains("shard 0, replica 5"), "{text}");
    assert!(text.contains("entry 11 follows entry 8"), "{text}");
}
