//! How large a collection may be and still be packed.

/// The thresholds at which collections leave their packed form, under the names of Redis's
/// configuration. They decide what `OBJECT ENCODING` tells and in which order a collection is walked, so they
/// are part of the state machine: all replicas of a shard have the same ones at the same entry of the log.
///
/// The defaults are those of Redis 7.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `hash-max-listpack-entries`: fields.
    pub hash_max_listpack_entries: usize,
    /// `hash-max-listpack-value`: bytes of a field or a value.
    pub hash_max_listpack_value: usize,
    /// `set-max-intset-entries`: members that are all whole numbers.
    pub set_max_intset_entries: usize,
    /// `set-max-listpack-entries`: members. With 0, sets are kept as in Redis 7.0.
    pub set_max_listpack_entries: usize,
    /// `set-max-listpack-value`: bytes of a member.
    pub set_max_listpack_value: usize,
    /// `zset-max-listpack-entries`: members.
    pub zset_max_listpack_entries: usize,
    /// `zset-max-listpack-value`: bytes of a member.
    pub zset_max_listpack_value: usize,
    /// `list-max-listpack-size`: elements of a node if positive; -1 to -5 stand for 4, 8, 16, 32 and 64 KiB.
    pub list_max_listpack_size: i32,
    /// `stream-node-max-bytes`.
    pub stream_node_max_bytes: usize,
    /// `stream-node-max-entries`.
    pub stream_node_max_entries: usize,
}

impl Limits {
    /// The most elements that any packed form has, whatever is configured: a write to it moves the rest of
    /// it, so it must stay short.
    pub(crate) const PACKED_ELEMENTS_MAX: usize = 16 << 10;
}

const _: () = assert!(Limits::PACKED_ELEMENTS_MAX <= crate::packed::ELEMENTS_MAX);

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            hash_max_listpack_entries: 512,
            hash_max_listpack_value: 64,
            set_max_intset_entries: 512,
            set_max_listpack_entries: 128,
            set_max_listpack_value: 64,
            zset_max_listpack_entries: 128,
            zset_max_listpack_value: 64,
            list_max_listpack_size: -2,
            stream_node_max_bytes: 4096,
            stream_node_max_entries: 100,
        }
    }
}
