//! Sorted sets: members, each with a score, in the order of scores, and of bytes among equal ones.
//!
//! A small one is packed, member and score in turn, in that order; a large one is a table beside a tree. No score is
//! NaN. A score is packed as a whole number if it is one that a double holds exactly (so -0 becomes 0, as in Redis), else as the 8 bytes of the double;
//! should these be the digits of a number, a zero follows, or they would be packed as that number.

use std::cmp::Ordering;
use std::ops::Range;

use base::{Db, Timestamp};

use crate::collection::{Absent, ValueMut};
use crate::entry::Entry;
use crate::hasher::Hasher;
use crate::keyspace::Keyspace;
use crate::limits::Limits;
use crate::object::Object;
use crate::packed::{Element, Encoded, Packed, number_of};
use crate::ranking::{Ranked, Ranking, compare};
use crate::value::{Encoding, Kind, WrongKind};

/// A sorted set, to be read. It is never empty.
#[derive(Clone, Copy)]
pub struct SortedSet<'k> {
    form: Form<'k>,
    hasher: Hasher,
}

#[derive(Clone, Copy)]
enum Form<'k> {
    Packed(Packed<'k>),
    Ranking(&'k Ranking),
}

/// Up to this all whole numbers are doubles.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// Appends a score as it is packed.
fn push_score(score: f64, out: &mut Vec<u8>) {
    assert!(!score.is_nan(), "no score is NaN");
    let is_whole = score.trunc() == score && score.abs() <= EXACT_MAX;
    if is_whole {
        Encoded::of_number(score as i64).push(out);
        return;
    }
    let mut bytes = [0; 9];
    bytes[..8].copy_from_slice(&score.to_le_bytes());
    let len = if number_of(&bytes[..8]).is_some() {
        9
    } else {
        8
    };
    Encoded::of(&bytes[..len]).push(out);
}

/// The score that an element is; none if it is not one as [`push_score`] writes it.
fn read_score(element: Element<'_>) -> Option<f64> {
    match element {
        Element::Number(number) => Some(number as f64),
        Element::Bytes(bytes) => Some(f64::from_le_bytes(*bytes.first_chunk()?)),
    }
}

fn score_of(element: Element<'_>) -> f64 {
    read_score(element).expect("a packed score is one")
}

/// Whether these elements are a sorted set as this module packs one.
pub(crate) fn is_sorted_set(packed: Packed<'_>) -> bool {
    let mut last: Option<(f64, Element<'_>)> = None;
    let mut members = std::collections::BTreeSet::new();
    let mut again = Vec::new();
    let mut elements = packed.iter();
    while let Some((_, member)) = elements.next() {
        let Some((at, element)) = elements.next() else {
            return false;
        };
        let Some(score) = read_score(element).filter(|score| !score.is_nan()) else {
            return false;
        };
        again.clear();
        push_score(score, &mut again);
        let in_order = last.is_none_or(|(last_score, last)| {
            compare_elements(last_score, last, score, member) == Ordering::Less
        });
        if !in_order || !packed.stands_at(at, &again) || !members.insert(member.to_bytes()) {
            return false;
        }
        last = Some((score, member));
    }
    packed.len() > 0
}

fn compare_elements(
    score: f64,
    member: Element<'_>,
    other_score: f64,
    other: Element<'_>,
) -> Ordering {
    member.with_bytes(|member| other.with_bytes(|other| compare(score, member, other_score, other)))
}

/// Members and scores of a packed sorted set, with where each pair starts.
fn pairs<'k>(packed: Packed<'k>) -> impl Iterator<Item = (usize, Element<'k>, f64)> {
    let mut elements = packed.iter();
    std::iter::from_fn(move || {
        let (at, member) = elements.next()?;
        let (_, score) = elements.next()?;
        Some((at, member, score_of(score)))
    })
}

impl<'k> SortedSet<'k> {
    fn of(entry: Entry<'k>, hasher: Hasher) -> SortedSet<'k> {
        let form = match entry.object() {
            Some(Object::SortedSet(ranking)) => Form::Ranking(ranking),
            _ => Form::Packed(Packed::new(
                entry.run().expect("a small sorted set is packed"),
            )),
        };
        SortedSet { form, hasher }
    }

    /// How many members it has.
    #[expect(clippy::len_without_is_empty, reason = "a sorted set is never empty")]
    pub fn len(&self) -> usize {
        match self.form {
            Form::Packed(packed) => packed.len() / 2,
            Form::Ranking(ranking) => ranking.len(),
        }
    }

    /// The score of a member.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match self.form {
            Form::Packed(packed) => {
                let at = packed.find(&Encoded::of(member), 2)?;
                Some(score_of(packed.at(packed.after(at)).0))
            }
            Form::Ranking(ranking) => ranking.score(self.hasher, member),
        }
    }

    /// The rank of a member, counted from the least score, and its score.
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        match self.form {
            Form::Packed(packed) => {
                let at = packed.find(&Encoded::of(member), 2)?;
                let rank = pairs(packed).take_while(|(other, ..)| *other < at).count();
                Some((rank, score_of(packed.at(packed.after(at)).0)))
            }
            Form::Ranking(ranking) => {
                let score = ranking.score(self.hasher, member)?;
                Some((ranking.rank_of(score, member), score))
            }
        }
    }

    /// How many members from the least on `is_before` holds for. If it does for one, it must for all that come
    /// before that.
    pub fn count_before(&self, mut is_before: impl FnMut(Element<'_>, f64) -> bool) -> usize {
        match self.form {
            Form::Packed(packed) => pairs(packed)
                .take_while(|(_, member, score)| is_before(*member, *score))
                .count(),
            Form::Ranking(ranking) => ranking.order().partition_point(|item| {
                is_before(Element::Bytes(item.scored.member()), item.score)
            }),
        }
    }

    /// Visits the members of these ranks with their scores; from the last to the first if `reversed`.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn for_each(
        &self,
        ranks: Range<usize>,
        reversed: bool,
        visit: &mut dyn FnMut(Element<'k>, f64),
    ) {
        self.visit(ranks, reversed, &mut |member, score| {
            visit(member, score);
            true
        });
    }

    /// The same, until it is told to stop by `false`.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn visit(
        &self,
        ranks: Range<usize>,
        reversed: bool,
        visit: &mut dyn FnMut(Element<'k>, f64) -> bool,
    ) {
        if ranks.is_empty() {
            return;
        }
        match self.form {
            Form::Packed(packed) if reversed => {
                let last = packed.offset_of(ranks.end * 2 - 1);
                let mut end = packed.after(last);
                for _ in ranks {
                    let score = packed.before(end);
                    end = packed.before(score);
                    if !visit(packed.at(end).0, score_of(packed.at(score).0)) {
                        return;
                    }
                }
            }
            Form::Packed(packed) => {
                let mut at = packed.offset_of(ranks.start * 2);
                for _ in ranks {
                    let (member, score_at) = packed.at(at);
                    let (score, next) = packed.at(score_at);
                    at = next;
                    if !visit(member, score_of(score)) {
                        return;
                    }
                }
            }
            Form::Ranking(ranking) => {
                let mut visit =
                    |item: &'k Ranked| visit(Element::Bytes(item.scored.member()), item.score);
                if reversed {
                    ranking.order().range_reversed(ranks).all(&mut visit);
                } else {
                    ranking.order().range(ranks).all(&mut visit);
                }
            }
        }
    }

    /// The member of a rank with its score.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn nth(&self, rank: usize) -> (Element<'k>, f64) {
        let mut found = None;
        self.for_each(rank..rank + 1, false, &mut |member, score| {
            found = Some((member, score));
        });
        found.expect("the rank is there")
    }

    /// Visits about `count` members from a cursor on, and gives the cursor to go on from; 0 stands for the
    /// start and for the end. A small set is visited whole.
    pub fn scan(&self, cursor: u64, count: usize, visit: &mut dyn FnMut(Element<'k>, f64)) -> u64 {
        match self.form {
            Form::Packed(_) => {
                self.for_each(0..self.len(), false, visit);
                0
            }
            Form::Ranking(ranking) => ranking.scan(self.hasher, cursor, count, &mut |scored| {
                visit(Element::Bytes(scored.member()), scored.score());
            }),
        }
    }
}

