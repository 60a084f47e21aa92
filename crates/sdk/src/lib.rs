//! Write a framework: a scheduler that takes offers and launches tasks, over the Mesos v1 API.
//!
//! Implement [`Scheduler`] and give it to [`run`]. The library keeps the subscription alive (several
//! masters, redirects, back-off with jitter), acknowledges a status update only after the handler for
//! it has returned, drops repeated deliveries, and reconciles the tasks it launched after every
//! re-subscription until each has been heard of. Handlers run one at a time: while one works, nothing
//! is read from the master. Inside a handler and from anywhere else, [`Driver`] makes calls.
//!
//! It decides nothing about placement, keeps nothing on disk, and speaks protobuf only. A scheduler
//! that wants to survive its own restart stores the framework id it gets in
//! [`Scheduler::subscribed`] and puts it into [`Config::framework`].

mod driver;
mod error;
mod session;
pub mod tasks;

use std::time::Duration;

use mezzo_mesos::v1;

pub use driver::Driver;
pub use error::{CallError, RunError};
pub use session::run;

/// What to subscribe with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Masters as `host:port`; the next one is tried when one does not answer, redirects are followed.
    pub masters: Vec<String>,
    /// Who we are. With `id` set the framework of that id is taken over.
    pub framework: v1::FrameworkInfo,
    /// Roles that want no offers for now.
    pub suppressed_roles: Vec<String>,
    /// The longest wait between two attempts to subscribe.
    pub backoff_max: Duration,
    /// Who acknowledges status updates and reconciles.
    pub receipts: Receipts,
}

/// Who acknowledges status updates of tasks, drops repeated ones, and asks for tasks that nobody has heard of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Receipts {
    /// This library, as described above.
    #[default]
    ByLibrary,
    /// The scheduler, with calls of its own: it gets every delivery, and decides when one counts as received. For schedulers
    /// that keep books of their tasks themselves.
    ByScheduler,
}

impl Config {
    /// A framework of this name and user in role `*`, on these masters. Its tasks outlive restarts of
    /// their agent, and it asks for partition awareness and several roles, as frameworks should.
    pub fn new(masters: impl IntoIterator<Item = impl Into<String>>, name: &str, user: &str) -> Self {
        use v1::framework_info::{Capability, capability::Type};
        let capability = |kind: Type| Capability { r#type: Some(kind as i32) };
        Self {
            masters: masters.into_iter().map(Into::into).collect(),
            framework: v1::FrameworkInfo {
                name: name.into(),
                user: user.into(),
                roles: vec!["*".into()],
                checkpoint: Some(true),
                capabilities: vec![
                    capability(Type::MultiRole),
                    capability(Type::PartitionAware),
                    capability(Type::TaskKillingState),
                    capability(Type::ReservationRefinement),
                ],
                ..Default::default()
            },
            suppressed_roles: Vec::new(),
            backoff_max: Duration::from_secs(10),
            receipts: Receipts::default(),
        }
    }
}

/// Decides what to do with offers and news. Every method has a default that does the obvious.
pub trait Scheduler: Send {
    /// The master that the subscription is with, told before each [`Scheduler::subscribed`].
    fn master(&mut self, driver: &Driver, master: &v1::MasterInfo) -> impl Future<Output = ()> + Send {
        let _ = (driver, master);
        async {}
    }

    /// The subscription is up; `resubscribed` tells whether it had been before in this run.
    fn subscribed(
        &mut self,
        driver: &Driver,
        framework: &v1::FrameworkId,
        resubscribed: bool,
    ) -> impl Future<Output = ()> + Send {
        let _ = (driver, framework, resubscribed);
        async {}
    }

    /// Resources that may be used. Each offer must be accepted or declined some time.
    fn offers(&mut self, driver: &Driver, offers: Vec<v1::Offer>) -> impl Future<Output = ()> + Send;

    /// An offer is gone; using it would fail.
    fn rescinded(&mut self, driver: &Driver, offer: v1::OfferId) -> impl Future<Output = ()> + Send {
        let _ = (driver, offer);
        async {}
    }

    /// News of a task. It is acknowledged once this has returned, so what must not be lost is stored
    /// before.
    fn update(&mut self, driver: &Driver, status: v1::TaskStatus) -> impl Future<Output = ()> + Send;

    /// News of an operation that was given an id; acknowledged like [`Scheduler::update`].
    fn operation_update(
        &mut self,
        driver: &Driver,
        status: v1::OperationStatus,
    ) -> impl Future<Output = ()> + Send {
        let _ = (driver, status);
        async {}
    }

    /// Bytes from an executor.
    fn message(
        &mut self,
        driver: &Driver,
        message: v1::scheduler::event::Message,
    ) -> impl Future<Output = ()> + Send {
        let _ = (driver, message);
        async {}
    }

    /// An executor or an agent has ended.
    fn failure(
        &mut self,
        driver: &Driver,
        failure: v1::scheduler::event::Failure,
    ) -> impl Future<Output = ()> + Send {
        let _ = (driver, failure);
        async {}
    }

    /// Agents that shall be vacated.
    fn inverse_offers(
        &mut self,
        driver: &Driver,
        offers: Vec<v1::InverseOffer>,
    ) -> impl Future<Output = ()> + Send {
        let _ = (driver, offers);
        async {}
    }

    /// The subscription broke; it is being made again.
    fn disconnected(&mut self, driver: &Driver) -> impl Future<Output = ()> + Send {
        let _ = driver;
        async {}
    }
}
