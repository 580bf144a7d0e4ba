//! Calls whose data lies in several shards: which shards they go to, and how one reply is made of
//! those of the shards.
//!
//! Each command says in its record ([`Split`]) what may be done with it. What must happen to all its
//! keys at one moment is never split: such a call is refused where its keys lie in several shards.
//! With a single shard nothing here is asked.
//!
//! A SCAN goes through the shards one after another. Its cursor is a slot and a part of a hash, all
//! shards of a cluster hash with the same seed, and shards own ranges of slots: so the cursor alone
//! tells the shard, on any node and whoever leads, and a walk meets each key that is there throughout.

use std::borrow::Cow;

use base::{ShardId, Slot};
use keyspace::Keyspace;

use crate::scan::parse_cursor;
use crate::{Reply, Spec};

/// What becomes of a call whose data lies in several shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// It is refused. Without keys, it may run at any shard.
    Never,
    /// Each shard gets the keys that are its own; all arguments are keys.
    ByKey(Gather),
    /// It goes to all shards as it is.
    Everywhere(Gather),
    /// It goes to the shard that the cursor, its first argument, tells.
    ByCursor,
}

/// How one reply is made of those of several shards. A refusal of any of them is the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gather {
    /// Whole numbers are added.
    Sum,
    /// Arrays with a reply for each key: each goes to the place of its key.
    InOrder,
    /// Arrays, one after another.
    Append,
    /// All answered `OK`.
    AllOk,
    /// One that is not null, by chance. It is not weighted: where shards differ much in size, that
    /// of a small one is chosen as often.
    AnyOne,
}

/// Where a call goes.
#[derive(Debug, PartialEq)]
pub enum Route<'a> {
    /// To that shard, as it is.
    One(ShardId),
    /// To that shard, as it is; the cursor in the reply is then what [`next_cursor`] makes of it.
    Walk(ShardId),
    /// To several, and their replies are gathered.
    Several(Vec<Part<'a>>, Gather),
    /// Nowhere.
    Refused(Reply<'static>),
}

/// What one of several shards gets.
#[derive(Debug, PartialEq)]
pub struct Part<'a> {
    /// Which shard.
    pub shard: ShardId,
    /// The call.
    pub args: Vec<&'a [u8]>,
    /// The places of its keys among those of the whole call, for [`Gather::InOrder`].
    pub places: Vec<u32>,
}

/// The refusal of a call that cannot be split.
const CROSSSLOT: Reply<'static> = Reply::refusal(
    "CROSSSLOT Keys in request don't hash to the same slot, and their slots lie in different shards: \
     nothing was done; give keys that belong together one {tag}, or found the cluster with \
     cluster.shards = 1",
);

/// Where a call that [`Spec::check`] has accepted goes, among so many shards.
pub fn route<'a>(spec: &'static Spec, args: &'a [&'a [u8]], shards: u32) -> Route<'a> {
    let shard_of = |position: usize| Slot::of_key(args[position]).shard(shards);
    match spec.split {
        Split::Everywhere(gather) => {
            let part = |shard| Part {
                shard: ShardId(shard),
                args: args.to_vec(),
                places: Vec::new(),
            };
            Route::Several((0..shards).map(part).collect(), gather)
        }
        Split::ByCursor => Route::Walk(match parse_cursor(args[1]) {
            Some(cursor) => Keyspace::slot_of_cursor(cursor)
                // Where a walk ends, a cursor that none gives ends.
                .map_or(ShardId(shards - 1), |slot| slot.shard(shards)),
            None => ShardId(0),
        }),
        Split::Never | Split::ByKey(_) => {
            let mut keys = spec.key_positions(args);
            let first = keys.next().map_or(ShardId(0), shard_of);
            if keys.all(|position| shard_of(position) == first) {
                return Route::One(first);
            }
            match spec.split {
                Split::ByKey(gather) => Route::Several(by_key(args, shards), gather),
                _ => Route::Refused(CROSSSLOT),
            }
        }
    }
}

fn by_key<'a>(args: &[&'a [u8]], shards: u32) -> Vec<Part<'a>> {
    // Sorted, so that no search for a shard's part is needed, however many there are.
    let mut keys: Vec<(ShardId, u32)> = args[1..]
        .iter()
        .zip(0..)
        .map(|(key, place)| (Slot::of_key(key).shard(shards), place))
        .collect();
    keys.sort_unstable();
    keys.chunk_by(|(one, _), (other, _)| one == other)
        .map(|keys| {
            let key = |&(_, place): &(ShardId, u32)| args[1 + place as usize];
            Part {
                shard: keys[0].0,
                args: std::iter::once(args[0])
                    .chain(keys.iter().map(key))
                    .collect(),
                places: keys.iter().map(|&(_, place)| place).collect(),
            }
        })
        .collect()
}

impl Gather {
    /// One reply of those of the parts, each with the places of [`Part`].
    pub fn gather(self, replies: Vec<(Vec<u32>, Reply<'static>)>, random: u64) -> Reply<'static> {
        if let Some((_, refusal)) = replies.iter().find(|(_, reply)| reply.is_error()) {
            return refusal.clone();
        }
        match self {
            Gather::Sum => Reply::Integer(
                replies
                    .iter()
                    .map(|(_, reply)| match reply {
                        Reply::Integer(number) => *number,
                        _ => 0,
                    })
                    .sum(),
            ),
            Gather::InOrder => {
                let count = replies.iter().map(|(places, _)| places.len()).sum();
                let mut all = vec![Reply::Null; count];
                for (places, reply) in replies {
                    for (place, reply) in places.into_iter().zip(elements(reply)) {
                        all[place as usize] = reply;
                    }
                }
                Reply::Array(all)
            }
            Gather::Append => {
                let all = replies.into_iter().map(|(_, reply)| elements(reply));
                Reply::Array(all.flatten().collect())
            }
            Gather::AllOk => Reply::Ok,
            Gather::AnyOne => {
                let mut some: Vec<_> = replies
                    .into_iter()
                    .map(|(_, reply)| reply)
                    .filter(|reply| *reply != Reply::Null)
                    .collect();
                if some.is_empty() {
                    return Reply::Null;
                }
                let chosen = (u128::from(random) * some.len() as u128) >> 64;
                some.swap_remove(chosen as usize)
            }
        }
    }
}

/// The replies in an array.
fn elements(reply: Reply<'static>) -> Vec<Reply<'static>> {
    match reply {
        Reply::Array(replies) => replies,
        _ => Vec::new(),
    }
}

/// What SCAN answers once the walk through that shard has answered `reply`: where it has come to the
/// end of the shard, the cursor goes on at the next one.
pub fn next_cursor(mut reply: Reply<'_>, shard: ShardId, shards: u32) -> Reply<'_> {
    if let Reply::Array(parts) = &mut reply
        && let Some(Reply::Bulk(cursor)) = parts.first_mut()
        && **cursor == *b"0"
        && let Some(next) = Slot::first_of(ShardId(shard.0 + 1), shards)
    {
        let next = itoa::Buffer::new()
            .format(Keyspace::cursor_at(next))
            .to_owned();
        *cursor = Cow::Owned(next.into_bytes());
    }
    reply
}

#[cfg(test)]
mod tests;
