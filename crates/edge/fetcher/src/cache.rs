//! Files that several containers need, fetched once (rules 388 to 391).

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use crate::{Reason, download};

/// Names of cached files are cut to this many bytes, for people who look into the directory.
const NAME_BYTES_MAX: usize = 20;

pub(crate) struct Cache {
    directory: PathBuf,
    bytes_max: u64,
    state: Mutex<State>,
    /// Told when a file is complete, was given up, or is not used any more.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// By user and URI.
    entries: BTreeMap<(String, String), Entry>,
    bytes_used: u64,
    next_file: u64,
    clock: u64,
}

enum Entry {
    /// Somebody fetches it.
    Filling,
    Ready {
        path: PathBuf,
        size: u64,
        leases: u32,
        last_used: u64,
    },
}

/// What a request for a cached file gets.
pub(crate) enum Claim<'c> {
    Ready(Lease<'c>),
    /// The caller is the one to fetch it; others wait for it (rule 391).
    Fill(Slot<'c>),
}

/// Keeps a file from being evicted.
pub(crate) struct Lease<'c> {
    cache: &'c Cache,
    key: (String, String),
    path: PathBuf,
}

/// The right and duty to fetch a file; dropping it lets another try.
pub(crate) struct Slot<'c> {
    cache: &'c Cache,
    key: (String, String),
    filled: bool,
}

impl Cache {
    /// Deletes what an earlier agent had cached (rule 389).
    pub(crate) fn start(directory: &Path, bytes_max: u64) -> io::Result<Self> {
        match fs::remove_dir_all(directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir_all(directory)?,
        }
        Ok(Self {
            directory: directory.to_path_buf(),
            bytes_max,
            state: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds a file, waiting for whoever is fetching it.
    pub(crate) fn claim(&self, user: &str, uri: &str) -> Claim<'_> {
        let key = (user.to_owned(), uri.to_owned());
        let mut guard = self.state();
        loop {
            let state = &mut *guard;
            match state.entries.get_mut(&key) {
                Some(Entry::Ready { path, leases, last_used, .. }) => {
                    *leases += 1;
                    state.clock += 1;
                    *last_used = state.clock;
                    let path = path.clone();
                    return Claim::Ready(Lease { cache: self, key, path });
                }
                Some(Entry::Filling) => {
                    guard = self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner);
                }
                None => {
                    state.entries.insert(key.clone(), Entry::Filling);
                    return Claim::Fill(Slot { cache: self, key, filled: false });
                }
            }
        }
    }

    /// Takes `size` bytes of the cache, evicting the least recently used files that nobody uses.
    /// False when that is not possible; then nothing was evicted.
    fn reserve(&self, size: u64) -> bool {
        let mut guard = self.state();
        let state = &mut *guard;
        let mut idle: Vec<_> = state
            .entries
            .iter()
            .filter_map(|(key, entry)| match entry {
                Entry::Ready { size, leases: 0, last_used, .. } => Some((*last_used, *size, key.clone())),
                _ => None,
            })
            .collect();
        let evictable: u64 = idle.iter().map(|(_, size, _)| size).sum();
        let fits = |used: u64| used.checked_add(size).is_some_and(|sum| sum <= self.bytes_max);
        if !fits(state.bytes_used - evictable) {
            return false;
        }
        idle.sort_unstable();
        let mut idle = idle.into_iter();
        while !fits(state.bytes_used) {
            let Some((_, _, key)) = idle.next() else { return false };
            if let Some(Entry::Ready { path, size, .. }) = state.entries.remove(&key) {
                let _ = fs::remove_file(path);
                state.bytes_used -= size;
            }
        }
        state.bytes_used += size;
        true
    }
}

impl<'c> Slot<'c> {
    /// Fetches into the cache. `None` when there is no room (rule 390), and nothing was read.
    pub(crate) fn fill(
        mut self,
        content: &mut dyn Read,
        size: u64,
        basename: &str,
    ) -> Result<Option<Lease<'c>>, Reason> {
        let cache = self.cache;
        if !cache.reserve(size) {
            return Ok(None);
        }
        let path = match self.write(content, size, basename) {
            Ok(path) => path,
            Err(reason) => {
                cache.state().bytes_used -= size;
                return Err(reason);
            }
        };
        let mut guard = cache.state();
        let state = &mut *guard;
        state.clock += 1;
        let entry = Entry::Ready { path: path.clone(), size, leases: 1, last_used: state.clock };
        state.entries.insert(self.key.clone(), entry);
        drop(guard);
        self.filled = true;
        cache.changed.notify_all();
        Ok(Some(Lease { cache, key: self.key.clone(), path }))
    }

