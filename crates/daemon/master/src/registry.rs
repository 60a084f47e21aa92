//! Records of the core as changes of the store.

use mezzo_master::registry;
use mezzo_protocol::records::RegistryRecord;
use mezzo_store::{Change, Registry, RegistryError};
use prost::Message;

/// The change that makes a record durable; `None` for one of an unknown kind.
pub(crate) fn change(record: &RegistryRecord) -> Option<Change> {
    let bytes = (!registry::forgets(record)).then(|| record.encode_to_vec());
    Some((registry::key(record)?, bytes))
}

/// Why the registry cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// The store failed.
    #[error("load registry")]
    Store(#[from] RegistryError),
    /// A record is not what it should be.
    #[error("read record '{key}' of the registry")]
    Record {
        /// Of the record.
        key: String,
        /// The reason.
        source: prost::DecodeError,
    },
}

/// All records, and the bytes they take.
pub(crate) fn load(store: &mut dyn Registry) -> Result<Vec<RegistryRecord>, LoadError> {
    let records = store.load()?.into_iter();
    let decode = |(key, bytes): (String, Vec<u8>)| {
        RegistryRecord::decode(&bytes[..]).map_err(|source| LoadError::Record { key, source })
    };
    records.map(decode).collect()
}
