//! UPDATE_QUOTA and the older SET_QUOTA and REMOVE_QUOTA.

use std::collections::{BTreeMap, BTreeSet};

use mezzo_ids::{OfferId, Role};
use mezzo_mesos::v1::{
    self,
    quota::{QuotaConfig, QuotaRequest},
    value,
};
use mezzo_protocol::records::registry_record::Record;
use mezzo_resources::{Quantities, Scalar};

use super::Served;
use crate::{
    effect::Answer,
    master::{Master, Moment},
    query::roles::is_within,
    state::Quota,
    validate,
};

/// Most of mem and disk that a quota may name: an exabyte in MB (rule 137).
const BYTES_MAX: f64 = 1_099_511_627_776.0;
/// Most of anything else (rule 137).
const AMOUNT_MAX: f64 = 1e12;

/// A quota as messages and the registry have it.
pub(crate) fn to_config(role: &Role, quota: &Quota) -> QuotaConfig {
    let amount = |amount: Scalar| value::Scalar { value: amount.as_f64() };
    QuotaConfig {
        role: role.to_string(),
        guarantees: quota.guarantee.iter().map(|(name, value)| (name.to_string(), amount(value))).collect(),
        limits: quota.limit.iter().map(|(name, value)| (name.to_string(), amount(*value))).collect(),
    }
}

/// Replaces the quotas of all listed roles, or of none (rule 133).
pub(super) fn on_update(
    master: &mut Master,
    moment: &Moment<'_>,
    force: bool,
    configs: Vec<QuotaConfig>,
) -> Served {
    let mut seen = BTreeSet::new();
    let mut changes = Vec::new();
    for config in &configs {
        check_config(master, config)?;
        if !seen.insert(config.role.as_str()) {
            return Err(Answer::BadRequest(format!(
                "Invalid QuotaConfig: role '{}' appears more than once",
                config.role
            )));
        }
        changes.push((Role::from(config.role.as_str()), Quota::from_proto(config)));
    }
    if !force {
        check_capacity(master, &changes)
            .map_err(|why| Answer::BadRequest(format!("Invalid QuotaConfig: {why}")))?;
        for (role, quota) in &changes {
            let consumed = consumed(master, role);
            if let Some((name, limit)) = exceeded(&consumed, quota) {
                return Err(Answer::BadRequest(format!(
                    "Invalid QuotaConfig: role '{role}' consumes {name}:{} already, more than the limit of \
                     {name}:{limit} (use 'force' flag to bypass this check)",
                    consumed.get(name)
                )));
            }
        }
    }
    for (role, quota) in changes {
        set(master, moment, role, quota);
    }
    Ok(Answer::Ok)
}

/// Sets the quota of a role that has none; the limit becomes the guarantee (rule 142).
pub(super) fn on_set(master: &mut Master, moment: &Moment<'_>, request: &QuotaRequest) -> Served {
    let refuse = |why: String| Answer::BadRequest(format!("Failed to validate set quota request: {why}"));
    let role = request.role();
    validate::role(role).map_err(|why| refuse(format!("Invalid role '{role}': {why}")))?;
    check_known(master, role).map_err(refuse)?;
    let guarantees = guarantees_of(&request.guarantee).map_err(refuse)?;
    if role.contains('/') {
        return Err(Answer::BadRequest(format!(
            "Setting quota on nested role '{role}' is not supported yet"
        )));
    }
    if master.state.quotas.get(role).is_some_and(|quota| *quota != Quota::default()) {
        return Err(refuse(format!("Cannot set quota for role '{role}' which already has quota")));
    }
    let config = QuotaConfig { role: role.to_owned(), limits: guarantees.clone(), guarantees };
    let change = (Role::from(role), Quota::from_proto(&config));
    if !request.force() {
        // Rule 143: over capacity is a conflict here.
        let changes = [change.clone()];
        check_capacity(master, &changes).map_err(|why| {
            Answer::Conflict(format!("Heuristic capacity check for set quota request failed: {why}"))
        })?;
    }
    set(master, moment, change.0, change.1);
    Ok(Answer::Ok)
}

