//! Founding and joining.

use std::sync::Arc;

use base::{Db, ShardId};
use meta::ClusterMap;
use node::startup::{self, OpenError, Recovered};
use wal::testing::{Fault, MemDisk, Operation};
use wal::{Disk, Snapshots};

use crate::world::{NODE, World, hard_state, map, options, replicas, snapshot_id};

/// The shard and replica of each of this node's replicas, and the entry of its snapshot.
fn here(map: &ClusterMap) -> Vec<(u32, u64, Option<u64>)> {
    let placements = map.placements.iter();
    placements
        .flat_map(|(shard, replicas)| {
            let here = replicas.iter().filter(|(_, at)| at.node == NODE);
            here.map(|(replica, _)| (shard.0, replica.0, Some(1)))
        })
        .collect()
}

/// The same of what came back. A sole voter leads at once, with an entry of its own.
fn begun(recovered: &Recovered<MemDisk>) -> Vec<(u32, u64, Option<u64>)> {
    let all = replicas(recovered).into_iter();
    all.map(|(shard, replica, snapshot, _)| (shard, replica, snapshot))
        .collect()
}

#[test]
fn a_founder_gets_exactly_its_replicas_and_the_meta_shard_holds_the_map() {
    for founders in [1, 3, 5] {
        let world = World::new();
        let map = map(founders, 7);
        world.found(&map).unwrap();
        let recovered = world.recover().unwrap();
        assert_eq!(begun(&recovered), here(&map), "{founders} founders");
        for replica in &recovered.replicas {
            let shard = replica.shard.id();
            assert_eq!(
                replica.shard.membership(),
                &map.membership_at_founding(shard)
            );
            let expected = (shard == ShardId(0)).then_some(&map);
            assert_eq!(replica.shard.map(), expected);
            assert!(Db::all().all(|db| replica.keyspace.len(db) == 0));
        }
    }
    assert!(
        here(&map(5, 7)).len() < 7,
        "the test has a node without some"
    );
}

#[test]
fn a_founder_without_a_replica_starts() {
    let world = World::new();
    let mut map = map(5, 7);
    for placements in map.placements.values_mut() {
        placements.retain(|_, at| at.node != NODE);
    }
    world.found(&map).unwrap();
    assert!(world.recover().unwrap().replicas.is_empty());
}

#[test]
fn founding_twice_is_founding_once() {
    let world = World::new();
    let map = map(3, 2);
    world.found(&map).unwrap();
    world.found(&map).unwrap();
    assert_eq!(begun(&world.recover().unwrap()), here(&map));
}

#[test]
fn a_founding_that_ended_anywhere_leaves_nothing_that_another_one_finds() {
    let (first, second) = (map(5, 7), map(3, 2));
    let operations = [
        Operation::Create,
        Operation::Write,
        Operation::Sync,
        Operation::Name,
    ];
    let mut failures = 0;
    for operation in operations {
        for after in 0..20 {
            let world = World::new();
            world.disk.inject(Fault {
                operation,
                after,
                kind: std::io::ErrorKind::Other,
            });
            failures += usize::from(world.found(&first).is_err());
            world.disk.crash(after);
            world.found(&second).unwrap();
            world.disk.crash(after + 1);
            assert_eq!(begun(&world.recover().unwrap()), here(&second));
            // Joining a cluster that others founded leaves nothing of it either.
            let joining = World::new();
            joining.found(&first).unwrap();
            startup::join(&joining.disk, &joining.dirs, options()).unwrap();
            assert!(joining.names().is_empty());
        }
    }
    assert!(failures > 30, "{failures}");
}

#[test]
fn where_there_is_data_nothing_is_founded_and_nothing_joins() {
    let with_log = World::new();
    with_log.found(&map(1, 1)).unwrap();
    with_log.log(0, 1, &[hard_state(2, 1, 1)]);
    let with_snapshot = World::new();
    with_snapshot.found(&map(1, 1)).unwrap();
    with_snapshot.snapshot(snapshot_id(0, 1, 2, 9));
    for world in [with_log, with_snapshot] {
        let before = world.names();
        let refused = world.found(&map(1, 1));
        assert!(matches!(refused, Err(OpenError::NotEmpty { .. })));
        let refused = startup::join(&world.disk, &world.dirs, options());
        let Err(error @ OpenError::NotEmpty { .. }) = refused else {
            panic!("{refused:?}");
        };
        assert!(error.to_string().contains("restore the identity file"));
        assert_eq!(world.names(), before);
    }
}

#[test]
fn a_node_that_joined_has_a_log_and_no_replica() {
    let world = World::joined();
    world.disk.crash(1);
    let recovered = world.recover().unwrap();
    assert!(recovered.replicas.is_empty());
    assert_eq!(recovered.log.records, 0);
}

#[test]
fn a_log_that_is_gone_stops_the_start() {
    for world in [World::joined(), World::new()] {
        for name in world.disk.list(&world.dirs.log).unwrap() {
            world.disk.remove(&world.dirs.log.join(name)).unwrap();
        }
        let error = world.recover().err().expect("it is gone");
        assert!(matches!(error, OpenError::NoLog { .. }), "{error}");
        assert!(error.to_string().contains("node/log"), "{error}");
        assert!(world.disk.list(&world.dirs.log).unwrap().is_empty());
    }
}

#[test]
fn an_unfinished_snapshot_goes_at_the_start() {
    let world = World::joined();
    let files = Snapshots::open(Arc::clone(&world.disk), &world.dirs.snapshots).unwrap();
    let mut writer = files.create(snapshot_id(2, 7, 2, 9)).unwrap();
    writer.write(&[1; 1000]).unwrap();
    drop(writer);
    assert_eq!(world.names().len(), 1);
    assert!(world.recover().unwrap().replicas.is_empty());
    assert!(world.names().is_empty());
}