/// A sorted set that is being changed; see [`Keyspace::change_sorted_set`].
pub struct SortedSetMut<'a>(ValueMut<'a>);

impl SortedSetMut<'_> {
    /// The score of a member.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        self.read().score(member)
    }

    /// How many members it has.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether it has none. If so at the end, the key is removed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Prepares for so many members that are to be added: if they are too many for a small set, or the first is too long
    /// where there is none yet, it is made a large one at once.
    pub fn expect(&mut self, count: usize, first: &[u8]) {
        if self.0.run().is_none() {
            return;
        }
        let limits = self.0.limits;
        let is_long = first.len() > limits.zset_max_listpack_value;
        if count > most_packed(limits) || (is_long && self.is_empty()) {
            self.unpack();
        }
    }

    fn read(&self) -> SortedSet<'_> {
        let form = match self.0.object() {
            Some(Object::SortedSet(ranking)) => Form::Ranking(ranking),
            _ => Form::Packed(self.0.packed()),
        };
        SortedSet {
            form,
            hasher: self.0.hasher,
        }
    }

    /// Gives a member a score; the one that it had. One that is equal to the new one stays, be it 0 or -0.
    ///
    /// # Panics
    /// If the score is NaN.
    pub fn set(&mut self, member: &[u8], score: f64) -> Option<f64> {
        assert!(!score.is_nan(), "no score is NaN");
        if self.0.run().is_some() {
            let old = self.score(member);
            if old == Some(score) {
                return old;
            }
            let limits = self.0.limits;
            let fits = old.is_some()
                || (self.len() < most_packed(limits)
                    && member.len() <= limits.zset_max_listpack_value);
            if fits {
                if old.is_some() {
                    self.remove(member);
                }
                self.insert_packed(member, score);
                return old;
            }
            self.unpack();
        }
        let hasher = self.0.hasher;
        match self.0.object_mut() {
            Some(Object::SortedSet(ranking)) => ranking.set(hasher, member, score),
            _ => unreachable!("what is not packed is a ranking"),
        }
    }

    /// Puts a member that is absent into a packed set.
    fn insert_packed(&mut self, member: &[u8], score: f64) {
        let packed = self.0.packed();
        let later = pairs(packed).find(|(_, other, other_score)| {
            other.with_bytes(|other| compare(score, member, *other_score, other)) == Ordering::Less
        });
        let at = later.map_or(packed.end(), |(at, ..)| at);
        let member = Encoded::of(member);
        let mut new = Vec::with_capacity(member.size() + 10);
        member.push(&mut new);
        push_score(score, &mut new);
        self.0.edit(at..at, 0, &new, 2);
    }

    /// Removes a member; the score that it had.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let hasher = self.0.hasher;
        if let Some(Object::SortedSet(ranking)) = self.0.object_mut() {
            return ranking.remove(hasher, member);
        }
        let packed = self.0.packed();
        let at = packed.find(&Encoded::of(member), 2)?;
        let (score, end) = packed.at(packed.after(at));
        let score = score_of(score);
        self.0.edit(at..end, 2, &[], 0);
        Some(score)
    }

    /// Removes the members of these ranks.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn remove_ranks(&mut self, ranks: Range<usize>) {
        if ranks.is_empty() {
            return;
        }
        let hasher = self.0.hasher;
        if let Some(Object::SortedSet(ranking)) = self.0.object_mut() {
            ranking.remove_ranks(hasher, ranks);
            return;
        }
        let packed = self.0.packed();
        let start = packed.offset_of(ranks.start * 2);
        let end = packed.after(packed.offset_of(ranks.end * 2 - 1));
        self.0.edit(start..end, ranks.len() * 2, &[], 0);
    }

    fn unpack(&mut self) {
        let mut ranking = Box::<Ranking>::default();
        let set = self.read();
        ranking.reserve(set.len() + 1);
        if set.len() > 0 {
            set.for_each(0..set.len(), false, &mut |member, score| {
                member.with_bytes(|member| ranking.push(set.hasher, score, member));
            });
        }
        self.0
            .set_object(Encoding::Skiplist, Object::SortedSet(ranking));
    }
}

