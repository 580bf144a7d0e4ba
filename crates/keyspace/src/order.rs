//! A B+tree that counts: the order of a large sorted set, and all that streams keep in order.
//!
//! It knows ranks alone: what goes where is found by [`Order::partition_point`], and everything else is told by its
//! rank. So the caller owns the comparison, and every question about scores, ids or names is one about ranks.
//!
//! Invariants: all leaves have the same depth; no node is empty but the root; an inner node tells of each child how
//! many elements it has and the key of the first of them. Nodes are shared with snapshots and copies: a clone is one more
//! owner of the root, and a change copies the nodes on its way.

use std::ops::Range;
use std::sync::Arc;

use crate::memory::size_class;

/// What stands in an order.
pub(crate) trait Keyed: Clone {
    /// What inner nodes keep of the first element below: all that comparisons look at.
    type Key: Clone;

    fn key(&self) -> &Self::Key;
}

/// A leaf has at most so many elements: one write to a shared leaf copies 2 KiB.
const LEAF_MAX: usize = 128;

/// An inner node has at most so many children.
const INNER_MAX: usize = 64;

/// A node with less than this part of the most it may have is joined with its neighbour.
const SPARSE: usize = 4;

/// What a node takes beside its items: two counters, pointer, length and capacity.
const NODE_BYTES: usize = size_class(16 + size_of::<Vec<u8>>());

#[derive(Clone)]
enum Node<T: Keyed> {
    Leaf(Arc<Vec<T>>),
    Inner(Arc<Vec<Child<T>>>),
}

#[derive(Clone)]
struct Child<T: Keyed> {
    /// The key of the first element below.
    low: T::Key,
    /// How many elements there are below.
    len: usize,
    node: Node<T>,
}

/// See the module.
#[derive(Clone)]
pub(crate) struct Order<T: Keyed> {
    root: Node<T>,
    len: usize,
    /// The memory of the nodes.
    bytes: usize,
}

impl<T: Keyed> Default for Order<T> {
    fn default() -> Order<T> {
        let root = Node::<T>::Leaf(Arc::default());
        let bytes = root.bytes();
        Order {
            root,
            len: 0,
            bytes,
        }
    }
}

