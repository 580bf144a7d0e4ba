use proptest::prelude::*;

use super::*;
use crate::ranking::Ranked;
use crate::scored::Scored;

fn item(number: u32) -> Ranked {
    Ranked::new(Scored::new(f64::from(number), &number.to_le_bytes()))
}

fn same(one: &Ranked, other: &Ranked) -> bool {
    one.score.to_bits() == other.score.to_bits() && one.scored.member() == other.scored.member()
}

fn numbers(order: &Order<Ranked>) -> Vec<u32> {
    let forward: Vec<u32> = order
        .range(0..order.len())
        .map(|item| item.score as u32)
        .collect();
    let mut backward: Vec<u32> = order
        .range_reversed(0..order.len())
        .map(|item| item.score as u32)
        .collect();
    backward.reverse();
    assert_eq!(forward, backward);
    forward
}

fn remove_all(order: &mut Order<Ranked>, ranks: Range<usize>) -> Vec<u32> {
    let (mut out, len) = (Vec::new(), ranks.len());
    while out.len() < len {
        order.remove(ranks.start..ranks.end - out.len(), &mut out);
    }
    out.iter().map(|item| item.score as u32).collect()
}

#[derive(Clone, Debug)]
enum Step {
    /// So many, each at a rank of that part of the length, so many 65536ths.
    Insert(u16, usize),
    Append(usize),
    Prepend(usize),
    Remove(u16, usize),
    /// What a snapshot does.
    Share,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<u16>(), 0..600_usize).prop_map(|(at, count)| Step::Insert(at, count)),
        2 => (0..1000_usize).prop_map(Step::Append),
        1 => (0..600_usize).prop_map(Step::Prepend),
        5 => (any::<u16>(), 0..900_usize).prop_map(|(at, count)| Step::Remove(at, count)),
        1 => Just(Step::Share),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_order_is_a_list_by_rank(steps in proptest::collection::vec(step(), 1..40)) {
        let (mut order, mut model, mut next) = (Order::<Ranked>::default(), Vec::new(), 0);
        let mut shared: Option<(Order<Ranked>, Vec<u32>)> = None;
        let mut insert = |order: &mut Order<Ranked>, model: &mut Vec<u32>, rank: usize| {
            order.insert(rank, item(next));
            model.insert(rank, next);
            next += 1;
        };
        for step in steps {
            let at = |part: u16, len: usize| (usize::from(part) * (len + 1)) >> 16;
            match step {
                Step::Insert(part, count) => for _ in 0..count {
                    let rank = at(part, model.len());
                    insert(&mut order, &mut model, rank);
                },
                Step::Append(count) => for _ in 0..count {
                    let rank = model.len();
                    insert(&mut order, &mut model, rank);
                },
                Step::Prepend(count) => for _ in 0..count {
                    insert(&mut order, &mut model, 0);
                },
                Step::Remove(part, count) => {
                    let start = at(part, model.len());
                    let ranks = start..model.len().min(start + count);
                    let removed: Vec<u32> = model.drain(ranks.clone()).collect();
                    prop_assert_eq!(remove_all(&mut order, ranks), removed);
                }
                Step::Share => shared = Some((order.clone(), model.clone())),
            }
            order.check(same);
            prop_assert_eq!(order.len(), model.len());
            prop_assert_eq!(&numbers(&order), &model);
        }
        if let Some((order, model)) = shared {
            order.check(same);
            prop_assert_eq!(numbers(&order), model);
        }
    }
}

#[test]
fn ranks_are_found_by_comparing() {
    let mut order = Order::<Ranked>::default();
    for number in (0..20_000).step_by(2) {
        order.insert(order.len(), item(number));
    }
    for sought in 0..20_001_u32 {
        let rank = order.partition_point(|item| item.score < f64::from(sought));
        assert_eq!(rank, sought.div_ceil(2) as usize);
        if rank < order.len() {
            assert_eq!(order.get(rank).score, f64::from(sought.next_multiple_of(2)));
        }
    }
}

#[test]
fn ascending_scores_fill_the_nodes() {
    let mut order = Order::<Ranked>::default();
    for number in 0..100_000 {
        order.insert(order.len(), item(number));
    }
    order.check(same);
    let each = order.bytes() as f64 / 100_000.0;
    assert!(each < 17.5, "{each} bytes for each element");
}

#[test]
fn scores_without_order_leave_little_room() {
    let mut order = Order::<Ranked>::default();
    let mut number = 1_u32;
    for _ in 0..100_000 {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let rank = order.partition_point(|item| item.score < f64::from(number));
        order.insert(rank, item(number));
    }
    order.check(same);
    let each = order.bytes() as f64 / 100_000.0;
    assert!(each < 20.0, "{each} bytes for each element");
}

#[test]
fn a_search_compares_as_often_as_the_logarithm_tells() {
    let mut order = Order::<Ranked>::default();
    for len in [1_000, 1_000_000_u32] {
        for number in order.len() as u32..len {
            order.insert(order.len(), item(number));
        }
        for sought in (0..len).step_by(len as usize / 100) {
            let mut comparisons = 0;
            let rank = order.partition_point(|item| {
                comparisons += 1;
                item.score < f64::from(sought)
            });
            assert_eq!(rank, sought as usize);
            assert!(comparisons <= len.ilog2() + 6, "{comparisons} among {len}");
        }
    }
}

/// A number and how often it was changed.
#[derive(Clone)]
struct Changed(u32, u32);

impl Keyed for Changed {
    type Key = u32;

    fn key(&self) -> &u32 {
        &self.0
    }
}

#[test]
fn a_change_is_not_seen_by_a_copy() {
    let mut order = Order::default();
    for number in 0..10_000 {
        order.insert(order.len(), Changed(number, 0));
    }
    let copy = order.clone();
    for rank in (0..10_000).step_by(7) {
        order.change(rank, |changed| changed.1 += 1);
    }
    assert_eq!(order.take(7).1, 1);
    order.check(|one, other| one == other);
    assert_eq!(
        order.range(0..9_999).filter(|item| item.1 == 1).count(),
        1428
    );
    assert!(copy.range(0..10_000).all(|item| item.1 == 0));
}
