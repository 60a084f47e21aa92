//! UPDATE_MAINTENANCE_SCHEDULE, START_MAINTENANCE and STOP_MAINTENANCE.

use std::{net::Ipv4Addr, sync::Arc};

use mezzo_ids::AgentId;
use mezzo_mesos::v1::{
    MachineId, MachineInfo, Unavailability,
    machine_info::Mode,
    maintenance::{Schedule, Window},
};
use mezzo_protocol::{link, records::registry_record::Record};

use super::Served;
use crate::{
    agents::Departure,
    effect::Answer,
    frameworks::to_agent,
    inverse_offers::is_machine,
    master::{Master, Moment},
    registry::same_machine,
    state::Machine,
};

/// Replaces the whole schedule (rules 270 to 273, 277).
pub(super) fn on_update_schedule(master: &mut Master, moment: &Moment<'_>, schedule: Schedule) -> Served {
    check_schedule(master, &schedule).map_err(Answer::BadRequest)?;
    let scheduled = |id: &MachineId| {
        let window = |window: &&Window| window.machine_ids.iter().any(|machine| same_machine(machine, id));
        schedule.windows.iter().find(window).map(|window| window.unavailability)
    };
    let machines = std::mem::take(Arc::make_mut(&mut master.state.machines));
    let (mut kept, left): (Vec<Machine>, Vec<Machine>) =
        machines.into_iter().partition(|machine| scheduled(&machine.info.id).is_some());
    for machine in left {
        // It is UP again; only DRAINING machines can be left out.
        set_unavailability(master, moment, &machine.info.id, None);
        master.persist(Record::ForgottenMachine(machine.info.id));
    }
    for window in &schedule.windows {
        let unavailability = Some(window.unavailability);
        for id in &window.machine_ids {
            let known = kept.iter_mut().find(|machine| same_machine(&machine.info.id, id));
            if known.as_ref().is_some_and(|machine| machine.info.unavailability == unavailability) {
                continue;
            }
            let info = match known {
                Some(machine) => {
                    machine.info.unavailability = unavailability;
                    // Answers were about another window.
                    machine.statuses.clear();
                    machine.info.clone()
                }
                None => {
                    let mode = Some(Mode::Draining.into());
                    let info = MachineInfo { id: id.clone(), mode, unavailability };
                    kept.push(Machine { info: info.clone(), statuses: Vec::new() });
                    info
                }
            };
            set_unavailability(master, moment, id, unavailability);
            master.persist(Record::Machine(info));
        }
    }
    master.state.machines = Arc::new(kept);
    master.persist(Record::Schedule(schedule.clone()));
    master.state.schedule = Arc::new(schedule);
    Ok(Answer::Ok)
}

/// Machines of the schedule go DOWN, and their agents away (rules 274, 275).
pub(super) fn on_start(master: &mut Master, moment: &mut Moment<'_>, ids: &[MachineId]) -> Served {
    check_machines(ids).map_err(Answer::BadRequest)?;
    for id in ids {
        if mode_of(master, id)? != Mode::Draining {
            return Err(Answer::BadRequest(format!(
                "Machine '{}' is not in DRAINING mode and cannot be brought down",
                json(id)
            )));
        }
    }
    for id in ids {
        let machines = Arc::make_mut(&mut master.state.machines);
        let Some(machine) = machines.iter_mut().find(|machine| same_machine(&machine.info.id, id)) else {
            continue;
        };
        machine.info.mode = Some(Mode::Down.into());
        machine.statuses.clear();
        let record = Record::Machine(machine.info.clone());
        master.persist(record);
        for agent in agents_on(master, id) {
            if let Some(link) = master.state.agents.get(&agent).and_then(|agent| agent.link) {
                let shutdown = link::Shutdown { message: "Operator initiated 'Machine DOWN'".into() };
                master.effects.push(to_agent(link, link::to_agent::Message::Shutdown(shutdown)));
            }
            let why = "machine is going down for maintenance";
            master.take_agent_out(moment, &agent, Departure::Removed(why));
        }
    }
    Ok(Answer::Ok)
}

/// Machines that are DOWN are UP again, and not in the schedule any more (rules 274, 276).
pub(super) fn on_stop(master: &mut Master, ids: &[MachineId]) -> Served {
    check_machines(ids).map_err(Answer::BadRequest)?;
    for id in ids {
        if mode_of(master, id)? != Mode::Down {
            return Err(Answer::BadRequest(format!(
                "Machine '{}' is not in DOWN mode and cannot be brought up",
                json(id)
            )));
        }
    }
    let is_up = |id: &MachineId| ids.iter().any(|up| same_machine(up, id));
    let mut schedule = (*master.state.schedule).clone();
    for window in &mut schedule.windows {
        window.machine_ids.retain(|id| !is_up(id));
    }
    schedule.windows.retain(|window| !window.machine_ids.is_empty());
    Arc::make_mut(&mut master.state.machines).retain(|machine| !is_up(&machine.info.id));
    for id in ids {
        master.persist(Record::ForgottenMachine(id.clone()));
    }
    master.persist(Record::Schedule(schedule.clone()));
    master.state.schedule = Arc::new(schedule);
    Ok(Answer::Ok)
}

