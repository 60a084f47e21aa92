//! Brings the layers of an image, several at a time, each once whoever wants it.

use std::{
    io::Read,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use super::{NOTICE, State, Store, disk::LayerRecord, lease::Hold};
use crate::{
    Digest, Progress, Reason,
    digest::HashReader,
    error::Tried,
    integrity,
    manifest::Packing,
    progress::Watch,
    registry::Partial,
    source::{LayerPlan, Origin, Plan},
    unpack,
};

/// Layers of one image on their way at a time: enough to keep a link busy, few enough for a registry's limits.
const WORKERS_MAX: usize = 4;

/// Which layer failed, and why.
type Failure = Box<(Digest, Reason)>;

/// Brings all layers of a plan. They are held until what is returned is dropped.
pub(super) fn layers(
    store: &Store,
    origin: &Origin<'_>,
    plan: &Plan,
    watch: &Watch,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Vec<Hold>, Failure> {
    let meter = Meter {
        told: progress,
        layers: Mutex::new(plan.layers.iter().map(|_| (0, false)).collect()),
        bytes_total: plan.layers.iter().map(|layer| layer.packed_bytes).sum(),
    };
    meter.tell();
    let next = AtomicUsize::new(0);
    let (holds, failure) = (Mutex::new(Vec::new()), Mutex::new(None));
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(layer) = plan.layers.get(index) else { return };
            match one(store, origin, layer, watch, &|bytes| meter.bytes(index, bytes)) {
                Ok(hold) => {
                    holds.lock().unwrap_or_else(PoisonError::into_inner).push(hold);
                    meter.done(index, layer.packed_bytes);
                }
                Err(reason) => {
                    // The first failure is the cause of the others, which were stopped.
                    let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
                    failure.get_or_insert_with(|| Box::new((layer.blob.unwrap_or(layer.diff_id), reason)));
                    watch.stop();
                    return;
                }
            }
        }
    };
    thread::scope(|scope| {
        for _worker in 1..plan.layers.len().min(WORKERS_MAX) {
            scope.spawn(work);
        }
        work();
    });
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(failure) => Err(failure),
        None => Ok(holds.into_inner().unwrap_or_else(PoisonError::into_inner)),
    }
}

/// The layers that containers get of these, lowest first: none below one that hides all of them, and none twice. Of two equal
/// ones the upper one decides about every name it has, so the lower one is left out.
pub(super) fn effective(all: &[Digest], state: &State) -> Vec<Digest> {
    let mut layers: Vec<Digest> = Vec::new();
    for layer in all.iter().rev() {
        if !layers.contains(layer) {
            layers.push(*layer);
        }
        if state.layers.get(layer).is_some_and(|record| record.opaque) {
            break;
        }
    }
    layers.reverse();
    layers
}

/// What each layer has, and who is told.
struct Meter<'m> {
    told: &'m (dyn Fn(Progress) + Sync),
    /// Bytes, and whether it is in its place.
    layers: Mutex<Vec<(u64, bool)>>,
    bytes_total: u64,
}

impl Meter<'_> {
    fn bytes(&self, index: usize, bytes: u64) {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)[index].0 = bytes;
        self.tell();
    }

    fn done(&self, index: usize, bytes: u64) {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)[index] = (bytes, true);
        self.tell();
    }

    fn tell(&self) {
        // Told under the lock, so that it never goes back.
        let layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        (self.told)(Progress {
            bytes: layers.iter().map(|(bytes, _)| bytes).sum(),
            bytes_total: self.bytes_total,
            layers: layers.iter().filter(|(_, done)| *done).count(),
            layers_total: layers.len(),
        });
    }
}

/// Holds a layer, bringing it when nobody has or does.
fn one(
    store: &Store,
    origin: &Origin<'_>,
    layer: &LayerPlan,
    watch: &Watch,
    told: &dyn Fn(u64),
) -> Result<Hold, Reason> {
    match claim(store, layer.diff_id, watch)? {
        Ok(hold) => {
            let known = known_here(&store.lock(), origin, layer.diff_id);
            if !known {
                may_have(origin, layer, watch)?;
            }
            Ok(hold)
        }
        Err(coming) => {
            let record = bring(store, origin, layer, watch, told)?;
            Ok(coming.landed(record))
        }
    }
}

/// Holds a layer that is here, waiting for who brings it; or makes the caller the one who brings it.
pub(super) fn claim<'s>(
    store: &'s Store,
    layer: Digest,
    watch: &Watch,
) -> Result<Result<Hold, Coming<'s>>, Reason> {
    let mut state = store.lock();
    loop {
        if state.layers.contains_key(&layer) {
            return Ok(Ok(Hold::new(store, &mut state, &[layer], None)));
        }
        if state.coming.insert(layer) {
            return Ok(Err(Coming { store, layer }));
        }
        let waited = store.shared.changed.wait_timeout(state, NOTICE);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
        watch.check()?;
    }
}

