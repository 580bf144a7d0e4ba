//! Messages in bytes.

use base::{ClusterId, Incarnation, NodeId, ReplicaId, ShardId};
use meta::{ClusterMap, Founder, NodeStatus};
use proptest::prelude::*;

use crate::control::message::{HOSTS_MAX, Introduction, Message};
use crate::control::proposal::Proposal;
use crate::control::{AdminCommand, ShardOrder};

fn founder() -> Founder {
    Founder {
        node: NodeId(7),
        incarnation: Incarnation(2),
        name: "näme".into(),
        address: "a:1".into(),
        redis: "a:2".into(),
        version: "1.2".into(),
        formats: 3,
    }
}

fn map() -> ClusterMap {
    ClusterMap::founding(ClusterId(5), &[founder()], 2, 3, 9)
}

fn introduction(hosts: Vec<String>) -> Message {
    Message::Hosts(Introduction {
        local: founder(),
        is_founder: true,
        hosts,
        agreed: Some(ClusterId(6)),
    })
}

fn all() -> Vec<Message> {
    let node = || "node".to_owned();
    let shard = ShardId(3);
    let replica = ReplicaId(4);
    let orders = [
        ShardOrder::AddLearner {
            replica,
            node: NodeId(8),
        },
        ShardOrder::Promote { replica },
        ShardOrder::Remove { replica },
        ShardOrder::Lead { to: replica },
    ];
    let commands = [
        AdminCommand::NodeRemove(node()),
        AdminCommand::NodeDrain(node()),
        AdminCommand::NodeUndrain(node()),
        AdminCommand::ShardMove {
            shard,
            from: node(),
            to: "other".into(),
        },
        AdminCommand::ShardLead {
            shard,
            node: node(),
        },
    ];
    let mut all = vec![
        introduction(vec!["a:1".into(), "b:1".into()]),
        Message::Proposal(Proposal {
            hosts: vec!["a:1".into()],
            proposer: NodeId(7),
            map: map(),
        }),
        Message::Accepted {
            cluster: ClusterId(5),
        },
        Message::Declined {
            cluster: ClusterId(5),
            why: "because".into(),
        },
        Message::Join(founder()),
        Message::Joined(map()),
        Message::NotJoined {
            node: NodeId(7),
            forever: true,
            why: "because".into(),
        },
        Message::Status(NodeStatus {
            epoch: 1,
            incarnation: Incarnation(2),
            disk_free_bytes: 3,
            disk_total_bytes: 4,
            memory_bytes: 5,
            refuses_writes: false,
            replicas: Vec::new(),
        }),
        Message::Map(map()),
        Message::Answer {
            id: 6,
            answer: Ok("{}".into()),
        },
        Message::Answer {
            id: 6,
            answer: Err("ERR no".into()),
        },
    ];
    all.extend(orders.map(|order| Message::Order {
        term: 2,
        shard,
        order,
    }));
    all.extend(commands.map(|command| Message::Command { id: 6, command }));
    all
}

#[test]
fn messages_read_back_and_their_prefixes_do_not() {
    for message in all() {
        let bytes = message.encode();
        assert_eq!(Message::decode(&bytes), Ok(Some(message.clone())));
        for length in 0..bytes.len() {
            assert!(Message::decode(&bytes[..length]).is_err(), "{message:?}");
        }
    }
}

#[test]
fn newer_messages_may_say_more_and_newer_kinds_are_passed_over() {
    for message in all() {
        let mut bytes = message.encode();
        bytes.extend_from_slice(b"more");
        let length = u32::try_from(bytes.len() - 5).unwrap();
        bytes[1..5].copy_from_slice(&length.to_le_bytes());
        assert_eq!(Message::decode(&bytes), Ok(Some(message)));
        bytes[0] = 200;
        assert_eq!(Message::decode(&bytes), Ok(None));
    }
}

#[test]
fn what_is_shown_to_people_forges_no_lines() {
    let forged = Message::Declined {
        cluster: ClusterId(5),
        why: "a\nb".into(),
    };
    assert!(Message::decode(&forged.encode()).is_err());
    let mut named = founder();
    named.name = "a\r\nb".into();
    assert!(Message::decode(&Message::Join(named).encode()).is_err());
    assert!(Message::decode(&introduction(vec!["a\u{7}".into()]).encode()).is_err());
}

#[test]
fn a_list_of_hosts_has_a_limit() {
    let hosts = |count| vec!["a:1".to_owned(); count];
    assert!(Message::decode(&introduction(hosts(HOSTS_MAX)).encode()).is_ok());
    assert!(Message::decode(&introduction(hosts(HOSTS_MAX + 1)).encode()).is_err());
}

#[test]
fn a_proposal_is_read_whole_and_names_its_proposer_among_the_founders() {
    let mut proposal = Proposal {
        hosts: vec!["a:1".into()],
        proposer: NodeId(7),
        map: map(),
    };
    let mut bytes = Vec::new();
    proposal.encode(&mut bytes);
    assert_eq!(Proposal::decode(&bytes), Ok(proposal.clone()));
    bytes.push(0);
    assert!(Proposal::decode(&bytes).is_err());
    proposal.proposer = NodeId(8);
    let mut bytes = Vec::new();
    proposal.encode(&mut bytes);
    assert!(Proposal::decode(&bytes).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(kind in 0u8..14, body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut bytes = vec![kind];
        bytes.extend(u32::try_from(body.len()).unwrap().to_le_bytes());
        bytes.extend(body);
        if let Ok(Some(message)) = Message::decode(&bytes) {
            prop_assert_eq!(Message::decode(&message.encode()), Ok(Some(message)));
        }
    }
}