/// So many members may be packed.
fn most_packed(limits: &Limits) -> usize {
    limits
        .zset_max_listpack_entries
        .min(Limits::PACKED_ELEMENTS_MAX / 2)
}

impl Keyspace {
    /// The sorted set at a key; none if it is absent at `now`.
    ///
    /// # Errors
    /// When the key holds something else.
    pub fn sorted_set(
        &self,
        db: Db,
        key: &[u8],
        now: Timestamp,
    ) -> Result<Option<SortedSet<'_>>, WrongKind> {
        let entry = self.collection(db, key, Kind::SortedSet, now)?;
        Ok(entry.map(|entry| {
            entry.touch(now);
            SortedSet::of(entry, self.hasher)
        }))
    }

    /// Changes the sorted set at a key; none if it is absent and left so. One that is empty afterwards is
    /// removed. Whoever may find nothing to change looks first, with [`Keyspace::sorted_set`].
    ///
    /// # Errors
    /// When the key holds something else.
    pub fn change_sorted_set<R>(
        &mut self,
        db: Db,
        key: &[u8],
        absent: Absent,
        change: impl FnOnce(&mut SortedSetMut<'_>) -> R,
    ) -> Result<Option<R>, WrongKind> {
        self.change_collection(db, key, Kind::SortedSet, absent, |value| {
            change(&mut SortedSetMut(value))
        })
    }
}