    fn write(&self, content: &mut dyn Read, size: u64, basename: &str) -> Result<PathBuf, Reason> {
        let failed = |source| Reason::File { what: "write the cache", source };
        let number = {
            let mut state = self.cache.state();
            state.next_file += 1;
            state.next_file
        };
        // User names with a slash exist in no user database that is safe to use; none leads elsewhere.
        let directory = self.cache.directory.join(self.key.0.replace('/', "_"));
        fs::create_dir_all(&directory).map_err(failed)?;
        let path = directory.join(format!("c{number}-{}", short(basename)));
        let written = (|| {
            let mut file = File::create_new(&path).map_err(failed)?;
            // One byte more than promised is enough to see that more comes.
            download::copy(&mut content.take(size.saturating_add(1)), &mut file)?;
            if file.metadata().map_err(failed)?.len() != size {
                return Err(Reason::Transfer("The size is not the one that was announced".to_owned()));
            }
            Ok(())
        })();
        match written {
            Ok(()) => Ok(path),
            Err(reason) => {
                let _ = fs::remove_file(&path);
                Err(reason)
            }
        }
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        if !self.filled {
            self.cache.state().entries.remove(&self.key);
            self.cache.changed.notify_all();
        }
    }
}

impl Lease<'_> {
    pub(crate) fn open(&self) -> Result<File, Reason> {
        File::open(&self.path).map_err(|source| Reason::File { what: "open the cached file", source })
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if let Some(Entry::Ready { leases, .. }) = self.cache.state().entries.get_mut(&self.key) {
            *leases -= 1;
        }
    }
}

/// A long name becomes its first 10 bytes, an underscore and its last 10 (rule 388).
fn short(basename: &str) -> String {
    if basename.len() <= NAME_BYTES_MAX {
        return basename.to_owned();
    }
    let half = NAME_BYTES_MAX / 2;
    // A character that does not fit whole is left out.
    let start = (0..=half).rev().find(|n| basename.is_char_boundary(*n)).unwrap_or(0);
    let end = basename.len() - half;
    let end = (end..=basename.len()).find(|n| basename.is_char_boundary(*n)).unwrap_or(end);
    format!("{}_{}", &basename[..start], &basename[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(cache: &Cache, uri: &str, size: usize) -> bool {
        match cache.claim("user", uri) {
            Claim::Ready(_) => true,
            Claim::Fill(slot) => {
                let content = vec![0u8; size];
                slot.fill(&mut content.as_slice(), size as u64, uri).unwrap().is_some()
            }
        }
    }

    fn has(cache: &Cache, uri: &str) -> bool {
        matches!(cache.claim("user", uri), Claim::Ready(_))
    }

    #[test]
    fn rule_388_names() {
        assert_eq!(short("a.tar"), "a.tar");
        assert_eq!(short("12345678901234567890"), "12345678901234567890");
        assert_eq!(short("123456789012345678901"), "1234567890_2345678901");
        assert_eq!(short("123456789\u{e9}12345\u{e9}123456789"), "123456789_123456789");
    }

    #[test]
    fn rule_390_the_least_recently_used_file_goes_and_used_ones_stay() {
        let directory = tempfile::TempDir::new().unwrap();
        let cache = Cache::start(&directory.path().join("cache"), 100).unwrap();
        assert!(put(&cache, "a", 40) && put(&cache, "b", 40));
        assert!(has(&cache, "a"));
        assert!(put(&cache, "c", 40));
        assert!(has(&cache, "a") && has(&cache, "c") && !has(&cache, "b"));
        let Claim::Ready(_a) = cache.claim("user", "a") else { panic!("a is there") };
        let Claim::Ready(_c) = cache.claim("user", "c") else { panic!("c is there") };
        // Nothing can go: the cache is bypassed, and what is there stays.
        assert!(!put(&cache, "d", 40));
        assert!(!put(&cache, "e", 101));
        assert_eq!(cache.state().bytes_used, 80);
        assert_eq!(fs::read_dir(directory.path().join("cache/user")).unwrap().count(), 2);
    }

    #[test]
    fn a_size_that_was_announced_wrongly_leaves_nothing_behind() {
        let directory = tempfile::TempDir::new().unwrap();
        let cache = Cache::start(&directory.path().join("cache"), 100).unwrap();
        for (content, size) in [(&b"abc"[..], 2), (b"abc", 4)] {
            let Claim::Fill(slot) = cache.claim("user", "a") else { panic!("nothing is there") };
            assert!(slot.fill(&mut { content }, size, "a").is_err());
        }
        assert_eq!(cache.state().bytes_used, 0);
        assert_eq!(fs::read_dir(directory.path().join("cache/user")).unwrap().count(), 0);
    }

    #[test]
    fn rule_391_parallel_requests_fetch_once() {
        let directory = tempfile::TempDir::new().unwrap();
        let cache = Cache::start(&directory.path().join("cache"), 100).unwrap();
        let fills = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| match cache.claim("user", "a") {
                    Claim::Ready(_) => {}
                    Claim::Fill(slot) => {
                        fills.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        std::thread::sleep(std::time::Duration::from_millis(20));
                        slot.fill(&mut &b"abc"[..], 3, "a").unwrap();
                    }
                });
            }
        });
        assert_eq!(fills.into_inner(), 1);
        // Rule 388 and attack A077: another user does not get it.
        assert!(matches!(cache.claim("other", "a"), Claim::Fill(_)));
    }
}
