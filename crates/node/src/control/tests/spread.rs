//! What follows from the map: replicas, leaders, the balancer's work, the state of the cluster.

use std::time::Duration;

use base::{Incarnation, Moment, NodeId, ReplicaId, ShardId, Timestamp};
use meta::{Change, ClusterMap, Founder, Membership, NodeStatus, ReplicaStatus, Role};

use super::network::{DOWN_AFTER, Network, address};
use crate::control::message::Message;
use crate::control::{
    Action, ClusterState, Control, ControlConfig, ControlInput, META, PeerInfo, Restored,
    ShardOrder,
};

fn founder(node: u64) -> Founder {
    Founder {
        node: NodeId(node),
        incarnation: Incarnation(1),
        name: format!("node-{node}"),
        address: format!("host-{node}:1"),
        redis: format!("host-{node}:2"),
        version: "1".into(),
        formats: 1,
    }
}

fn status(replicas: &[(u32, u64)]) -> NodeStatus {
    NodeStatus {
        epoch: 0,
        incarnation: Incarnation(1),
        disk_free_bytes: 0,
        disk_total_bytes: 0,
        memory_bytes: 0,
        refuses_writes: false,
        replicas: replicas
            .iter()
            .map(|&(shard, replica)| ReplicaStatus {
                shard: ShardId(shard),
                replica: ReplicaId(replica),
                leads: false,
                leader: None,
                term: 1,
                last: 0,
                commit: 0,
                applied: 0,
                membership: None,
                progress: Vec::new(),
                change_pending: false,
            })
            .collect(),
    }
}

/// Node 9 of a cluster that node 1 founded, as it starts with a cached map.
struct Member {
    control: Control,
    map: ClusterMap,
    actions: Vec<Action>,
    now: Moment,
}

const AT: Moment = Moment {
    wall: Timestamp::ZERO,
    monotonic: Duration::from_secs(5),
};

impl Member {
    fn new(shards: u32, cached: bool) -> Member {
        let mut map = ClusterMap::founding(base::ClusterId(4), &[founder(1)], shards, 3, 5);
        map.apply(&Change::join(founder(9))).unwrap();
        let config = ControlConfig {
            local: founder(9),
            hosts: vec!["host-1:1".into()],
            shards,
            replicas: 3,
            down_after: DOWN_AFTER,
            seed: 1,
        };
        let restored = Restored {
            cluster: Some(map.cluster),
            founding: None,
            map: cached.then(|| map.clone()),
        };
        let mut member = Member {
            control: Control::new(config, restored, AT).unwrap(),
            map,
            actions: Vec::new(),
            now: AT,
        };
        member.hear(ControlInput::Greeted(PeerInfo {
            node: NodeId(1),
            name: "node-1".into(),
            address: "host-1:1".into(),
            incarnation: Incarnation(1),
            cluster: Some(member.map.cluster),
        }));
        member
    }

    fn hear(&mut self, input: ControlInput) {
        self.control.handle(self.now, input, &mut self.actions);
    }

    /// What is ordered of shard 0 in the next second.
    fn orders(&mut self) -> Vec<ShardOrder> {
        self.now.monotonic += Duration::from_secs(1);
        self.actions.clear();
        self.hear(ControlInput::Tick);
        let orders = self.actions.iter().filter_map(|action| match action {
            Action::Shard { order, .. } => Some(order.clone()),
            _ => None,
        });
        orders.collect()
    }

    fn hear_map(&mut self) {
        let bytes = Message::Map(self.map.clone()).encode();
        let from = NodeId(1);
        self.hear(ControlInput::Message { from, bytes });
    }

    /// What was ordered to come and go since this was asked last.
    fn moves(&mut self) -> Vec<ShardOrder> {
        std::mem::take(&mut self.actions)
            .into_iter()
            .filter_map(|action| match action {
                Action::Shard { order, .. } => Some(order),
                _ => None,
            })
            .filter(|order| {
                matches!(
                    order,
                    ShardOrder::Create { .. } | ShardOrder::Destroy { .. }
                )
            })
            .collect()
    }

