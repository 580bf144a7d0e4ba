//! What a session that listens or publishes does apart from others.

use commands::{Reply, Spec};
use resp::Protocol;

use super::Session;
use crate::pubsub::Publication;
use crate::server::CoreServer;

impl Session {
    /// Appends how many the messages of [`Step::Publish`](super::Step::Publish) have reached.
    pub(crate) fn answer_publications(
        &mut self,
        publications: &[Publication],
        counts: &[i64],
        output: &mut Vec<u8>,
    ) {
        for (publication, count) in publications.iter().zip(counts) {
            if !publication.silent {
                self.reply(&Reply::Integer(*count), output);
            }
        }
    }

    /// A message is to be handed out, with those that come right after it.
    pub(crate) fn publish(&mut self, sharded: bool, args: &[&[u8]]) -> Reply<'static> {
        self.publications.push(Publication {
            sharded,
            channel: args[1].to_vec(),
            text: args[2].to_vec(),
            silent: false,
        });
        Reply::Null
    }

    /// Gives the last of the replies to a command that has several back as the one that it gives.
    pub(crate) fn last_of_several(&mut self) -> Reply<'static> {
        self.several.pop().unwrap_or(Reply::Null)
    }

    /// Whether it is in the state in which RESP2 knows messages alone.
    #[inline]
    pub(crate) fn listens_only(&self) -> bool {
        self.protocol == Protocol::Resp2 && !self.subscriptions.is_empty()
    }

    /// Refuses what one who listens may not use.
    #[inline]
    pub(super) fn check_listening(&self, spec: &Spec) -> Result<(), Reply<'static>> {
        if self.listens_only() && !is_for_listeners(spec) {
            return Err(not_for_listeners(spec));
        }
        Ok(())
    }

    /// Hands out the messages that a command of a transaction published. The reply counts those whom they reached
    /// on this node: what other nodes say would come too late.
    pub(super) fn publish_at_once(&mut self, server: &CoreServer) -> Option<Reply<'static>> {
        let publications = std::mem::take(&mut self.publications);
        if publications.is_empty() {
            return None;
        }
        let pubsub = &self.shared.pubsub;
        Some(Reply::Integer(
            pubsub.publish_unasked(&publications, server.core.store()),
        ))
    }
}

/// Whether one who listens may use it in RESP2.
fn is_for_listeners(spec: &Spec) -> bool {
    matches!(
        spec.name,
        "subscribe"
            | "unsubscribe"
            | "psubscribe"
            | "punsubscribe"
            | "ssubscribe"
            | "sunsubscribe"
            | "ping"
            | "quit"
            | "reset"
    )
}

fn not_for_listeners(spec: &Spec) -> Reply<'static> {
    Reply::error(format_args!(
        "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in \
         this context",
        spec.name
    ))
}
