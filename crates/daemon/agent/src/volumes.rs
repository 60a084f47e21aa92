//! The folders of persistent volumes (rules 402 and 403).

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use mezzo_mesos::v1::{self, resource::disk_info::source::Type};
use thiserror::Error;

/// A volume's folder could not be made or deleted.
#[derive(Debug, Error)]
pub(crate) enum VolumeError {
    /// The resource is no persistent volume.
    #[error("resource has no persistence id and role")]
    NotAVolume,
    /// A role or id that would lead out of the folder of volumes.
    #[error("'{0}' cannot be the name of a folder")]
    Name(String),
    /// The file system said no.
    #[error("change {path}")]
    Io {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Makes or deletes the folder of a volume. A mounted disk is emptied and kept (rule 403).
pub(crate) fn apply(work_dir: &Path, create: bool, volume: &v1::Resource) -> Result<(), VolumeError> {
    let path = folder(work_dir, volume)?;
    let failed = |source| VolumeError::Io { path: path.clone(), source };
    if create {
        return fs::create_dir_all(&path).map_err(failed);
    }
    let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    if source_type(volume) == Some(Type::Mount) {
        for entry in fs::read_dir(&path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let done = match entry.file_type() {
                Ok(kind) if kind.is_dir() => fs::remove_dir_all(entry.path()),
                _ => fs::remove_file(entry.path()),
            };
            done.or_else(|error| if gone(&error) { Ok(()) } else { Err(error) }).map_err(failed)?;
        }
        return Ok(());
    }
    fs::remove_dir_all(&path).or_else(|error| if gone(&error) { Ok(()) } else { Err(error) }).map_err(failed)
}

/// Where a volume lies on the host.
pub(crate) fn folder(work_dir: &Path, volume: &v1::Resource) -> Result<PathBuf, VolumeError> {
    let disk = volume.disk.as_ref().ok_or(VolumeError::NotAVolume)?;
    let id = &disk.persistence.as_ref().ok_or(VolumeError::NotAVolume)?.id;
    let role = volume.reservations.last().and_then(|reservation| reservation.role.as_deref());
    let role = role.ok_or(VolumeError::NotAVolume)?;
    let source = disk.source.as_ref();
    let root = match source_type(volume) {
        Some(Type::Mount) => {
            let mount = source.and_then(|source| source.mount.as_ref()?.root.as_ref());
            return Ok(below(work_dir, mount.ok_or(VolumeError::NotAVolume)?));
        }
        Some(Type::Path) => {
            let path = source.and_then(|source| source.path.as_ref()?.root.as_ref());
            below(work_dir, path.ok_or(VolumeError::NotAVolume)?)
        }
        _ => work_dir.to_path_buf(),
    };
    Ok(root.join("volumes/roles").join(name(&role.replace('/', " "))?).join(name(id)?))
}

/// The folders of all volumes on the disk of the work directory.
pub(crate) fn all(work_dir: &Path) -> Vec<PathBuf> {
    let folders = |path: &Path| -> Vec<PathBuf> {
        fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    folders(&work_dir.join("volumes/roles")).iter().flat_map(|role| folders(role)).collect()
}

/// A root that is not absolute is meant below the work directory.
fn below(work_dir: &Path, root: &str) -> PathBuf {
    work_dir.join(root)
}

fn name(text: &str) -> Result<&str, VolumeError> {
    if text.is_empty() || text == "." || text == ".." || text.contains(['/', '\0']) {
        return Err(VolumeError::Name(text.into()));
    }
    Ok(text)
}

fn source_type(volume: &v1::Resource) -> Option<Type> {
    let source = volume.disk.as_ref()?.source.as_ref()?;
    Type::try_from(source.r#type).ok()
}

#[cfg(test)]
mod tests {
    use mezzo_mesos::v1::resource::{
        DiskInfo, ReservationInfo,
        disk_info::{Persistence, Source, source},
    };

    use super::*;

    fn volume(role: &str, id: &str, source: Option<Source>) -> v1::Resource {
        v1::Resource {
            name: "disk".into(),
            reservations: vec![ReservationInfo { role: Some(role.into()), ..Default::default() }],
            disk: Some(Box::new(DiskInfo {
                persistence: Some(Persistence { id: id.into(), principal: None }),
                source,
                ..Default::default()
            })),
            ..Default::default()
        }
    }

    #[test]
    fn rule_402_slashes_of_a_role_become_spaces() {
        let path = folder(Path::new("/w"), &volume("eng/web", "v1", None)).expect("path");
        assert_eq!(path, Path::new("/w/volumes/roles/eng web/v1"));
        assert!(folder(Path::new("/w"), &volume("eng", "../../etc", None)).is_err());
        assert!(folder(Path::new("/w"), &volume("..", "v", None)).is_err());
    }

    #[test]
    fn rule_403_path_and_mount_disks() {
        let root = tempfile::tempdir().expect("folder");
        let text = root.path().to_str().expect("text").to_owned();
        let path = Source {
            r#type: Type::Path as i32,
            path: Some(source::Path { root: Some(text.clone()) }),
            ..Default::default()
        };
        let on_path = volume("r", "v", Some(path));
        apply(Path::new("/w"), true, &on_path).expect("made");
        assert!(root.path().join("volumes/roles/r/v").is_dir());
        apply(Path::new("/w"), false, &on_path).expect("deleted");
        assert!(!root.path().join("volumes/roles/r/v").exists());
        let mount = Source {
            r#type: Type::Mount as i32,
            mount: Some(source::Mount { root: Some(text) }),
            ..Default::default()
        };
        apply(Path::new("/w"), false, &volume("r", "v", Some(mount))).expect("emptied");
        assert_eq!(fs::read_dir(root.path()).expect("kept").count(), 0);
    }
}