    fn allocate(&mut self) -> ReplicaId {
        let (shard, node) = (META, NodeId(9));
        match self.map.apply(&Change::Allocate { shard, node }).unwrap() {
            meta::Outcome::Allocated(replica) => replica,
            meta::Outcome::Done => panic!("it has an id"),
        }
    }
}

#[test]
fn a_learner_of_the_map_that_is_not_there_is_created_once_the_replicas_are_known() {
    let mut member = Member::new(1, false);
    let replica = member.allocate();
    member.hear_map();
    assert_eq!(member.moves(), []);
    member.hear(ControlInput::Status(status(&[])));
    assert_eq!(member.moves(), [ShardOrder::Create { replica }]);
    member.hear(ControlInput::Status(status(&[(0, replica.0)])));
    assert_eq!(member.moves(), []);
}

#[test]
fn a_voter_is_never_created() {
    let mut member = Member::new(1, false);
    let replica = member.allocate();
    let (shard, role) = (META, Role::Voter);
    let place = Change::Place {
        shard,
        replica,
        role,
    };
    member.map.apply(&place).unwrap();
    member.hear_map();
    member.hear(ControlInput::Status(status(&[])));
    assert_eq!(member.moves(), []);
}

#[test]
fn a_replica_that_the_map_gave_up_is_destroyed_and_one_that_it_does_not_know_yet_is_not() {
    let mut member = Member::new(1, false);
    let replica = member.allocate();
    let shard = META;
    member
        .map
        .apply(&Change::Unplace { shard, replica })
        .unwrap();
    let next = member.map.next_replica;
    member.hear_map();
    member.hear(ControlInput::Status(status(&[(0, replica.0), (0, next)])));
    assert_eq!(member.moves(), [ShardOrder::Destroy { replica }]);
}

#[test]
fn nothing_is_created_by_a_map_that_may_be_old() {
    let mut member = Member::new(1, true);
    let replica = member.allocate();
    let mut control = member.control;
    control.map = Some(member.map.clone());
    member.control = control;
    member.hear(ControlInput::Status(status(&[])));
    assert_eq!(member.moves(), []);
    // Somebody has none that is newer.
    let mut theirs = status(&[]);
    theirs.epoch = member.map.epoch;
    let bytes = Message::Status(theirs).encode();
    let from = NodeId(1);
    member.hear(ControlInput::Message { from, bytes });
    assert_eq!(member.moves(), [ShardOrder::Create { replica }]);
}

#[test]
fn who_has_an_older_map_is_sent_the_newer_one_and_an_older_one_is_not_taken() {
    let mut member = Member::new(1, true);
    member.actions.clear();
    let bytes = Message::Status(status(&[])).encode();
    let from = NodeId(1);
    member.hear(ControlInput::Message { from, bytes });
    let sent = Action::Send {
        to: NodeId(1),
        bytes: Message::Map(member.map.clone()).encode(),
    };
    assert!(member.actions.contains(&sent), "{:?}", member.actions);
    let newer = member.map.clone();
    member.map.epoch -= 1;
    member.map.nodes.remove(&NodeId(1));
    member.hear_map();
    assert_eq!(member.control.map(), Some(&newer));
}

#[test]
fn strangers_tell_nothing() {
    let mut member = Member::new(1, true);
    member.hear(ControlInput::Greeted(PeerInfo {
        node: NodeId(7),
        name: "node-7".into(),
        address: "host-7:1".into(),
        incarnation: Incarnation(1),
        cluster: None,
    }));
    member.map.epoch += 1;
    let bytes = Message::Map(member.map.clone()).encode();
    let from = NodeId(7);
    member.hear(ControlInput::Message { from, bytes });
    assert_eq!(member.control.epoch(), member.map.epoch - 1);
}

