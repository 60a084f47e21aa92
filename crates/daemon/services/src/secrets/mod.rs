//! Secrets at rest and on their way: sealed under a key of the daemon's own, opened when a call to the master leaves.

mod resolve;

use std::{
    fs::{self, File, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use mezzo_services_model::{SealedSecret, SecretName};
use tracing::warn;

/// The longest value: a variable of a program can have 128 KiB with its name, and a chain of certificates has less.
pub(crate) const VALUE_BYTES_MAX: usize = 64 << 10;
/// In the work directory, unless a flag names another file.
const KEY_FILE: &str = "secrets.key";
/// Of the key, which is all that the file holds.
const KEY_BYTES: usize = 32;
/// Whoever else could read the key could read all secrets.
const KEY_MODE: u32 = 0o600;

/// A sealed value cannot be opened: it was sealed with another key, or under another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it was sealed with another key")]
pub(crate) struct NotOurs;

/// The key of the daemon.
pub(crate) struct Key(RandomizedNonceKey);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Key {
    /// Reads the key; makes one where there is none and nothing is sealed yet.
    pub(crate) fn load(file: Option<&Path>, work_dir: &Path, sealed: usize) -> anyhow::Result<Self> {
        let path: PathBuf = file.map_or_else(|| work_dir.join(KEY_FILE), Path::to_owned);
        let bytes = match read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound && sealed == 0 => {
                make(&path).with_context(|| format!("make the key of secrets {}", path.display()))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => bail!(
                "{sealed} secrets are kept, and the key that opens them is not at {0}. Bring it back; when it is lost, \
                 a new key lets the services start, and each secret has to be set again: \
                 (umask 077; head -c {KEY_BYTES} /dev/urandom > {0})",
                path.display()
            ),
            Err(error) => {
                return Err(error).with_context(|| format!("read the key of secrets {}", path.display()));
            }
        };
        let key = RandomizedNonceKey::new(&AES_256_GCM, &bytes);
        Ok(Self(key.ok().with_context(|| format!("{} is no key: it has {KEY_BYTES} bytes", path.display()))?))
    }

    /// A value under a name, which the bytes are bound to.
    pub(crate) fn seal(&self, name: &SecretName, mut value: Vec<u8>) -> Result<Vec<u8>, NotOurs> {
        let nonce = self.0.seal_in_place_append_tag(Aad::from(name.as_str()), &mut value);
        let mut sealed = nonce.map_err(|_| NotOurs)?.as_ref().to_vec();
        sealed.append(&mut value);
        Ok(sealed)
    }

    /// The value.
    pub(crate) fn open(&self, secret: &SealedSecret) -> Result<Vec<u8>, NotOurs> {
        let (nonce, sealed) = secret.sealed.split_at_checked(NONCE_LEN).ok_or(NotOurs)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| NotOurs)?;
        let mut value = sealed.to_vec();
        let opened = self.0.open_in_place(nonce, Aad::from(secret.name.as_str()), &mut value);
        let length = opened.map_err(|_| NotOurs)?.len();
        value.truncate(length);
        Ok(value)
    }

    /// Leaves out what this key does not open: it counts as not there until it is set again, or the key is back.
    pub(crate) fn retain_ours(&self, secrets: &mut Vec<SealedSecret>) {
        secrets.retain(|secret| {
            let is_ours = self.open(secret).is_ok();
            if !is_ours {
                warn!(secret = %secret.name, "a secret was sealed with another key, and counts as missing");
            }
            is_ours
        });
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode();
    if mode & 0o077 != 0 {
        let why = format!("others may read it (mode {:03o}); chmod 600 makes it ours", mode & 0o777);
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    let mut bytes = Vec::new();
    // One byte more tells a file that is too long.
    file.take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Under another name first, so that a crash leaves either the whole key or none.
fn make(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = vec![0; KEY_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).ok().context("read random numbers")?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let fresh = path.with_extension("new");
    let mut file = File::options().create(true).write(true).truncate(true).mode(KEY_MODE).open(&fresh)?;
    file.set_permissions(Permissions::from_mode(KEY_MODE))?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    File::open(folder)?.sync_all()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mezzo_time::Timestamp;

    use super::*;

    fn name(text: &str) -> SecretName {
        SecretName::parse(text).unwrap()
    }

    fn sealed(key: &Key, under: &str) -> SealedSecret {
        let sealed = key.seal(&name(under), b"hush".to_vec()).unwrap().into();
        SealedSecret { name: name(under), sealed, changed_at: Timestamp::from_nanos(0) }
    }

    #[test]
    fn a_value_comes_back_with_its_key_and_under_its_name_alone() {
        let folder = tempfile::tempdir().unwrap();
        let key = Key::load(None, folder.path(), 0).unwrap();
        let secret = sealed(&key, "shop/db");
        assert!(!secret.sealed.windows(4).any(|part| part == b"hush"));
        assert_eq!(key.open(&secret).unwrap(), b"hush");
        assert_ne!(secret.sealed, sealed(&key, "shop/db").sealed, "no two are the same");
        assert_eq!(key.open(&SealedSecret { name: name("shop/other"), ..secret.clone() }), Err(NotOurs));
        assert_eq!(
            key.open(&SealedSecret { sealed: Arc::from(&secret.sealed[..5]), ..secret.clone() }),
            Err(NotOurs)
        );
        // The same key after a restart.
        let again = Key::load(None, folder.path(), 1).unwrap();
        assert_eq!(again.open(&secret).unwrap(), b"hush");
        let elsewhere = tempfile::tempdir().unwrap();
        let other = Key::load(Some(&elsewhere.path().join("key")), folder.path(), 0).unwrap();
        assert_eq!(other.open(&secret), Err(NotOurs));
        let mut all = vec![secret, sealed(&other, "theirs")];
        again.retain_ours(&mut all);
        assert_eq!(all.len(), 1);
    }

    #[test]
    fn a_key_that_is_lost_wrong_or_open_to_others_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let load = |sealed| Key::load(None, folder.path(), sealed).map_err(|error| format!("{error:#}"));
        let lost = load(3).unwrap_err();
        assert!(lost.contains("3 secrets are kept") && lost.contains("head -c 32"), "{lost}");
        load(0).unwrap();
        let path = folder.path().join(KEY_FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, KEY_MODE);
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let open = load(0).unwrap_err();
        assert!(open.contains("others may read it (mode 640)"), "{open}");
        fs::set_permissions(&path, Permissions::from_mode(KEY_MODE)).unwrap();
        fs::write(&path, b"short").unwrap();
        assert!(load(0).unwrap_err().contains("is no key"));
    }
}
