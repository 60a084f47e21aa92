//! The files of the store.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File},
    io::{self, Read, Write},
    os::{fd::OwnedFd, unix::fs::DirBuilderExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::fs::{FlockOperation, IFlags, Mode, OFlags};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Known, OpenError};
use crate::{
    Digest, config,
    error::{Reason, Tried},
    limits::CONFIG_BYTES_MAX,
    registry::Place,
    source::Plan,
    unpack::Unpacked,
};

/// A record of ours; a layer's name for each of 127 is the most of it.
const RECORD_BYTES_MAX: u64 = 1 << 20;
/// Accounts remembered to have been allowed an image.
const GRANTS_MAX: usize = 100;
/// How long a cut-off download waits to be gone on with.
const DOWNLOADS_KEPT: Duration = Duration::from_secs(24 * 3600);

pub(super) struct Disk {
    directory: PathBuf,
    next: AtomicU64,
    /// Locked for as long as it is open.
    _lock: File,
}

/// An image on disk. Fields are only ever added.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) name: String,
    /// Registry and path, for asking who may have its layers.
    pub(super) repository: String,
    pub(super) digest: Digest,
    pub(super) id: Digest,
    pub(super) config: Digest,
    /// As containers get them, lowest first.
    pub(super) layers: Vec<Digest>,
    /// All that it was made from, of which some may be hidden wholly.
    #[serde(default)]
    pub(super) all_layers: Vec<Digest>,
    used_seconds: u64,
    #[serde(default)]
    pulled_seconds: u64,
    /// Accounts that got it from where it is, by fingerprint; the empty one is anybody.
    #[serde(default)]
    granted: Vec<String>,
}

/// A layer on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LayerRecord {
    pub(super) bytes: u64,
    pub(super) entries: u64,
    #[serde(default)]
    pub(super) skipped: u64,
    #[serde(default)]
    pub(super) opaque: bool,
    /// Has directories that lower layers decide about.
    #[serde(default)]
    pub(super) implied: bool,
    /// Of the directory, where layers are verified.
    #[serde(default)]
    pub(super) tree: Option<Digest>,
}

impl LayerRecord {
    pub(super) fn new(unpacked: &Unpacked, tree: Option<Digest>) -> Self {
        let Unpacked { bytes, entries, skipped, opaque, implied, .. } = *unpacked;
        Self { bytes, entries, skipped, opaque, implied, tree }
    }
}

impl Record {
    pub(super) fn new(name: &str, plan: &Plan, place: &Place, layers: Vec<Digest>, now: SystemTime) -> Self {
        Self {
            name: name.to_owned(),
            repository: format!("{}/{}", place.registry, place.repository),
            digest: plan.digest,
            id: plan.id,
            config: Digest::of(&plan.config_content),
            layers,
            all_layers: plan.layers.iter().map(|layer| layer.diff_id).collect(),
            used_seconds: seconds(now),
            pulled_seconds: seconds(now),
            granted: Vec::new(),
        }
    }

