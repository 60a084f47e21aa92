//! Images on this host: OCI layout folders, the same in a tar, and what `docker save` writes.

use std::{
    cell::Cell,
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{
    Digest, Reference, config,
    error::{Reason, Tried},
    limits::{CONFIG_BYTES_MAX, INDEX_ENTRIES_MAX, LAYERS_MAX, MANIFEST_BYTES_MAX},
    manifest::{self, Descriptor, Document},
    reference::HUB,
    source::{LayerPlan, Plan},
};

/// Files in an archive of images: `docker save` of a hundred images has a few thousand.
const FILES_MAX: usize = 50_000;
/// Headers of all of these, held as names in memory.
const HEADERS_BYTES_MAX: u64 = 64 << 20;
/// Where a layout says what its manifests are called.
const NAME_ANNOTATIONS: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];

/// A part of a file.
#[derive(Clone, Debug)]
pub(crate) struct Range {
    path: PathBuf,
    offset: u64,
    bytes: u64,
}

impl Range {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn open(&self) -> io::Result<io::Take<File>> {
        let mut file = open_regular(&self.path)?;
        file.seek(SeekFrom::Start(self.offset))?;
        Ok(file.take(self.bytes))
    }

    pub(crate) fn read(&self, bytes_max: u64, what: &'static str) -> Result<Vec<u8>, Reason> {
        if self.bytes > bytes_max {
            return Err(Reason::document(what, format!("it has more than {bytes_max} bytes")));
        }
        let mut content = Vec::new();
        self.open().and_then(|mut file| file.read_to_end(&mut content)).tried("read an image's file")?;
        Ok(content)
    }
}

/// The files of an image or of several.
#[derive(Debug)]
pub(crate) enum Files {
    Folder(PathBuf),
    Archive { path: PathBuf, entries: BTreeMap<String, Entry> },
}

#[derive(Debug)]
pub(crate) enum Entry {
    File {
        offset: u64,
        bytes: u64,
    },
    /// To another entry, as older archives save a layer that several images have.
    Link(String),
}

/// Opens what is a plain file and nothing that could block or lie elsewhere.
fn open_regular(path: &Path) -> io::Result<File> {
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(nonblock).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok(file)
}

