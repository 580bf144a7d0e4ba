//! Golden scripts: what clients send and what a server must answer, readable like a session of
//! `redis-cli`, and runnable against anything that answers.
//!
//! ```text
//! ; A comment.
//! > SET greeting "hello\r\n" EX 100
//! OK
//! > GET greeting
//! "hello\r\n"
//! # within 2
//! > TTL greeting
//! (integer) 100
//! ```
//!
//! - `> ` sends a command. Words are split at spaces; `"..."` knows the escapes `\n \r \t \a \b \" \\
//!   \xHH`, `'...'` knows `\'` alone.
//! - The lines up to the next blank line, command, comment or directive are the reply, as
//!   [`Value`] shows it.
//! - `; ` begins a comment.
//! - `# ` begins a directive; an unknown one is an error:
//!
//! | directive | meaning |
//! | --- | --- |
//! | `# wait 20ms` | time passes |
//! | `# resp2`, `# resp3` | replies come in that version of the protocol from here on |
//! | `# within 2` | the next reply is a whole number that may differ by that much |
//! | `# unordered` | the strings of the next reply's array may come in any order; the script has them sorted |
//! | `# piccolo` | the next command is answered in a way of our own: a real Redis is not asked |
//!
//! A script starts with empty databases, database 0 selected and RESP2. It imports nothing but
//! `std`, and only tests depend on it.

mod script;
pub mod socket;
mod value;

pub use script::{Action, Call, Comparison, ParseError, Step, parse, rewrite, split_words};
pub use value::Value;
