//! Instances: what runs for a service.

use std::{collections::BTreeMap, fmt, sync::Arc};

use mezzo_mesos::v1;
use mezzo_time::Timestamp;

use crate::PathId;

/// The id of an instance: `<path joined by _>.instance-<uuid>`, or `.marathon-<uuid>` for old ones (rule 185). It stays the
/// same over relaunches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(Arc<str>);

/// A text that is no instance's or task's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceIdError(pub String);

impl fmt::Display for InstanceIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is no id of an instance: <path>.instance-<uuid> is expected", self.0)
    }
}

impl std::error::Error for InstanceIdError {}

impl InstanceId {
    const MARK: &'static str = ".instance-";

    /// A new one for a service.
    pub fn new(run_spec: &PathId, uuid: &str) -> Self {
        Self(format!("{}{}{uuid}", run_spec.underscored(), Self::MARK).into())
    }

    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, InstanceIdError> {
        match text.rsplit_once(Self::MARK) {
            Some((path, uuid)) if !path.is_empty() && !uuid.is_empty() && !uuid.contains('.') => {
                Ok(Self(text.into()))
            }
            _ => Err(InstanceIdError(text.into())),
        }
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part after the mark.
    pub fn uuid(&self) -> &str {
        self.0.rsplit_once(Self::MARK).map_or("", |(_, uuid)| uuid)
    }

    /// The service's path. A dash or dot in a segment stays what it is; an underscore always was a slash (rule 274).
    pub fn run_spec(&self) -> Result<PathId, InstanceIdError> {
        let path = self.0.rsplit_once(Self::MARK).map_or("", |(path, _)| path);
        PathId::parse(&path.replace('_', "/"), &PathId::root())
            .map_err(|_| InstanceIdError(self.0.to_string()))
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id of one task of an instance: `<instance>.<container or _app>.<incarnation>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(Arc<str>);

impl TaskId {
    /// What stands for the container in tasks of apps.
    pub const APP: &'static str = "_app";

    /// The nth task of an instance's container; none for apps.
    pub fn new(instance: &InstanceId, container: Option<&str>, incarnation: u64) -> Self {
        Self(format!("{instance}.{}.{incarnation}", container.unwrap_or(Self::APP)).into())
    }

    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, InstanceIdError> {
        let id = Self(text.into());
        let well = id.0.rsplit_once('.').is_some_and(|(rest, incarnation)| {
            !incarnation.is_empty()
                && incarnation.bytes().all(|b| b.is_ascii_digit())
                && rest.rsplit_once('.').is_some_and(|(instance, container)| {
                    !container.is_empty() && InstanceId::parse(instance).is_ok()
                })
        });
        if well { Ok(id) } else { Err(InstanceIdError(text.into())) }
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whose task it is.
    pub fn instance(&self) -> InstanceId {
        let mut parts = self.0.rsplitn(3, '.');
        parts.next();
        parts.next();
        InstanceId(parts.next().unwrap_or("").into())
    }

    /// The container of a pod; none for apps.
    pub fn container(&self) -> Option<&str> {
        self.0.rsplit('.').nth(1).filter(|name| *name != Self::APP)
    }

    /// How often the instance has been launched, from 1.
    pub fn incarnation(&self) -> u64 {
        self.0.rsplit('.').next().and_then(|text| text.parse().ok()).unwrap_or(1)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is to become of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// It is to run, and is launched again when it ends.
    Running,
    /// It is to end and to keep its volumes.
    Stopped,
    /// It is to end and to be forgotten.
    Decommissioned,
}

impl Goal {
    /// The name as the API writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Stopped => "Stopped",
            Self::Decommissioned => "Decommissioned",
        }
    }
}

/// How an instance or a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// Waits for an offer.
    Scheduled,
    /// Launched; nobody has answered.
    Provisioned,
    /// Fetching.
    Staging,
    /// Starting.
    Starting,
    /// Running.
    Running,
    /// Asked to end.
    Killing,
    /// Its agent cannot be reached.
    Unreachable,
    /// Unreachable for long enough to be replaced.
    UnreachableInactive,
    /// Nobody knows.
    Unknown,
    /// Ended well.
    Finished,
    /// Ended by a kill.
    Killed,
    /// Ended badly.
    Failed,
    /// Refused.
    Error,
    /// Lost with its agent.
    Gone,
    /// Never launched.
    Dropped,
}

impl Condition {
    /// The name as the API writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scheduled => "Scheduled",
            Self::Provisioned => "Provisioned",
            Self::Staging => "Staging",
            Self::Starting => "Starting",
            Self::Running => "Running",
            Self::Killing => "Killing",
            Self::Unreachable => "Unreachable",
            Self::UnreachableInactive => "UnreachableInactive",
            Self::Unknown => "Unknown",
            Self::Finished => "Finished",
            Self::Killed => "Killed",
            Self::Failed => "Failed",
            Self::Error => "Error",
            Self::Gone => "Gone",
            Self::Dropped => "Dropped",
        }
    }

    /// Nothing more will be heard of it.
    pub fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Finished | Self::Killed | Self::Failed | Self::Error | Self::Gone | Self::Dropped
        )
    }

    /// Something of it may be there: it counts against the bounds of an upgrade.
    pub fn is_active(self) -> bool {
        matches!(
            self,
            Self::Provisioned
                | Self::Staging
                | Self::Starting
                | Self::Running
                | Self::Killing
                | Self::Unreachable
        )
    }
}

/// Where an instance is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AgentRef {
    /// The agent's id.
    pub id: String,
    /// Its host name.
    pub host: String,
    /// Its region, when it tells one.
    pub region: Option<String>,
    /// Its zone, when it tells one.
    pub zone: Option<String>,
    /// Its attributes, which constraints look at.
    pub attributes: Vec<v1::Attribute>,
}

/// One task of an instance.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// How it is.
    pub condition: Condition,
    /// When it was launched.
    pub staged_at: Timestamp,
    /// When it began to run.
    pub started_at: Option<Timestamp>,
    /// The last status of the kernel.
    pub status: Option<Box<v1::TaskStatus>>,
    /// Its ports on the agent, in the order of the definition.
    pub host_ports: Vec<u16>,
    /// By the health checks of the agent; none: nothing is known.
    pub healthy: Option<bool>,
}

/// A persistent volume of an instance, written `<path joined by _>#<container path>#<uuid>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VolumeId {
    /// The service.
    pub run_spec: PathId,
    /// Where it appears.
    pub container_path: String,
    /// Which of them.
    pub uuid: String,
}

impl fmt::Display for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}#{}", self.run_spec.underscored(), self.container_path, self.uuid)
    }
}

