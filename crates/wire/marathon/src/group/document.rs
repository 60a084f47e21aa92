//! The document of a group: what is to stand in it.

use mezzo_time::Timestamp;

use crate::{
    app::document::{AppDocument, Naming, read_document, read_path, read_paths, read_time},
    json::At,
};

/// A group as it was sent; absent is what was not said.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct GroupDocument {
    pub(crate) id: Option<String>,
    pub(crate) apps: Option<Vec<AppDocument>>,
    pub(crate) groups: Option<Vec<GroupDocument>>,
    pub(crate) dependencies: Option<Vec<String>>,
    pub(crate) scale_by: Option<f64>,
    pub(crate) version: Option<Timestamp>,
    pub(crate) enforce_role: Option<bool>,
}

/// Groups in groups are bounded by the nesting that texts of JSON may have.
pub(crate) fn read_group(at: At<'_>) -> Option<GroupDocument> {
    at.object(|o| {
        Some(GroupDocument {
            id: o.read("id", read_path),
            apps: o.read("apps", |at| at.list(|at| read_document(at, Naming::Required))),
            groups: o.read("groups", |at| at.list(read_group)),
            dependencies: o.read("dependencies", read_paths),
            scale_by: o.read("scaleBy", |at| at.number(0.0, f64::MAX)),
            version: o.read("version", read_time),
            enforce_role: o.read("enforceRole", |at| at.boolean()),
        })
    })
}

impl GroupDocument {
    /// Whether it adds, removes or changes services.
    pub(crate) fn touches_services(&self) -> bool {
        self.version.is_some()
            || self.scale_by.is_some()
            || self.apps.is_some()
            || self.groups.iter().flatten().any(Self::touches_services)
    }
}
