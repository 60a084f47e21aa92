//! Newest record by key.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use thiserror::Error;

/// A key and its record, or that it has none any more.
pub type Change = (String, Option<Vec<u8>>);

/// Durable records by key.
pub trait Registry: Send {
    /// Everything kept, by key.
    fn load(&mut self) -> Result<BTreeMap<String, Vec<u8>>, RegistryError>;

    /// Makes all changes durable, in order and all or nothing, before it returns.
    fn apply(&mut self, changes: &[Change]) -> Result<(), RegistryError>;
}

/// Why the registry could not be read or written.
#[derive(Debug, Error)]
pub enum RegistryError {
    /// The file cannot be opened, or another process has it open.
    #[error("open registry {}", path.display())]
    Open {
        /// Where it is.
        path: PathBuf,
        /// The reason.
        source: Box<redb::Error>,
    },
    /// Reading failed.
    #[error("read registry")]
    Read(#[source] Box<redb::Error>),
    /// Writing failed; nothing of the changes can be relied on.
    #[error("write registry")]
    Write(#[source] Box<redb::Error>),
}

const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("records");

/// Bytes of the file held in memory: the registry is read once and written a little at a time.
const CACHE_SIZE: usize = 256 << 10;

/// A registry in one file.
pub struct EmbeddedRegistry {
    database: Database,
}

impl EmbeddedRegistry {
    /// Opens the file, or creates it.
    pub fn open(path: &Path) -> Result<Self, RegistryError> {
        let open =
            |error: redb::Error| RegistryError::Open { path: path.to_owned(), source: Box::new(error) };
        let database = Database::builder()
            .set_cache_size(CACHE_SIZE)
            .create(path)
            .map_err(|error| open(error.into()))?;
        Ok(Self { database })
    }

    fn read(&self) -> Result<BTreeMap<String, Vec<u8>>, redb::Error> {
        let transaction = self.database.begin_read()?;
        let table = match transaction.open_table(RECORDS) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(BTreeMap::new()),
            Err(error) => return Err(error.into()),
        };
        let mut records = BTreeMap::new();
        for entry in table.iter()? {
            let (key, value) = entry?;
            records.insert(key.value().to_owned(), value.value().to_owned());
        }
        Ok(records)
    }

    fn write(&self, changes: &[Change]) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(RECORDS)?;
            for (key, record) in changes {
                match record {
                    Some(record) => table.insert(key.as_str(), record.as_slice())?,
                    None => table.remove(key.as_str())?,
                };
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

impl Registry for EmbeddedRegistry {
    fn load(&mut self) -> Result<BTreeMap<String, Vec<u8>>, RegistryError> {
        self.read().map_err(|error| RegistryError::Read(Box::new(error)))
    }

    fn apply(&mut self, changes: &[Change]) -> Result<(), RegistryError> {
        self.write(changes).map_err(|error| RegistryError::Write(Box::new(error)))
    }
}

/// A registry that a restart forgets (rule 498).
#[derive(Debug, Default)]
pub struct MemoryRegistry {
    records: BTreeMap<String, Vec<u8>>,
}

impl MemoryRegistry {
    /// Empty.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Registry for MemoryRegistry {
    fn load(&mut self) -> Result<BTreeMap<String, Vec<u8>>, RegistryError> {
        Ok(self.records.clone())
    }

    fn apply(&mut self, changes: &[Change]) -> Result<(), RegistryError> {
        for (key, record) in changes {
            match record {
                Some(record) => self.records.insert(key.clone(), record.clone()),
                None => self.records.remove(key),
            };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(key: &str, record: Option<&str>) -> Change {
        (key.to_owned(), record.map(|r| r.as_bytes().to_owned()))
    }

    #[test]
    fn rule_492_changes_are_written_in_batches() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("registry.redb");
        let mut registry = EmbeddedRegistry::open(&path).unwrap();
        assert!(registry.load().unwrap().is_empty());
        registry.apply(&[change("a", Some("1")), change("b", Some("2"))]).unwrap();
        registry.apply(&[change("a", None), change("b", Some("3")), change("c", None)]).unwrap();
        assert!(EmbeddedRegistry::open(&path).is_err(), "one process at a time");
        drop(registry);
        let records = EmbeddedRegistry::open(&path).unwrap().load().unwrap();
        assert_eq!(records, BTreeMap::from([("b".to_owned(), b"3".to_vec())]));
    }

    #[test]
    fn rule_498_an_in_memory_registry_starts_empty() {
        let mut registry = MemoryRegistry::new();
        registry.apply(&[change("a", Some("1")), change("b", Some("2")), change("a", None)]).unwrap();
        assert_eq!(registry.load().unwrap().len(), 1);
        assert!(MemoryRegistry::new().load().unwrap().is_empty());
    }

    #[test]
    fn garbage_in_place_of_the_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("registry.redb");
        std::fs::write(&path, b"this is not a registry at all").unwrap();
        assert!(matches!(EmbeddedRegistry::open(&path), Err(RegistryError::Open { .. })));
    }
}
