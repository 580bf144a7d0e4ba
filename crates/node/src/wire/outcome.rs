//! How the outcome of forwarded commands stands in bytes.
//!
//! One byte of kind, then:
//!
//! | kind | | bytes |
//! | --- | --- | --- |
//! | 0 | replies | number u32, replies as [`commands::wire`] writes them |
//! | 1 | not the leader | the leader's node u64, 0 if it is not known |
//! | 2 | disk full | |
//! | 3 | busy | |
//! | 4 | unreachable | |
//! | 5 | uncertain | |

use base::NodeId;
use commands::Reply;
use shard::Refusal;
use thiserror::Error;

/// What became of commands: a reply for each, or why they were not taken.
pub type Outcome = Result<Vec<Reply<'static>>, Refusal>;

/// Why bytes are not an outcome.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OutcomeError {
    /// They end too early, or go on after the end.
    #[error("it has another length than it should")]
    Length,
    /// A later version wrote it.
    #[error("kind {0} is not known")]
    Kind(u8),
    /// A reply cannot be read.
    #[error("{0}")]
    Reply(#[from] commands::wire::WireError),
}

pub(crate) fn encode(outcome: &Outcome, out: &mut Vec<u8>) {
    match outcome {
        Ok(replies) => {
            out.push(0);
            // No request has so many commands: each takes some bytes.
            out.extend_from_slice(&(replies.len() as u32).to_le_bytes());
            for reply in replies {
                commands::wire::encode(reply, out);
            }
        }
        Err(Refusal::NotLeader { leader }) => {
            out.push(1);
            out.extend_from_slice(&leader.map_or(0, |leader| leader.0).to_le_bytes());
        }
        Err(Refusal::DiskFull) => out.push(2),
        Err(Refusal::Busy) => out.push(3),
        Err(Refusal::Unreachable) => out.push(4),
        Err(Refusal::Uncertain) => out.push(5),
    }
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Outcome, OutcomeError> {
    let (&kind, mut rest) = bytes.split_first().ok_or(OutcomeError::Length)?;
    let outcome = match kind {
        0 => {
            let (count, replies) = rest.split_first_chunk().ok_or(OutcomeError::Length)?;
            rest = replies;
            let count = u32::from_le_bytes(*count) as usize;
            // Each takes a byte at the least, and much more memory than that.
            let mut replies = Vec::with_capacity(count.min(rest.len()).min(AHEAD));
            for _ in 0..count {
                replies.push(commands::wire::decode(&mut rest)?);
            }
            Ok(replies)
        }
        1 => {
            let (leader, after) = rest.split_first_chunk().ok_or(OutcomeError::Length)?;
            rest = after;
            let leader = u64::from_le_bytes(*leader);
            let leader = (leader != 0).then_some(NodeId(leader));
            Err(Refusal::NotLeader { leader })
        }
        2 => Err(Refusal::DiskFull),
        3 => Err(Refusal::Busy),
        4 => Err(Refusal::Unreachable),
        5 => Err(Refusal::Uncertain),
        unknown => return Err(OutcomeError::Kind(unknown)),
    };
    if rest.is_empty() {
        Ok(outcome)
    } else {
        Err(OutcomeError::Length)
    }
}

/// Memory is set aside for so many replies before any of them has been read.
const AHEAD: usize = 1024;
