//! Siblings in the order in which they are served, without sorting them.
//!
//! Siblings lie in heaps, one for each signature: the set of classes of frameworks that want something
//! in or below them. A [`Cursor`] walks over the heaps that matter for one agent, in order and as far
//! as somebody asks, so that serving the first costs a few comparisons however many siblings there are,
//! and a new share costs a logarithm.

use std::{cmp::Reverse, collections::BinaryHeap};

use crate::classes::ClassSet;

/// What decides between two siblings; the order of the fields is the policy (rules 121, 122).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// The bits of a number that is not negative, which sort as the number does.
    share: u64,
    count: u64,
    /// Place among the siblings by path.
    rank: u32,
}

impl Key {
    pub(crate) fn new(share: f64, count: u64, rank: u32) -> Self {
        Self { share: share.max(0.0).to_bits(), count, rank }
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    key: Key,
    item: u32,
}

#[derive(Debug)]
struct Heap {
    signature: ClassSet,
    /// The key of the first entry, beside the signature because walks look at both of every heap.
    head: Option<Key>,
    entries: Vec<Entry>,
}

impl Heap {
    fn refresh_head(&mut self) {
        self.head = self.entries.first().map(|entry| entry.key);
    }
}

/// Where the sibling of a rank is.
#[derive(Clone, Copy, Debug)]
struct Place {
    heap: u32,
    at: u32,
}

const NOWHERE: Place = Place { heap: u32::MAX, at: 0 };

/// One sibling as it is told to [`Sorted::rebuild`], in order of paths.
pub(crate) struct Sibling {
    pub(crate) item: u32,
    pub(crate) share: f64,
    pub(crate) count: u64,
    /// Zero when nothing is wanted there.
    pub(crate) signature: ClassSet,
}

#[derive(Debug, Default)]
pub(crate) struct Sorted {
    heaps: Vec<Heap>,
    /// By rank.
    places: Vec<Place>,
}

impl Sorted {
    pub(crate) fn rebuild(&mut self, siblings: impl Iterator<Item = Sibling>) {
        for heap in &mut self.heaps {
            heap.entries.clear();
            heap.head = None;
        }
        self.places.clear();
        for (rank, Sibling { item, share, count, signature }) in siblings.enumerate() {
            if signature == 0 {
                self.places.push(NOWHERE);
                continue;
            }
            let heap = self.heap_of(signature);
            let entries = &mut self.heaps[heap].entries;
            self.places.push(Place { heap: heap as u32, at: entries.len() as u32 });
            entries.push(Entry { key: Key::new(share, count, rank as u32), item });
        }
        for heap in 0..self.heaps.len() {
            for at in (0..self.heaps[heap].entries.len() / 2).rev() {
                self.sink(heap, at);
            }
            self.heaps[heap].refresh_head();
        }
    }

    /// A sibling of known rank holds more or less than before.
    pub(crate) fn update(&mut self, rank: u32, share: f64, count: u64) {
        let Some(&Place { heap, at }) = self.places.get(rank as usize) else { return };
        let Some(heap_entries) = self.heaps.get_mut(heap as usize) else { return };
        let entry = &mut heap_entries.entries[at as usize];
        let before = entry.key;
        entry.key = Key::new(share, count, rank);
        if entry.key < before {
            self.rise(heap as usize, at as usize);
        } else {
            self.sink(heap as usize, at as usize);
        }
        self.heaps[heap as usize].refresh_head();
    }

    /// Other classes want something in or below a sibling than before.
    pub(crate) fn move_to(&mut self, rank: u32, sibling: &Sibling) {
        let Some(&place) = self.places.get(rank as usize) else { return };
        if (place.heap as usize) < self.heaps.len() {
            let (heap, at) = (place.heap as usize, place.at as usize);
            let entries = &mut self.heaps[heap].entries;
            entries.swap_remove(at);
            if let Some(moved) = entries.get(at) {
                let moved = moved.key.rank as usize;
                self.places[moved] = place;
                self.rise(heap, at);
                self.sink(heap, at);
            }
            self.places[rank as usize] = NOWHERE;
            self.heaps[heap].refresh_head();
        }
        if sibling.signature != 0 {
            let heap = self.heap_of(sibling.signature);
            let entries = &mut self.heaps[heap].entries;
            let at = entries.len();
            entries.push(Entry { key: Key::new(sibling.share, sibling.count, rank), item: sibling.item });
            self.places[rank as usize] = Place { heap: heap as u32, at: at as u32 };
            self.rise(heap, at);
            self.heaps[heap].refresh_head();
        }
    }

    fn heap_of(&mut self, signature: ClassSet) -> usize {
        if let Some(heap) = self.heaps.iter().position(|heap| heap.signature == signature) {
            return heap;
        }
        match self.heaps.iter().position(|heap| heap.entries.is_empty()) {
            Some(heap) => {
                self.heaps[heap].signature = signature;
                heap
            }
            None => {
                self.heaps.push(Heap { signature, head: None, entries: Vec::new() });
                self.heaps.len() - 1
            }
        }
    }

