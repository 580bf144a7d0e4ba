//! Power is cut while a node starts: the next start finds the same.

use wal::Body;
use wal::testing::{Fault, Operation};

use crate::world::{World, entry, hard_state, replicas, snapshot_id, stored};

/// A disk with all there can be: a replica that goes on, one that was never filled, one that was removed,
/// and one that nobody told to go.
fn world() -> World {
    let world = World::joined();
    world.snapshot(snapshot_id(0, 5, 1, 7));
    world.log(0, 5, &[hard_state(2, 5, 7), entry(2, 8)]);
    world.snapshot(snapshot_id(0, 5, 2, 8));
    world.log(1, 6, &[hard_state(3, 4, 0)]);
    world.snapshot(snapshot_id(2, 7, 1, 7));
    world.log(2, 7, &[hard_state(2, 5, 7), Body::Forget]);
    world.snapshot(snapshot_id(3, 8, 1, 7));
    world.log(3, 8, &[hard_state(2, 5, 7)]);
    world.snapshot(snapshot_id(3, 10, 1, 9));
    world
}

#[test]
fn a_start_that_ends_anywhere_changes_nothing_for_the_next() {
    let expected = [(0, 5, Some(8), 8), (1, 6, None, 0), (3, 10, Some(9), 9)];
    let mut failures = 0;
    for operation in [
        Operation::Create,
        Operation::Write,
        Operation::Sync,
        Operation::Name,
        Operation::Read,
    ] {
        for after in 0..12 {
            for seed in 0..4 {
                let world = world();
                world.disk.inject(Fault {
                    operation,
                    after,
                    kind: std::io::ErrorKind::Other,
                });
                failures += u32::from(world.recover().is_err());
                world.disk.crash(seed);
                let recovered = world.recover().unwrap();
                assert_eq!(replicas(&recovered), expected, "{operation:?} {after}");
                assert_eq!(stored(&recovered.replicas[0].keyspace).unwrap(), "8");
                drop(recovered);
                assert_eq!(world.names().len(), 2);
            }
        }
    }
    assert!(failures > 40, "{failures}");
}
