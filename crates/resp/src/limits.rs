//! How large a request may be.

/// The limits within which [`crate::Parser`] takes requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest argument in bytes (`proto-max-bulk-len`).
    pub bulk_bytes: usize,
    /// The most arguments of one command, its name among them.
    pub args: usize,
    /// The longest inline command, and the longest line that announces a length.
    pub inline_bytes: usize,
    /// The longest command in all, as it stands on the wire. Above 4 GiB it counts as 4 GiB.
    pub query_bytes: usize,
    /// Whether the client may use the above. One that has yet to show its password sends at most
    /// [`Limits::UNAUTHENTICATED_ARGS`] of [`Limits::UNAUTHENTICATED_BULK_BYTES`] each.
    pub authenticated: bool,
}

impl Limits {
    /// The most arguments of a command before authentication.
    pub const UNAUTHENTICATED_ARGS: usize = 10;
    /// The longest argument before authentication.
    pub const UNAUTHENTICATED_BULK_BYTES: usize = 16 * 1024;

    /// For a client that has yet to authenticate: the default limits, and those of Redis for such
    /// clients, which a parser tells by error texts of their own.
    pub const fn unauthenticated() -> Limits {
        Limits {
            authenticated: false,
            ..Limits::DEFAULT
        }
    }

    const DEFAULT: Limits = Limits {
        bulk_bytes: 512 * 1024 * 1024,
        args: 1024 * 1024,
        inline_bytes: 64 * 1024,
        query_bytes: 1024 * 1024 * 1024,
        authenticated: true,
    };
}

impl Default for Limits {
    /// Those of Redis, with a command of at most a million arguments.
    fn default() -> Limits {
        Limits::DEFAULT
    }
}