impl<T: Keyed> Order<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The memory of the tree without its elements.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many elements from the first on `before` holds for, which no element may fail that stands before one that
    /// passes.
    pub(crate) fn partition_point(&self, mut before: impl FnMut(&T::Key) -> bool) -> usize {
        let (mut node, mut rank) = (&self.root, 0);
        loop {
            match node {
                Node::Leaf(items) => {
                    return rank + items.partition_point(|item| before(item.key()));
                }
                Node::Inner(children) => {
                    // The first child's low decides nothing: all before it is none.
                    let child = children[1..].partition_point(|child| before(&child.low));
                    rank += children[..child]
                        .iter()
                        .map(|child| child.len)
                        .sum::<usize>();
                    node = &children[child].node;
                }
            }
        }
    }

    /// The leaf of a rank, and where in it that rank is.
    ///
    /// # Panics
    /// If there are not so many elements.
    pub(crate) fn leaf_at(&self, rank: usize) -> (&[T], usize) {
        assert!(rank < self.len, "the rank is there");
        let (mut node, mut at) = (&self.root, rank);
        loop {
            match node {
                Node::Leaf(items) => return (items, at),
                Node::Inner(children) => {
                    let child = child_of(children, &mut at);
                    node = &children[child].node;
                }
            }
        }
    }

    /// The element of a rank.
    ///
    /// # Panics
    /// If there are not so many.
    pub(crate) fn get(&self, rank: usize) -> &T {
        let (items, at) = self.leaf_at(rank);
        &items[at]
    }

    /// The elements with these ranks.
    ///
    /// # Panics
    /// If there are not so many.
    pub(crate) fn range(&self, ranks: Range<usize>) -> impl Iterator<Item = &T> {
        let mut rank = ranks.start;
        let leaves = std::iter::from_fn(move || {
            (rank < ranks.end).then(|| {
                let (items, at) = self.leaf_at(rank);
                let items = &items[at..items.len().min(at + ranks.end - rank)];
                rank += items.len();
                items
            })
        });
        leaves.flatten()
    }

    /// The same from the last to the first.
    pub(crate) fn range_reversed(&self, ranks: Range<usize>) -> impl Iterator<Item = &T> {
        let mut end = ranks.end;
        let leaves = std::iter::from_fn(move || {
            (ranks.start < end).then(|| {
                let (items, last) = self.leaf_at(end - 1);
                let items = &items[last.saturating_sub(end - 1 - ranks.start)..=last];
                end -= items.len();
                items
            })
        });
        leaves.flat_map(|items| items.iter().rev())
    }

    /// Puts an element at a rank; those from there on move up.
    pub(crate) fn insert(&mut self, rank: usize, item: T) {
        assert!(rank <= self.len, "the rank is in or at the end");
        let is_last = rank == self.len;
        if let Some(right) = self.root.insert(rank, item, is_last, &mut self.bytes) {
            let left = std::mem::replace(&mut self.root, Node::Leaf(Arc::default()));
            let len = self.len + 1 - right.len;
            let mut children = Vec::with_capacity(room_for::<Child<T>>(2));
            children.push(Child {
                low: left.low().clone(),
                len,
                node: left,
            });
            children.push(right);
            self.root = Node::Inner(Arc::new(children));
            self.bytes += self.root.bytes();
        }
        self.len += 1;
    }

    /// Changes the element of a rank, whose key stays.
    ///
    /// # Panics
    /// If there are not so many.
    pub(crate) fn change<R>(&mut self, rank: usize, change: impl FnOnce(&mut T) -> R) -> R {
        assert!(rank < self.len, "the rank is there");
        let (mut node, mut at) = (&mut self.root, rank);
        loop {
            match node {
                Node::Leaf(items) => return change(&mut Arc::make_mut(items)[at]),
                Node::Inner(children) => {
                    let child = child_of(children, &mut at);
                    node = &mut Arc::make_mut(children)[child].node;
                }
            }
        }
    }

    /// Takes out the element of a rank.
    ///
    /// # Panics
    /// If there are not so many.
    pub(crate) fn take(&mut self, rank: usize) -> T {
        let mut out = Vec::with_capacity(1);
        self.remove(rank..rank + 1, &mut out);
        out.pop().expect("the rank is there")
    }

    /// Takes out elements from a rank on: all of these ranks that stand in one leaf.
    pub(crate) fn remove(&mut self, ranks: Range<usize>, out: &mut Vec<T>) {
        assert!(ranks.start < ranks.end && ranks.end <= self.len);
        let before = out.len();
        self.root
            .remove(ranks.start, ranks.len(), out, &mut self.bytes);
        self.len -= out.len() - before;
        while let Node::Inner(children) = &self.root
            && children.len() <= 1
        {
            self.bytes -= self.root.bytes();
            self.root = match children.first() {
                Some(child) => child.node.clone(),
                None => {
                    let empty = Node::Leaf(Arc::default());
                    self.bytes += empty.bytes();
                    empty
                }
            };
        }
    }

    /// Asserts what the module states; `same` tells whether two keys are equal.
    #[cfg(test)]
    pub(crate) fn check(&self, same: impl Fn(&T::Key, &T::Key) -> bool) {
        let mut depths = Vec::new();
        let (len, bytes) = self.root.check(0, &mut depths, &same);
        assert_eq!((len, bytes), (self.len, self.bytes));
        assert!(depths.windows(2).all(|pair| pair[0] == pair[1]));
        assert!(depths[0] <= 8, "the tree is flat");
    }
}

/// The child that has the element at `at`, which becomes its rank among those of the child.
fn child_of<T: Keyed>(children: &[Child<T>], at: &mut usize) -> usize {
    children
        .iter()
        .position(|child| {
            let within = *at < child.len;
            if !within {
                *at -= child.len;
            }
            within
        })
        .expect("the children have what the node has")
}

