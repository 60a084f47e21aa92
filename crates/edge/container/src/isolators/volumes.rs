//! volume/host_path, volume/sandbox_path (rules 366 and 367) and volume/secret.

use std::path::{Component, Path, PathBuf};

use mezzo_mesos::v1::{
    Secret, Volume,
    volume::{Mode, source},
};

use super::{confine::Circumstances, secrets};
use crate::confinement::{Mount, Source};

pub(super) const HOST_PATH: &str = "volume/host_path";
pub(super) const SANDBOX_PATH: &str = "volume/sandbox_path";

/// What volumes are allowed to be.
#[derive(Clone, Debug, Default)]
pub(super) struct Volumes {
    pub(super) host_paths: bool,
    pub(super) sandbox_paths: bool,
    pub(super) secrets: bool,
    /// Folders below which missing host paths are made.
    pub(super) force_creation: Vec<PathBuf>,
}

impl Volumes {
    /// What a volume mounts; `None` for one that belongs to an isolator that is not there, as in Mesos.
    pub(super) fn mount(
        &self,
        volume: &Volume,
        circumstances: &Circumstances<'_>,
    ) -> Result<Option<Mount>, String> {
        let target = PathBuf::from(&volume.container_path);
        if !is_clean(&target) {
            return Err(format!("Path '{}' of a volume leads upwards", volume.container_path));
        }
        let read_only = volume.mode() == Mode::Ro;
        let Some(source) = self.source(volume, circumstances)? else { return Ok(None) };
        Ok(Some(Mount { source, target, read_only }))
    }

    fn source(&self, volume: &Volume, circumstances: &Circumstances<'_>) -> Result<Option<Source>, String> {
        if volume.image.is_some() {
            return Err("Volumes from images are not supported".to_owned());
        }
        if let Some(path) = &volume.host_path {
            if path.starts_with('/') {
                return self.host(path);
            }
            // A relative path of the host is one in the sandbox (rule 367).
            if !self.sandbox_paths {
                return Ok(None);
            }
            if !volume.container_path.starts_with('/') {
                return Err(format!(
                    "Path '{}' of a volume in the sandbox is not absolute",
                    volume.container_path
                ));
            }
            return below(circumstances.sandbox, path, circumstances.owner).map(Some);
        }
        let Some(source) = &volume.source else { return Err("A volume has no source".to_owned()) };
        match source.r#type() {
            source::Type::HostPath => match &source.host_path {
                Some(host) if host.path.starts_with('/') => self.host(&host.path),
                Some(host) => Err(format!("Host path '{}' is not absolute", host.path)),
                None => Err("A volume has no host path".to_owned()),
            },
            source::Type::SandboxPath => {
                let Some(path) = &source.sandbox_path else {
                    return Err("A volume has no sandbox path".to_owned());
                };
                if !self.sandbox_paths {
                    return Ok(None);
                }
                let sandbox = match path.r#type() {
                    source::sandbox_path::Type::Parent => circumstances
                        .parent_sandbox
                        .ok_or("Only a child container has a parent whose sandbox it can see")?,
                    _ => circumstances.sandbox,
                };
                below(sandbox, &path.path, circumstances.owner).map(Some)
            }
            source::Type::DockerVolume => Err("Docker volumes are not supported".to_owned()),
            source::Type::Secret => {
                self.secret(source.secret.as_ref(), &volume.container_path, circumstances)
            }
            source::Type::CsiVolume => Err("CSI volumes are not supported".to_owned()),
            source::Type::Unknown => Err("A volume has a source of an unknown type".to_owned()),
        }
    }

    fn host(&self, path: &str) -> Result<Option<Source>, String> {
        if !self.host_paths {
            return Ok(None);
        }
        let path = PathBuf::from(path);
        if !path.exists() {
            let allowed = is_clean(&path) && self.force_creation.iter().any(|top| path.starts_with(top));
            if !allowed {
                return Err(format!("Host path '{}' of a volume does not exist", path.display()));
            }
            std::fs::create_dir_all(&path)
                .map_err(|error| format!("Failed to make host path '{}': {error}", path.display()))?;
        }
        Ok(Some(Source::Host(path)))
    }

    /// A file that holds the secret.
    fn secret(
        &self,
        secret: Option<&Secret>,
        target: &str,
        circumstances: &Circumstances<'_>,
    ) -> Result<Option<Source>, String> {
        if !self.secrets {
            return Ok(None);
        }
        let secret = secret.ok_or_else(|| "A volume has no secret".to_owned())?;
        let bytes = secrets::content(secret).map_err(|why| format!("Secret of volume '{target}': {why}"))?;
        Ok(Some(Source::Content { bytes: bytes.to_vec(), owner: circumstances.owner }))
    }
}

