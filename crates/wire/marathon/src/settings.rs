//! What the operator set that definitions are read against.

use std::collections::BTreeSet;

use mezzo_services_model::{Group, PathId};
use mezzo_time::Timestamp;

/// Settings; the names in backquotes are the flags'.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `mesos_role`.
    pub role: String,
    /// `default_network_name`.
    pub network: Option<String>,
    /// `mesos_bridge_name`.
    pub bridge: String,
    /// `enable_features`.
    pub features: BTreeSet<String>,
    /// `new_group_enforce_role` is `top`.
    pub enforce_role: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            role: "*".into(),
            network: None,
            bridge: "mesos-bridge".into(),
            features: BTreeSet::new(),
            enforce_role: false,
        }
    }
}

/// What a definition is read against.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// What the operator set.
    pub settings: &'a Settings,
    /// The tree as it is.
    pub root: &'a Group,
    /// The version that what is read gets.
    pub now: Timestamp,
    /// Resident services may change their role (rule 167).
    pub force: bool,
}

/// The roles that a service may have (rules 228 to 230).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Roles {
    /// The one that it gets when it names none.
    pub(crate) default: String,
    pub(crate) allowed: BTreeSet<String>,
    /// The one that it has.
    pub(crate) current: Option<String>,
}

impl Roles {
    /// Those of the service at `id`.
    pub(crate) fn of(context: &Context<'_>, id: &PathId) -> Self {
        let enforced = top(id).and_then(|top| context.root.group(&top)).map(|group| group.enforce_role);
        Self::under(context, id, enforced.unwrap_or(context.settings.enforce_role))
    }

    /// Those of the service at `id`, whose top-level group does or does not enforce its role.
    pub(crate) fn under(context: &Context<'_>, id: &PathId, enforced: bool) -> Self {
        let current = context.root.run_spec(id).map(|spec| spec.role().clone());
        let own = context.settings.role.clone();
        let Some(top) = top(id) else {
            return Self { allowed: BTreeSet::from([own.clone()]), default: own, current };
        };
        let group = top.name().to_string();
        let (default, mut allowed) = match enforced {
            true => (group.clone(), BTreeSet::from([group])),
            false => (own.clone(), BTreeSet::from([own, group])),
        };
        allowed.extend(current.clone());
        Self { default, allowed, current }
    }
}

/// The top-level group over a service; none for what stands in the root.
pub(crate) fn top(id: &PathId) -> Option<PathId> {
    let mut segments = id.segments();
    let first = segments.next()?;
    segments.next().map(|_| PathId::root().child(first))
}
