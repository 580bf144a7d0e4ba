//! Power is cut at each step of receiving: after it the old snapshot is there or the new one, and it can be
//! fetched again.

use wal::testing::{Fault, Operation};

use crate::world::{World, content, entries, expect_loaded, id, local, settings, wanted};

#[test]
fn a_power_cut_at_any_step_leaves_the_old_snapshot_or_the_new_one() {
    let (old, new) = (content(20, 1), content(200, 2));
    let mut steps = 0;
    let mut seen = [0, 0];
    'steps: loop {
        for seed in 0..4 {
            let mut world = world_with_old();
            world.make(id(0, 10), &mut content(200, 2));
            world.want(wanted(id(0, 10)));
            for _ in 0..steps {
                if !world.received.is_empty() {
                    break 'steps;
                }
                world.step();
            }
            world.crash_receiver(seed);
            let files = world.receiver_files.list().unwrap();
            assert_eq!(files.len(), world.names().len(), "unfinished files go");
            let newest = *files.last().unwrap();
            let (expected, which) = if newest.index == 10 {
                (&new, 1)
            } else {
                (&old, 0)
            };
            assert_eq!(world.found(newest), entries(expected), "step {steps}");
            seen[which] += 1;
            world.want(wanted(id(0, 10)));
            expect_loaded(world.finish(), id(0, 10), &new);
        }
        steps += 1;
    }
    assert!(steps > 10, "{steps}");
    assert!(seen[0] > 0, "{seen:?}");
}

#[test]
fn a_power_cut_at_any_operation_of_the_end_leaves_the_old_snapshot_or_the_new_one() {
    let (old, new) = (content(20, 1), content(200, 2));
    let mut seen = [0, 0];
    for operation in [Operation::Write, Operation::Sync, Operation::Name] {
        for after in 0..12 {
            for seed in 0..8 {
                let mut world = world_with_old();
                world.make(id(0, 10), &mut content(200, 2));
                // The operation fails, and so does all that would come after: the power is gone.
                world.receiver_disk.inject(Fault {
                    operation,
                    after,
                    kind: std::io::ErrorKind::Other,
                });
                world.want(wanted(id(0, 10)));
                drop(world.finish());
                world.crash_receiver(seed);
                let newest = *world.receiver_files.list().unwrap().last().unwrap();
                let (expected, which) = if newest.index == 10 {
                    (&new, 1)
                } else {
                    (&old, 0)
                };
                assert_eq!(world.found(newest), entries(expected));
                seen[which] += 1;
            }
        }
    }
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
}

#[test]
fn what_was_told_to_be_loaded_survives_any_power_cut() {
    let new = content(200, 2);
    for seed in 0..200 {
        let mut world = world_with_old();
        world.make(id(0, 10), &mut content(200, 2));
        world.want(wanted(id(0, 10)));
        expect_loaded(world.finish(), id(0, 10), &new);
        world.crash_receiver(seed);
        let newest = *world.receiver_files.list().unwrap().last().unwrap();
        assert_eq!(newest, local(id(0, 10)));
        assert_eq!(world.found(newest), entries(&new));
    }
}

/// A receiver that has an older snapshot, durably.
fn world_with_old() -> World {
    let mut world = World::new(settings());
    let mut old = content(20, 1);
    world.make(id(0, 5), &mut old);
    world.want(wanted(id(0, 5)));
    expect_loaded(world.finish(), id(0, 5), &old);
    world
}
