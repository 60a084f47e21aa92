//! Images in use: by who has one in hand, and by containers, which go on when the agent ends.

use std::{fmt, path::PathBuf, sync::Arc};

use super::{State, Store, disk::Record};
use crate::{Digest, ImageConfig, Reason};

/// An image that a container may be started from. While it or a clone of it lives, it is not collected.
#[derive(Clone)]
pub struct Image {
    /// Of the manifest for this machine, or in archives of the configuration.
    pub id: Digest,
    /// Of what the name stood for when it was pulled: to ask every machine for the same content (attack A066),
    /// pin the name to it.
    pub digest: Digest,
    /// Unpacked directories, lowest first, none twice: overlayfs takes each once.
    pub layers: Vec<PathBuf>,
    /// How it wants to be run.
    pub config: Arc<ImageConfig>,
    /// Unpacked.
    pub bytes: u64,
    hold: Arc<Hold>,
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Image").field("id", &self.id).field("layers", &self.layers).finish_non_exhaustive()
    }
}

impl Image {
    pub(super) fn hold(store: &Store, state: &mut State, record: &Record, config: Arc<ImageConfig>) -> Self {
        let hold = Hold::new(store, state, &record.layers, Some(record.id));
        Self {
            id: record.id,
            digest: record.digest,
            layers: record.layers.iter().map(|layer| store.shared.disk.layer_path(*layer)).collect(),
            config,
            bytes: state.bytes(&record.layers),
            hold: Arc::new(hold),
        }
    }

    pub(super) fn layer_digests(&self) -> &[Digest] {
        &self.hold.layers
    }
}

/// Keeps layers, and an image, from being collected.
pub(super) struct Hold {
    store: Store,
    layers: Vec<Digest>,
    image: Option<Digest>,
}

impl Hold {
    pub(super) fn new(store: &Store, state: &mut State, layers: &[Digest], image: Option<Digest>) -> Self {
        state.hold(layers, image);
        Self { store: store.clone(), layers: layers.to_vec(), image }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.store.lock().let_go(&self.layers, self.image);
    }
}

impl State {
    /// Unpacked bytes of all these.
    pub(super) fn bytes(&self, layers: &[Digest]) -> u64 {
        layers.iter().filter_map(|layer| self.layers.get(layer)).map(|layer| layer.bytes).sum()
    }

    pub(super) fn hold(&mut self, layers: &[Digest], image: Option<Digest>) {
        for layer in layers {
            *self.layer_holds.entry(*layer).or_default() += 1;
        }
        if let Some(image) = image {
            *self.image_holds.entry(image).or_default() += 1;
        }
    }

    fn let_go(&mut self, layers: &[Digest], image: Option<Digest>) {
        for layer in layers {
            release(&mut self.layer_holds, *layer);
        }
        if let Some(image) = image {
            release(&mut self.image_holds, image);
        }
    }

    /// Takes up what containers of an earlier process hold. Returns names of holds on images that are gone.
    pub(super) fn take_up(&mut self, holders: Vec<(String, Digest)>) -> Vec<String> {
        let mut stale = Vec::new();
        for (name, id) in holders {
            match self.images.values().find(|known| known.record.id == id) {
                None => stale.push(name),
                Some(known) => {
                    let layers = known.record.layers.clone();
                    self.hold(&layers, Some(id));
                    self.holders.insert(name, (id, layers));
                }
            }
        }
        stale
    }
}

impl Store {
    /// Keeps an image for a container until [`Store::release`], also over restarts of this process. Not over a
    /// crash of the host, which ends the container as well.
    pub fn keep(&self, image: &Image, container: &str) -> Result<(), Reason> {
        self.shared.disk.write_holder(container, image.id)?;
        let mut state = self.lock();
        if let Some((id, layers)) =
            state.holders.insert(container.to_owned(), (image.id, image.hold.layers.clone()))
        {
            state.let_go(&layers, Some(id));
        }
        state.hold(&image.hold.layers, Some(image.id));
        Ok(())
    }

    /// Says that a container is gone; one that has no image is fine. Returns whether it had one.
    pub fn release(&self, container: &str) -> bool {
        let mut state = self.lock();
        let Some((id, layers)) = state.holders.remove(container) else { return false };
        state.let_go(&layers, Some(id));
        drop(state);
        if let Err(error) = self.shared.disk.remove_holder(container) {
            // The next start asks who is still there.
            tracing::warn!(container, %error, "release an image");
        }
        true
    }

    /// Containers that images are kept for.
    pub fn holders(&self) -> Vec<String> {
        self.lock().holders.keys().cloned().collect()
    }
}

fn release(holds: &mut std::collections::BTreeMap<Digest, u32>, digest: Digest) {
    if let Some(count) = holds.get_mut(&digest) {
        *count -= 1;
        if *count == 0 {
            holds.remove(&digest);
        }
    }
}
