//! What an instance needs.

/// Resources of one container. Cpus are shares; mem and disk are MiB.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Resources {
    /// Shares of a core.
    pub cpus: f64,
    /// MiB of memory.
    pub mem: f64,
    /// MiB of scratch disk.
    pub disk: f64,
    /// Whole graphics processors.
    pub gpus: u32,
}

impl Resources {
    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            cpus: self.cpus + other.cpus,
            mem: self.mem + other.mem,
            disk: self.disk + other.disk,
            gpus: self.gpus.saturating_add(other.gpus),
        }
    }
}

/// What the executor beside the containers needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExecutorResources {
    /// Shares of a core.
    pub cpus: f64,
    /// MiB of memory.
    pub mem: f64,
    /// MiB of disk.
    pub disk: f64,
}

impl Default for ExecutorResources {
    /// What every instance of a pod needs besides its containers (rule 283).
    fn default() -> Self {
        Self { cpus: 0.1, mem: 32.0, disk: 10.0 }
    }
}

/// How far a container may go beyond what it asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// As far as the machine goes.
    Unlimited,
    /// This much.
    Value(f64),
}

/// Upper bounds above the request; none: the request is the bound.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ResourceLimits {
    /// Shares of a core.
    pub cpus: Option<Limit>,
    /// MiB of memory.
    pub mem: Option<Limit>,
}
