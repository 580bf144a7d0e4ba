//! Feeds bytes to a parser as a server would, in pieces, and notes what it made of them.
//!
//! Shared by the tests and by the fuzz target `resp_parser`.

use resp::{Limits, Parser, ProtocolError, recycle, split_inline};

/// What a connection's bytes meant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The commands that were not blank.
    pub(crate) commands: Vec<Vec<Vec<u8>>>,
    /// Why the connection was closed.
    pub(crate) error: Option<ProtocolError>,
    /// How many bytes the commands took, blank ones among them.
    pub(crate) consumed: usize,
}

/// Feeds the pieces one after another through one read buffer, and checks what a parser promises on the way.
pub(crate) fn feed<'p>(pieces: impl Iterator<Item = &'p [u8]>, limits: &Limits) -> Outcome {
    let mut parser = Parser::new();
    let mut buffer = Vec::new();
    let mut kept = Vec::new();
    let mut outcome = Outcome {
        commands: Vec::new(),
        error: None,
        consumed: 0,
    };
    for piece in pieces {
        // A buffer of its own each time: nothing may depend on where the bytes stand.
        buffer = [buffer.as_slice(), piece].concat();
        let mut args: Vec<&[u8]> = kept;
        let mut at = 0;
        loop {
            match parser.parse(&buffer[at..], limits, &mut args) {
                Ok(Some(length)) => {
                    assert!(length > 0 && length <= buffer.len() - at);
                    assert!(!parser.in_command());
                    at += length;
                    if !args.is_empty() {
                        outcome
                            .commands
                            .push(args.iter().map(|arg| arg.to_vec()).collect());
                    }
                }
                Ok(None) => {
                    assert!(args.is_empty());
                    assert_eq!(parser.in_command(), at < buffer.len());
                    assert!((1..=Parser::MAX_NEEDED).contains(&parser.needed()));
                    break;
                }
                Err(ProtocolError::InlineEscapes) => {
                    assert!(args.is_empty() && !parser.in_command());
                    let (length, owned) =
                        split_inline(&buffer[at..]).expect("the parser checked the quotes");
                    assert!(!owned.is_empty());
                    at += length;
                    outcome.commands.push(owned);
                }
                Err(error) => {
                    assert!(args.is_empty());
                    outcome.error = Some(error);
                    break;
                }
            }
        }
        outcome.consumed += at;
        kept = recycle(args);
        buffer.drain(..at);
        if outcome.error.is_some() {
            break;
        }
    }
    outcome
}

/// The limits under which inputs are tried: the usual ones, and such as small inputs can reach.
pub(crate) fn limits() -> [Limits; 3] {
    let small = Limits {
        bulk_bytes: 24,
        args: 12,
        inline_bytes: 16,
        query_bytes: 60,
        authenticated: false,
    };
    [Limits::default(), Limits::unauthenticated(), small]
}

/// Checks that bytes mean the same at once and byte by byte, and gives what they mean.
pub(crate) fn check(bytes: &[u8], limits: &Limits) -> Outcome {
    let whole = feed(std::iter::once(bytes), limits);
    assert_eq!(
        whole,
        feed(bytes.chunks(1), limits),
        "{:?}",
        bytes.escape_ascii().to_string()
    );
    whole
}