/// For so many items there is room for this many, since the allocator has size classes.
fn room_for<T>(len: usize) -> usize {
    size_class(len * size_of::<T>()) / size_of::<T>()
}

fn insert_at<T>(items: &mut Vec<T>, at: usize, item: T) {
    if items.len() == items.capacity() {
        items.reserve_exact(room_for::<T>(items.len() + 1) - items.len());
    }
    items.insert(at, item);
}

/// Gives memory back when a good part of it is empty.
fn shrink<T>(items: &mut Vec<T>) {
    if items.capacity() > items.len() + items.len() / 4 + 8 {
        items.shrink_to(room_for::<T>(items.len()));
    }
}

/// Puts an item into a node that has at most `max`; what no longer fits goes to a new node on its right.
/// `is_last` tells that nothing in the whole tree comes after: then a full node stays full, so that
/// ascending scores fill all nodes.
fn insert_or_split<T>(
    items: &mut Vec<T>,
    at: usize,
    item: T,
    max: usize,
    is_last: bool,
) -> Option<Vec<T>> {
    if items.len() < max {
        insert_at(items, at, item);
        return None;
    }
    let cut = if is_last { items.len() } else { max / 2 };
    let mut right = Vec::with_capacity(room_for::<T>(items.len() - cut + 1));
    right.extend(items.drain(cut..));
    if at > cut || right.is_empty() {
        right.insert(at - cut, item);
    } else {
        insert_at(items, at, item);
    }
    shrink(items);
    Some(right)
}

/// Moves the items of a right neighbour to the left one, or half of all back if they are too many.
fn join<T: Clone>(left: &mut Vec<T>, right: Arc<Vec<T>>, max: usize) -> Option<Arc<Vec<T>>> {
    let mut right = Arc::unwrap_or_clone(right);
    let all = left.len() + right.len();
    if all <= max {
        left.reserve_exact(room_for::<T>(all) - left.len());
        left.append(&mut right);
        return None;
    }
    let half = all / 2;
    if left.len() < half {
        let moved = half - left.len();
        left.reserve_exact(room_for::<T>(half) - left.len());
        left.extend(right.drain(..moved));
    } else {
        right.splice(0..0, left.drain(half..));
        shrink(left);
    }
    shrink(&mut right);
    Some(Arc::new(right))
}

impl<T: Keyed> Node<T> {
    fn bytes(&self) -> usize {
        NODE_BYTES
            + match self {
                Node::Leaf(items) => size_class(items.capacity() * size_of::<T>()),
                Node::Inner(children) => size_class(children.capacity() * size_of::<Child<T>>()),
            }
    }

    /// The key of the first element below.
    fn low(&self) -> &T::Key {
        match self {
            Node::Leaf(items) => items[0].key(),
            Node::Inner(children) => &children[0].low,
        }
    }

    fn len(&self) -> usize {
        match self {
            Node::Leaf(items) => items.len(),
            Node::Inner(children) => children.iter().map(|child| child.len).sum(),
        }
    }

    fn is_sparse(&self) -> bool {
        match self {
            Node::Leaf(items) => items.len() < LEAF_MAX / SPARSE,
            Node::Inner(children) => children.len() < INNER_MAX / SPARSE,
        }
    }

    fn into_child(self) -> Child<T> {
        Child {
            low: self.low().clone(),
            len: self.len(),
            node: self,
        }
    }

