//! Commands of one connection on their way to the shards, and the replies on their way back.
//!
//! Each shard gets what is for it in one piece, in the order of the commands, and all shards get theirs
//! at the same time: so a command sees the effects of those before it, while what two shards do has no
//! order. The replies come back in the order of the commands.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::vec;

use base::{Db, ShardId};
use cluster::{Commands, Core, Refusal};
use commands::split::{self, Gather};
use commands::{Command, Reply};

use crate::buffers::Buffers;
use crate::refusals;

/// Commands that wait to be sent, or for their replies.
#[derive(Default)]
pub(crate) struct Batch {
    parts: Vec<Part>,
    /// The number of shards of the cluster.
    shards: u32,
    /// For each shard, which of the parts is for it, counted from 1; 0 for none.
    part_of: Vec<u16>,
    /// How each command comes to its reply. Not kept while there is one shard, where every command is
    /// [`Planned::One`].
    plan: Vec<Planned>,
    len: usize,
    size_bytes: usize,
    /// Replies that are known already, each with the number of commands before it.
    known: Vec<(usize, Reply<'static>)>,
}

/// What goes to one shard.
struct Part {
    shard: ShardId,
    commands: Commands,
    outcome: Result<Vec<Reply<'static>>, Refusal>,
}

/// Where the reply of a command comes from.
enum Planned {
    /// It is the next one of that part.
    One(u16),
    /// So it is, but for the cursor.
    Walk(u16),
    /// It is made of several.
    Several(Box<Several>),
}

struct Several {
    gather: Gather,
    writes: bool,
    /// What picks where one is picked at random.
    random: u64,
    /// The parts, each with the places of its keys.
    of: Vec<(u16, Vec<u32>)>,
}

impl Batch {
    /// Makes the batch, which is empty, one for a cluster of so many shards.
    pub(crate) fn prepare(&mut self, shards: u32) {
        debug_assert!(self.is_empty());
        self.shards = shards;
        if shards > 1 {
            self.part_of.resize(shards as usize, 0);
        }
    }

    /// Whether it holds no command.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes that the commands take up.
    pub(crate) fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// Adds a command for one shard.
    #[inline]
    pub(crate) fn push(
        &mut self,
        shard: ShardId,
        command: &Command,
        db: Db,
        args: &[&[u8]],
        buffers: &Buffers,
    ) {
        let part = self.put(shard, command, db, args, buffers);
        self.len += 1;
        if self.shards > 1 {
            self.plan.push(Planned::One(part));
        }
    }

    /// Adds a reply that stands after those of the commands so far.
    pub(crate) fn push_known(&mut self, reply: Reply<'static>) {
        debug_assert!(self.len > 0, "it could be sent at once");
        self.size_bytes += reply.size_bytes();
        self.known.push((self.len, reply));
    }

    /// Adds a SCAN, which is at that shard.
    pub(crate) fn push_walk(
        &mut self,
        shard: ShardId,
        command: &Command,
        db: Db,
        args: &[&[u8]],
        buffers: &Buffers,
    ) {
        let part = self.put(shard, command, db, args, buffers);
        self.len += 1;
        self.plan.push(Planned::Walk(part));
    }

    /// Adds a command that several shards share.
    pub(crate) fn push_several(
        &mut self,
        parts: Vec<split::Part<'_>>,
        gather: Gather,
        command: &Command,
        db: Db,
        random: u64,
        buffers: &Buffers,
    ) {
        let of = parts.into_iter().map(|part| {
            let index = self.put(part.shard, command, db, &part.args, buffers);
            (index, part.places)
        });
        let several = Several {
            gather,
            writes: command.handler.is_write(),
            random,
            of: of.collect(),
        };
        self.len += 1;
        self.plan.push(Planned::Several(Box::new(several)));
    }

    #[inline]
    fn put(
        &mut self,
        shard: ShardId,
        command: &Command,
        db: Db,
        args: &[&[u8]],
        buffers: &Buffers,
    ) -> u16 {
        let part = if self.shards > 1 {
            let part_of = &mut self.part_of[shard.0 as usize];
            if *part_of == 0 {
                self.parts.push(Part::new(shard, buffers));
                *part_of = u16::try_from(self.parts.len()).expect("there are at most 1024 shards");
            }
            *part_of - 1
        } else {
            if self.parts.is_empty() {
                self.parts.push(Part::new(shard, buffers));
            }
            0
        };
        let commands = &mut self.parts[usize::from(part)].commands;
        let before = commands.size_bytes();
        commands.push(command, db, args);
        self.size_bytes += commands.size_bytes() - before;
        part
    }