    pub(super) fn used(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.used_seconds)
    }

    pub(super) fn pulled(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.pulled_seconds)
    }

    /// Notes a use; whether that should be written.
    pub(super) fn touch(&mut self, now: SystemTime, kept: Duration) -> bool {
        let now = seconds(now);
        let write = now.saturating_sub(self.used_seconds) > kept.as_secs();
        if write {
            self.used_seconds = now;
        }
        write
    }

    /// Whether an account was allowed this image where it came from (attack A068).
    pub(super) fn grants(&self, fingerprint: &str) -> bool {
        self.granted.iter().any(|granted| granted.is_empty() || granted == fingerprint)
    }

    pub(super) fn grant(&mut self, fingerprint: String) {
        if !self.granted.contains(&fingerprint) {
            self.granted.truncate(GRANTS_MAX - 1);
            self.granted.insert(0, fingerprint);
        }
    }

    /// Keeps what was allowed to others, as long as it is the same image.
    pub(super) fn inherit(&mut self, earlier: &Record) {
        if earlier.id == self.id && earlier.repository == self.repository {
            self.granted.clone_from(&earlier.granted);
        }
    }

    pub(super) fn names(&self, layer: &Digest) -> bool {
        self.all_layers.contains(layer) || self.layers.contains(layer)
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Disk {
    pub(super) fn open(directory: &Path) -> Result<Self, OpenError> {
        let failed = |reason| OpenError::Failed { path: directory.to_owned(), reason };
        // Setuid files of images must not be reached by other users of the host (attack A027).
        let make = |path: &Path| DirBuilder::new().recursive(true).mode(0o700).create(path);
        make(directory).tried("make the directory").map_err(failed)?;
        let open = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let own = rustix::fs::open(directory, open, Mode::empty());
        let closed = own.and_then(|own| rustix::fs::fchmod(own, Mode::from_raw_mode(0o700)));
        closed.tried("close the directory to others").map_err(failed)?;
        let lock = File::options().create(true).write(true).truncate(false).open(directory.join("lock"));
        let lock = lock.tried("open the lock").map_err(failed)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(OpenError::InUse(directory.to_owned())),
            locked => locked.tried("lock it").map_err(failed)?,
        }
        for part in ["images", "configs", "layers", "holders", "downloads", "unpacking", "trash"] {
            make(&directory.join(part)).tried("make a directory").map_err(failed)?;
        }
        // Each layer gets a part of the disk with few others. Otherwise ext4 looks for its inodes beside those of
        // images that were deleted, past each of which it searches for minutes after that. Other file systems
        // have no such hint.
        if let Ok(unpacking) = File::open(directory.join("unpacking"))
            && let Ok(flags) = rustix::fs::ioctl_getflags(&unpacking)
        {
            let _ = rustix::fs::ioctl_setflags(&unpacking, flags | IFlags::TOPDIR);
        }
        Ok(Self { directory: directory.to_owned(), next: AtomicU64::new(0), _lock: lock })
    }

    /// Reads all records, and deletes what none of them names. A record that is damaged, or whose content is
    /// not there, is an image that will be fetched again.
    #[expect(clippy::type_complexity, reason = "images by name, layers by digest")]
    pub(super) fn load(&self) -> Result<(BTreeMap<String, Known>, BTreeMap<Digest, LayerRecord>), Reason> {
        for part in ["unpacking", "trash"] {
            for path in self.entries(part)? {
                remove(&path).tried("delete what an earlier process left")?;
            }
        }
        for path in self.entries("downloads")? {
            let age = path.symlink_metadata().and_then(|status| status.modified()).ok();
            let age = age.and_then(|modified| modified.elapsed().ok());
            if age.is_none_or(|age| age > DOWNLOADS_KEPT) {
                remove(&path).tried("delete an old download")?;
            }
        }
        let mut layers = BTreeMap::new();
        for path in self.entries("layers")? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let digest = format!("sha256:{name}").parse::<Digest>();
            let record = read_json::<LayerRecord>(&path.join("layer.json"));
            if let (Ok(digest), Ok(record), true) = (digest, record, path.join("fs").is_dir()) {
                layers.insert(digest, record);
            }
        }
        let mut images: BTreeMap<String, Known> = BTreeMap::new();
        for path in self.entries("images")? {
            match self.load_image(&path, &layers) {
                Ok(known) => {
                    images.insert(known.record.name.clone(), known);
                }
                Err(why) => {
                    tracing::warn!(path = %path.display(), why, "an image will be fetched again");
                    remove(&path).tried("delete a damaged record")?;
                }
            }
        }
        layers.retain(|digest, _| images.values().any(|known| known.record.names(digest)));
        let configs = images.values().map(|known| known.record.config.hex());
        self.sweep("configs", &configs.collect::<Vec<_>>())?;
        self.sweep("layers", &layers.keys().map(Digest::hex).collect::<Vec<_>>())?;
        Ok((images, layers))
    }

    fn load_image(&self, path: &Path, layers: &BTreeMap<Digest, LayerRecord>) -> Result<Known, String> {
        let record: Record = read_json(path).map_err(|error| error.to_string())?;
        if *path != self.record_path(&record.name) {
            return Err("it is called by another name".to_owned());
        }
        if let Some(gone) = record.layers.iter().find(|layer| !layers.contains_key(layer)) {
            return Err(format!("layer {gone} is not there"));
        }
        let content = read_bounded(&self.config_path(record.config), CONFIG_BYTES_MAX);
        let content = content.map_err(|error| format!("read the configuration: {error}"))?;
        if Digest::of(&content) != record.config {
            return Err("the configuration was changed".to_owned());
        }
        let parsed = config::parse(&content).map_err(|reason| reason.to_string())?;
        Ok(Known { record, config: Arc::new(parsed.config) })
    }

    /// Deletes all of a part that is not among these names.
    fn sweep(&self, part: &str, kept: &[String]) -> Result<(), Reason> {
        for path in self.entries(part)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if !kept.iter().any(|kept| *kept == name) {
                self.trash(&path).and_then(|trash| remove(&trash)).tried("delete what no image has")?;
            }
        }
        Ok(())
    }

    fn entries(&self, part: &str) -> Result<Vec<PathBuf>, Reason> {
        let list = || fs::read_dir(self.directory.join(part))?.map(|entry| Ok(entry?.path())).collect();
        let entries: io::Result<_> = list();
        entries.tried("read a directory of the store")
    }

    /// Where a container finds a layer.
    pub(super) fn layer_path(&self, layer: Digest) -> PathBuf {
        self.directory.join("layers").join(layer.hex()).join("fs")
    }

    fn record_path(&self, name: &str) -> PathBuf {
        self.directory.join("images").join(format!("{}.json", Digest::of(name.as_bytes()).hex()))
    }

    fn config_path(&self, digest: Digest) -> PathBuf {
        self.directory.join("configs").join(digest.hex())
    }

    fn fresh(&self, part: &str) -> PathBuf {
        self.directory.join(part).join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }

    /// The file into which a blob is downloaded.
    pub(super) fn download(&self, blob: Digest) -> Result<File, Reason> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let path = self.directory.join("downloads").join(blob.hex());
        Ok(rustix::fs::open(path, flags, Mode::from_raw_mode(0o600))
            .tried("make a file for a download")?
            .into())
    }

    pub(super) fn drop_download(&self, blob: Digest) {
        // One that stays is deleted with the old ones.
        let _ = fs::remove_file(self.directory.join("downloads").join(blob.hex()));
    }

    /// An empty place for a layer, and its open `fs` directory.
    pub(super) fn begin_layer(&self) -> Result<(Unpacking, OwnedFd), Reason> {
        let path = self.fresh("unpacking");
        let (outer, inner) = (DirBuilder::new().mode(0o700).create(&path), path.join("fs"));
        outer
            .and_then(|()| DirBuilder::new().mode(0o755).create(&inner))
            .tried("make a layer's directory")?;
        let unpacking = Unpacking { path };
        let open = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::open(&inner, open, Mode::empty()).tried("open a layer's directory")?;
        // Not given at creation, where the process' mask would cut it.
        rustix::fs::fchmod(&directory, Mode::from_raw_mode(0o755)).tried("open a layer's directory")?;
        Ok((unpacking, directory))
    }

    /// Moves a layer to its place.
    pub(super) fn finish_layer(
        &self,
        unpacking: &Unpacking,
        layer: Digest,
        record: &LayerRecord,
    ) -> Result<(), Reason> {
        let text = serde_json::to_vec(record).map_err(io::Error::from).tried("write a layer's record")?;
        fs::write(unpacking.path.join("layer.json"), text).tried("write a layer's record")?;
        let place = self.directory.join("layers").join(layer.hex());
        // One that is there lost its record; it is not in use, or it would be known.
        if place.symlink_metadata().is_ok() {
            self.trash(&place).and_then(|trash| remove(&trash)).tried("delete a damaged layer")?;
        }
        fs::rename(&unpacking.path, place).tried("move a layer to its place")
    }

    /// Writes all that is in the store to the disk: once per pull, which is cheaper than once per file.
    pub(super) fn sync(&self) -> Result<(), Reason> {
        let directory = File::open(&self.directory).tried("open the store")?;
        rustix::fs::syncfs(directory).tried("write layers to the disk")
    }

    pub(super) fn write_config(&self, plan: &Plan) -> Result<(), Reason> {
        let path = self.config_path(Digest::of(&plan.config_content));
        self.replace(&path, &plan.config_content, true).tried("write an image's configuration")
    }

    pub(super) fn write_record(&self, record: &Record, durable: bool) -> Result<(), Reason> {
        let text = serde_json::to_vec(record).map_err(io::Error::from).tried("write an image's record")?;
        self.replace(&self.record_path(&record.name), &text, durable).tried("write an image's record")
    }

    /// Puts a file in place of another, whole or not at all.
    fn replace(&self, path: &Path, content: &[u8], durable: bool) -> io::Result<()> {
        let fresh = self.fresh("unpacking");
        let mut file = File::create(&fresh)?;
        file.write_all(content)?;
        if durable {
            file.sync_all()?;
        }
        fs::rename(&fresh, path)?;
        if let (true, Some(parent)) = (durable, path.parent()) {
            File::open(parent)?.sync_all()?;
        }
        Ok(())
    }

    fn holder_path(&self, container: &str) -> PathBuf {
        self.directory.join("holders").join(format!("{}.json", Digest::of(container.as_bytes()).hex()))
    }

    pub(super) fn write_holder(&self, container: &str, image: Digest) -> Result<(), Reason> {
        let text =
            serde_json::to_vec(&(container, image)).map_err(io::Error::from).tried("note an image's user")?;
        self.replace(&self.holder_path(container), &text, false).tried("note an image's user")
    }

    pub(super) fn remove_holder(&self, container: &str) -> io::Result<()> {
        remove(&self.holder_path(container))
    }

    /// Who has which image; damaged notes are dropped.
    pub(super) fn holders(&self) -> Result<Vec<(String, Digest)>, Reason> {
        let mut holders = Vec::new();
        for path in self.entries("holders")? {
            match read_json::<(String, Digest)>(&path) {
                Ok(holder) if path == self.holder_path(&holder.0) => holders.push(holder),
                _ => remove(&path).tried("delete what a container left")?,
            }
        }
        Ok(holders)
    }

    pub(super) fn remove_record(&self, name: &str) -> io::Result<()> {
        remove(&self.record_path(name))
    }

    pub(super) fn remove_config(&self, digest: Digest) -> io::Result<()> {
        remove(&self.config_path(digest))
    }

    /// Takes a layer out of its place; what is returned is to be removed, which takes its time.
    pub(super) fn trash_layer(&self, layer: Digest) -> io::Result<PathBuf> {
        self.trash(&self.directory.join("layers").join(layer.hex()))
    }

    fn trash(&self, path: &Path) -> io::Result<PathBuf> {
        let trash = self.fresh("trash");
        fs::rename(path, &trash)?;
        Ok(trash)
    }
}

/// A layer's directory until it is in its place: dropped before that, it is deleted.
pub(super) struct Unpacking {
    path: PathBuf,
}

impl Drop for Unpacking {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "delete a layer that was not finished");
        }
    }
}

/// Deletes a file, a link or a tree, following no link in it; what is gone is fine.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(status) if status.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn read_bounded(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(bytes_max + 1).read_to_end(&mut content)?;
    if content.len() as u64 > bytes_max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than it was written"));
    }
    Ok(content)
}

fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    Ok(serde_json::from_slice(&read_bounded(path, RECORD_BYTES_MAX)?)?)
}