#[test]
fn orders_of_a_leader_that_was_deposed_are_not_heard() {
    let mut member = Member::new(1, true);
    let mut own = status(&[(0, 1)]);
    own.replicas[0].leads = true;
    own.replicas[0].term = 3;
    member.hear(ControlInput::Status(own));
    let replica = ReplicaId(8);
    let order = ShardOrder::Promote { replica };
    let from = NodeId(1);
    for (term, is_heard) in [(4, true), (2, false), (3, false), (4, true)] {
        let shard = META;
        let bytes = Message::Order {
            term,
            shard,
            order: order.clone(),
        };
        let bytes = bytes.encode();
        member.actions.clear();
        member.hear(ControlInput::Message { from, bytes });
        let heard = Action::Shard {
            shard,
            order: order.clone(),
        };
        assert_eq!(member.actions.contains(&heard), is_heard, "{term}");
    }
}

#[test]
fn nothing_is_planned_with_a_map_that_shard_0_has_not_applied_here() {
    let mut member = Member::new(1, true);
    let replica = member.allocate();
    member.control.map = Some(member.map.clone());
    let mut own = status(&[(0, replica.0)]);
    own.replicas[0].leads = true;
    member.hear(ControlInput::Status(own.clone()));
    let map = member.map.clone();
    assert_eq!(member.orders(), []);
    member.hear(ControlInput::Map(map));
    assert_eq!(member.orders(), [], "no entry of its term is applied");
    own.replicas[0].membership = Some(Membership::new([meta::Member {
        replica,
        node: NodeId(9),
        role: Role::Voter,
    }]));
    member.hear(ControlInput::Status(own));
    assert_ne!(member.orders(), []);
}

#[test]
fn members_are_dialled_where_the_map_says() {
    let mut member = Member::new(1, true);
    let dial = |address: &str| Action::Dial {
        node: NodeId(1),
        address: address.into(),
    };
    assert!(member.actions.contains(&dial("host-1:1")));
    let moved = Founder {
        address: "other:1".into(),
        ..founder(1)
    };
    member.map.apply(&Change::join(moved)).unwrap();
    member.actions.clear();
    member.hear_map();
    assert!(member.actions.contains(&dial("other:1")));
}

#[test]
fn one_node_becomes_three_and_each_shard_has_three_voters() {
    let mut network = Network::new(3, 1);
    network.shards = 4;
    network.start(0);
    network.run(3);
    assert_eq!(network.voters(0), [0]);
    network.start(1);
    network.start(2);
    network.run(60);
    for shard in 0..4 {
        assert_eq!(network.voters(shard), [0, 1, 2]);
    }
    for at in 0..3 {
        assert_eq!(
            network.machines[at].states.last().copied(),
            Some(ClusterState::Ok),
            "{at}"
        );
        assert_eq!(network.machines[at].disk.replicas.len(), 4);
        assert_eq!(network.machines[at].disk.map, network.machines[0].disk.map);
    }
    let mut led = [0; 3];
    (0..4).for_each(|shard| led[network.leader(shard).unwrap()] += 1);
    assert!(led.iter().all(|&led| led >= 1), "{led:?}");
}

#[test]
fn what_the_balancer_wants_comes_about_though_half_of_the_messages_get_lost() {
    let mut network = Network::new(5, 1);
    network.lossy = true;
    network.shards = 3;
    (0..5).for_each(|at| network.start(at));
    network.run_until("balance", |network| {
        (0..3).all(|shard| network.toy.is_some() && network.voters(shard).len() == 3)
            && network
                .machines
                .iter()
                .all(|machine| machine.states.last().copied() == Some(ClusterState::Ok))
    });
}