    /// Inserts below; what is split off on the right. `bytes` is the memory of the whole tree.
    fn insert(&mut self, at: usize, item: T, is_last: bool, bytes: &mut usize) -> Option<Child<T>> {
        let before = self.bytes();
        let right = match self {
            Node::Leaf(items) => {
                let items = Arc::make_mut(items);
                insert_or_split(items, at, item, LEAF_MAX, is_last)
                    .map(|right| Node::Leaf(Arc::new(right)))
            }
            Node::Inner(children) => {
                let children = Arc::make_mut(children);
                // At a boundary, the left one takes it: then its low stays.
                let mut at = at;
                let number = match at.checked_sub(1) {
                    Some(mut last) => {
                        let number = child_of(children, &mut last);
                        at = last + 1;
                        number
                    }
                    None => 0,
                };
                let child = &mut children[number];
                let right = child.node.insert(at, item, is_last, bytes);
                child.len += 1;
                if at == 0 {
                    child.low = child.node.low().clone();
                }
                if let Some(right) = right {
                    child.len -= right.len;
                    insert_or_split(children, number + 1, right, INNER_MAX, is_last)
                        .map(|right| Node::Inner(Arc::new(right)))
                } else {
                    None
                }
            }
        };
        let added = right.as_ref().map_or(0, Node::bytes);
        *bytes = *bytes - before + self.bytes() + added;
        right.map(Node::into_child)
    }

    /// Takes out at most `most` elements, all from one leaf.
    fn remove(&mut self, at: usize, most: usize, out: &mut Vec<T>, bytes: &mut usize) {
        let before = self.bytes();
        match self {
            Node::Leaf(items) => {
                let items = Arc::make_mut(items);
                out.extend(items.drain(at..items.len().min(at + most)));
                shrink(items);
            }
            Node::Inner(children) => {
                let children = Arc::make_mut(children);
                let mut at = at;
                let number = child_of(children, &mut at);
                let removed = out.len();
                let child = &mut children[number];
                child.node.remove(at, most, out, bytes);
                child.len -= out.len() - removed;
                if child.len == 0 {
                    *bytes -= child.node.bytes();
                    children.remove(number);
                } else {
                    if at == 0 {
                        child.low = child.node.low().clone();
                    }
                    if child.node.is_sparse() {
                        join_with_neighbour(children, number, bytes);
                    }
                }
                shrink(children);
            }
        }
        *bytes = *bytes - before + self.bytes();
    }

    #[cfg(test)]
    fn check(
        &self,
        depth: usize,
        depths: &mut Vec<usize>,
        same: &impl Fn(&T::Key, &T::Key) -> bool,
    ) -> (usize, usize) {
        match self {
            Node::Leaf(items) => {
                assert!(items.len() <= LEAF_MAX && (depth == 0 || !items.is_empty()));
                depths.push(depth);
                (items.len(), self.bytes())
            }
            Node::Inner(children) => {
                assert!(children.len() <= INNER_MAX && !children.is_empty());
                assert!(depth > 0 || children.len() > 1);
                let (mut len, mut bytes) = (0, self.bytes());
                for child in children.iter() {
                    let below = child.node.check(depth + 1, depths, same);
                    assert_eq!(below.0, child.len);
                    assert!(same(&child.low, child.node.low()), "low is the first key");
                    len += below.0;
                    bytes += below.1;
                }
                (len, bytes)
            }
        }
    }
}

/// Joins a child with the next one, or the last with the one before it.
fn join_with_neighbour<T: Keyed>(children: &mut Vec<Child<T>>, number: usize, bytes: &mut usize) {
    let left = if number + 1 < children.len() {
        number
    } else if number > 0 {
        number - 1
    } else {
        return;
    };
    let right = children.remove(left + 1).node;
    let left_child = &mut children[left];
    *bytes -= left_child.node.bytes() + right.bytes();
    let rest = match (&mut left_child.node, right) {
        (Node::Leaf(items), Node::Leaf(right)) => {
            join(Arc::make_mut(items), right, LEAF_MAX).map(Node::Leaf)
        }
        (Node::Inner(items), Node::Inner(right)) => {
            join(Arc::make_mut(items), right, INNER_MAX).map(Node::Inner)
        }
        _ => unreachable!("neighbours have the same depth"),
    };
    left_child.len = left_child.node.len();
    *bytes += left_child.node.bytes() + rest.as_ref().map_or(0, Node::bytes);
    if let Some(rest) = rest {
        children.insert(left + 1, rest.into_child());
    }
}

#[cfg(test)]
mod tests;
