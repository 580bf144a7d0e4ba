//! Notices of what happens to keys, for those who want to hear of it.
//!
//! They are no part of the state: which of them a keyspace gathers is for whoever runs it to say, and none of them
//! changes what is stored. Handlers note what they did under Redis's names of events; that a key has expired is
//! noted here.

use base::Db;

use crate::keyspace::Keyspace;

/// What kind of thing happened, each with its letter in `notify-keyspace-events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// `g`: to keys of any kind, as DEL, EXPIRE and RENAME do.
    Generic = 1,
    /// `$`
    String = 1 << 1,
    /// `l`
    List = 1 << 2,
    /// `s`
    Set = 1 << 3,
    /// `h`
    Hash = 1 << 4,
    /// `z`
    SortedSet = 1 << 5,
    /// `t`
    Stream = 1 << 6,
    /// `x`: a key has expired and was removed.
    Expired = 1 << 7,
}

/// A set of [`Class`]es.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Classes(u16);

impl Classes {
    /// All of them: `A`.
    pub const ALL: Classes = Classes(0xff);

    /// The set in numbers: the sum of its classes'.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// What [`Classes::bits`] gave.
    pub const fn of_bits(bits: u16) -> Classes {
        Classes(bits & Classes::ALL.0)
    }

    /// This set and one more.
    #[must_use]
    pub const fn with(self, class: Class) -> Classes {
        Classes(self.0 | class as u16)
    }

    /// Whether it is in the set.
    pub const fn contains(self, class: Class) -> bool {
        self.0 & class as u16 != 0
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Something that happened to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Redis's name of it, such as `lpush`.
    pub event: &'static str,
    /// The database of the key.
    pub db: Db,
    /// The key.
    pub key: Vec<u8>,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Notices {
    wanted: Classes,
    gathered: Vec<Notice>,
}

impl Keyspace {
    /// From now on notices of those classes are gathered, until [`Keyspace::take_notices`].
    pub fn want_notices(&mut self, classes: Classes) {
        self.notices.wanted = classes;
    }

    /// What was gathered since the last call, in the order in which it happened.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices.gathered)
    }

    /// Something has happened to a key.
    #[inline]
    pub fn notice(&mut self, class: Class, event: &'static str, db: Db, key: &[u8]) {
        if self.notices.wanted.contains(class) {
            self.gather(event, db, key);
        }
    }

    /// The same, and if nothing is left of the value, that the key is gone.
    #[inline]
    pub fn notice_change(&mut self, class: Class, event: &'static str, db: Db, key: &[u8]) {
        if self.notices.wanted.is_empty() {
            return;
        }
        self.notice(class, event, db, key);
        if self.entry(db, key).is_none() {
            self.notice(Class::Generic, "del", db, key);
        }
    }

    #[cold]
    fn gather(&mut self, event: &'static str, db: Db, key: &[u8]) {
        let key = key.to_vec();
        self.notices.gathered.push(Notice { event, db, key });
    }
}

impl Notices {
    /// A key that had expired is removed.
    #[inline]
    pub(crate) fn expired(&mut self, db: Db, key: &[u8]) {
        if self.wanted.contains(Class::Expired) {
            let (event, key) = ("expired", key.to_vec());
            self.gathered.push(Notice { event, db, key });
        }
    }
}
