//! Whose a resource is: reservations that are kept for instances (rule 156).

use mezzo_mesos::v1;
use mezzo_resources::Resource;

/// The label with the framework's id.
pub(crate) const FRAMEWORK: &str = "marathon_framework_id";
/// The label with the instance's id.
pub(crate) const INSTANCE: &str = "marathon_task_id";

fn label<'a>(labels: &'a v1::Labels, key: &str) -> Option<&'a str> {
    labels.labels.iter().find(|label| label.key == key)?.value.as_deref()
}

fn labels(resource: &Resource) -> Option<&v1::Labels> {
    resource.reservations().last()?.labels.as_deref()
}

/// The instance for which a framework reserved a resource.
pub(super) fn keeper<'a>(resource: &'a Resource, framework: &v1::FrameworkId) -> Option<&'a str> {
    let labels = labels(resource)?;
    (label(labels, FRAMEWORK)? == framework.value).then(|| label(labels, INSTANCE)).flatten()
}

/// Whether some framework of this kind keeps it for an instance, so that nobody else takes it.
pub(super) fn is_kept(resource: &Resource) -> bool {
    labels(resource).is_some_and(|labels| label(labels, FRAMEWORK).is_some())
}
