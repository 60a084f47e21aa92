//! What a services node is asked to do, as plain data.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A services node, and what its operators ask of it.
#[derive(Clone, Debug)]
pub struct ServicesSetup {
    /// Which of the setup's frameworks it is; that one has no tasks of its own.
    pub framework: usize,
    /// The apps there may be, called `/a0`, `/a1` and so on.
    pub apps: Vec<AppSetup>,
    /// What is asked, in the order of the times.
    pub orders: Vec<Order>,
}

/// What stays the same about an app, whatever its version.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppSetup {
    /// The services node looks at the health of its instances.
    pub checked: bool,
    /// The share that stays healthy in an upgrade.
    pub minimum_health_capacity: f64,
    /// The share that may run beyond the wanted number in an upgrade.
    pub maximum_over_capacity: f64,
    /// Seconds until an unreachable instance is replaced, and until it is forgotten; without them it is waited for.
    pub unreachable_s: Option<(u64, u64)>,
    /// Where its instances may be.
    pub placement: Option<Placement>,
    /// It depends on that app, by number.
    pub after: Option<usize>,
    /// Agents look at the health of its instances, not the services node.
    pub by_agents: bool,
}

/// A constraint on the names of hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    /// UNIQUE: one on a host.
    Unique,
    /// CLUSTER: all on one host.
    Cluster,
    /// GROUP_BY: spread over so many hosts.
    GroupBy(u32),
    /// MAX_PER: at most so many on a host.
    MaxPer(u32),
}

impl AppSetup {
    /// Checked, with Marathon's other settings.
    pub const CHECKED: Self = Self {
        checked: true,
        minimum_health_capacity: 1.0,
        maximum_over_capacity: 1.0,
        unreachable_s: Some((0, 0)),
        placement: None,
        after: None,
        by_agents: false,
    };
}

/// How the instances of one version behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quality {
    /// Well within two seconds, and for ever.
    Good,
    /// Well after twenty seconds.
    Slow,
    /// Well, and some answers to its health check are bad.
    Flapping,
    /// Well, but may end by itself while there is load.
    Frail,
    /// Runs and is never well.
    Sick,
    /// Ends within two seconds.
    Crashing,
}

impl Quality {
    /// Whether all instances are well in the end.
    pub fn is_sound(self) -> bool {
        !matches!(self, Self::Sick | Self::Crashing)
    }
}

/// One thing that an operator asks for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// Milliseconds after the start.
    pub at_ms: u64,
    /// Of which app.
    pub app: usize,
    /// Deployments in the way are cancelled.
    pub force: bool,
    /// What.
    #[serde(flatten)]
    pub kind: OrderKind,
}

/// What an operator asks for. What makes no sense for the app as it is at the time is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "kebab-case")]
pub enum OrderKind {
    /// A new version, of an app that is there or not.
    Put {
        /// So many instances.
        instances: u32,
        /// Of this kind.
        quality: Quality,
    },
    /// A new version of all apps in one change, of those that are not there as well.
    PutAll {
        /// So many instances of each.
        instances: u32,
        /// Of this kind.
        quality: Quality,
    },
    /// Another version of an app that is there, with as many instances.
    Upgrade {
        /// Of this kind.
        quality: Quality,
    },
    /// Another number of instances.
    Scale {
        /// So many.
        instances: u32,
    },
    /// All instances are replaced.
    Restart,
    /// The app is to go.
    Delete,
    /// Instances are killed, and come again.
    Kill {
        /// So many.
        count: u32,
    },
    /// Instances are killed and not replaced.
    KillAndScale {
        /// So many.
        count: u32,
    },
    /// The way back from a deployment of the app that runs.
    Revert,
    /// No more wait after failures.
    ResetDelay,
    /// A sound version for one that is not, and an end to a replacement that was cut short; asked until it is taken, so that
    /// everything can settle.
    Mend,
}

impl OrderKind {
    /// Whether it is asked until it is taken.
    pub(crate) fn insists(&self) -> bool {
        matches!(self, Self::Mend)
    }

    /// Names no more instances than that.
    pub(crate) fn cap_instances(&mut self, most: u32) {
        if let Self::Put { instances, .. } | Self::PutAll { instances, .. } | Self::Scale { instances } = self
        {
            *instances = most.min(*instances);
        }
    }
}

/// The path of the app of a number.
pub(crate) fn path_of(app: usize) -> String {
    format!("/a{app}")
}

/// How long an instance lasts that ends by itself, at most.
pub(crate) const CRASH_MAX: Duration = Duration::from_secs(2);
