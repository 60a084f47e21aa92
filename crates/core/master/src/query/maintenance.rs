//! GET_MAINTENANCE_STATUS and GET_MAINTENANCE_SCHEDULE.

use mezzo_mesos::v1::{
    machine_info::Mode,
    maintenance::{ClusterStatus, cluster_status::DrainingMachine},
    master::{
        Response,
        response::{GetMaintenanceSchedule, GetMaintenanceStatus, Type},
    },
};

use super::{View, response};

impl View<'_> {
    /// Machines that drain, with the answers of frameworks (rule 280), and machines that are down.
    pub fn get_maintenance_status(&self) -> Response {
        let mut status = ClusterStatus::default();
        for machine in self.snapshot.machines.iter() {
            let id = machine.info.id.clone();
            match machine.info.mode() {
                Mode::Draining => {
                    status.draining_machines.push(DrainingMachine { id, statuses: machine.statuses.clone() });
                }
                Mode::Down => status.down_machines.push(id),
                Mode::Up => {}
            }
        }
        Response {
            get_maintenance_status: Some(GetMaintenanceStatus { status }),
            ..response(Type::GetMaintenanceStatus)
        }
    }

    /// The whole schedule.
    pub fn get_maintenance_schedule(&self) -> Response {
        let schedule = (*self.snapshot.schedule).clone();
        Response {
            get_maintenance_schedule: Some(GetMaintenanceSchedule { schedule }),
            ..response(Type::GetMaintenanceSchedule)
        }
    }
}
