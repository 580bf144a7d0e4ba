//! What becomes of forwarded commands.

use commands::Reply;
use shard::Refusal;

/// What became of commands: a reply for each, or why they were not taken.
pub type Outcome = Result<Vec<Reply<'static>>, Refusal>;
