//! Effects in line behind what has to be made durable, as the drivers of the daemons keep them.
//!
//! Records that wait are written together, and nothing behind the first of them is performed before the
//! write is over. Effects that come meanwhile wait behind it.

use std::collections::VecDeque;

/// The line of one daemon.
#[derive(Debug)]
pub(crate) struct Line<E> {
    waiting: VecDeque<E>,
    /// How many of them the running write covers; none runs when it is zero.
    covered: usize,
}

/// What comes next.
#[derive(Debug)]
pub(crate) enum Next<E> {
    /// Nothing, or only after the write.
    Nothing,
    /// To be performed.
    Perform(E),
    /// A write has begun; its records are those of [`Line::records`].
    Write,
}

impl<E> Default for Line<E> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), covered: 0 }
    }
}

impl<E> Line<E> {
    pub(crate) fn extend(&mut self, effects: impl IntoIterator<Item = E>) {
        self.waiting.extend(effects);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What to do, one thing at a time.
    pub(crate) fn next(&mut self, is_record: impl Fn(&E) -> bool) -> Next<E> {
        if self.covered > 0 {
            return Next::Nothing;
        }
        match self.waiting.front() {
            None => Next::Nothing,
            Some(first) if is_record(first) => {
                self.covered = self.waiting.len();
                Next::Write
            }
            Some(_) => self.waiting.pop_front().map_or(Next::Nothing, Next::Perform),
        }
    }

    /// What the running write covers.
    pub(crate) fn records(&mut self) -> impl Iterator<Item = &mut E> {
        self.waiting.iter_mut().take(self.covered)
    }

    /// The write is over: all that it covers may be performed.
    pub(crate) fn written(&mut self) -> VecDeque<E> {
        let rest = self.waiting.split_off(std::mem::take(&mut self.covered).min(self.waiting.len()));
        std::mem::replace(&mut self.waiting, rest)
    }

    /// The process ended. What the running write covered may be on disk.
    pub(crate) fn end(&mut self) -> VecDeque<E> {
        let covered = self.written();
        self.waiting.clear();
        covered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_behind_a_record_comes_before_its_write() {
        let mut line = Line::default();
        line.extend([1, 2, -1, 3, -2]);
        let is_record = |effect: &i32| *effect < 0;
        assert!(matches!(line.next(is_record), Next::Perform(1)));
        assert!(matches!(line.next(is_record), Next::Perform(2)));
        assert!(matches!(line.next(is_record), Next::Write));
        assert_eq!(line.records().filter(|effect| **effect < 0).count(), 2);
        line.extend([4]);
        assert!(matches!(line.next(is_record), Next::Nothing));
        assert_eq!(line.written(), [-1, 3, -2]);
        assert!(matches!(line.next(is_record), Next::Perform(4)));
    }
}
