//! Which images are on their way, and how far.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use mezzo_images::Progress;

/// Pulls under way, by the name of the image as it was asked for.
#[derive(Debug, Default)]
pub(crate) struct Pulls {
    under_way: Mutex<BTreeMap<String, Pull>>,
}

/// An image on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pull {
    /// Containers and operators that wait for it.
    pub(crate) waiting: usize,
    pub(crate) progress: Progress,
}

impl Pulls {
    /// Says that somebody waits for an image, until what is returned is dropped.
    pub(crate) fn begin(&self, image: &str) -> Waiting<'_> {
        self.change(|pulls| pulls.entry(image.to_owned()).or_default().waiting += 1);
        Waiting { pulls: self, image: image.to_owned() }
    }

    pub(crate) fn list(&self) -> BTreeMap<String, Pull> {
        self.change(|pulls| pulls.clone())
    }

    fn change<T>(&self, act: impl FnOnce(&mut BTreeMap<String, Pull>) -> T) -> T {
        // Every change is one operation on the map.
        act(&mut self.under_way.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Somebody who waits for an image.
pub(crate) struct Waiting<'p> {
    pulls: &'p Pulls,
    image: String,
}

impl Waiting<'_> {
    /// Says how far it is.
    pub(crate) fn told(&self, progress: Progress) {
        self.pulls.change(|pulls| {
            if let Some(pull) = pulls.get_mut(&self.image) {
                pull.progress = progress;
            }
        });
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.pulls.change(|pulls| {
            let Some(pull) = pulls.get_mut(&self.image) else { return };
            pull.waiting -= 1;
            if pull.waiting == 0 {
                pulls.remove(&self.image);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_on_its_way_until_nobody_waits_for_it() {
        let pulls = Pulls::default();
        let (first, second) = (pulls.begin("app:1"), pulls.begin("app:1"));
        let progress = Progress { bytes: 12, bytes_total: 68, ..Progress::default() };
        first.told(progress);
        assert_eq!(pulls.list()["app:1"], Pull { waiting: 2, progress });
        drop(first);
        assert_eq!(pulls.list()["app:1"], Pull { waiting: 1, progress });
        drop(second);
        assert!(pulls.list().is_empty());
    }
}