/// Removes the quota of a role that has one (rule 144). `refused` begins the text of a refusal.
pub(super) fn on_remove(master: &mut Master, role: &Role, refused: &str) -> Served {
    if master.state.quotas.get(role).is_none_or(|quota| *quota == Quota::default()) {
        return Err(Answer::BadRequest(format!("{refused}: Role '{role}' has no quota set")));
    }
    book(master, role.clone(), Quota::default());
    Ok(Answer::Ok)
}

fn check_known(master: &Master, role: &str) -> Result<(), String> {
    match &master.config.roles {
        Some(known) if !known.iter().any(|known| known.as_str() == role) => {
            Err(format!("Unknown role '{role}'"))
        }
        _ => Ok(()),
    }
}

/// Rules 135 to 137.
fn check_config(master: &Master, config: &QuotaConfig) -> Result<(), Answer> {
    let role = config.role.as_str();
    let invalid = |why: String| Answer::BadRequest(format!("Invalid QuotaConfig: {why}"));
    validate::role(role).map_err(|why| invalid(format!("Invalid 'QuotaConfig.role': {why}")))?;
    check_known(master, role).map_err(invalid)?;
    if role.contains('/') {
        return Err(Answer::BadRequest(format!(
            "Updating quota on nested role '{role}' is not supported yet"
        )));
    }
    for (field, amounts) in [("guarantees", &config.guarantees), ("limits", &config.limits)] {
        for (name, amount) in amounts {
            let wrong = |why: &str| invalid(format!("Invalid 'QuotaConfig.{field}': '{name}' {why}"));
            if name.is_empty() {
                return Err(wrong("is no name of a resource"));
            }
            check_amount(name, amount.value).map_err(wrong)?;
        }
    }
    for (name, guarantee) in &config.guarantees {
        if config.limits.get(name).is_some_and(|limit| guarantee.value > limit.value) {
            return Err(invalid(format!(
                "'QuotaConfig.guarantees' {} is not contained within the 'QuotaConfig.limits' {}",
                braced(&config.guarantees),
                braced(&config.limits)
            )));
        }
    }
    Ok(())
}

fn check_amount(name: &str, amount: f64) -> Result<(), &'static str> {
    let most = if matches!(name, "mem" | "disk") { BYTES_MAX } else { AMOUNT_MAX };
    if !amount.is_finite() {
        return Err("is not a finite number");
    }
    if amount < 0.0 {
        return Err("is negative");
    }
    if amount > most {
        return Err("is more than any cluster has");
    }
    Ok(())
}

/// Amounts the way Mesos prints a map.
fn braced(amounts: &BTreeMap<String, value::Scalar>) -> String {
    let entries: Vec<String> =
        amounts.iter().map(|(name, amount)| format!("{name}: {}", amount.value)).collect();
    format!("{{ {} }}", entries.join(", "))
}

/// The guarantee of a SET_QUOTA as amounts (rule 142).
fn guarantees_of(resources: &[v1::Resource]) -> Result<BTreeMap<String, value::Scalar>, String> {
    let mut amounts = BTreeMap::new();
    if resources.is_empty() {
        return Err("QuotaInfo with empty 'guarantee'".into());
    }
    for resource in resources {
        let name = resource.name.as_str();
        #[expect(deprecated, reason = "the older form of a reservation has to be refused too")]
        let reserved = !resource.reservations.is_empty()
            || resource.reservation.is_some()
            || resource.role.as_deref().is_some_and(|role| role != "*");
        let wrong = if reserved {
            "must not contain reservations"
        } else if resource.disk.is_some() {
            "must not contain DiskInfo"
        } else if resource.revocable.is_some() {
            "must not contain RevocableInfo"
        } else if resource.r#type() != value::Type::Scalar {
            "must not include non-scalar resources"
        } else {
            let amount = resource.scalar.unwrap_or_default();
            check_amount(name, amount.value).map_err(|why| format!("QuotaInfo: '{name}' {why}"))?;
            if amounts.insert(name.to_owned(), amount).is_none() {
                continue;
            }
            "contains a resource name more than once"
        };
        return Err(format!("QuotaInfo {wrong}: '{name}'"));
    }
    Ok(amounts)
}