fn below(sandbox: &Path, path: &str, owner: Option<(u32, u32)>) -> Result<Source, String> {
    let path = PathBuf::from(path);
    if path.is_absolute() || !is_clean(&path) {
        return Err(format!("Path '{}' of a volume leads out of the sandbox", path.display()));
    }
    Ok(Source::Sandbox { sandbox: sandbox.to_path_buf(), path, owner })
}

/// Whether no part of a path leads upwards.
fn is_clean(path: &Path) -> bool {
    !path.as_os_str().is_empty() && path.components().all(|part| !matches!(part, Component::ParentDir))
}

#[cfg(test)]
mod tests {
    use mezzo_mesos::v1::volume::source::{SandboxPath, sandbox_path};

    use super::*;

    fn volumes() -> Volumes {
        Volumes { host_paths: true, sandbox_paths: true, secrets: true, force_creation: Vec::new() }
    }

    fn circumstances() -> Circumstances<'static> {
        Circumstances {
            sandbox: Path::new("/sandbox"),
            parent_sandbox: None,
            owner: Some((1, 2)),
            persistent: &[],
        }
    }

    fn host(host_path: &str, container_path: &str) -> Volume {
        Volume {
            host_path: Some(host_path.to_owned()),
            container_path: container_path.to_owned(),
            ..Volume::default()
        }
    }

    #[test]
    fn rule_366_a_host_path_exists_or_may_be_made() {
        let folder = tempfile::tempdir().expect("a folder");
        let missing = folder.path().join("a/b");
        let volume = host(missing.to_str().expect("text"), "/v");
        let mut volumes = volumes();
        assert!(volumes.mount(&volume, &circumstances()).unwrap_err().ends_with("does not exist"));
        volumes.force_creation.push(folder.path().to_path_buf());
        let upwards = host(&format!("{}/a/../b-not-there", folder.path().display()), "/v");
        assert!(volumes.mount(&upwards, &circumstances()).is_err());
        assert!(volumes.mount(&volume, &circumstances()).unwrap().is_some());
        assert!(missing.is_dir());
        volumes.host_paths = false;
        assert!(volumes.mount(&volume, &circumstances()).unwrap().is_none());
    }

    #[test]
    fn rule_367_relative_host_paths_are_in_the_sandbox() {
        let mount = volumes().mount(&host("tmp", "/tmp"), &circumstances()).unwrap().expect("a mount");
        let Source::Sandbox { sandbox, path, owner } = mount.source else { panic!("in the sandbox") };
        assert_eq!((sandbox.as_path(), path.as_path()), (Path::new("/sandbox"), Path::new("tmp")));
        assert_eq!(owner, Some((1, 2)));
        assert!(volumes().mount(&host("tmp", "tmp"), &circumstances()).unwrap_err().contains("not absolute"));
        for (path, inside) in [("../x", "/tmp"), ("a/../../x", "/tmp"), ("tmp", "/../etc")] {
            assert!(volumes().mount(&host(path, inside), &circumstances()).is_err(), "{path} {inside}");
        }
        let parent = Volume {
            container_path: "shared".to_owned(),
            source: Some(mezzo_mesos::v1::volume::Source {
                r#type: Some(source::Type::SandboxPath as i32),
                sandbox_path: Some(SandboxPath {
                    r#type: Some(sandbox_path::Type::Parent as i32),
                    path: "data".to_owned(),
                }),
                ..Default::default()
            }),
            ..Volume::default()
        };
        assert!(volumes().mount(&parent, &circumstances()).unwrap_err().contains("Only a child"));
        let child = Circumstances { parent_sandbox: Some(Path::new("/parent")), ..circumstances() };
        let mount = volumes().mount(&parent, &child).unwrap().expect("a mount");
        assert!(matches!(mount.source, Source::Sandbox { sandbox, .. } if sandbox == Path::new("/parent")));
    }
}
