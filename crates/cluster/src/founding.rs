//! Whether a node that belongs to no cluster may found one.

use peer::{HostState, HostStatus, PeerStatus};

/// What a node without a cluster is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Founding {
    /// It is the only founder: it founds.
    Found,
    /// It waits, for the reason given.
    Wait(String),
}

impl Founding {
    /// Decides from what is known of the hosts of `discovery.hosts` and of the peers.
    ///
    /// A host counts as this node only once it was dialled and this node answered, whatever its
    /// address is called. As long as several founders cannot form one cluster, none of them founds.
    pub fn decide(hosts: &[HostStatus], peers: &[PeerStatus]) -> Founding {
        if let Some(peer) = peers.iter().find(|peer| peer.cluster_id.is_some()) {
            return Founding::Wait(format!(
                "this node serves no data: the store is on {} ({}), and joining it is not supported by this version",
                peer.name, peer.address
            ));
        }
        let others: Vec<&HostStatus> = hosts
            .iter()
            .filter(|host| host.state != HostState::IsSelf)
            .collect();
        if others.is_empty() {
            return Founding::Found;
        }
        let missing: Vec<String> = others
            .iter()
            .filter(|host| !matches!(host.state, HostState::Greeted(_)))
            .map(|host| format!("{} ({})", host.host, host.state))
            .collect();
        Founding::Wait(if !missing.is_empty() {
            format!("the cluster is forming: waiting for {}", missing.join(", "))
        } else if others.len() < hosts.len() {
            "all founders have met, but founding a cluster of several nodes is not supported by this \
             version: set discovery.hosts to one of them"
                .into()
        } else {
            "this node is not among discovery.hosts, and its founders have no cluster yet".into()
        })
    }
}

#[cfg(test)]
mod tests {
    use base::NodeId;

    use super::*;

    fn host(address: &str, state: HostState) -> HostStatus {
        HostStatus {
            host: address.parse().unwrap(),
            state,
        }
    }

    fn reason(hosts: &[HostStatus]) -> String {
        match Founding::decide(hosts, &[]) {
            Founding::Wait(reason) => reason,
            Founding::Found => panic!("it founded"),
        }
    }

    #[test]
    fn the_only_founder_founds() {
        let hosts = [host("localhost:19919", HostState::IsSelf)];
        assert_eq!(Founding::decide(&hosts, &[]), Founding::Found);
    }

    #[test]
    fn it_waits_until_it_has_met_itself() {
        let hosts = [host("localhost:19919", HostState::Dialling)];
        assert!(reason(&hosts).contains("waiting for localhost:19919 (dialling)"));
    }

    #[test]
    fn one_of_several_founders_waits() {
        let refused = HostState::Failed {
            why: "refused".into(),
        };
        let hosts = [host("a:1", HostState::IsSelf), host("b:2", refused)];
        assert!(reason(&hosts).contains("waiting for b:2 (failed: refused)"));
        let hosts = [
            host("a:1", HostState::IsSelf),
            host("b:2", HostState::Greeted(NodeId(7))),
        ];
        assert!(reason(&hosts).contains("not supported"));
    }

    #[test]
    fn one_who_is_no_founder_waits() {
        let hosts = [host("b:2", HostState::Greeted(NodeId(7)))];
        assert!(reason(&hosts).contains("not among discovery.hosts"));
    }
}