/// How far the reservation of a resident instance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReservationState {
    /// Asked for, to be seen in an offer before that time (rule 158).
    New {
        /// When it is given up.
        deadline: Timestamp,
    },
    /// Seen, and used.
    Launched,
    /// Kept for the next launch.
    Suspended,
}

/// What a resident instance keeps.
#[derive(Clone, Debug, PartialEq)]
pub struct Reservation {
    /// Its volumes.
    pub volumes: Vec<VolumeId>,
    /// How far it is.
    pub state: ReservationState,
}

/// One instance of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// The service.
    pub run_spec: PathId,
    /// The version of the definition that it runs.
    pub version: Timestamp,
    /// What is to become of it.
    pub goal: Goal,
    /// How it is: the worst of its tasks (rule 181).
    pub condition: Condition,
    /// Since when.
    pub since: Timestamp,
    /// Since when it has been running.
    pub active_since: Option<Timestamp>,
    /// Whether it is well; none: nothing is known.
    pub healthy: Option<bool>,
    /// Where it is, once placed.
    pub agent: Option<AgentRef>,
    /// Its tasks by container name; `_app` for apps.
    pub tasks: BTreeMap<String, Task>,
    /// How often it has been launched.
    pub incarnation: u64,
    /// What it keeps.
    pub reservation: Option<Reservation>,
    /// The role it was launched in, which a change of the service does not change (rule 167).
    pub role: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marathon_rule_185_ids_of_instances_and_tasks() {
        let path = PathId::parse("/shop/web-2.x", &PathId::root()).unwrap();
        let instance = InstanceId::new(&path, "7f1-22");
        assert_eq!(instance.as_str(), "shop_web-2.x.instance-7f1-22");
        assert_eq!((instance.run_spec().unwrap(), instance.uuid()), (path, "7f1-22"));
        let task = TaskId::new(&instance, None, 2);
        assert_eq!(task.as_str(), "shop_web-2.x.instance-7f1-22._app.2");
        assert_eq!((task.instance(), task.container(), task.incarnation()), (instance.clone(), None, 2));
        let task = TaskId::new(&instance, Some("side"), 1);
        assert_eq!((task.instance(), task.container(), task.incarnation()), (instance, Some("side"), 1));
        assert_eq!(TaskId::parse(task.as_str()).unwrap(), task);
        for bad in [
            "",
            "web",
            "web.instance-",
            "web.instance-1",
            "web.instance-1._app",
            "web.instance-1._app.x",
            ".instance-1._app.1",
        ] {
            assert!(TaskId::parse(bad).is_err(), "{bad}");
        }
    }
}
