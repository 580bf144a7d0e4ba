//! A little model of a cluster that carries out what the balancer plans: orders are late, get lost or are
//! done twice, what is observed is old, nodes die and come back. It checks each step when it is planned and
//! when it takes effect.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use base::{ClusterId, Incarnation, NodeId, ReplicaId, ShardId};
use meta::{
    Change, ClusterMap, Founder, Member, Membership, NodeState, Observed, ObservedShard, Outcome,
    PlanConfig, Rejected, Role, Step, plan, wanted_voters,
};

/// Seconds until a silent node is replaced.
pub(crate) const DOWN_AFTER: u64 = 60;

pub(crate) struct Model {
    pub(crate) map: ClusterMap,
    pub(crate) config: PlanConfig,
    pub(crate) shards: BTreeMap<ShardId, Shard>,
    /// When each node was last alive; those that are alive now have `None`.
    pub(crate) dead_since: BTreeMap<NodeId, Option<u64>>,
    /// How many replicas were allocated.
    pub(crate) allocated: usize,
    pub(crate) now: u64,
    /// Whether orders are late, lost and repeated, and observations old.
    pub(crate) is_rough: bool,
    observed: BTreeMap<ShardId, ObservedShard>,
    changes: VecDeque<(u64, Change)>,
    /// When a node last died: what was planned before may then be unlucky.
    last_death: u64,
    random: u64,
    /// Nodes with little room on their disks, and with none.
    pub(crate) nearly_full: BTreeSet<NodeId>,
    pub(crate) refusing: BTreeSet<NodeId>,
}

pub(crate) struct Shard {
    pub(crate) membership: Membership,
    pub(crate) leader: Option<ReplicaId>,
    /// Seconds that each replica needs to catch up.
    lag: BTreeMap<ReplicaId, u64>,
    pending_until: u64,
    removed: BTreeSet<ReplicaId>,
    orders: VecDeque<(u64, Step)>,
}

pub(crate) fn founder(node: u64) -> Founder {
    Founder {
        node: NodeId(node),
        incarnation: Incarnation(1),
        name: format!("n{node}"),
        address: format!("host{node}:19919"),
        redis: format!("host{node}:6379"),
        version: "0.1.0".into(),
        formats: 1,
    }
}

impl Model {
    /// A cluster founded by the nodes 1 to `founders`.
    pub(crate) fn founded(founders: u64, shards: u32, replicas: u32, seed: u64) -> Model {
        let founders: Vec<Founder> = (1..=founders).map(founder).collect();
        let map = ClusterMap::founding(ClusterId(1), &founders, shards, replicas, 7);
        let shards = map.shard_ids().map(|shard| {
            let state = Shard {
                membership: map.membership_at_founding(shard),
                leader: None,
                lag: BTreeMap::new(),
                pending_until: 0,
                removed: BTreeSet::new(),
                orders: VecDeque::new(),
            };
            (shard, state)
        });
        Model {
            shards: shards.collect(),
            dead_since: map.nodes.keys().map(|&node| (node, None)).collect(),
            config: PlanConfig::new(Duration::from_secs(DOWN_AFTER)),
            map,
            allocated: 0,
            now: 0,
            is_rough: true,
            observed: BTreeMap::new(),
            changes: VecDeque::new(),
            last_death: 0,
            random: seed,
            nearly_full: BTreeSet::new(),
            refusing: BTreeSet::new(),
        }
    }

