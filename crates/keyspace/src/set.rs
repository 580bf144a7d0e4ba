//! Sets: different members.
//!
//! A small one of whole numbers is an ordered run of them, another small one is packed in the order in which the
//! members came, and a large one is a table in the order of the members' hashes.

use base::{Db, Timestamp};

use crate::collection::{Absent, ValueMut};
use crate::entry::Entry;
use crate::hasher::Hasher;
use crate::intset::{self, Intset};
use crate::keyspace::Keyspace;
use crate::limits::Limits;
use crate::members::Members;
use crate::object::Object;
use crate::packed::{self, Element, Encoded, Packed, number_of};
use crate::places::Placed;
use crate::value::{Encoding, Kind, WrongKind};

/// A set, to be read. It is never empty.
#[derive(Clone, Copy)]
pub struct Set<'k> {
    form: Form<'k>,
    hasher: Hasher,
}

#[derive(Clone, Copy)]
enum Form<'k> {
    Numbers(Intset<'k>),
    Packed(Packed<'k>),
    Table(&'k Members),
}

impl<'k> Form<'k> {
    fn of_run(encoding: Encoding, run: &'k [u8]) -> Form<'k> {
        match encoding {
            Encoding::Intset => Form::Numbers(Intset::new(run)),
            _ => Form::Packed(Packed::new(run)),
        }
    }
}

impl<'k> Set<'k> {
    fn of(entry: Entry<'k>, hasher: Hasher) -> Set<'k> {
        let form = match entry.object() {
            Some(Object::Members(members)) => Form::Table(members),
            _ => Form::of_run(entry.encoding(), entry.run().expect("a small set is a run")),
        };
        Set { form, hasher }
    }

    /// How many members it has.
    #[expect(clippy::len_without_is_empty, reason = "a set is never empty")]
    pub fn len(&self) -> usize {
        match self.form {
            Form::Numbers(numbers) => numbers.len(),
            Form::Packed(packed) => packed.len(),
            Form::Table(members) => members.len(),
        }
    }

    /// Whether it has this member.
    pub fn contains(&self, member: &[u8]) -> bool {
        match self.form {
            Form::Numbers(numbers) => {
                number_of(member).is_some_and(|number| numbers.find(number).is_ok())
            }
            Form::Packed(packed) => packed.find(&Encoded::of(member), 1).is_some(),
            Form::Table(members) => members.get(self.hasher, member).is_some(),
        }
    }

    /// Visits all members, in an order that is part of the state, until it is told to stop by `false`.
    pub fn visit(&self, visit: &mut dyn FnMut(Element<'k>) -> bool) {
        match self.form {
            Form::Numbers(numbers) => numbers.iter().map(Element::Number).all(visit),
            Form::Packed(packed) => packed.iter().map(|(_, element)| element).all(visit),
            Form::Table(members) => {
                let keys = members.iter().map(|member| Element::Bytes(member.key()));
                { keys }.all(visit)
            }
        };
    }

    /// Visits all members, in an order that is part of the state.
    pub fn for_each(&self, visit: &mut dyn FnMut(Element<'k>)) {
        self.visit(&mut |member| {
            visit(member);
            true
        });
    }

    /// The member of that number in the order.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn nth(&self, index: usize) -> Element<'k> {
        match self.form {
            Form::Numbers(numbers) => Element::Number(numbers.get(index)),
            Form::Packed(packed) => packed.at(packed.offset_of(index)).0,
            Form::Table(members) => {
                Element::Bytes(members.nth(index).expect("the member is there").key())
            }
        }
    }

    /// The members of those numbers.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn each(&self, indices: &[usize]) -> Vec<Element<'k>> {
        // One walk over all costs as much as finding some of them by number.
        if indices.len() <= self.len() / 64 {
            return indices.iter().map(|&index| self.nth(index)).collect();
        }
        let mut all = Vec::with_capacity(self.len());
        self.for_each(&mut |member| all.push(member));
        indices.iter().map(|&index| all[index]).collect()
    }

    /// Visits about `count` members from a cursor on, and gives the cursor to go on from; 0 stands for the
    /// start and for the end. A small set is visited whole.
    pub fn scan(&self, cursor: u64, count: usize, visit: &mut dyn FnMut(Element<'k>)) -> u64 {
        match self.form {
            Form::Table(members) => members.scan(self.hasher, cursor, count, &mut |member| {
                visit(Element::Bytes(member.key()));
            }),
            Form::Numbers(_) | Form::Packed(_) => {
                self.for_each(visit);
                0
            }
        }
    }
}

/// A set that is being changed; see [`Keyspace::change_members`].
pub struct SetMut<'a>(ValueMut<'a>);

impl SetMut<'_> {
    /// How many members it has.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether it has none. If so at the end, the key is removed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn read(&self) -> Set<'_> {
        let form = match self.0.object() {
            Some(Object::Members(members)) => Form::Table(members),
            _ => Form::of_run(
                self.0.encoding(),
                self.0.run().expect("a small set is a run"),
            ),
        };
        Set {
            form,
            hasher: self.0.hasher,
        }
    }

    /// Prepares for so many members that are to be added: if they are too many for a small set, it is made a large
    /// one at once.
    pub fn expect(&mut self, count: usize, first: &[u8]) {
        let limits = self.0.limits;
        let numbers = match self.0.encoding() {
            Encoding::Intset => true,
            Encoding::Listpack => self.is_empty() && number_of(first).is_some(),
            _ => return,
        };
        let most = if numbers {
            most_numbers(limits)
        } else {
            most_packed(limits)
        };
        if count > most {
            self.unpack(count);
        }
    }

    /// Adds a member; true if it is new.
    pub fn add(&mut self, member: &[u8]) -> bool {
        let number = number_of(member);
        if self.0.encoding() == Encoding::Listpack
            && number.is_some()
            && self.is_empty()
            && most_numbers(self.0.limits) > 0
        {
            self.0.set_run(Encoding::Intset, intset::NOTHING);
        }
        if self.0.encoding() == Encoding::Intset {
            if let Some(number) = number {
                return self.add_number(number);
            }
            self.leave_numbers(member);
        }
        if self.0.encoding() == Encoding::Listpack {
            let packed = self.0.packed();
            let sought = Encoded::of(member);
            if packed.find(&sought, 1).is_some() {
                return false;
            }
            let fits = member.len() <= self.0.limits.set_max_listpack_value;
            if fits && packed.len() < most_packed(self.0.limits) {
                let end = packed.end();
                let mut new = Vec::with_capacity(sought.size());
                sought.push(&mut new);
                self.0.edit(end..end, 0, &new, 1);
                return true;
            }
            self.unpack(packed.len() + 1);
        }
        let hasher = self.0.hasher;
        match self.0.object_mut() {
            // One that is there already stays as it is: what is shared is not copied for nothing.
            Some(Object::Members(members)) => {
                members.get(hasher, member).is_none() && members.insert(hasher, member, b"")
            }
            _ => unreachable!("a set that is no run is a table"),
        }
    }

    fn add_number(&mut self, number: i64) -> bool {
        let numbers = Intset::new(self.0.run().expect("a set of numbers is a run"));
        let Err(index) = numbers.find(number) else {
            return false;
        };
        let width = intset::width_of(number);
        let len = numbers.len() + 1;
        let (at, old_width) = (numbers.offset_of(index), numbers.width());
        if width > old_width {
            let wide = numbers.widened(width);
            self.0.set_run(Encoding::Intset, &wide);
        }
        let width = width.max(old_width);
        let at = if width > old_width {
            1 + index * width
        } else {
            at
        };
        self.0.splice(at..at, &number.to_le_bytes()[..width]);
        if len > most_numbers(self.0.limits) {
            self.unpack(len);
        }
        true
    }

    /// Makes a set of numbers one of anything, to which `member` is to be added.
    fn leave_numbers(&mut self, member: &[u8]) {
        let set = self.read();
        let most_bytes = self.0.limits.set_max_listpack_value;
        let longest = match set.len() {
            0 => 0,
            len => set.nth(0).len().max(set.nth(len - 1).len()),
        };
        if set.len() < most_packed(self.0.limits) && member.len().max(longest) <= most_bytes {
            let mut run = packed::NOTHING.to_vec();
            set.for_each(&mut |number| {
                if let Element::Number(number) = number {
                    Encoded::of_number(number).push(&mut run);
                }
            });
            let count = u16::try_from(set.len()).expect("packed collections are bounded");
            run[..packed::COUNT_BYTES].copy_from_slice(&count.to_le_bytes());
            self.0.set_run(Encoding::Listpack, &run);
        } else {
            self.unpack(set.len() + 1);
        }
    }

    /// Removes a member; false when it is absent.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        let hasher = self.0.hasher;
        match self.0.encoding() {
            Encoding::Intset => {
                let numbers = Intset::new(self.0.run().expect("a set of numbers is a run"));
                let found = number_of(member).and_then(|number| numbers.find(number).ok());
                let Some(index) = found else { return false };
                let range = numbers.offset_of(index)..numbers.offset_of(index + 1);
                self.0.splice(range, &[]);
                true
            }
            Encoding::Listpack => {
                let packed = self.0.packed();
                let Some(at) = packed.find(&Encoded::of(member), 1) else {
                    return false;
                };
                let end = packed.after(at);
                self.0.edit(at..end, 1, &[], 0);
                true
            }
            _ => match self.0.object_mut() {
                Some(Object::Members(members)) => members.remove(hasher, member).is_some(),
                _ => unreachable!("a set that is no run is a table"),
            },
        }
    }

    /// Makes it a table with room for so many members.
    fn unpack(&mut self, room: usize) {
        let mut members = Members::default();
        members.reserve(room);
        let set = self.read();
        set.for_each(&mut |member| {
            member.with_bytes(|member| members.insert(set.hasher, member, b""));
        });
        self.0
            .set_object(Encoding::Hashtable, Object::Members(members));
    }
}

/// So many members may be packed.
fn most_packed(limits: &Limits) -> usize {
    limits
        .set_max_listpack_entries
        .min(Limits::PACKED_ELEMENTS_MAX)
}

/// So many numbers may stand in a run.
fn most_numbers(limits: &Limits) -> usize {
    limits
        .set_max_intset_entries
        .min(Limits::PACKED_ELEMENTS_MAX)
}

impl Keyspace {
    /// The set at a key; none if it is absent at `now`.
    ///
    /// # Errors
    /// When the key holds something else.
    pub fn members(
        &self,
        db: Db,
        key: &[u8],
        now: Timestamp,
    ) -> Result<Option<Set<'_>>, WrongKind> {
        let entry = self.collection(db, key, Kind::Set, now)?;
        Ok(entry.map(|entry| {
            entry.touch(now);
            Set::of(entry, self.hasher)
        }))
    }

    /// Changes the set at a key; none if it is absent and left so. A set that is empty afterwards is
    /// removed. Whoever may find nothing to change looks first, with [`Keyspace::members`].
    ///
    /// # Errors
    /// When the key holds something else.
    pub fn change_members<R>(
        &mut self,
        db: Db,
        key: &[u8],
        absent: Absent,
        change: impl FnOnce(&mut SetMut<'_>) -> R,
    ) -> Result<Option<R>, WrongKind> {
        self.change_collection(db, key, Kind::Set, absent, |value| {
            change(&mut SetMut(value))
        })
    }
}