fn mode_of(master: &Master, id: &MachineId) -> Result<Mode, Answer> {
    let machine = master.state.machines.iter().find(|machine| same_machine(&machine.info.id, id));
    let machine = machine.ok_or_else(|| {
        Answer::BadRequest(format!("Machine '{}' is not part of a maintenance schedule", json(id)))
    })?;
    Ok(machine.info.mode())
}

/// Registered agents on a machine.
fn agents_on(master: &Master, id: &MachineId) -> Vec<AgentId> {
    let agents = master.state.agents.iter();
    agents
        .filter(|(_, agent)| is_machine(id, &agent.info.hostname, &agent.ip))
        .map(|(id, _)| id.clone())
        .collect()
}

/// The agents of a machine are offered with another window, or none (rules 277, 278).
fn set_unavailability(
    master: &mut Master,
    moment: &Moment<'_>,
    id: &MachineId,
    unavailability: Option<Unavailability>,
) {
    for agent_id in agents_on(master, id) {
        master.rescind_agent_offers(moment, &agent_id);
        master.remove_inverse_offers(&agent_id, true);
        if let Some(agent) = master.agent_mut(&agent_id) {
            agent.unavailability = unavailability;
        }
        master.allocator.set_unavailability(&agent_id, unavailability);
    }
}

/// Rules 271 and 272.
fn check_schedule(master: &Master, schedule: &Schedule) -> Result<(), String> {
    let mut seen: Vec<&MachineId> = Vec::new();
    for window in &schedule.windows {
        if window.machine_ids.is_empty() {
            return Err("List of machines in the maintenance window is empty".into());
        }
        if window.unavailability.duration.is_some_and(|duration| duration.nanoseconds < 0) {
            return Err("Unavailability 'duration' is negative".into());
        }
        for id in &window.machine_ids {
            check_machine(id)?;
            seen.push(id);
        }
    }
    if let Some(twice) = duplicate(&seen) {
        return Err(format!("Machine '{}' appears more than once in the schedule", json(twice)));
    }
    for machine in master.state.machines.iter().filter(|machine| machine.info.mode() == Mode::Down) {
        let id = &machine.info.id;
        if !seen.iter().any(|listed| same_machine(listed, id)) {
            return Err(format!(
                "Machine '{}' is deactivated and cannot be removed from the schedule",
                json(id)
            ));
        }
    }
    Ok(())
}

/// Rule 274.
fn check_machines(ids: &[MachineId]) -> Result<(), String> {
    if ids.is_empty() {
        return Err("List of machines is empty".into());
    }
    ids.iter().try_for_each(check_machine)?;
    match duplicate(&ids.iter().collect::<Vec<_>>()) {
        Some(twice) => Err(format!("Machine '{}' appears more than once in the list", json(twice))),
        None => Ok(()),
    }
}

/// A machine that is listed twice. Sorted first, because a schedule may be long.
fn duplicate<'a>(ids: &[&'a MachineId]) -> Option<&'a MachineId> {
    let key = |id: &MachineId| (id.hostname().to_lowercase(), id.ip().to_owned());
    let mut keyed: Vec<_> = ids.iter().map(|id| (key(id), *id)).collect();
    keyed.sort_by(|one, other| one.0.cmp(&other.0));
    keyed.windows(2).find(|pair| pair[0].0 == pair[1].0).map(|pair| pair[1].1)
}

fn check_machine(id: &MachineId) -> Result<(), String> {
    if id.hostname().is_empty() && id.ip().is_empty() {
        return Err("Both 'hostname' and 'ip' for a machine are empty".into());
    }
    if !id.ip().is_empty() && id.ip().parse::<Ipv4Addr>().is_err() {
        return Err(format!("Failed to parse the IP '{}' of a machine", id.ip()));
    }
    Ok(())
}

/// The machine as Mesos prints it into errors.
fn json(id: &MachineId) -> String {
    let quoted = |text: &str| {
        let mut escaped = String::from("\"");
        for c in text.chars() {
            match c {
                '"' | '\\' => escaped.extend(['\\', c]),
                c if c.is_control() => escaped.push_str(&format!("\\u{:04x}", u32::from(c))),
                c => escaped.push(c),
            }
        }
        escaped.push('"');
        escaped
    };
    let fields = [("hostname", &id.hostname), ("ip", &id.ip)];
    let fields: Vec<String> = fields
        .into_iter()
        .filter_map(|(name, value)| Some(format!("\"{name}\":{}", quoted(value.as_deref()?))))
        .collect();
    format!("{{{}}}", fields.join(","))
}
