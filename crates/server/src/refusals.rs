//! What a client is told when the cluster did not take its command, or may have.
//!
//! | word | what it says | clients |
//! | --- | --- | --- |
//! | `CLUSTERDOWN` | nobody can take it now; nothing was done | go-redis, redis-rs and others try again after a pause |
//! | `TRYAGAIN` | it was not taken; nothing was done | the same |
//! | `MISCONF` | the disk is full; nothing was done | none tries again: somebody must make room |
//! | `UNCERTAIN` | it may have been done | none tries again: the program must look |
//!
//! So the words that make a client try again by itself are only said when trying again is safe.

use std::borrow::Cow;

use cluster::Refusal;
use commands::Reply;

/// A refusal with a text that is known beforehand.
const fn text(text: &'static str) -> Reply<'static> {
    Reply::Error(Cow::Borrowed(text))
}

/// What became of a part of a call that several shards were to take, others having taken theirs.
const PARTLY: Reply<'static> = text(
    "UNCERTAIN a part of the command took effect and another may not have: its keys lie in several \
     shards, and not all of these answered; look before trying again",
);

/// The reply to a command of a request that was refused.
pub(crate) const fn reply(refusal: Refusal) -> Reply<'static> {
    match refusal {
        Refusal::DiskFull => text(
            "MISCONF the disk of this node is full: nothing was written, and writes, deletions \
             too, are refused until there is room for a log segment; reads go on, but for those of \
             keys that have just expired",
        ),
        Refusal::NotLeader { .. } => {
            text("TRYAGAIN the shard has another leader now; nothing was done; try again")
        }
        Refusal::Unreachable => text(
            "CLUSTERDOWN the shard's leader cannot be reached, or none has been elected, for \
             cluster.patience_ms; nothing was done; PICCOLO STATUS tells which nodes are missing",
        ),
        Refusal::Busy => text(
            "TRYAGAIN too much waits for the shard already; nothing was done; try again more slowly",
        ),
        Refusal::Uncertain => text(
            "UNCERTAIN the leader went away after it had taken the command: the command may or may \
             not have taken effect; look before trying again",
        ),
    }
}

/// Whether it is certain that a refused request had no effect.
const fn is_certain(refusal: Refusal) -> bool {
    match refusal {
        Refusal::NotLeader { .. } | Refusal::DiskFull | Refusal::Busy | Refusal::Unreachable => {
            true
        }
        Refusal::Uncertain => false,
    }
}

/// The reply to a call of which some parts were refused. `taken` tells whether any part that writes
/// was taken.
pub(crate) fn reply_to_parts(refusals: &[Refusal], taken: bool) -> Reply<'static> {
    let uncertain = refusals.iter().find(|refusal| !is_certain(**refusal));
    match uncertain.or(refusals.first()) {
        Some(refusal) if !taken => reply(*refusal),
        _ => PARTLY,
    }
}

/// The command cannot be written in one entry of the log.
pub(crate) const TOO_LARGE: Reply<'static> =
    text("ERR the command is larger than 513 MiB in all; nothing was written; send it in parts");

/// There is nothing that could take a command on data.
pub(crate) fn no_shards(why: &str) -> Reply<'static> {
    Reply::error(format_args!("CLUSTERDOWN {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Refusal; 5] = [
        Refusal::NotLeader { leader: None },
        Refusal::DiskFull,
        Refusal::Busy,
        Refusal::Unreachable,
        Refusal::Uncertain,
    ];

    fn word(reply: &Reply<'_>) -> String {
        match reply {
            Reply::Error(text) => text.split(' ').next().unwrap_or_default().to_owned(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn clients_try_again_only_what_had_no_effect() {
        let tried_again = [
            "TRYAGAIN",
            "CLUSTERDOWN",
            "LOADING",
            "READONLY",
            "MASTERDOWN",
        ];
        for refusal in ALL {
            let word = word(&reply(refusal));
            assert!(
                is_certain(refusal) || !tried_again.contains(&&*word),
                "{word}"
            );
        }
    }

    #[test]
    fn a_part_that_took_effect_makes_the_whole_uncertain() {
        for refusal in ALL {
            assert_eq!(word(&reply_to_parts(&[refusal], true)), "UNCERTAIN");
            assert_eq!(reply_to_parts(&[refusal], false), reply(refusal));
            let with_uncertain = [refusal, Refusal::Uncertain];
            assert_eq!(
                reply_to_parts(&with_uncertain, false),
                reply(Refusal::Uncertain)
            );
        }
    }
}
