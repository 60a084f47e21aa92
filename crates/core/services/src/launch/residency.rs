//! Reservations and volumes of resident instances (rules 155 to 161).

use std::sync::Arc;

use mezzo_ids::{Principal, Role};
use mezzo_mesos::v1::{
    self, offer,
    resource::{DiskInfo, disk_info::Persistence},
    volume,
};
use mezzo_resources::{Reservation as Stacked, ReservationKind, Resource, Resources};
use mezzo_services_model::{InstanceId, Reservation, ReservationState, VolumeId};
use rand_core::Rng;

use super::{Placement, parts::label, tasks::form};
use crate::matching::{Need, Opened, Taken, Terms, reserved};

/// Reserves what an instance has taken and makes its volumes; a later offer shows them, and it is launched there.
pub(super) fn reserve(
    taken: &Taken,
    offer: &Opened,
    need: &Need<'_>,
    terms: &Terms<'_>,
    rng: &mut dyn Rng,
) -> Placement {
    let principal = terms.config.principal.as_deref();
    let labels = v1::Labels {
        labels: vec![
            label(reserved::FRAMEWORK, terms.framework.value.as_str()),
            label(reserved::INSTANCE, need.instance.id.as_str()),
        ],
    };
    let stacked = Stacked {
        kind: ReservationKind::Dynamic,
        role: Role::from(need.instance.role.as_str()),
        principal: principal.map(Principal::from),
        labels: Some(Arc::new(labels)),
    };
    let mut plain = taken.executor.clone();
    for part in &taken.parts {
        plain += &part.resources;
    }
    let mut kept = plain.push_reservation(&stacked);
    let mut volumes = Vec::new();
    let mut created = Resources::empty();
    for disk in &taken.disks {
        let id = VolumeId {
            run_spec: need.instance.run_spec.clone(),
            container_path: disk.container_path.clone(),
            uuid: uuid::Builder::from_random_bytes(random(rng)).into_uuid().to_string(),
        };
        let disk_reserved = disk.resource.clone().push_reservation(stacked.clone());
        kept.add_one(&disk_reserved);
        created.add_one(&volume_of(disk_reserved, &id, principal));
        volumes.push(id);
    }
    let form = form(offer.offer());
    let operations = vec![
        offer::Operation {
            r#type: Some(offer::operation::Type::Reserve.into()),
            reserve: Some(offer::operation::Reserve { source: Vec::new(), resources: kept.to_proto(form) }),
            ..Default::default()
        },
        offer::Operation {
            r#type: Some(offer::operation::Type::Create.into()),
            create: Some(offer::operation::Create { volumes: created.to_proto(form) }),
            ..Default::default()
        },
    ];
    let mut instance = need.instance.clone();
    instance.agent = Some(offer.agent().clone());
    let deadline = terms.now + terms.config.reservation_timeout;
    instance.reservation = Some(Reservation { volumes, state: ReservationState::New { deadline } });
    Placement { operations, instance }
}

fn random(rng: &mut dyn Rng) -> [u8; 16] {
    let mut bytes = [0; 16];
    rng.fill_bytes(&mut bytes);
    bytes
}

fn volume_of(disk: Resource, id: &VolumeId, principal: Option<&str>) -> Resource {
    let info = DiskInfo {
        persistence: Some(Persistence { id: id.to_string(), principal: principal.map(str::to_owned) }),
        volume: Some(v1::Volume {
            mode: volume::Mode::Rw.into(),
            container_path: id.container_path.clone(),
            ..Default::default()
        }),
        source: disk.disk_source().cloned(),
    };
    disk.with_disk(Some(info))
}

/// Gives up what an offer keeps for instances that nobody wants any more: volumes are destroyed, reservations undone
/// (rule 161). What is given up is no part of the offer any more; with nothing to do there are no operations.
pub fn release(
    offer: &mut Opened,
    framework: &v1::FrameworkId,
    wanted: &dyn Fn(&InstanceId) -> bool,
) -> Vec<offer::Operation> {
    let unwanted: Vec<InstanceId> =
        offer.keepers(framework).into_iter().filter(|instance| !wanted(instance)).collect();
    if unwanted.is_empty() {
        return Vec::new();
    }
    let given_up = offer.take_kept(framework, &unwanted);
    let volumes = given_up.persistent_volumes();
    let bare = given_up.map(|resource| {
        let source = resource.disk_source().cloned();
        match (resource.is_persistent_volume(), source) {
            (false, _) => resource,
            (true, None) => resource.with_disk(None),
            (true, source) => resource.with_disk(Some(DiskInfo { source, ..Default::default() })),
        }
    });
    let form = form(offer.offer());
    let mut operations = Vec::new();
    if !volumes.is_empty() {
        operations.push(offer::Operation {
            r#type: Some(offer::operation::Type::Destroy.into()),
            destroy: Some(offer::operation::Destroy { volumes: volumes.to_proto(form) }),
            ..Default::default()
        });
    }
    operations.push(offer::Operation {
        r#type: Some(offer::operation::Type::Unreserve.into()),
        unreserve: Some(offer::operation::Unreserve { resources: bare.to_proto(form) }),
        ..Default::default()
    });
    operations
}
