//! What may not change while instances keep their volumes and places.

use mezzo_services_model::{App, AppVolume, VolumeSource};

use crate::{Invalid, verdict::Verdict};

fn kept(app: &App) -> Vec<&AppVolume> {
    let volumes = app.container.iter().flat_map(|container| &container.volumes);
    let mut volumes: Vec<&AppVolume> =
        volumes.filter(|volume| matches!(volume.source, VolumeSource::Persistent(_))).collect();
    volumes.sort_by(|a, b| a.container_path.cmp(&b.container_path));
    volumes
}

/// The ports on the agent that a definition asks for by number, 0 for any.
fn host_ports(app: &App) -> Vec<u16> {
    let mappings = app.container.iter().flat_map(|container| &container.port_mappings);
    let mapped = mappings.filter_map(|mapping| mapping.host_port);
    let declared = app.port_definitions.iter().map(|port| if app.require_ports { port.port } else { 0 });
    mapped.chain(declared).collect()
}

/// Whether a definition asks for the ports that the stored one has. A number that was given out for a 0 is in the stored one
/// alone, so that the same document may be sent again.
fn same_ports(from: &App, to: &App) -> bool {
    let (from, to) = (host_ports(from), host_ports(to));
    from.len() == to.len() && from.iter().zip(&to).all(|(from, to)| *to == 0 || from == to)
}

/// Judges a change of a resident app (rule 162). Other apps may change as they like.
pub fn judge_change(from: &App, to: &App) -> Result<(), Invalid> {
    if !from.is_resident() && !to.is_resident() {
        return Ok(());
    }
    let mut verdict = Verdict::default();
    verdict.require(kept(from) == kept(to), "", "Persistent volumes can not be changed!");
    verdict.require(
        from.resources == to.resources && same_ports(from, to) && from.require_ports == to.require_ports,
        "",
        "Resident Tasks may not change resource requirements!",
    );
    if to.upgrade_strategy.maximum_over_capacity != 0.0 {
        let got = to.upgrade_strategy.maximum_over_capacity;
        verdict.add("upgradeStrategy/maximumOverCapacity", format!("got {got:?}, expected 0.0"));
    }
    verdict.finish()
}