/// Whether an image of the same repository and account has the layer.
fn known_here(state: &State, origin: &Origin<'_>, layer: Digest) -> bool {
    let Origin::Registry { place, .. } = origin else { return true };
    let repository = format!("{}/{}", place.registry, place.repository);
    let fingerprint = place.fingerprint();
    state.images.values().any(|known| {
        known.record.repository == repository
            && known.record.grants(&fingerprint)
            && known.record.names(&layer)
    })
}

/// A layer that is here for somebody else is only given to who could read it where this image is: otherwise its
/// digest in a manifest of one's own would do (attack A068).
fn may_have(origin: &Origin<'_>, layer: &LayerPlan, watch: &Watch) -> Result<(), Reason> {
    match (origin, layer.blob) {
        (Origin::Registry { registry, place }, Some(blob)) if !registry.may_read(place, blob, watch)? => {
            Err(Reason::Missing(place.registry.clone()))
        }
        _ => Ok(()),
    }
}

/// Downloads and unpacks.
fn bring(
    store: &Store,
    origin: &Origin<'_>,
    layer: &LayerPlan,
    watch: &Watch,
    told: &dyn Fn(u64),
) -> Result<LayerRecord, Reason> {
    match (origin, &layer.range, layer.blob) {
        (Origin::Registry { registry, place }, _, Some(blob)) => {
            let file = store.shared.disk.download(blob)?;
            let mut partial = Partial::resume(file, layer.packed_bytes).tried("read a download")?;
            told(partial.bytes());
            registry.blob(place, (blob, layer.packed_bytes), &mut partial, watch, told)?;
            drop(partial);
            let file = store.shared.disk.download(blob)?;
            let record = place_layer(store, layer, file, watch);
            store.shared.disk.drop_download(blob);
            record
        }
        (_, Some(range), _) => place_layer(store, layer, range.open().tried("open a layer's file")?, watch),
        _ => Err(Reason::document("read the manifest", "a layer of it is nowhere")),
    }
}

/// Unpacks a layer and puts it in its place when it is what it should be. A failure leaves nothing.
fn place_layer(
    store: &Store,
    layer: &LayerPlan,
    packed: impl Read,
    watch: &Watch,
) -> Result<LayerRecord, Reason> {
    let (unpacking, directory) = store.shared.disk.begin_layer()?;
    let mut packed = HashReader::new(watch.reader(packed));
    let (packing, head) = match layer.packing {
        Some(packing) => (packing, Vec::new()),
        None => sniff(&mut packed).tried("read a layer's file")?,
    };
    let mut stream = Read::chain(std::io::Cursor::new(head), &mut packed);
    let again = rustix::io::fcntl_dupfd_cloexec(&directory, 0).tried("open a layer's directory")?;
    let unpacked =
        unpack::unpack(&mut stream, packing, layer.packed_bytes, directory, &store.shared.unpacking);
    let unpacked = unpacked.map_err(|error| watch.check().err().unwrap_or(error.into()))?;
    std::io::copy(&mut stream, &mut std::io::sink()).tried("read a layer's file")?;
    let (found, bytes) = packed.finish();
    if bytes != layer.packed_bytes {
        return Err(Reason::Size { what: "the layer", expected: layer.packed_bytes });
    }
    if let Some(expected) = layer.blob
        && expected != found
    {
        return Err(Reason::Digest { what: "the layer", expected, found });
    }
    if unpacked.diff_id != layer.diff_id {
        let found = unpacked.diff_id;
        return Err(Reason::Digest { what: "the unpacked layer", expected: layer.diff_id, found });
    }
    let tree = match store.shared.settings.verify {
        true => Some(integrity::digest(again).tried("read a layer")?),
        false => None,
    };
    let record = LayerRecord::new(&unpacked, tree);
    store.shared.disk.finish_layer(&unpacking, layer.diff_id, &record)?;
    Ok(record)
}

/// How a layer is packed, by its first bytes, which are returned to be read again.
fn sniff(reader: &mut impl Read) -> std::io::Result<(Packing, Vec<u8>)> {
    let mut head = Vec::new();
    reader.by_ref().take(4).read_to_end(&mut head)?;
    let packing = match head.as_slice() {
        [0x1f, 0x8b, ..] => Packing::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd] => Packing::Zstd,
        _ => Packing::Plain,
    };
    Ok((packing, head))
}

/// Says that nobody brings a layer any more, whatever came of it.
pub(super) struct Coming<'c> {
    store: &'c Store,
    layer: Digest,
}

impl Coming<'_> {
    /// Says that it is in its place.
    pub(super) fn landed(self, record: LayerRecord) -> Hold {
        let mut state = self.store.lock();
        state.layers.insert(self.layer, record);
        if self.store.shared.settings.verify {
            state.verified.insert(self.layer);
        }
        Hold::new(self.store, &mut state, &[self.layer], None)
    }
}

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        self.store.lock().coming.remove(&self.layer);
        self.store.shared.changed.notify_all();
    }
}
