//! The store: a directory of layers and images that all containers of an agent share.
//!
//! ```text
//! lock               held by the one process that uses the store
//! images/KEY.json    an image: names, digests, layers; written last, so what it names is all there
//! configs/HEX        configurations, by digest
//! layers/HEX/fs      an unpacked layer, by the digest of its tar, or of how it was put onto others (`settle.rs`);
//!                    layer.json beside it says what it was
//! holders/KEY        which image a container has
//! downloads/HEX      packed layers on their way, by digest; a cut-off one is gone on with
//! unpacking/N        layers being unpacked      trash/N   what is being deleted
//! ```
//!
//! A layer moves to its place by one rename when it is whole, and an image's record is written after the file
//! system was told to write everything out. So after a crash a record stands for layers that are complete, and
//! what no record names is deleted by the next start. Nothing in the store is changed once it is in its place.

mod collect;
mod disk;
mod fetch;
mod lease;
mod settle;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::{Duration, Instant, SystemTime},
};

pub use collect::{Collected, Policy};
pub use lease::Image;

use crate::{
    Accounts, Digest, ImageConfig, Limits, Platform, Progress, PullError, Reason, Reference,
    RegistrySettings,
    error::Tried,
    local::{self, Files},
    progress::Watch,
    registry::{Place, Registry},
    source::Origin,
    unpack,
};
use disk::{Disk, Record};

/// How long an image's last use may be unwritten: long enough that launches do not write, and nothing beside
/// the days that images are kept.
const USED_KEPT: Duration = Duration::from_secs(3600);
/// How often who waits for another's pull looks whether it is still wanted.
const NOTICE: Duration = Duration::from_millis(100);

/// Where images come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The registry in the name, or the default one.
    Registry,
    /// A folder with an archive or layout per image, called by its name.
    Folder(PathBuf),
    /// One archive or layout.
    Archive(PathBuf),
}

/// How a store is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where images come from unless a pull says otherwise.
    pub source: Source,
    /// Registries.
    pub registry: RegistrySettings,
    /// What an image may cost.
    pub limits: Limits,
    /// The machines that images must be made for.
    pub platform: Platform,
    /// Whether setuid, setgid and file capabilities of images are kept, as Mesos keeps them.
    pub setuid: bool,
    /// Whether layers are read again before their first use, and fetched again when they changed. Costs reading
    /// every layer once per start of the agent.
    pub verify: bool,
    /// The longest a pull may take.
    pub pull_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            source: Source::Registry,
            registry: RegistrySettings::default(),
            limits: Limits::default(),
            platform: Platform::default(),
            setuid: true,
            verify: false,
            pull_timeout: Duration::from_secs(3600),
        }
    }
}

/// How one image is pulled.
#[derive(Clone, Debug)]
pub struct PullOptions {
    /// Whether an image that is here is taken without asking where it came from (`Image.cached`, true by default).
    pub cached: bool,
    /// The accounts of who asks, in place of the store's own.
    pub accounts: Option<Accounts>,
    /// In place of the store's own.
    pub source: Option<Source>,
    /// Set to true by who does not want the image any more.
    pub cancelled: Arc<AtomicBool>,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self { cached: true, accounts: None, source: None, cancelled: Arc::default() }
    }
}

/// A store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// By another process.
    #[error("the image store {0} is in use by another process")]
    InUse(PathBuf),
    /// By its settings or its disk.
    #[error("open the image store {path}: {reason}")]
    Failed {
        /// Its directory.
        path: PathBuf,
        /// Why.
        reason: Reason,
    },
}

/// What is known of an image without using it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The name with its registry.
    pub name: String,
    /// See [`Image::id`].
    pub id: Digest,
    /// See [`Image::digest`].
    pub digest: Digest,
    /// Unpacked, of all its layers; other images may share them.
    pub bytes: u64,
    /// How many.
    pub layers: usize,
    /// When it came here.
    pub pulled: SystemTime,
    /// Last time a container got it.
    pub used: SystemTime,
    /// Whether something holds it.
    pub in_use: bool,
}

/// A directory of images. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    disk: Disk,
    settings: Settings,
    unpacking: unpack::Options,
    registry: Registry,
    state: Mutex<State>,
    /// Told when a pull or a layer is done, whatever came of it, and when a pull comes forward.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// By name.
    images: BTreeMap<String, Known>,
    /// All that are in their place.
    layers: BTreeMap<Digest, disk::LayerRecord>,
    /// Layers that somebody is bringing.
    coming: BTreeSet<Digest>,
    /// Layers that must not go, and how many hold each.
    layer_holds: BTreeMap<Digest, u32>,
    /// Images in use, by id.
    image_holds: BTreeMap<Digest, u32>,
    /// Pulls under way, by name and account.
    pulls: BTreeMap<(String, String), Arc<Mutex<Flight>>>,
    /// Layers that were read again and are as they were made.
    verified: BTreeSet<Digest>,
    /// Images and layers of containers, by container.
    holders: BTreeMap<String, (Digest, Vec<Digest>)>,
}