/// Whether the cluster could hold all guarantees at once (rule 138).
fn check_capacity(master: &Master, changes: &[(Role, Quota)]) -> Result<(), String> {
    let mut total = Quantities::default();
    let unchanged = master.state.quotas.iter().filter(|(role, _)| !changes.iter().any(|(r, _)| r == *role));
    for quota in unchanged.map(|(_, quota)| quota).chain(changes.iter().map(|(_, quota)| quota)) {
        total += &quota.guarantee;
    }
    let capacity = master.allocator.cluster_capacity();
    if capacity.contains(&total) {
        return Ok(());
    }
    Err(format!(
        "total quota guarantees '{total}' exceed cluster capacity '{capacity}' (use 'force' flag to bypass \
         this check)"
    ))
}

/// What a role uses of its quota. What is only offered is not used: it is taken back when the limit
/// needs it.
fn consumed(master: &Master, role: &Role) -> Quantities {
    let mut consumed = master.allocator.consumption(role);
    for offer in master.state.agents.values().flat_map(|agent| agent.offers.values()) {
        if is_within(&offer.role, role) {
            consumed.subtract(&offer.resources.unreserved().non_revocable().quantities());
        }
    }
    consumed
}

/// The first resource of which more is consumed than the limit allows.
fn exceeded<'a>(consumed: &Quantities, quota: &'a Quota) -> Option<(&'a str, Scalar)> {
    let mut limits = quota.limit.iter();
    limits.find(|(name, limit)| consumed.get(name) > **limit).map(|(name, limit)| (name.as_str(), *limit))
}

/// Writes the quota down. A removed one stays listed, empty, until the master restarts, as in Mesos.
fn book(master: &mut Master, role: Role, quota: Quota) {
    master.persist(Record::Quota(to_config(&role, &quota)));
    master.allocator.set_quota(&role, quota.clone());
    master.state.quotas.insert(role, quota);
    master.note_policy();
}

/// Sets a quota and takes back the offers that stand in its way (rule 141).
fn set(master: &mut Master, moment: &Moment<'_>, role: Role, quota: Quota) {
    let before = master.state.quotas.get(&role).map(|quota| quota.guarantee.clone()).unwrap_or_default();
    book(master, role.clone(), quota.clone());
    let is_within = |of: &Role| is_within(of, &role);
    for offer in offers(master, &is_within) {
        if exceeded(&master.allocator.consumption(&role), &quota).is_none() {
            break;
        }
        master.rescind_offer(moment, &offer);
    }
    if before.contains(&quota.guarantee) {
        return;
    }
    let consumed = master.allocator.consumption(&role);
    let mut owed = quota.guarantee;
    owed.subtract(&consumed);
    for offer in offers(master, &|of| !is_within(of)) {
        if owed.is_empty() {
            break;
        }
        let freed = master
            .offer_agents
            .get(&offer)
            .and_then(|agent| master.state.agents.get(agent)?.offers.get(&offer))
            .map(|offer| offer.resources.unreserved().quantities())
            .unwrap_or_default();
        owed.subtract(&freed);
        master.rescind_offer(moment, &offer);
    }
}

/// Outstanding offers to roles for which `wanted` holds.
fn offers(master: &Master, wanted: &dyn Fn(&Role) -> bool) -> Vec<OfferId> {
    let offers = master.state.agents.values().flat_map(|agent| agent.offers.values());
    offers.filter(|offer| wanted(&offer.role)).map(|offer| offer.id.clone()).collect()
}