#[test]
fn a_node_that_stays_away_is_replaced() {
    let mut network = Network::started(4, 4, 2);
    network.run(30);
    let away = network.voters(0)[2];
    network.crash(away);
    network.run(DOWN_AFTER.as_secs() / 2);
    assert!(network.voters(0).contains(&away));
    let watcher = (0..4).find(|&at| at != away).unwrap();
    assert_eq!(
        network.machines[watcher].states.last().copied(),
        Some(ClusterState::Degraded)
    );
    network.run(DOWN_AFTER.as_secs() + 30);
    for shard in 0..2 {
        let voters = network.voters(shard);
        assert!(voters.len() == 3 && !voters.contains(&away), "{voters:?}");
    }
    assert_eq!(
        network.machines[watcher].states.last().copied(),
        Some(ClusterState::Ok)
    );
    // What it had is destroyed when it comes back.
    network.start(away);
    network.run(60);
    let map = network.map(watcher);
    for &(shard, replica) in &network.machines[away].disk.replicas {
        assert!(map.placements[&shard].contains_key(&replica));
    }
}

#[test]
fn a_replaced_machine_takes_the_place_of_the_old_one_without_waiting() {
    let mut network = Network::started(3, 3, 2);
    let at = (network.leader(0).unwrap() + 1) % 3;
    let old = network.node(at);
    network.wipe(at);
    network.start(at);
    network.run(DOWN_AFTER.as_secs() - 10);
    for shard in 0..2 {
        assert_eq!(network.voters(shard), [0, 1, 2]);
    }
    let map = network.map(at);
    assert!(map.removed.contains_key(&old));
    assert_eq!(map.nodes.len(), 3);
}

#[test]
fn a_member_that_restarts_is_not_taken_for_replaced() {
    let mut network = Network::started(3, 3, 1);
    let at = (network.leader(0).unwrap() + 1) % 3;
    network.crash(at);
    network.run(30);
    network.start(at);
    network.run(10);
    assert_eq!(network.map(0).nodes.len(), 3);
    assert_eq!(network.voters(0), [0, 1, 2]);
}

#[test]
fn the_state_tells_what_is_missing() {
    let mut network = Network::started(3, 3, 1);
    let states = |network: &Network| -> Vec<Option<ClusterState>> {
        network
            .machines
            .iter()
            .map(|machine| machine.states.last().copied())
            .collect()
    };
    assert_eq!(states(&network), [Some(ClusterState::Ok); 3]);
    network.crash(2);
    network.run(3);
    assert_eq!(states(&network)[..2], [Some(ClusterState::Degraded); 2]);
    network.crash(1);
    network.run(3);
    assert_eq!(states(&network)[0], Some(ClusterState::NoQuorum));
    network.start(1);
    network.start(2);
    network.run(5);
    assert_eq!(states(&network), [Some(ClusterState::Ok); 3]);
}

#[test]
fn an_election_is_no_loss_of_a_quorum() {
    let mut network = Network::started(3, 3, 1);
    let leader = network.leader(0).unwrap();
    for machine in &mut network.machines {
        machine.states.clear();
    }
    network.crash(leader);
    network.run(5);
    for at in (0..3).filter(|&at| at != leader) {
        assert_eq!(network.machines[at].states, [ClusterState::Degraded]);
    }
}

#[test]
fn turns_are_told_who_leads() {
    let mut network = Network::started(4, 3, 1);
    let leader = network.leader(0).unwrap();
    let node = network.node(leader);
    for at in 0..4 {
        assert_eq!(network.machines[at].hints[&META], Some(node));
    }
    network.crash(leader);
    network.run(3);
    let node = network.node(network.leader(0).unwrap());
    for at in (0..4).filter(|&at| at != leader) {
        assert_eq!(network.machines[at].hints[&META], Some(node));
    }
}

#[test]
fn a_follower_that_reaches_the_leader_can_tell_who_leads() {
    let mut network = Network::started(4, 3, 1);
    let leader = network.leader(0).unwrap();
    network.cut(3, leader);
    network.run(3);
    let node = network.node(leader);
    assert_eq!(network.machines[3].hints[&META], Some(node));
    assert_eq!(network.machines[3].hosts[0], address(0));
}
