//! volume/host_path, volume/sandbox_path (rules 366 and 367) and volume/secret.

use std::path::{Component, Path, PathBuf};

use mezzo_mesos::v1::{
    Secret, Volume,
    volume::{Mode, source},
};

use super::{
    Isolation,
    confine::{self, Circumstances, ImageLayers},
    secrets,
};
use crate::confinement::{Mount, Source};

pub(super) const HOST_PATH: &str = "volume/host_path";
pub(super) const IMAGE: &str = "volume/image";
pub(super) const SANDBOX_PATH: &str = "volume/sandbox_path";

/// What volumes are allowed to be.
#[derive(Clone, Debug, Default)]
pub(super) struct Volumes {
    pub(super) host_paths: bool,
    pub(super) sandbox_paths: bool,
    pub(super) secrets: bool,
    pub(super) images: bool,
    /// Folders below which missing host paths are made.
    pub(super) force_creation: Vec<PathBuf>,
}

impl Volumes {
    /// What the isolators with these names let volumes be: `filesystem/linux` brings those of the host, of the
    /// sandbox and of images (rule 350).
    pub(super) fn by_name(has: impl Fn(&str) -> bool, isolation: &Isolation) -> Self {
        let filesystem = has(confine::FILESYSTEM);
        Self {
            host_paths: filesystem || has(HOST_PATH),
            sandbox_paths: filesystem || has(SANDBOX_PATH),
            secrets: has(secrets::VOLUME),
            images: filesystem || has(IMAGE),
            force_creation: isolation.host_path_volume_force_creation.clone(),
        }
    }

    /// What a volume mounts; `None` for one that belongs to an isolator that is not there, as in Mesos.
    ///
    /// `images` are those of the volumes that come from images, in their order.
    pub(super) fn mount<'i>(
        &self,
        volume: &Volume,
        circumstances: &Circumstances<'_>,
        images: &mut impl Iterator<Item = &'i ImageLayers>,
    ) -> Result<Option<Mount>, String> {
        let target = PathBuf::from(&volume.container_path);
        if !is_clean(&target) {
            return Err(format!("Path '{}' of a volume leads upwards", volume.container_path));
        }
        let read_only = volume.mode() == Mode::Ro;
        let Some(source) = self.source(volume, circumstances, images)? else { return Ok(None) };
        Ok(Some(Mount { source, target, read_only }))
    }

    fn source<'i>(
        &self,
        volume: &Volume,
        circumstances: &Circumstances<'_>,
        images: &mut impl Iterator<Item = &'i ImageLayers>,
    ) -> Result<Option<Source>, String> {
        if volume.image.is_some() {
            if !self.images {
                return Err(format!("Volumes from images need the isolator '{IMAGE}'"));
            }
            let image = images.next();
            let (layers, back_end) = image.ok_or("The image of a volume is not there")?;
            return Ok(Some(Source::Image { layers: layers.clone(), back_end: *back_end }));
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
            source::Type::DockerVolume => {
                Err("Volumes of Docker's volume drivers are not supported: use a host path or a persistent volume".to_owned())
            },
            source::Type::Secret => {
                self.secret(source.secret.as_ref(), &volume.container_path, circumstances)
            }
            source::Type::CsiVolume => {
                Err("CSI volumes are not supported: use a host path or a persistent volume".to_owned())
            },
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
        Volumes {
            host_paths: true,
            sandbox_paths: true,
            secrets: true,
            images: true,
            force_creation: Vec::new(),
        }
    }

    fn circumstances() -> Circumstances<'static> {
        Circumstances {
            sandbox: Path::new("/sandbox"),
            parent_sandbox: None,
            owner: Some((1, 2)),
            persistent: &[],
            images: &[],
        }
    }

    fn mounted(
        volumes: &Volumes,
        volume: &Volume,
        circumstances: &Circumstances<'_>,
    ) -> Result<Option<Mount>, String> {
        volumes.mount(volume, circumstances, &mut circumstances.images.iter())
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
        assert!(mounted(&volumes, &volume, &circumstances()).unwrap_err().ends_with("does not exist"));
        volumes.force_creation.push(folder.path().to_path_buf());
        let upwards = host(&format!("{}/a/../b-not-there", folder.path().display()), "/v");
        assert!(mounted(&volumes, &upwards, &circumstances()).is_err());
        assert!(mounted(&volumes, &volume, &circumstances()).unwrap().is_some());
        assert!(missing.is_dir());
        volumes.host_paths = false;
        assert!(mounted(&volumes, &volume, &circumstances()).unwrap().is_none());
    }

    #[test]
    fn rule_367_relative_host_paths_are_in_the_sandbox() {
        let mount = mounted(&volumes(), &host("tmp", "/tmp"), &circumstances()).unwrap().expect("a mount");
        let Source::Sandbox { sandbox, path, owner } = mount.source else { panic!("in the sandbox") };
        assert_eq!((sandbox.as_path(), path.as_path()), (Path::new("/sandbox"), Path::new("tmp")));
        assert_eq!(owner, Some((1, 2)));
        assert!(
            mounted(&volumes(), &host("tmp", "tmp"), &circumstances()).unwrap_err().contains("not absolute")
        );
        for (path, inside) in [("../x", "/tmp"), ("a/../../x", "/tmp"), ("tmp", "/../etc")] {
            assert!(mounted(&volumes(), &host(path, inside), &circumstances()).is_err(), "{path} {inside}");
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
        assert!(mounted(&volumes(), &parent, &circumstances()).unwrap_err().contains("Only a child"));
        let child = Circumstances { parent_sandbox: Some(Path::new("/parent")), ..circumstances() };
        let mount = mounted(&volumes(), &parent, &child).unwrap().expect("a mount");
        assert!(matches!(mount.source, Source::Sandbox { sandbox, .. } if sandbox == Path::new("/parent")));
    }

    #[test]
    fn images_are_given_in_their_order_and_other_kinds_are_refused_by_name() {
        let from_image = || Volume {
            container_path: "/v".to_owned(),
            image: Some(mezzo_mesos::v1::Image::default()),
            ..Volume::default()
        };
        let images = [(vec![PathBuf::from("/l")], crate::BackEnd::Any)];
        let circumstances = Circumstances { images: &images, ..circumstances() };
        let found = mounted(&volumes(), &from_image(), &circumstances).unwrap().expect("a mount");
        assert!(matches!(found.source, Source::Image { layers, .. } if layers == [PathBuf::from("/l")]));
        let without = Volumes { images: false, ..volumes() };
        assert!(mounted(&without, &from_image(), &circumstances).unwrap_err().contains("volume/image"));
        for (kind, name) in [(source::Type::DockerVolume, "Docker"), (source::Type::CsiVolume, "CSI")] {
            let source = mezzo_mesos::v1::volume::Source { r#type: Some(kind as i32), ..Default::default() };
            let volume =
                Volume { container_path: "/v".to_owned(), source: Some(source), ..Volume::default() };
            let why = mounted(&volumes(), &volume, &circumstances).unwrap_err();
            assert!(why.contains(name) && why.contains("not supported"), "{why}");
        }
    }
}
