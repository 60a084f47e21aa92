//! UPDATE_FRAMEWORK: a connected framework changes its FrameworkInfo.

use mezzo_ids::FrameworkId;
use mezzo_mesos::v1::scheduler::call;

use super::subscribe::replace_info;
use crate::{
    effect::Answer,
    master::{Master, Moment},
    profiles::compile_constraints,
    validate,
};

/// Replaces the FrameworkInfo with what came beside it, or refuses with 400 (rule 59).
pub(super) fn on_update_framework(
    master: &mut Master,
    moment: &Moment<'_>,
    id: &FrameworkId,
    update: call::UpdateFramework,
) -> Answer {
    let Some(framework) = master.state.frameworks.get(id) else {
        return Answer::BadRequest("Framework cannot be found".into());
    };
    let mut info = update.framework_info;
    let (config, old) = (&master.config, &framework.info);
    let valid = validate::framework_update(old, &info)
        .and_then(|()| validate::framework_info(&info, config.root_submissions, config.roles.as_deref()))
        .map_err(|why| format!("FrameworkInfo update is not valid: {why}"))
        .and_then(|()| validate::suppressed_roles(&info, &update.suppressed_roles))
        .and_then(|()| compile_constraints(master, &info, update.offer_constraints.as_ref()).map(drop));
    if let Err(why) = valid {
        return Answer::BadRequest(why);
    }
    info.principal.clone_from(&old.principal);
    let changed = **old != info;
    replace_info(master, moment, id, info, update.suppressed_roles, update.offer_constraints);
    if changed {
        master.send_framework_to_agents(id);
    }
    master.publish_framework_updated(id);
    Answer::Ok
}
