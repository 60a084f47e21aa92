//! Capabilities of frameworks and agents as sets.

use mezzo_mesos::v1;

use crate::state::{Agent, Capabilities};

impl Capabilities {
    /// Of a FrameworkInfo; unknown ones are ignored.
    pub fn of(info: &v1::FrameworkInfo) -> Self {
        use v1::framework_info::capability::Type;
        let mut set = Self::default();
        for capability in &info.capabilities {
            match capability.r#type() {
                Type::Unknown => {}
                Type::RevocableResources => set.revocable_resources = true,
                Type::TaskKillingState => set.task_killing_state = true,
                Type::GpuResources => set.gpu_resources = true,
                Type::SharedResources => set.shared_resources = true,
                Type::PartitionAware => set.partition_aware = true,
                Type::MultiRole => set.multi_role = true,
                Type::ReservationRefinement => set.reservation_refinement = true,
                Type::RegionAware => set.region_aware = true,
            }
        }
        set
    }
}

impl Agent {
    /// Whether the agent announced a capability.
    pub fn is_capable(&self, capability: v1::agent_info::capability::Type) -> bool {
        self.capabilities.iter().any(|c| c.r#type() == capability)
    }
}