    fn rise(&mut self, heap: usize, mut at: usize) {
        let entries = &mut self.heaps[heap].entries;
        while at > 0 {
            let above = (at - 1) / 2;
            if entries[above].key <= entries[at].key {
                break;
            }
            entries.swap(above, at);
            self.places[entries[at].key.rank as usize].at = at as u32;
            at = above;
        }
        self.places[entries[at].key.rank as usize].at = at as u32;
    }

    fn sink(&mut self, heap: usize, mut at: usize) {
        let entries = &mut self.heaps[heap].entries;
        loop {
            let mut first = at;
            for below in [2 * at + 1, 2 * at + 2] {
                if entries.get(below).is_some_and(|entry| entry.key < entries[first].key) {
                    first = below;
                }
            }
            if first == at {
                break;
            }
            entries.swap(first, at);
            self.places[entries[at].key.rank as usize].at = at as u32;
            at = first;
        }
        self.places[entries[at].key.rank as usize].at = at as u32;
    }
}

/// Walks over siblings in order. The [`Sorted`] must not change meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    classes: ClassSet,
    progress: Progress,
    frontier: BinaryHeap<Reverse<(Key, u32, u32)>>,
}

/// How far a walk is. Most end with the first, which is found without a heap of heaps.
#[derive(Clone, Copy, Debug, Default)]
enum Progress {
    #[default]
    Nothing,
    /// The first of this heap was returned; no other heap was looked into.
    One(u32),
    /// This one was returned last; what lies below it comes into question next.
    Many(u32, u32),
}

impl Cursor {
    /// Begins with the first of all siblings whose signature has one of the classes.
    pub(crate) fn start(&mut self, classes: ClassSet) {
        self.classes = classes;
        self.progress = Progress::Nothing;
    }

    pub(crate) fn next(&mut self, sorted: &Sorted) -> Option<u32> {
        match self.progress {
            Progress::Nothing => {
                let mut first: Option<(Key, u32)> = None;
                for (key, heap) in self.heads(sorted) {
                    if first.is_none_or(|(least, _)| key < least) {
                        first = Some((key, heap));
                    }
                }
                let (_, heap) = first?;
                self.progress = Progress::One(heap);
                return Some(sorted.heaps[heap as usize].entries[0].item);
            }
            Progress::One(first) => {
                let mut frontier = std::mem::take(&mut self.frontier);
                frontier.clear();
                let others = self.heads(sorted).filter(|(_, heap)| *heap != first);
                frontier.extend(others.map(|(key, heap)| Reverse((key, heap, 0))));
                self.frontier = frontier;
                self.push_below(sorted, first, 0);
            }
            Progress::Many(heap, at) => self.push_below(sorted, heap, at),
        }
        let Some(Reverse((_, heap, at))) = self.frontier.pop() else {
            // Nothing of no classes: asking again finds nothing either.
            self.start(0);
            return None;
        };
        self.progress = Progress::Many(heap, at);
        Some(sorted.heaps[heap as usize].entries[at as usize].item)
    }

    /// The first keys of the heaps that matter.
    fn heads(&self, sorted: &Sorted) -> impl Iterator<Item = (Key, u32)> {
        let classes = self.classes;
        let heaps = sorted.heaps.iter().zip(0..);
        heaps.filter_map(move |(heap, i)| Some((heap.head.filter(|_| heap.signature & classes != 0)?, i)))
    }

    fn push_below(&mut self, sorted: &Sorted, heap: u32, at: u32) {
        for below in [2 * at + 1, 2 * at + 2] {
            if let Some(entry) = sorted.heaps[heap as usize].entries.get(below as usize) {
                self.frontier.push(Reverse((entry.key, heap, below)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn walk(sorted: &Sorted, classes: ClassSet) -> Vec<u32> {
        let mut cursor = Cursor::default();
        cursor.start(classes);
        std::iter::from_fn(|| cursor.next(sorted)).collect()
    }

    proptest! {
        #[test]
        fn a_walk_is_a_sort(
            mut siblings in prop::collection::vec((0..9_u8, 0..3_u64, 0..4_u128), 1..40),
            changes in prop::collection::vec((any::<usize>(), 0..9_u8, 0..3_u64, 0..4_u128), 0..40),
        ) {
            let mut sorted = Sorted::default();
            let sibling = |i: usize, (share, count, signature): (u8, u64, u128)| {
                Sibling { item: i as u32, share: f64::from(share) / 7.0, count, signature }
            };
            sorted.rebuild(siblings.iter().enumerate().map(|(i, s)| sibling(i, *s)));
            for (at, share, count, signature) in changes {
                let at = at % siblings.len();
                if siblings[at].2 == signature {
                    sorted.update(at as u32, f64::from(share) / 7.0, count);
                } else {
                    sorted.move_to(at as u32, &sibling(at, (share, count, signature)));
                }
                siblings[at] = (share, count, signature);
            }
            for classes in 1..4 {
                let mut expected: Vec<u32> = (0..siblings.len() as u32).collect();
                expected.retain(|i| siblings[*i as usize].2 & classes != 0);
                expected.sort_by_key(|i| (siblings[*i as usize].0, siblings[*i as usize].1, *i));
                prop_assert_eq!(walk(&sorted, classes), expected);
            }
        }
    }
}
