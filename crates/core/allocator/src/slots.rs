//! Things with small numbers instead of names. A number is used again once its thing is gone.

use std::ops::{Index, IndexMut};

#[derive(Debug)]
pub(crate) struct Slots<T> {
    all: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { all: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    pub(crate) fn insert(&mut self, thing: T) -> u32 {
        if let Some(slot) = self.free.pop() {
            self.all[slot as usize] = Some(thing);
            return slot;
        }
        let slot = u32::try_from(self.all.len()).expect("memory ends before four billion things");
        self.all.push(Some(thing));
        slot
    }

    pub(crate) fn remove(&mut self, slot: u32) -> Option<T> {
        let gone = self.all.get_mut(slot as usize)?.take();
        if gone.is_some() {
            self.free.push(slot);
        }
        gone
    }

    pub(crate) fn get(&self, slot: u32) -> Option<&T> {
        self.all.get(slot as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.all.get_mut(slot as usize)?.as_mut()
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len() - self.free.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.all.iter().enumerate().filter_map(|(slot, thing)| Some((slot as u32, thing.as_ref()?)))
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.all.iter_mut().flatten()
    }
}

impl<T> Index<u32> for Slots<T> {
    type Output = T;
    fn index(&self, slot: u32) -> &T {
        self.get(slot).expect("a number is kept no longer than its thing")
    }
}

impl<T> IndexMut<u32> for Slots<T> {
    fn index_mut(&mut self, slot: u32) -> &mut T {
        self.get_mut(slot).expect("a number is kept no longer than its thing")
    }
}
