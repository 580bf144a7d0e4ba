use super::*;

fn settle(shard: &mut Shard, keyspace: &mut Keyspace) {
    let mut effects = Effects::default();
    shard.advance(&mut effects);
    shard.persisted(effects.mark.take().expect("an entry is to be written"));
    shard.advance(&mut effects);
    shard.apply(keyspace, &mut effects);
}

#[test]
fn a_new_term_reads_nothing_before_its_first_entry_is_applied() {
    let config = Config {
        shard: ShardId(0),
        replica: ReplicaId(1),
        node: NodeId(1),
        heartbeat: Duration::from_millis(100),
        election: Duration::from_millis(500),
        patience: Duration::from_secs(2),
        seed: 0,
        lease: true,
    };
    let sole = Member {
        replica: ReplicaId(1),
        node: NodeId(1),
        role: Role::Voter,
    };
    let log = LogStore::new(1, 1, Membership::new([sole]));
    let mut shard = Shard::start(config, log, 1, Timestamp::ZERO, None, Duration::ZERO);
    let mut keyspace = Keyspace::new(0);
    settle(&mut shard, &mut keyspace);
    assert_eq!(shard.lease_until(), Duration::MAX);
    let term = shard.term();
    shard.raft.raft.become_follower(term + 1, 0);
    shard.raft.campaign().unwrap();
    assert!(shard.is_leader() && shard.lease_until() == Duration::ZERO);
    settle(&mut shard, &mut keyspace);
    assert_eq!(shard.lease_until(), Duration::MAX);
}
