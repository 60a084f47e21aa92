//! UPDATE_WEIGHTS.

use mezzo_ids::{OfferId, Role};
use mezzo_mesos::v1::WeightInfo;
use mezzo_protocol::records::registry_record::Record;

use super::Served;
use crate::{
    effect::Answer,
    master::{Master, Moment},
    validate,
};

/// Sets weights, all or none (rules 147 to 149).
pub(super) fn on_update(master: &mut Master, moment: &Moment<'_>, infos: Vec<WeightInfo>) -> Served {
    let weights = infos.into_iter().map(|info| check(master, info)).collect::<Result<Vec<_>, _>>()?;
    master.note_policy();
    for (role, weight) in &weights {
        let info = WeightInfo { weight: *weight, role: Some(role.to_string()) };
        master.persist(Record::Weight(info));
        master.state.weights.insert(role.clone(), *weight);
        master.allocator.set_weight(role, *weight);
    }
    let in_use = |role: &Role| master.state.frameworks.values().any(|known| known.roles.contains(role));
    if weights.iter().any(|(role, _)| in_use(role)) {
        let offers: Vec<OfferId> = master.offer_agents.keys().cloned().collect();
        for offer in offers {
            master.rescind_offer(moment, &offer);
        }
    }
    Ok(Answer::Ok)
}

fn check(master: &Master, info: WeightInfo) -> Result<(Role, f64), Answer> {
    const REFUSED: &str = "Failed to validate update weights request JSON";
    let role = info.role.as_deref().unwrap_or_default().trim();
    validate::role(role)
        .map_err(|why| Answer::BadRequest(format!("{REFUSED}: Invalid role '{role}': {why}")))?;
    if master.config.roles.as_ref().is_some_and(|known| !known.iter().any(|known| known.as_str() == role)) {
        return Err(Answer::BadRequest(format!("{REFUSED}: Unknown role '{role}'")));
    }
    if !(info.weight > 0.0 && info.weight.is_finite()) {
        return Err(Answer::BadRequest(format!(
            "{REFUSED} for role '{role}': Invalid weight '{}': Weights must be positive",
            info.weight
        )));
    }
    Ok((Role::from(role), info.weight))
}
