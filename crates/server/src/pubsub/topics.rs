//! Channels and patterns, and who listens to them on this node.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clients::Client;

/// What one may listen to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// SUBSCRIBE.
    Channel,
    /// PSUBSCRIBE.
    Pattern,
    /// SSUBSCRIBE.
    Shard,
}

impl Kind {
    pub(crate) const ALL: [Kind; 3] = [Kind::Channel, Kind::Pattern, Kind::Shard];
}

/// See the module.
#[derive(Default)]
pub(super) struct Topics {
    of_kind: [BTreeMap<Vec<u8>, Vec<Arc<Client>>>; 3],
}

impl Topics {
    /// Who listens to that, in the order in which they began to; nobody is listed who has stopped.
    pub(super) fn listeners(&self, kind: Kind, name: &[u8]) -> Option<&[Arc<Client>]> {
        let listeners = self.of_kind[kind as usize].get(name);
        listeners.map(Vec::as_slice)
    }

    pub(super) fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (&[u8], &[Arc<Client>])> {
        let all = self.of_kind[kind as usize].iter();
        all.map(|(name, listeners)| (name.as_slice(), listeners.as_slice()))
    }

    /// A client that did not listen to it does from now on.
    pub(super) fn add(&mut self, kind: Kind, name: &[u8], client: &Arc<Client>) {
        let listeners = self.of_kind[kind as usize].entry(name.to_vec());
        listeners.or_default().push(Arc::clone(client));
    }

    /// A client that listened to it no longer does.
    pub(super) fn remove(&mut self, kind: Kind, name: &[u8], client: &Arc<Client>) {
        let names = &mut self.of_kind[kind as usize];
        if let Some(listeners) = names.get_mut(name) {
            listeners.retain(|listener| !Arc::ptr_eq(listener, client));
            if listeners.is_empty() {
                names.remove(name);
            }
        }
    }
}
