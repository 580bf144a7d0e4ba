//! The Redis protocol, RESP2 and RESP3: bytes in, frames out.
//!
//! Two sides, neither of which knows sockets or commands:
//!
//! - a server reads requests with [`Parser`] and writes replies with the functions of [`encode`];
//! - a client writes requests with [`client::request`] and reads replies with [`client::skip_reply`]
//!   or [`Value::decode`].
//!
//! One wake-up of a server's connection is one read, all commands in it, one write:
//!
//! ```
//! use resp::{Limits, Parser, ProtocolError, encode, recycle};
//!
//! # fn turn(parser: &mut Parser, buffer: &mut Vec<u8>, kept: &mut Vec<&'static [u8]>, out: &mut Vec<u8>) -> Result<(), ProtocolError> {
//! let limits = Limits::default();
//! let mut args = std::mem::take(kept);
//! let mut at = 0;
//! let outcome = loop {
//!     match parser.parse(&buffer[at..], &limits, &mut args) {
//!         Ok(Some(length)) => {
//!             at += length;
//!             // Blank lines and `*0` give no arguments and get no reply.
//!             if !args.is_empty() {
//!                 encode::bulk(out, args[0]);
//!             }
//!         }
//!         Ok(None) => break Ok(()),
//!         // The one case whose arguments are not slices of the buffer.
//!         Err(ProtocolError::InlineEscapes) => {
//!             let (length, owned) = resp::split_inline(&buffer[at..])?;
//!             at += length;
//!             encode::bulk(out, &owned[0]);
//!         }
//!         Err(error) => break Err(error),
//!     }
//! };
//! *kept = recycle(args);
//! buffer.drain(..at);
//! buffer.reserve(parser.needed());
//! # outcome
//! # }
//! # let mut buffer = b"PING\r\n\"\\x41\"\r\n*2\r\n$3\r\nGET\r\n".to_vec();
//! # let mut out = Vec::new();
//! # turn(&mut Parser::new(), &mut buffer, &mut Vec::new(), &mut out).unwrap();
//! # assert_eq!(out, b"$4\r\nPING\r\n$1\r\nA\r\n");
//! # assert_eq!(buffer, b"*2\r\n$3\r\nGET\r\n");
//! ```

pub mod client;
pub mod encode;
mod error;
mod inline;
mod limits;
mod number;
mod parser;
mod value;

pub use encode::Protocol;
pub use error::{ProtocolError, ReplyError};
pub use inline::split_inline;
pub use limits::Limits;
pub use parser::{Parser, recycle};
pub use value::Value;
