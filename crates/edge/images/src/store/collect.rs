//! Deleting images that nobody uses.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use super::{State, Store, disk};
use crate::{Digest, Reason, Reference, error::Tried, integrity, progress::Watch};

/// What may stay. Images in use always do.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Images not used for longer go.
    pub age_max: Option<Duration>,
    /// Above this many bytes of layers, those unused longest go.
    pub bytes_max: Option<u64>,
    /// Never go.
    pub keep: Vec<Reference>,
}

/// What a collection deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Names.
    pub images: usize,
    /// Directories.
    pub layers: usize,
    /// Unpacked.
    pub bytes: u64,
}

impl Store {
    /// Deletes images by age and size; with a policy that allows zero bytes, all that are not in use or kept.
    pub fn collect(&self, policy: &Policy, now: SystemTime) -> Result<Collected, Reason> {
        let keep: BTreeSet<String> = policy
            .keep
            .iter()
            .map(|reference| super::name_of(&self.shared.registry.place(reference, None), reference))
            .collect();
        let mut state = self.lock();
        let mut candidates: Vec<(SystemTime, String)> = state
            .images
            .values()
            .filter(|known| {
                !state.image_holds.contains_key(&known.record.id) && !keep.contains(&known.record.name)
            })
            .map(|known| (known.record.used(), known.record.name.clone()))
            .collect();
        candidates.sort();
        let mut collected = Collected::default();
        let mut trash = Vec::new();
        for (used, name) in candidates {
            let total: u64 = state.layers.values().map(|layer| layer.bytes).sum();
            let too_old =
                policy.age_max.is_some_and(|age| now.duration_since(used).is_ok_and(|since| since > age));
            // An image without bytes of its own still goes when nothing may stay.
            let too_much = policy.bytes_max.is_some_and(|bytes| total > bytes || bytes == 0);
            if too_old || too_much {
                self.forget(&mut state, &name, &mut collected, &mut trash)?;
            }
        }
        // Of pulls that failed and were not tried again.
        self.trash_unused(&mut state, &mut collected, &mut trash)?;
        drop(state);
        remove_all(trash)?;
        Ok(collected)
    }

    /// Takes an image out of the store, with the layers that only it has.
    fn forget(
        &self,
        state: &mut State,
        name: &str,
        collected: &mut Collected,
        trash: &mut Vec<PathBuf>,
    ) -> Result<(), Reason> {
        // The record goes first: one without its layers would be an image that is not there.
        self.shared.disk.remove_record(name).tried("delete an image's record")?;
        let Some(known) = state.images.remove(name) else { return Ok(()) };
        collected.images += 1;
        if !state.images.values().any(|other| other.record.config == known.record.config) {
            self.shared.disk.remove_config(known.record.config).tried("delete an image's configuration")?;
        }
        self.trash_unused(state, collected, trash)
    }

    /// Takes layers that no image has and nobody holds or brings out of the store.
    fn trash_unused(
        &self,
        state: &mut State,
        collected: &mut Collected,
        trash: &mut Vec<PathBuf>,
    ) -> Result<(), Reason> {
        let unused: Vec<Digest> = state
            .layers
            .keys()
            .filter(|layer| !state.layer_holds.contains_key(layer) && !state.coming.contains(layer))
            .filter(|layer| !state.images.values().any(|known| known.record.names(layer)))
            .copied()
            .collect();
        for layer in unused {
            trash.push(self.shared.disk.trash_layer(layer).tried("delete a layer")?);
            if let Some(record) = state.layers.remove(&layer) {
                collected.layers += 1;
                collected.bytes += record.bytes;
            }
            state.verified.remove(&layer);
        }
        Ok(())
    }

    /// Deletes what a pull brought that came to nothing.
    pub(super) fn clean_up(&self) {
        let mut trash = Vec::new();
        let cleaned = self.trash_unused(&mut self.lock(), &mut Collected::default(), &mut trash);
        if let Err(error) = cleaned.and_then(|()| remove_all(trash)) {
            tracing::warn!(%error, "delete the layers of a failed pull");
        }
    }

    /// Forgets an image whose layers are not what they were, unless a container has it.
    pub(super) fn drop_image(&self, name: &str) {
        let mut state = self.lock();
        let in_use = |state: &State| {
            let known = state.images.get(name);
            known.is_none_or(|known| state.image_holds.contains_key(&known.record.id))
        };
        if in_use(&state) {
            return;
        }
        let mut trash = Vec::new();
        let forgotten = self.forget(&mut state, name, &mut Collected::default(), &mut trash);
        drop(state);
        if let Err(error) = forgotten.and_then(|()| remove_all(trash)) {
            tracing::warn!(image = name, %error, "forget an image");
        }
    }

    /// Reads an image's layers again, where that is wanted and was not done since the start (attack A072).
    /// Changed ones leave the store, unless a container has them.
    pub(super) fn verified(&self, image: &super::Image, watch: &Watch) -> Result<bool, Reason> {
        if !self.shared.settings.verify {
            return Ok(true);
        }
        let mut good = true;
        for (layer, path) in image.layer_digests().iter().zip(&image.layers) {
            watch.check()?;
            let expected = {
                let state = self.lock();
                if state.verified.contains(layer) {
                    continue;
                }
                state.layers.get(layer).and_then(|record| record.tree)
            };
            let open =
                rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
            let directory = rustix::fs::open(path, open, rustix::fs::Mode::empty());
            let found = directory.map_err(std::io::Error::from).and_then(integrity::digest);
            if found.as_ref().is_ok_and(|found| Some(*found) == expected) {
                self.lock().verified.insert(*layer);
                continue;
            }
            tracing::warn!(%layer, path = %path.display(), "a stored layer was changed; its images are fetched again");
            good = false;
            let mut state = self.lock();
            // Only our own hold may be on it: a running container keeps what it has.
            if state.layer_holds.get(layer).copied() <= Some(1) {
                state.layers.remove(layer);
            }
        }
        Ok(good)
    }
}

fn remove_all(trash: Vec<PathBuf>) -> Result<(), Reason> {
    for path in trash {
        disk::remove(&path).tried("delete a layer")?;
    }
    Ok(())
}