    /// Hands each shard what is for it and waits for all. The commands take effect even when the future
    /// is dropped.
    pub(crate) async fn submit(&mut self, core: &Core) {
        if let [part] = &mut self.parts[..] {
            return part.submit(core).await;
        }
        let mut waiting: Vec<Pin<Box<dyn Future<Output = ()> + '_>>> = Vec::new();
        for part in &mut self.parts {
            waiting.push(Box::pin(part.submit(core)));
        }
        poll_fn(|context| {
            waiting.retain_mut(|part| part.as_mut().poll(context).is_pending());
            if waiting.is_empty() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Shows the reply of each command, in their order, and empties the batch. Where the replies had
    /// become too large, the last one shown is `None`.
    pub(crate) fn take_replies(
        &mut self,
        buffers: &Buffers,
        mut show: impl FnMut(Option<&Reply<'_>>),
    ) {
        for part in &mut self.parts {
            buffers.give_commands(std::mem::take(&mut part.commands));
        }
        let len = std::mem::take(&mut self.len);
        self.size_bytes = 0;
        let mut known = std::mem::take(&mut self.known).into_iter().peekable();
        let mut shown = 0;
        let mut show = |reply: Option<&Reply<'_>>| {
            while let Some((_, known)) = known.next_if(|(after, _)| *after <= shown) {
                show(Some(&known));
            }
            shown += 1;
            // What comes after the last command is shown with it.
            show(reply);
            while shown == len
                && let Some((_, known)) = known.next()
            {
                show(Some(&known));
            }
        };
        if self.shards > 1 {
            self.take_planned_replies(show);
        } else if let Some(part) = self.parts.pop() {
            match part.outcome {
                Ok(replies) => {
                    replies.iter().take(len).for_each(|reply| show(Some(reply)));
                    if replies.len() < len {
                        show(None);
                    }
                }
                Err(refusal) => {
                    let reply = refusals::reply(refusal);
                    (0..len).for_each(|_| show(Some(&reply)));
                }
            }
        }
    }

    fn take_planned_replies(&mut self, mut show: impl FnMut(Option<&Reply<'_>>)) {
        let mut parts = Vec::with_capacity(self.parts.len());
        for part in self.parts.drain(..) {
            self.part_of[part.shard.0 as usize] = 0;
            parts.push((part.shard, part.outcome.map(Vec::into_iter)));
        }
        for planned in self.plan.drain(..) {
            let reply = match planned {
                Planned::One(part) => next(&mut parts[usize::from(part)]).map(or_refusal),
                Planned::Walk(part) => {
                    let part = &mut parts[usize::from(part)];
                    let reply = next(part).map(or_refusal);
                    reply.map(|reply| split::next_cursor(reply, part.0, self.shards))
                }
                Planned::Several(several) => several.gather(&mut parts),
            };
            show(reply.as_ref());
            if reply.is_none() {
                break;
            }
        }
        self.plan.shrink_to(PLAN_KEPT);
    }
}

/// Memory is kept for the plans of so many commands.
const PLAN_KEPT: usize = 4096;

/// What is left of what became of a part.
type Outcome = (ShardId, Result<vec::IntoIter<Reply<'static>>, Refusal>);

fn next(part: &mut Outcome) -> Option<Result<Reply<'static>, Refusal>> {
    match &mut part.1 {
        Ok(replies) => replies.next().map(Ok),
        Err(refusal) => Some(Err(*refusal)),
    }
}

fn or_refusal(reply: Result<Reply<'static>, Refusal>) -> Reply<'static> {
    reply.unwrap_or_else(refusals::reply)
}

impl Several {
    fn gather(self, parts: &mut [Outcome]) -> Option<Reply<'static>> {
        let (mut replies, mut refused) = (Vec::with_capacity(self.of.len()), Vec::new());
        for (part, places) in self.of {
            match next(&mut parts[usize::from(part)])? {
                Ok(reply) => replies.push((places, reply)),
                Err(refusal) => refused.push(refusal),
            }
        }
        Some(if refused.is_empty() {
            self.gather.gather(replies, self.random)
        } else {
            refusals::reply_to_parts(&refused, self.writes && !replies.is_empty())
        })
    }
}

impl Part {
    fn new(shard: ShardId, buffers: &Buffers) -> Part {
        Part {
            shard,
            commands: buffers.take_commands(),
            outcome: Ok(Vec::new()),
        }
    }

    async fn submit(&mut self, core: &Core) {
        let commands = std::mem::take(&mut self.commands);
        let response = core.submit(self.shard.0 as usize, commands).await;
        self.commands = response.commands;
        self.outcome = response.outcome;
    }
}
