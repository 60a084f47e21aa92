//! On which disks the volumes of a new resident instance come to lie (rule 165).

use mezzo_mesos::v1::resource::disk_info::{Source, source::Type};
use mezzo_resources::{Resource, Resources, Scalar, Value};
use mezzo_services_model::{Operator, PersistentKind, PersistentVolume, RunSpec, VolumeSource};

use super::{mismatch::Lack, placed::is_pattern};

/// A disk that becomes a volume.
#[derive(Clone, Debug)]
pub struct Disk {
    /// Where it appears in the container.
    pub container_path: String,
    /// The part of the offer, unreserved.
    pub resource: Resource,
}

/// The persistent volumes of a definition, with where they appear. A volume of a pod appears under its name, from where
/// containers mount it.
pub(crate) fn wanted(run_spec: &RunSpec) -> Vec<(&str, &PersistentVolume)> {
    fn persistent<'a>(path: &'a str, source: &'a VolumeSource) -> Option<(&'a str, &'a PersistentVolume)> {
        match source {
            VolumeSource::Persistent(volume) => Some((path, volume)),
            _ => None,
        }
    }
    match run_spec {
        RunSpec::App(app) => app
            .container
            .iter()
            .flat_map(|container| &container.volumes)
            .filter_map(|volume| persistent(&volume.container_path, &volume.source))
            .collect(),
        RunSpec::Pod(pod) => {
            pod.volumes.iter().filter_map(|volume| persistent(&volume.name, &volume.source)).collect()
        }
    }
}

fn mebibytes(size: u64) -> Scalar {
    Scalar::from_thousandths(i64::try_from(size).unwrap_or(i64::MAX / 1000).saturating_mul(1000))
}

/// Takes a disk for each volume out of `left`; what does not fit goes to `lacks`. Only unreserved resources are used
/// (rule 157).
pub(super) fn take(left: &mut Resources, run_spec: &RunSpec, lacks: &mut Vec<Lack>) -> Vec<Disk> {
    let mut disks = Vec::new();
    for (path, volume) in wanted(run_spec) {
        let size = mebibytes(volume.size);
        match find(left, volume, size) {
            Some(resource) => {
                left.subtract_one(&resource);
                disks.push(Disk { container_path: path.into(), resource });
            }
            None => lacks.push(Lack::Disk {
                path: path.into(),
                kind: match volume.kind {
                    PersistentKind::Root => "root",
                    PersistentKind::Path => "path",
                    PersistentKind::Mount => "mount",
                },
                wanted: volume.size,
            }),
        }
    }
    disks
}

fn find(left: &Resources, volume: &PersistentVolume, size: Scalar) -> Option<Resource> {
    let fitting = left.iter().filter_map(|resource| {
        let amount = resource.as_scalar()?;
        let plain = resource.name().as_str() == "disk"
            && resource.is_unreserved()
            && !resource.is_persistent_volume()
            && !resource.is_revocable()
            && !resource.is_shared();
        (plain && amount >= size && accepts(volume, resource.disk_source())).then_some((amount, resource))
    });
    let cut = |(_, resource): (Scalar, &Resource)| resource.clone().with_value(Value::Scalar(size));
    match volume.kind {
        PersistentKind::Root => fitting.into_iter().next().map(cut),
        PersistentKind::Path => fitting.max_by_key(|(amount, _)| *amount).map(cut),
        PersistentKind::Mount => {
            let most = volume.max_size.map(mebibytes);
            let fitting = fitting.filter(|(amount, _)| most.is_none_or(|most| *amount <= most));
            fitting.min_by_key(|(amount, _)| *amount).map(|(_, resource)| resource.clone())
        }
    }
}

/// Whether a disk is of the kind, profile and path that a volume asks for.
fn accepts(volume: &PersistentVolume, source: Option<&Source>) -> bool {
    let (kind, path) = match source {
        None => (PersistentKind::Root, None),
        Some(source) => match source.r#type() {
            Type::Path => (PersistentKind::Path, source.path.as_ref().and_then(|path| path.root.as_deref())),
            Type::Mount => {
                (PersistentKind::Mount, source.mount.as_ref().and_then(|mount| mount.root.as_deref()))
            }
            Type::Unknown | Type::Block | Type::Raw => return false,
        },
    };
    let profile = source.and_then(|source| source.profile.as_deref());
    kind == volume.kind
        && (volume.profile_name.is_none() || volume.profile_name.as_deref() == profile)
        && volume.constraints.iter().all(|constraint| {
            let wanted = constraint.value.as_deref().unwrap_or("");
            match (constraint.operator, path) {
                (Operator::Like, Some(path)) => super::placed::matches(wanted, path),
                (Operator::Unlike, Some(path)) => is_pattern(wanted) && !super::placed::matches(wanted, path),
                (Operator::Unlike, None) => true,
                _ => false,
            }
        })
}
