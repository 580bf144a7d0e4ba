use super::*;

fn started(voters: &[u64], term: u64, seed: u64) -> Shard {
    let config = Config {
        shard: ShardId(0),
        replica: ReplicaId(1),
        election_ticks: 5,
        seed,
    };
    let mut log = LogStore::new(1, 1, voters);
    log.set_hard_state(HardState {
        term,
        commit: 1,
        ..HardState::default()
    });
    Shard::start(config, log, 1, Timestamp::ZERO)
}

fn timeouts(seed: u64) -> Vec<usize> {
    let after_a_tick = |term| {
        let mut shard = started(&[1, 2, 3], term, seed);
        shard.tick();
        shard.raft.raft.randomized_election_timeout()
    };
    (1..40).map(after_a_tick).collect()
}

#[test]
fn election_timeouts_follow_from_the_seed() {
    assert_eq!(timeouts(7), timeouts(7));
    assert_ne!(timeouts(7), timeouts(8));
    for ticks in 5..10 {
        assert!(timeouts(7).contains(&ticks));
    }
}

#[test]
fn a_new_term_reads_nothing_before_its_first_entry_is_applied() {
    let mut shard = started(&[1], 1, 0);
    let mut keyspace = Keyspace::new(0);
    let mut effects = Effects::default();
    let mut settle = |shard: &mut Shard| {
        shard.advance(&mut effects);
        shard.persisted(effects.mark.take().expect("an entry is to be written"));
        shard.advance(&mut effects);
        shard.apply(&mut keyspace, &mut effects);
    };
    settle(&mut shard);
    assert!(shard.may_read());
    let term = shard.term();
    shard.raft.raft.become_follower(term + 1, 0);
    shard.raft.campaign().unwrap();
    assert!(shard.is_leader() && !shard.may_read());
    settle(&mut shard);
    assert!(shard.may_read());
}
