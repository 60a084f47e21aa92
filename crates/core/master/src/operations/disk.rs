//! CREATE_DISK and DESTROY_DISK: disks of resource providers.

use mezzo_mesos::v1::resource::disk_info::source::Type as SourceType;
use mezzo_resources::{Conversion, Resource, Resources};

/// Rule 199. What comes of it only the provider knows.
pub(super) fn create(
    source: &Resource,
    target: SourceType,
    target_profile: Option<&str>,
) -> Result<Conversion, String> {
    if source.provider_id().is_none() {
        return Err("'source' is not managed by a resource provider".into());
    }
    let Some(disk) = source.disk_source().filter(|disk| disk.r#type() == SourceType::Raw) else {
        return Err("'source' is not a RAW disk resource".into());
    };
    if !matches!(target, SourceType::Mount | SourceType::Block) {
        return Err("'target_type' is neither MOUNT nor BLOCK".into());
    }
    match (&disk.profile, target_profile) {
        (Some(_), Some(_)) => Err("'target_profile' must not be set when 'source' has a profile".into()),
        (None, None) => Err("'target_profile' must be set when 'source' has no profile".into()),
        _ => Ok(Conversion { consumed: source.clone().into(), converted: Resources::default() }),
    }
}

/// Rule 200.
pub(super) fn destroy(source: &Resource) -> Result<Conversion, String> {
    if source.provider_id().is_none() {
        return Err("'source' is not managed by a resource provider".into());
    }
    let kind = source.disk_source().map(|disk| disk.r#type());
    if !matches!(kind, Some(SourceType::Mount | SourceType::Block | SourceType::Raw)) {
        return Err("'source' is neither a MOUNT, BLOCK or RAW disk resource".into());
    }
    if source.disk_source().is_none_or(|disk| disk.id.is_none()) {
        return Err("'source' is a disk without id, which nothing has created".into());
    }
    if source.is_persistent_volume() {
        return Err("A disk with a persistent volume cannot be destroyed: destroy the volume first".into());
    }
    Ok(Conversion { consumed: source.clone().into(), converted: Resources::default() })
}