impl Files {
    /// A layout folder or an archive, whichever is there.
    pub(crate) fn open(path: &Path) -> Result<Self, Reason> {
        if path.is_dir() {
            return Ok(Files::Folder(path.to_owned()));
        }
        let file = match open_regular(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Reason::Missing(path.display().to_string()));
            }
            file => file.tried("open an image archive")?,
        };
        let length = file.metadata().tried("open an image archive")?.len();
        let broken = |why: String| Reason::document("read the image archive", why);
        let mut archive = tar::Archive::new(Headers { file, left: Cell::new(HEADERS_BYTES_MAX) });
        let mut entries = BTreeMap::new();
        for entry in archive.entries_with_seek().map_err(|error| broken(error.to_string()))? {
            let entry = entry.map_err(|error| broken(error.to_string()))?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let found = match entry.header().entry_type() {
                tar::EntryType::Regular | tar::EntryType::Continuous => {
                    let (offset, bytes) = (entry.raw_file_position(), entry.size());
                    if offset.checked_add(bytes).is_none_or(|end| end > length) {
                        return Err(broken("it is cut off".to_owned()));
                    }
                    Entry::File { offset, bytes }
                }
                tar::EntryType::Symlink | tar::EntryType::Link => {
                    let text = entry.link_name_bytes().unwrap_or_default();
                    Entry::Link(beside(&name, &String::from_utf8_lossy(&text), entry.header().entry_type()))
                }
                _ => continue,
            };
            entries.insert(name.trim_start_matches("./").to_owned(), found);
            if entries.len() > FILES_MAX {
                return Err(broken(format!("it has more than {FILES_MAX} files")));
            }
        }
        Ok(Files::Archive { path: path.to_owned(), entries })
    }

    /// A file by its path in the folder or archive. `name` is made of our own words and digests, or is looked
    /// up among what an archive has.
    fn find(&self, name: &str) -> Result<Option<Range>, Reason> {
        match self {
            Files::Folder(folder) => {
                let path = folder.join(name);
                match path.metadata() {
                    Ok(status) => Ok(Some(Range { path, offset: 0, bytes: status.len() })),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(error).tried("open an image's file"),
                }
            }
            Files::Archive { path, entries } => {
                let mut entry = entries.get(name);
                if let Some(Entry::Link(target)) = entry {
                    entry = entries.get(target);
                }
                Ok(match entry {
                    Some(Entry::File { offset, bytes }) => {
                        Some(Range { path: path.clone(), offset: *offset, bytes: *bytes })
                    }
                    // A link to a link is nothing anybody writes.
                    Some(Entry::Link(_)) | None => None,
                })
            }
        }
    }

    pub(crate) fn blob(&self, digest: Digest) -> Result<Option<Range>, Reason> {
        self.find(&format!("blobs/sha256/{}", digest.hex()))
    }

    /// The manifest of this name in a layout.
    pub(crate) fn named(&self, reference: &Reference) -> Result<Option<Descriptor>, Reason> {
        let Some(index) = self.find("index.json")? else { return Ok(None) };
        let content = index.read(MANIFEST_BYTES_MAX, "read the layout's index")?;
        let Document::Index(manifests) = manifest::parse(&content, None)? else {
            return Err(Reason::document("read the layout's index", "it is a manifest"));
        };
        if let Some(digest) = reference.digest() {
            return Ok(manifests.into_iter().find(|descriptor| descriptor.digest == digest));
        }
        let called = |descriptor: &&Descriptor| {
            let annotations = descriptor.annotations.as_ref();
            let names = NAME_ANNOTATIONS.iter().filter_map(|key| annotations?.get(*key));
            names.into_iter().any(|name| name == reference.tag() || same(name, reference))
        };
        let unnamed = |descriptor: &Descriptor| {
            let annotations = descriptor.annotations.as_ref();
            NAME_ANNOTATIONS.iter().all(|key| annotations.is_none_or(|all| !all.contains_key(*key)))
        };
        let found = manifests.iter().find(called).or(match manifests.as_slice() {
            // A folder of one image that was not told its name is the image.
            [only] if unnamed(only) => Some(only),
            _ => None,
        });
        Ok(found.cloned())
    }

    /// The image of this name by the list that `docker save` writes; nothing where there is no such list.
    pub(crate) fn saved_image(&self, reference: &Reference) -> Result<Option<Plan>, Reason> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Saved {
            config: String,
            #[serde(default)]
            repo_tags: Option<Vec<String>>,
            layers: Vec<String>,
        }
        let Files::Archive { path, .. } = self else { return Ok(None) };
        let Some(list) = self.find("manifest.json")? else { return Ok(None) };
        let wrong = |why: &str| Reason::document("read the archive's list of images", why);
        let content = list.read(MANIFEST_BYTES_MAX, "read the archive's list of images")?;
        let list: Vec<Saved> = serde_json::from_slice(&content).map_err(|error| wrong(&error.to_string()))?;
        if list.len() > INDEX_ENTRIES_MAX {
            return Err(wrong("it names too many images"));
        }
        let called = |saved: &&Saved| saved.repo_tags.iter().flatten().any(|tag| same(tag, reference));
        let saved = list.iter().find(called).or(match list.as_slice() {
            [only] if only.repo_tags.as_ref().is_none_or(Vec::is_empty) => Some(only),
            _ => None,
        });
        let saved = saved.ok_or_else(|| Reason::Missing(path.display().to_string()))?;
        let missing = || wrong("it names files that the archive does not have");
        let config_content = self
            .find(&saved.config)?
            .ok_or_else(missing)?
            .read(CONFIG_BYTES_MAX, "read the image's configuration")?;
        let found = Digest::of(&config_content);
        // The file is called by its digest, with a suffix or in a folder.
        let named = saved.config.rsplit('/').next().unwrap_or_default().trim_end_matches(".json");
        if let Ok(expected) = format!("sha256:{named}").parse::<Digest>()
            && expected != found
        {
            return Err(Reason::Digest { what: "the image's configuration", expected, found });
        }
        if reference.digest().is_some_and(|expected| expected != found) {
            return Err(Reason::Missing(path.display().to_string()));
        }
        let config = config::parse(&config_content)?;
        if saved.layers.len() != config.diff_ids.len() || saved.layers.len() > LAYERS_MAX {
            return Err(wrong("it names other layers than the image's configuration"));
        }
        let mut layers = Vec::with_capacity(saved.layers.len());
        for (name, diff_id) in saved.layers.iter().zip(&config.diff_ids) {
            let range = self.find(name)?.ok_or_else(missing)?;
            layers.push(LayerPlan {
                diff_id: *diff_id,
                blob: None,
                packed_bytes: range.bytes(),
                packing: None,
                range: Some(range),
            });
        }
        Ok(Some(Plan { digest: found, id: found, config_content, config, layers }))
    }
}

/// Whether a text names the same image, with or without registry and tag.
fn same(text: &str, reference: &Reference) -> bool {
    text.parse::<Reference>().is_ok_and(|other| {
        other.in_registry(HUB) == reference.in_registry(HUB) && other.tag() == reference.tag()
    })
}

/// Where a link leads, as a name of the archive.
fn beside(name: &str, text: &str, kind: tar::EntryType) -> String {
    let mut parts: Vec<&str> = match kind {
        tar::EntryType::Symlink => name.split('/').collect(),
        _ => Vec::new(),
    };
    parts.pop();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The image archive that an operator's folder of archives has for a name: `name:tag.tar` or `name.tar`, as Mesos
/// looks for them, or a layout folder called so.
pub(crate) fn in_folder(folder: &Path, reference: &Reference) -> PathBuf {
    let mut base = reference.repository().to_owned();
    if let Some(registry) = reference.registry() {
        base = format!("{registry}/{base}");
    }
    let tagged = format!("{base}:{}", reference.tag());
    let candidates = [format!("{tagged}.tar"), format!("{base}.tar"), tagged, base];
    let found = candidates.iter().map(|name| folder.join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| folder.join(&candidates[0]))
}

/// Bounds what the headers of an archive may take.
struct Headers {
    file: File,
    left: Cell<u64>,
}

impl Read for Headers {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        let left = self.left.get().checked_sub(count as u64);
        self.left.set(
            left.ok_or_else(|| io::Error::new(io::ErrorKind::FileTooLarge, "its headers are too long"))?,
        );
        Ok(count)
    }
}

impl Seek for Headers {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}
