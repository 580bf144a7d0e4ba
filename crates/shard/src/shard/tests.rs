use super::*;
use crate::MemberChange;

fn settle(shard: &mut Shard, keyspace: &mut Keyspace) {
    let mut effects = Effects::default();
    shard.advance(&mut effects);
    shard.persisted(effects.mark.take().expect("an entry is to be written"));
    shard.advance(&mut effects);
    shard.apply(keyspace, &mut effects);
}

/// A replica that leads, as it is the only one.
fn sole_leader() -> Shard {
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
    Shard::start(config, log, 1, Timestamp::ZERO, None, Duration::ZERO)
}

#[test]
fn a_new_term_reads_nothing_before_its_first_entry_is_applied() {
    let mut shard = sole_leader();
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

#[test]
fn a_leader_that_is_removed_leads_no_more() {
    let mut shard = sole_leader();
    let mut keyspace = Keyspace::new(0);
    settle(&mut shard, &mut keyspace);
    let (replica, node) = (ReplicaId(2), NodeId(2));
    shard.apply_members(MemberChange::AddLearner { replica, node });
    shard.apply_members(MemberChange::Promote { replica });
    assert!(shard.is_leader());
    let replica = ReplicaId(1);
    shard.apply_members(MemberChange::Remove { replica });
    assert!(!shard.is_leader());
}