struct Known {
    record: Record,
    config: Arc<ImageConfig>,
}

/// A pull that others wait for.
#[derive(Default)]
struct Flight {
    progress: Progress,
    /// How it failed, once it has.
    failed: Option<PullError>,
    done: bool,
}

impl Store {
    /// Opens a store, making it where there is none, and deletes what an interrupted pull left.
    pub fn open(directory: &Path, settings: Settings) -> Result<Self, OpenError> {
        let failed = |reason| OpenError::Failed { path: directory.to_owned(), reason };
        let registry = Registry::new(settings.registry.clone()).map_err(failed)?;
        let disk = Disk::open(directory)?;
        let (images, layers) = disk.load().map_err(failed)?;
        let mut state = State { images, layers, ..State::default() };
        for stale in state.take_up(disk.holders().map_err(failed)?) {
            disk.remove_holder(&stale).tried("delete what a container left").map_err(failed)?;
        }
        let unpacking = unpack::Options {
            root: rustix::process::geteuid().is_root(),
            setuid: settings.setuid,
            limits: settings.limits.clone(),
        };
        let shared =
            Shared { disk, settings, unpacking, registry, state: Mutex::new(state), changed: Condvar::new() };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Brings an image and holds it. Blocks; pulls of one image by several share the work. `progress` is called
    /// whenever there is some, often.
    pub fn pull(
        &self,
        reference: &Reference,
        options: &PullOptions,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Image, PullError> {
        let failed = |reason: Reason| PullError {
            image: reference.to_string(),
            layer: None,
            reason: Arc::new(reason),
        };
        let watch =
            Watch::new(Instant::now() + self.shared.settings.pull_timeout, Arc::clone(&options.cancelled));
        let place = self.shared.registry.place(reference, options.accounts.as_ref());
        let key = (name_of(&place, reference), place.fingerprint());
        if options.cached
            && let Some(image) = self.cached(&key, reference)
        {
            // Only a layer that was never read since the start takes time here.
            if self.verified(&image, &watch).map_err(failed)? {
                return Ok(image);
            }
            drop(image);
            self.drop_image(&key.0);
        }
        loop {
            let (flight, leads) = self.join(&key);
            if leads {
                let landing = Landing { store: self, key: &key, flight: &flight };
                let outcome = self.lead(reference, options, &place, &key, &watch, &|now| {
                    flight.lock().unwrap_or_else(PoisonError::into_inner).progress = now;
                    self.shared.changed.notify_all();
                    progress(now);
                });
                if let Err(error) = &outcome {
                    // The next attempt goes on with what is here, where there may be one.
                    if !error.reason.is_transient() {
                        self.clean_up();
                    }
                    flight.lock().unwrap_or_else(PoisonError::into_inner).failed = Some(error.clone());
                }
                drop(landing);
                return outcome;
            }
            if let Some(outcome) = self.wait(&flight, &key, reference, &watch, progress).map_err(failed)? {
                return outcome;
            }
        }
    }

    /// The image, when it is here and may be had at once: nothing is asked, read or waited for.
    pub fn here(&self, reference: &Reference, options: &PullOptions) -> Option<Image> {
        let place = self.shared.registry.place(reference, options.accounts.as_ref());
        let key = (name_of(&place, reference), place.fingerprint());
        let image = self.cached(&key, reference).filter(|_| options.cached)?;
        let known = !self.shared.settings.verify || {
            let state = self.lock();
            image.layer_digests().iter().all(|layer| state.verified.contains(layer))
        };
        known.then_some(image)
    }

    /// Pulls under way, with how far they are, by the name of the image.
    pub fn pulls(&self) -> Vec<(String, Progress)> {
        let flights: Vec<_> =
            self.lock().pulls.iter().map(|(key, flight)| (key.0.clone(), Arc::clone(flight))).collect();
        let progress =
            |flight: &Mutex<Flight>| flight.lock().unwrap_or_else(PoisonError::into_inner).progress;
        flights.into_iter().map(|(name, flight)| (name, progress(&flight))).collect()
    }

    /// Holds an image that is here, by id: for containers that were found running.
    pub fn hold(&self, id: Digest) -> Option<Image> {
        let mut state = self.lock();
        let name = state.images.iter().find(|(_, known)| known.record.id == id)?.0.clone();
        self.take(&mut state, &name)
    }

    /// What is here, by name.
    pub fn list(&self) -> Vec<Listed> {
        let state = self.lock();
        let listed = state.images.values().map(|Known { record, .. }| Listed {
            name: record.name.clone(),
            id: record.id,
            digest: record.digest,
            bytes: state.bytes(&record.layers),
            layers: record.layers.len(),
            pulled: record.pulled(),
            used: record.used(),
            in_use: state.image_holds.contains_key(&record.id),
        });
        listed.collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change leaves the state whole.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An image that is here and that this account may have.
    fn cached(&self, key: &(String, String), reference: &Reference) -> Option<Image> {
        let mut state = self.lock();
        let known = state.images.get(&key.0)?;
        let digests = [known.record.digest, known.record.id];
        if reference.digest().is_some_and(|digest| !digests.contains(&digest)) || !known.record.grants(&key.1)
        {
            return None;
        }
        self.take(&mut state, &key.0)
    }

    /// Holds an image and notes its use.
    fn take(&self, state: &mut State, name: &str) -> Option<Image> {
        let known = state.images.get_mut(name)?;
        if known.record.touch(SystemTime::now(), USED_KEPT)
            && let Err(error) = self.shared.disk.write_record(&known.record, false)
        {
            // It may be collected earlier than it should be, and is then fetched again.
            tracing::warn!(image = name, %error, "note an image's use");
        }
        let (record, config) = (known.record.clone(), Arc::clone(&known.config));
        Some(Image::hold(self, state, &record, config))
    }

    fn join(&self, key: &(String, String)) -> (Arc<Mutex<Flight>>, bool) {
        let mut state = self.lock();
        if let Some(flight) = state.pulls.get(key) {
            return (Arc::clone(flight), false);
        }
        let flight: Arc<Mutex<Flight>> = Arc::default();
        state.pulls.insert(key.clone(), Arc::clone(&flight));
        (flight, true)
    }

    /// Waits for another's pull. Nothing when that one gave up for reasons of its own.
    fn wait(
        &self,
        flight: &Mutex<Flight>,
        key: &(String, String),
        reference: &Reference,
        watch: &Watch,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Option<Result<Image, PullError>>, Reason> {
        let mut told = Progress::default();
        loop {
            watch.check()?;
            let (now, done, failed) = {
                let flight = flight.lock().unwrap_or_else(PoisonError::into_inner);
                (flight.progress, flight.done, flight.failed.clone())
            };
            if now != told {
                progress(now);
                told = now;
            }
            match failed {
                _ if !done => {}
                None => return Ok(self.cached(key, reference).map(Ok)),
                Some(error) if matches!(*error.reason, Reason::Cancelled) => return Ok(None),
                Some(error) => return Ok(Some(Err(error))),
            }
            let state = self.lock();
            if state.pulls.contains_key(key) {
                let waited = self.shared.changed.wait_timeout(state, NOTICE);
                drop(waited.unwrap_or_else(PoisonError::into_inner));
            }
        }
    }

    /// Does the work of a pull.
    fn lead(
        &self,
        reference: &Reference,
        options: &PullOptions,
        place: &Place,
        (name, fingerprint): &(String, String),
        watch: &Watch,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Image, PullError> {
        let failed =
            |layer, reason| PullError { image: reference.to_string(), layer, reason: Arc::new(reason) };
        let whole = |reason| failed(None, reason);
        let origin = match options.source.as_ref().unwrap_or(&self.shared.settings.source) {
            Source::Registry => Origin::Registry { registry: &self.shared.registry, place },
            Source::Folder(folder) => {
                let path = local::in_folder(folder, reference);
                Origin::Local { files: Files::open(&path).map_err(whole)?, path }
            }
            Source::Archive(path) => {
                Origin::Local { files: Files::open(path).map_err(whole)?, path: path.clone() }
            }
        };
        let Settings { platform, limits, .. } = &self.shared.settings;
        let plan = origin.plan(reference, platform, limits, watch).map_err(whole)?;
        let holds = fetch::layers(self, &origin, &plan, watch, progress)
            .map_err(|failure| failed(Some(failure.0), failure.1))?;
        let (layers, settled) =
            settle::layers(self, &plan, watch).map_err(|(layer, reason)| failed(Some(layer), reason))?;
        self.shared.disk.sync().map_err(whole)?;
        self.shared.disk.write_config(&plan).map_err(whole)?;
        let mut state = self.lock();
        let layers = fetch::effective(&layers, &state);
        let granted = match &origin {
            Origin::Registry { .. } => fingerprint.clone(),
            // The operator put it there, for everybody.
            Origin::Local { .. } => String::new(),
        };
        let mut record = Record::new(name, &plan, place, layers, SystemTime::now());
        if let Some(earlier) = state.images.get(name) {
            record.inherit(&earlier.record);
        }
        record.grant(granted);
        self.shared.disk.write_record(&record, true).map_err(whole)?;
        let known = Known { record, config: Arc::new(plan.config.config) };
        let image = Image::hold(self, &mut state, &known.record, Arc::clone(&known.config));
        state.images.insert(name.clone(), known);
        drop(state);
        drop((holds, settled));
        Ok(image)
    }
}

/// What an image is called here: one name for all spellings.
fn name_of(place: &Place, reference: &Reference) -> String {
    let target = match reference.digest() {
        Some(digest) => format!("@{digest}"),
        None => format!(":{}", reference.tag()),
    };
    format!("{}/{}{target}", place.registry, place.repository)
}

/// Ends a pull for those who wait, also when it panics.
struct Landing<'l> {
    store: &'l Store,
    key: &'l (String, String),
    flight: &'l Mutex<Flight>,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.flight.lock().unwrap_or_else(PoisonError::into_inner).done = true;
        self.store.lock().pulls.remove(self.key);
        self.store.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests;