    /// A number below `bound` (splitmix64).
    pub(crate) fn draw(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    pub(crate) fn join(&mut self, node: u64) {
        self.map.apply(&Change::join(founder(node))).unwrap();
        self.dead_since.insert(NodeId(node), None);
    }

    pub(crate) fn set_state(&mut self, node: u64, state: NodeState) -> Result<Outcome, Rejected> {
        let node = NodeId(node);
        self.map.apply(&Change::SetState { node, state })
    }

    pub(crate) fn kill(&mut self, node: u64) {
        self.dead_since.insert(NodeId(node), Some(self.now));
        self.last_death = self.now;
    }

    pub(crate) fn revive(&mut self, node: u64) {
        self.dead_since.insert(NodeId(node), None);
        let lag = self.draw(6);
        for shard in self.shards.values_mut() {
            for member in shard.membership.members() {
                if member.node == NodeId(node) {
                    shard.lag.insert(member.replica, lag);
                }
            }
        }
    }

    pub(crate) fn is_live(&self, node: NodeId) -> bool {
        self.dead_since.get(&node) == Some(&None)
    }

    fn late(&mut self) -> u64 {
        match self.is_rough {
            true => self.now + self.draw(4),
            false => self.now,
        }
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.is_rough && self.draw(100) < percent
    }

    /// What the leader of shard 0 knows.
    pub(crate) fn observed(&self) -> Observed {
        let alive = self.dead_since.iter().map(|(&node, &dead_since)| {
            let silent = dead_since.map_or(0, |since| self.now - since);
            (node, Duration::from_secs(silent))
        });
        Observed {
            alive: alive.collect(),
            shards: self.observed.clone(),
            nearly_full: self.nearly_full.clone(),
            refusing: self.refusing.clone(),
        }
    }

    /// One second passes. Gives what was planned.
    pub(crate) fn second(&mut self) -> Vec<Step> {
        self.now += 1;
        for shard in self.map.shard_ids() {
            self.run_shard(shard);
        }
        self.run_changes();
        self.observe();
        // Shard 0 plans, so without its leader nobody does.
        if self.shards[&ShardId(0)].leader.is_none() {
            return Vec::new();
        }
        let observed = self.observed();
        let steps = plan(&self.map, &observed, &self.config);
        assert_eq!(steps, plan(&self.map, &observed, &self.config));
        self.check_plan(&observed, &steps);
        for step in &steps {
            let times = if self.chance(5) { 0 } else { 1 } + u64::from(self.chance(10));
            for _ in 0..times {
                self.order(step.clone());
            }
        }
        steps
    }

    fn order(&mut self, step: Step) {
        let due = self.late();
        match step {
            Step::Change(change) => self.changes.push_back((due, change)),
            step => {
                let shard = step.shard().unwrap();
                let orders = &mut self.shards.get_mut(&shard).unwrap().orders;
                orders.push_back((due, step));
            }
        }
    }

    fn observe(&mut self) {
        for shard in self.map.shard_ids() {
            if self.chance(30) {
                continue;
            }
            let state = &self.shards[&shard];
            let Some(leader) = state.leader else {
                self.observed.remove(&shard);
                continue;
            };
            let members = state.membership.members().iter();
            let caught_up = members
                .filter(|member| {
                    self.is_live(member.node) && !state.lag.contains_key(&member.replica)
                })
                .map(|member| member.replica);
            let seen = ObservedShard {
                leader,
                leader_node: state.membership.get(leader).unwrap().node,
                caught_up: caught_up.collect(),
                membership: state.membership.clone(),
                change_pending: state.pending_until > self.now,
            };
            self.observed.insert(shard, seen);
        }
    }

    fn run_changes(&mut self) {
        while let Some((due, change)) = self.changes.front().cloned() {
            if due > self.now {
                return;
            }
            self.changes.pop_front();
            if self.shards[&ShardId(0)].leader.is_none() {
                continue;
            }
            if let Change::Remove { node } = change {
                for shard in self.shards.values() {
                    let mut voters = shard.membership.voters();
                    assert!(voters.all(|voter| voter.node != node), "{node} votes");
                }
            }
            let before = self.map.clone();
            match self.map.apply(&change) {
                Ok(outcome) => {
                    self.allocated += usize::from(matches!(outcome, Outcome::Allocated(_)));
                }
                Err(
                    Rejected::AlreadyThere { .. }
                    | Rejected::UnknownReplica { .. }
                    | Rejected::NotMember(_)
                    | Rejected::WasRemoved(_),
                ) => assert_eq!(self.map, before),
                Err(rejected) => panic!("{change:?}: {rejected}"),
            }
        }
    }

    fn run_shard(&mut self, id: ShardId) {
        self.elect(id);
        let can_catch_up = self.shards[&id].leader.is_some();
        let live: BTreeSet<ReplicaId> = self.members_alive(id).map(|m| m.replica).collect();
        let shard = self.shards.get_mut(&id).unwrap();
        shard.lag.retain(|replica, lag| {
            *lag = lag.saturating_sub(u64::from(can_catch_up && live.contains(replica)));
            *lag > 0
        });
        while let Some((due, step)) = self.shards[&id].orders.front().cloned() {
            if due > self.now {
                return;
            }
            self.shards.get_mut(&id).unwrap().orders.pop_front();
            self.carry_out(id, &step);
        }
    }

    fn members_alive(&self, id: ShardId) -> impl Iterator<Item = &Member> {
        let members = self.shards[&id].membership.members().iter();
        members.filter(|member| self.is_live(member.node))
    }

    /// A leader that died, or lost its majority, goes; another comes, sooner or later.
    fn elect(&mut self, id: ShardId) {
        let live: Vec<Member> = self
            .members_alive(id)
            .filter(|member| member.role == Role::Voter)
            .copied()
            .collect();
        let voters = self.shards[&id].membership.voters().count();
        let lasts = |leader: ReplicaId| {
            live.len() > voters / 2 && live.iter().any(|voter| voter.replica == leader)
        };
        let leader = self.shards[&id].leader.filter(|&leader| lasts(leader));
        let candidates: Vec<ReplicaId> = live
            .iter()
            .map(|voter| voter.replica)
            .filter(|replica| !self.shards[&id].lag.contains_key(replica))
            .collect();
        let elected = match leader {
            None if live.len() > voters / 2 && !candidates.is_empty() && !self.chance(60) => {
                let at = self.draw(candidates.len() as u64);
                Some(candidates[at as usize])
            }
            leader => leader,
        };
        let shard = self.shards.get_mut(&id).unwrap();
        shard.leader = elected;
        if live.len() > voters / 2 && candidates.is_empty() {
            // Somebody of a majority has all that was committed.
            shard.lag.remove(&live[0].replica);
        }
    }

    fn carry_out(&mut self, id: ShardId, step: &Step) {
        let (lag, pending) = match self.is_rough {
            true => (1 + self.draw(6), self.now + self.draw(3)),
            false => (1, self.now),
        };
        let calm = self.now > self.last_death + 10;
        let live: BTreeSet<NodeId> = self.members_alive(id).map(|m| m.node).collect();
        let now = self.now;
        let shard = self.shards.get_mut(&id).unwrap();
        let Some(leader) = shard.leader else { return };
        match *step {
            Step::Lead { to, .. } => {
                let member = shard.membership.get(to);
                let can = member.is_some_and(|m| m.role == Role::Voter && live.contains(&m.node));
                if can && !shard.lag.contains_key(&to) {
                    shard.leader = Some(to);
                }
                return;
            }
            _ if shard.pending_until > now => return,
            Step::AddLearner { replica, node, .. } => {
                if shard.membership.get(replica).is_some() {
                    return;
                }
                assert!(!shard.removed.contains(&replica), "{replica:?} came again");
                if shard.membership.of_node(node).is_some() {
                    return; // The order is older than the replica that is there.
                }
                let role = Role::Learner;
                shard.membership.insert(Member {
                    replica,
                    node,
                    role,
                });
                shard.lag.insert(replica, lag);
            }
            Step::Promote { replica, .. } => {
                let Some(mut member) = shard.membership.get(replica).copied() else {
                    return;
                };
                if member.role == Role::Voter {
                    return;
                }
                member.role = Role::Voter;
                shard.membership.insert(member);
            }
            Step::RemoveReplica { replica, .. } => {
                if replica == leader || shard.membership.get(replica).is_none() {
                    return;
                }
                let member = shard.membership.remove(replica).unwrap();
                shard.removed.insert(replica);
                shard.lag.remove(&replica);
                if member.role == Role::Voter && calm {
                    let voters = shard.membership.voters().count();
                    let there = shard.membership.voters().filter(|m| live.contains(&m.node));
                    assert!(there.count() > voters / 2, "shard {id:?} lost its majority");
                }
            }
            Step::Change(_) => unreachable!("changes have a queue of their own"),
        }
        shard.pending_until = pending;
    }

    /// Voters that each shard should have, if all nodes that do not leave count.
    pub(crate) fn wanted(&self) -> usize {
        let entries = self.map.nodes.values();
        let staying = entries.filter(|entry| entry.state != NodeState::Leaving);
        wanted_voters(self.map.replicas, staying.count())
    }

    fn check_plan(&self, observed: &Observed, steps: &[Step]) {
        let is_live = |node: NodeId| observed.alive[&node] <= self.config.alive_within;
        let mut shards = BTreeSet::new();
        for step in steps {
            let Some(shard) = step.shard() else { continue };
            assert!(shards.insert(shard), "two steps of {shard:?}: {steps:?}");
            let seen = &observed.shards[&shard];
            assert!(!seen.change_pending, "{step:?} while a change is pending");
            if let Step::Promote { .. } = *step {
                let serving = self.spread().len();
                let voters = seen.membership.voters().count();
                let learners = seen.membership.learners();
                let ready = learners
                    .filter(|m| seen.caught_up.contains(&m.replica))
                    .count();
                if voters == 1 && wanted_voters(self.map.replicas, serving) >= 3 {
                    assert!(ready >= 2, "two voters where three are wanted: {seen:?}");
                }
            }
            if let Step::RemoveReplica { replica, .. } = *step {
                assert_ne!(replica, seen.leader, "a leader is removed");
                let member = seen.membership.get(replica).unwrap();
                let left = seen.membership.voters().filter(|m| m.replica != replica);
                let (voters, there) = left.fold((0, 0), |(voters, there), voter| {
                    (voters + 1, there + usize::from(is_live(voter.node)))
                });
                if member.role == Role::Voter {
                    assert!(there > voters / 2, "{step:?} leaves {there} of {voters}");
                }
            }
        }
        let catching_up = |node: NodeId| {
            let learners = self.map.placements.iter().flat_map(|(shard, placed)| {
                placed
                    .iter()
                    .map(move |(replica, placement)| (shard, replica, placement))
            });
            learners
                .filter(|(shard, replica, placement)| {
                    let caught_up = observed.shards.get(*shard);
                    placement.node == node
                        && placement.role == Role::Learner
                        && caught_up.is_none_or(|seen| !seen.caught_up.contains(*replica))
                })
                .count()
        };
        for node in self.map.nodes.keys() {
            let allocations = steps.iter().filter(
                |step| matches!(step, Step::Change(Change::Allocate { node: n, .. }) if n == node),
            );
            let allocations = allocations.count();
            assert!(
                allocations == 0
                    || allocations + catching_up(*node) <= self.config.learners_per_node
            );
        }
    }

    /// Lets time pass until nothing was planned for a while. Gives how many steps were planned.
    pub(crate) fn settle(&mut self) -> usize {
        let mut planned = 0;
        let mut quiet = 0;
        for _ in 0..20_000 {
            let steps = self.second();
            planned += steps.len();
            quiet = if steps.is_empty() && self.is_idle() {
                quiet + 1
            } else {
                0
            };
            if quiet > 20 {
                return planned;
            }
        }
        panic!("no end of it: {:?}\n{:#?}", self.second(), self.map);
    }

    /// Lets that many seconds pass.
    pub(crate) fn pass(&mut self, seconds: u64) -> Vec<Step> {
        (0..seconds).flat_map(|_| self.second()).collect()
    }

    fn is_idle(&self) -> bool {
        self.changes.is_empty()
            && self.shards.values().all(|shard| {
                shard.orders.is_empty() && shard.leader.is_some() && shard.pending_until <= self.now
            })
    }

    /// How many voters each live member node has, and how many shards it leads.
    pub(crate) fn spread(&self) -> BTreeMap<NodeId, (usize, usize)> {
        let nodes = self
            .map
            .nodes
            .iter()
            .filter(|(node, entry)| entry.state == NodeState::Member && self.is_live(**node));
        let count = |node: NodeId| {
            let on_node = |member: &Member| member.node == node;
            let voters = self
                .shards
                .values()
                .filter(|shard| shard.membership.voters().any(on_node));
            let leads = self.shards.values().filter(|shard| {
                let leader = shard.leader.and_then(|leader| shard.membership.get(leader));
                leader.is_some_and(on_node)
            });
            (voters.count(), leads.count())
        };
        nodes.map(|(&node, _)| (node, count(node))).collect()
    }

    /// Every shard has that many voters and nothing else, the map knows it, and all is evenly spread.
    pub(crate) fn assert_settled(&self, voters: usize) {
        for (&shard, state) in &self.shards {
            assert_eq!(
                state.membership.voters().count(),
                voters,
                "{state:?}",
                state = state.membership
            );
            assert_eq!(
                state.membership.learners().count(),
                0,
                "{:?}",
                state.membership
            );
            assert_eq!(self.map.membership_at_founding(shard), state.membership);
            let leader = state.membership.get(state.leader.unwrap()).unwrap();
            assert!(self.map.nodes.contains_key(&leader.node));
        }
        let spread = self.spread();
        let within_one = |counts: &mut dyn Iterator<Item = usize>| {
            let counts: Vec<usize> = counts.collect();
            counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1
        };
        assert!(
            within_one(&mut spread.values().map(|counts| counts.0)),
            "{spread:?}"
        );
        assert!(
            within_one(&mut spread.values().map(|counts| counts.1)),
            "{spread:?}"
        );
    }
}
