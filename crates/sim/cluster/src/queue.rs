//! What is going to happen, earliest first; what was planned first among equals.

use std::{cmp::Reverse, collections::BinaryHeap};

/// Nanoseconds since the start of the simulation.
pub(crate) type Nanos = i64;

/// Events by time.
///
/// The heap orders small keys, and events stay where they are: moved along with its key, each would be copied
/// a dozen times on its way through the heap.
#[derive(Debug)]
pub(crate) struct Queue<E> {
    heap: BinaryHeap<Reverse<Key>>,
    events: Vec<Option<E>>,
    /// Places in `events` that are free.
    free: Vec<u32>,
    planned: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    at: Nanos,
    number: u64,
    place: u32,
}

impl<E> Queue<E> {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::new(), events: Vec::new(), free: Vec::new(), planned: 0 }
    }

    pub(crate) fn push(&mut self, at: Nanos, event: E) {
        self.planned += 1;
        let place = match self.free.pop() {
            Some(place) => {
                self.events[place as usize] = Some(event);
                place
            }
            None => {
                self.events.push(Some(event));
                u32::try_from(self.events.len() - 1).expect("fewer events wait than memory has room for")
            }
        };
        self.heap.push(Reverse(Key { at, number: self.planned, place }));
    }

    pub(crate) fn pop(&mut self) -> Option<(Nanos, E)> {
        let Reverse(key) = self.heap.pop()?;
        self.free.push(key.place);
        let event = self.events[key.place as usize].take()?;
        Some((key.at, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_comes_first_and_of_equals_the_one_that_was_planned_first() {
        let mut queue = Queue::new();
        for (at, event) in [(5, "e"), (1, "a"), (3, "c"), (1, "b")] {
            queue.push(at, event);
        }
        assert_eq!(queue.pop(), Some((1, "a")));
        queue.push(3, "d");
        let rest: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(rest, [(1, "b"), (3, "c"), (3, "d"), (5, "e")]);
    }
}
