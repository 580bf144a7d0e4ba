//! Sets of named bits: the flags of commands, their ACL categories, the flags of keys.

macro_rules! bits {
    ($(#[$doc:meta])* $set:ident { $($(#[$constant_doc:meta])* $constant:ident = $bit:literal $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $set(u32);

        impl $set {
            /// The empty set.
            pub const NONE: $set = $set(0);
            $($(#[$constant_doc])* pub const $constant: $set = $set(1 << $bit);)*

            /// The union of both sets.
            pub const fn with(self, other: $set) -> $set {
                $set(self.0 | other.0)
            }

            /// Whether all of `other` is in this set.
            pub const fn contains(self, other: $set) -> bool {
                self.0 & other.0 == other.0
            }

            /// The names of what is in the set, in the order in which Redis prints them.
            pub fn names(self) -> impl Iterator<Item = &'static str> {
                [$(($set::$constant, $text),)*]
                    .into_iter()
                    .filter(move |(one, _)| self.contains(*one))
                    .map(|(_, name)| name)
            }

            /// The one member of that name, in any case.
            pub fn by_name(name: &[u8]) -> Option<$set> {
                [$(($set::$constant, $text),)*]
                    .into_iter()
                    .find(|(_, text)| text.as_bytes().eq_ignore_ascii_case(name))
                    .map(|(one, _)| one)
            }
        }
    };
}

bits! {
    /// The flags of a command.
    Flags {
        /// It may change the data.
        WRITE = 0 "write",
        /// It reads data and changes none.
        READONLY = 1 "readonly",
        /// It may take memory: refused when there is none left.
        DENYOOM = 2 "denyoom",
        /// It comes from a module.
        MODULE = 3 "module",
        /// It administers the server.
        ADMIN = 4 "admin",
        /// It belongs to publish and subscribe.
        PUBSUB = 5 "pubsub",
        /// Scripts may not call it.
        NOSCRIPT = 6 "noscript",
        /// It may wait.
        BLOCKING = 7 "blocking",
        /// Allowed while the data is being loaded.
        LOADING = 8 "loading",
        /// Allowed on a replica that may be behind.
        STALE = 9 "stale",
        /// `MONITOR` does not show it.
        SKIP_MONITOR = 10 "skip_monitor",
        /// `SLOWLOG` does not show it.
        SKIP_SLOWLOG = 11 "skip_slowlog",
        /// Allowed on a slot that is being imported.
        ASKING = 12 "asking",
        /// It takes constant or logarithmic time.
        FAST = 13 "fast",
        /// Allowed before authentication.
        NO_AUTH = 14 "no_auth",
        /// It may lead to replicated writes though it is none.
        MAY_REPLICATE = 15 "may_replicate",
        /// Its keys may be left out.
        NO_MANDATORY_KEYS = 16 "no_mandatory_keys",
        /// Refused while the data is being loaded in the background.
        NO_ASYNC_LOADING = 17 "no_async_loading",
        /// Refused inside `MULTI`.
        NO_MULTI = 18 "no_multi",
        /// Where its keys stand depends on its arguments.
        MOVABLEKEYS = 19 "movablekeys",
        /// Allowed while a script is busy.
        ALLOW_BUSY = 20 "allow_busy",
    }
}

bits! {
    /// The categories by which access-control lists name commands.
    Categories {
        /// Keys of any type.
        KEYSPACE = 0 "keyspace",
        /// Reads; derived.
        READ = 1 "read",
        /// Writes; derived.
        WRITE = 2 "write",
        /// Sets.
        SET = 3 "set",
        /// Sorted sets.
        SORTEDSET = 4 "sortedset",
        /// Lists.
        LIST = 5 "list",
        /// Hashes.
        HASH = 6 "hash",
        /// Strings.
        STRING = 7 "string",
        /// Bitmaps.
        BITMAP = 8 "bitmap",
        /// HyperLogLogs.
        HYPERLOGLOG = 9 "hyperloglog",
        /// Geographic indices.
        GEO = 10 "geo",
        /// Streams.
        STREAM = 11 "stream",
        /// Publish and subscribe.
        PUBSUB = 12 "pubsub",
        /// Administration; derived.
        ADMIN = 13 "admin",
        /// Constant or logarithmic time; derived.
        FAST = 14 "fast",
        /// Whatever is not fast; derived.
        SLOW = 15 "slow",
        /// What may wait; derived.
        BLOCKING = 16 "blocking",
        /// What may harm or disturb.
        DANGEROUS = 17 "dangerous",
        /// The connection itself.
        CONNECTION = 18 "connection",
        /// `MULTI` and its kin.
        TRANSACTION = 19 "transaction",
        /// Scripts and functions.
        SCRIPTING = 20 "scripting",
    }
}

bits! {
    /// What a command does with the keys of one [`KeySpec`](super::KeySpec).
    KeyFlags {
        /// Reads the value.
        RO = 0 "RO",
        /// Reads and changes it.
        RW = 1 "RW",
        /// Writes over it without reading.
        OW = 2 "OW",
        /// Removes it.
        RM = 3 "RM",
        /// Gives the user data out of it, or copies it.
        ACCESS = 4 "access",
        /// Changes data that is there.
        UPDATE = 5 "update",
        /// Adds data.
        INSERT = 6 "insert",
        /// Deletes content.
        DELETE = 7 "delete",
        /// Is no key, but is routed like one.
        NOT_KEY = 8 "not_key",
        /// There may be keys elsewhere.
        INCOMPLETE = 9 "incomplete",
        /// Other flags hold for some arguments.
        VARIABLE_FLAGS = 10 "variable_flags",
    }
}
