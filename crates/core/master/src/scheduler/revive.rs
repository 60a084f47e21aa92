//! REVIVE and SUPPRESS: whether a framework wants offers for its roles (rules 90 to 92).

use std::collections::BTreeSet;

use mezzo_ids::{FrameworkId, Role};

use crate::{master::Master, metrics::Counter};

/// Drops filters and wants offers again.
pub(super) fn on_revive(master: &mut Master, framework: &FrameworkId, roles: Vec<String>) {
    master.count(Counter::MessagesReviveOffers);
    let Some(roles) = own_roles(master, framework, roles) else { return };
    if let Some(framework) = master.framework_mut(framework) {
        framework.suppressed.retain(|role| !roles.contains(role));
    }
    master.note_forgotten(framework, roles.iter().cloned());
    master.allocator.revive(framework, &roles);
}

/// Wants no more offers; those that are out stay valid.
pub(super) fn on_suppress(master: &mut Master, framework: &FrameworkId, roles: Vec<String>) {
    master.count(Counter::MessagesSuppressOffers);
    let Some(roles) = own_roles(master, framework, roles) else { return };
    if let Some(framework) = master.framework_mut(framework) {
        framework.suppressed.retain(|role| !roles.contains(role));
        framework.suppressed.extend(roles.iter().cloned());
    }
    master.allocator.suppress(framework, &roles);
}

/// The named roles, all when none is named. `None` when one of them is not the framework's: then the
/// call does nothing (rule 92).
fn own_roles(master: &Master, framework: &FrameworkId, named: Vec<String>) -> Option<BTreeSet<Role>> {
    let own = &master.state.frameworks.get(framework)?.roles;
    if named.is_empty() {
        return Some(own.iter().cloned().collect());
    }
    let named: BTreeSet<Role> = named.into_iter().map(Role::from).collect();
    named.iter().all(|role| own.contains(role)).then_some(named)
}
