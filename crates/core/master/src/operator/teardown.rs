//! TEARDOWN by an operator.

use mezzo_ids::FrameworkId;
use mezzo_mesos::v1;

use super::Served;
use crate::{
    effect::Answer,
    master::{Master, Moment},
};

/// Ends a framework as its own TEARDOWN would (rule 64).
pub(super) fn on_teardown(master: &mut Master, moment: &mut Moment<'_>, id: &v1::FrameworkId) -> Served {
    let id = FrameworkId::from(id.value.as_str());
    if !master.state.frameworks.contains_key(&id) {
        return Err(Answer::BadRequest("No framework found with specified ID".into()));
    }
    master.remove_framework(moment, &id);
    Ok(Answer::Ok)
}
