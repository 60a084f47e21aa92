//! GET_STATE, the snapshot that opens an operator's event stream, and big answers piece by piece.

use mezzo_mesos::v1::{
    self,
    master::{
        Event, Response, event,
        response::{GetState, Type, get_agents, get_executors, get_frameworks},
    },
};

use super::{View, response};

/// Seconds between heartbeats of an operator's event stream (rule 499).
const HEARTBEAT_INTERVAL_SECONDS: f64 = 15.0;

/// A list of a big answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// Tasks of registered agents.
    Tasks,
    /// Tasks of unreachable agents.
    UnreachableTasks,
    /// Ended tasks that are kept.
    CompletedTasks,
    /// Executors of frameworks.
    Executors,
    /// Registered frameworks.
    Frameworks,
    /// Ended frameworks.
    CompletedFrameworks,
    /// Registered agents.
    Agents,
    /// Agents that are not back since the master started.
    RecoveredAgents,
}

impl List {
    /// Its key in JSON and its number in protobuf, within the group's message.
    pub fn field(self) -> (&'static str, u32) {
        match self {
            Self::Tasks => ("tasks", 2),
            Self::UnreachableTasks => ("unreachable_tasks", 5),
            Self::CompletedTasks => ("completed_tasks", 3),
            Self::Executors => ("executors", 1),
            Self::Frameworks => ("frameworks", 1),
            Self::CompletedFrameworks => ("completed_frameworks", 2),
            Self::Agents => ("agents", 1),
            Self::RecoveredAgents => ("recovered_agents", 2),
        }
    }
}

/// One message of a big answer, made of lists only. All its lists are printed in JSON, empty or not.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// Its key in JSON, in the answer as well as in `get_state`.
    pub key: &'static str,
    /// Its number in protobuf within the answer.
    pub in_response: u32,
    /// Its number in protobuf within `get_state`.
    pub in_state: u32,
    /// In the order in which JSON has them.
    pub lists: &'static [List],
}

const TASKS: Group = Group {
    key: "get_tasks",
    in_response: 13,
    in_state: 1,
    lists: &[List::Tasks, List::UnreachableTasks, List::CompletedTasks],
};
const EXECUTORS: Group =
    Group { key: "get_executors", in_response: 12, in_state: 2, lists: &[List::Executors] };
const FRAMEWORKS: Group = Group {
    key: "get_frameworks",
    in_response: 11,
    in_state: 3,
    lists: &[List::Frameworks, List::CompletedFrameworks],
};
const AGENTS: Group =
    Group { key: "get_agents", in_response: 10, in_state: 4, lists: &[List::Agents, List::RecoveredAgents] };

/// The groups of a big answer, in order; `None` for answers that have none. Those of GET_STATE lie in
/// `get_state` (number 9), the group of another call lies in the answer itself.
pub fn layout(r#type: Type) -> Option<&'static [Group]> {
    match r#type {
        Type::GetState => Some(&[TASKS, EXECUTORS, FRAMEWORKS, AGENTS]),
        Type::GetTasks => Some(&[TASKS]),
        Type::GetExecutors => Some(&[EXECUTORS]),
        Type::GetFrameworks => Some(&[FRAMEWORKS]),
        Type::GetAgents => Some(&[AGENTS]),
        _ => None,
    }
}

/// One entry of a list. Tasks are lent, because they are many; what has to be put together is owned.
#[derive(Debug)]
pub enum Item<'a> {
    /// Of one of the lists of tasks.
    Task(&'a v1::Task),
    /// Of [`List::Executors`].
    Executor(Box<get_executors::Executor>),
    /// Of one of the lists of frameworks.
    Framework(Box<get_frameworks::Framework>),
    /// Of [`List::Agents`].
    Agent(Box<get_agents::Agent>),
    /// Of [`List::RecoveredAgents`].
    AgentInfo(&'a v1::AgentInfo),
}

/// The entries of a list, made as they are asked for.
pub type Items<'a> = Box<dyn Iterator<Item = Item<'a>> + 'a>;

impl<'a> View<'a> {
    /// Walks a list.
    pub fn items(self, list: List) -> Items<'a> {
        match list {
            List::Tasks => Box::new(self.tasks().map(Item::Task)),
            List::UnreachableTasks => Box::new(self.unreachable_tasks().map(Item::Task)),
            List::CompletedTasks => Box::new(self.completed_tasks().map(Item::Task)),
            List::Executors => Box::new(self.executors().map(Box::new).map(Item::Executor)),
            List::Frameworks => Box::new(self.frameworks().map(Box::new).map(Item::Framework)),
            List::CompletedFrameworks => {
                Box::new(self.completed_frameworks().map(Box::new).map(Item::Framework))
            }
            List::Agents => Box::new(self.agents().map(Box::new).map(Item::Agent)),
            List::RecoveredAgents => Box::new(self.recovered_agents().map(Item::AgentInfo)),
        }
    }

    /// Everything, whole; for big clusters [`layout`] and [`View::items`] are cheaper.
    pub fn get_state(&self) -> Response {
        Response { get_state: Some(self.state()), ..response(Type::GetState) }
    }

    fn state(&self) -> GetState {
        GetState {
            get_tasks: Some(self.tasks_list()),
            get_executors: Some(self.executors_list()),
            get_frameworks: Some(self.frameworks_list()),
            get_agents: Some(self.agents_list()),
        }
    }

    /// The event that opens an operator's event stream (rule 499).
    pub fn subscribed(&self) -> Event {
        Event {
            r#type: Some(event::Type::Subscribed.into()),
            subscribed: Some(Box::new(event::Subscribed {
                get_state: Some(self.state()),
                heartbeat_interval_seconds: Some(HEARTBEAT_INTERVAL_SECONDS),
            })),
            ..Default::default()
        }
    }
}
