//! Makes calls to the master a framework is subscribed with.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mezzo_http::{Body, Bytes, Client, HeaderMap, HeaderValue, Method, header};
use mezzo_mesos::v1::{
    self,
    scheduler::{
        Call, OfferConstraints,
        call::{self, Type},
    },
};
use prost::Message as _;
use tokio::sync::watch;

use crate::{
    error::CallError,
    tasks::{Tasks, launched_ids},
};

/// The type of what we send and accept.
pub(crate) const PROTOBUF: &str = "application/x-protobuf";
/// Where schedulers are served.
pub(crate) const PATH: &str = "/api/v1/scheduler";
/// The header that ties calls to a subscription.
pub(crate) const STREAM_ID: &str = "Mesos-Stream-Id";
/// An answer to a call is a line of text at most; the rest is not worth holding.
pub(crate) const ANSWER_BYTES_MAX: usize = 64 << 10;

/// How a run ends on request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Not yet.
    #[default]
    Running,
    /// Leave; the master waits `failover_timeout` for a successor.
    Failover,
    /// End the framework and its tasks.
    Teardown,
}

/// A handle for calls. Cheap to clone; works from any task, also after a re-subscription.
#[derive(Clone, Debug)]
pub struct Driver {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    state: Mutex<State>,
    stop: watch::Sender<Stop>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    /// What to subscribe with, with the id once there is one.
    pub(crate) framework: v1::FrameworkInfo,
    /// The constraints on offers that a master took last.
    pub(crate) offer_constraints: Option<OfferConstraints>,
    pub(crate) subscription: Option<Subscription>,
    pub(crate) tasks: Tasks,
}

/// An open subscription.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) master: String,
    pub(crate) stream_id: HeaderValue,
    pub(crate) framework: v1::FrameworkId,
}

impl Driver {
    pub(crate) fn new(framework: v1::FrameworkInfo) -> Self {
        let state = Mutex::new(State { framework, ..State::default() });
        let shared = Shared { client: Client::new(), state, stop: watch::Sender::default() };
        Self { shared: Arc::new(shared) }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.shared.client
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can leave the state half changed.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stopping(&self) -> watch::Receiver<Stop> {
        self.shared.stop.subscribe()
    }

    /// Launches tasks (or does other operations) with the resources of offers of one agent.
    pub async fn accept(
        &self,
        offers: impl IntoIterator<Item = v1::OfferId>,
        operations: Vec<v1::offer::Operation>,
        refuse_seconds: Option<f64>,
    ) -> Result<(), CallError> {
        self.state().tasks.launched(&operations);
        let launched = launched_ids(&operations);
        let accept = call::Accept {
            offer_ids: offers.into_iter().collect(),
            operations,
            filters: refuse_seconds.map(filters),
        };
        let call = Call { r#type: Some(Type::Accept as i32), accept: Some(accept), ..Call::default() };
        let outcome = self.call(call).await;
        if let Err(CallError::Lost(_)) = &outcome {
            self.state().tasks.unsure(launched);
        }
        outcome
    }

    /// Launches tasks with the resources of one offer; what is left goes back at once.
    pub async fn launch(&self, offer: &v1::Offer, mut tasks: Vec<v1::TaskInfo>) -> Result<(), CallError> {
        for task in &mut tasks {
            task.agent_id = offer.agent_id.clone();
        }
        let operation = v1::offer::Operation {
            r#type: Some(v1::offer::operation::Type::Launch as i32),
            launch: Some(v1::offer::operation::Launch { task_infos: tasks }),
            ..Default::default()
        };
        self.accept([offer.id.clone()], vec![operation], None).await
    }

    /// Gives offers back, not to be offered again for so many seconds (5 unless told).
    pub async fn decline(
        &self,
        offers: impl IntoIterator<Item = v1::OfferId>,
        refuse_seconds: Option<f64>,
    ) -> Result<(), CallError> {
        self.call(Call {
            r#type: Some(Type::Decline as i32),
            decline: Some(call::Decline {
                offer_ids: offers.into_iter().collect(),
                filters: refuse_seconds.map(filters),
            }),
            ..Call::default()
        })
        .await
    }

    /// Asks for offers again: of these roles, or of all when none is named.
    pub async fn revive(&self, roles: Vec<String>) -> Result<(), CallError> {
        self.call(Call {
            r#type: Some(Type::Revive as i32),
            revive: Some(call::Revive { roles }),
            ..Call::default()
        })
        .await
    }

    /// Wants no more offers: of these roles, or of any when none is named.
    pub async fn suppress(&self, roles: Vec<String>) -> Result<(), CallError> {
        self.call(Call {
            r#type: Some(Type::Suppress as i32),
            suppress: Some(call::Suppress { roles }),
            ..Call::default()
        })
        .await
    }

    /// Ends a task.
    pub async fn kill(&self, task: v1::TaskId, agent: Option<v1::AgentId>) -> Result<(), CallError> {
        self.call(Call {
            r#type: Some(Type::Kill as i32),
            kill: Some(call::Kill { task_id: task, agent_id: agent, kill_policy: None }),
            ..Call::default()
        })
        .await
    }

    /// Sends bytes to an executor; delivery is not certain.
    pub async fn message(
        &self,
        agent: v1::AgentId,
        executor: v1::ExecutorId,
        data: Vec<u8>,
    ) -> Result<(), CallError> {
        self.call(Call {
            r#type: Some(Type::Message as i32),
            message: Some(call::Message { agent_id: agent, executor_id: executor, data }),
            ..Call::default()
        })
        .await
    }

    /// Says something else of the framework from here on, other roles for example: to the master, and with every later
    /// subscription. The id stays what it is.
    pub async fn update_framework(&self, framework: v1::FrameworkInfo) -> Result<(), CallError> {
        let offer_constraints = self.state().offer_constraints.clone();
        self.update(framework, Vec::new(), offer_constraints).await
    }

    /// As [`Self::update_framework`], with the roles that want no offers, and what offers of each role have to fulfil. What the
    /// master takes is also said in later subscriptions.
    pub async fn update(
        &self,
        mut framework: v1::FrameworkInfo,
        suppressed_roles: Vec<String>,
        offer_constraints: Option<OfferConstraints>,
    ) -> Result<(), CallError> {
        {
            let mut state = self.state();
            framework.id = state.framework.id.take();
            state.framework = framework.clone();
        }
        self.call(Call {
            r#type: Some(Type::UpdateFramework as i32),
            update_framework: Some(Box::new(call::UpdateFramework {
                framework_info: framework,
                suppressed_roles,
                offer_constraints: offer_constraints.clone(),
            })),
            ..Call::default()
        })
        .await?;
        // One that the master refuses would keep us from subscribing.
        self.state().offer_constraints = offer_constraints;
        Ok(())
    }

    /// Makes any call; the framework id is filled in.
    pub async fn call(&self, mut call: Call) -> Result<(), CallError> {
        let subscription = self.state().subscription.clone().ok_or(CallError::NotSubscribed)?;
        call.framework_id = Some(subscription.framework);
        let mut headers = protobuf_headers();
        headers.insert(STREAM_ID, subscription.stream_id);
        let body = Body::Full(call.encode_to_vec().into());
        let response = self
            .shared
            .client
            .request(Method::POST, &subscription.master, PATH, headers, body)
            .await
            .map_err(CallError::Lost)?;
        let status = response.status;
        let answer = response.bytes(ANSWER_BYTES_MAX).await.map_err(CallError::Lost)?;
        if status.is_success() {
            return Ok(());
        }
        Err(CallError::Refused { status: status.as_u16(), message: text(&answer) })
    }

    /// Ends the run and the framework with all its tasks.
    pub fn teardown(&self) {
        self.shared.stop.send_replace(Stop::Teardown);
    }

    /// Ends the run; tasks go on, and a successor has `failover_timeout` to subscribe.
    pub fn stop(&self) {
        self.shared.stop.send_replace(Stop::Failover);
    }
}

/// For a call with a protobuf body.
pub(crate) fn protobuf_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROTOBUF));
    headers.insert(header::ACCEPT, HeaderValue::from_static(PROTOBUF));
    headers
}

/// An answer's text for people.
pub(crate) fn text(answer: &Bytes) -> String {
    String::from_utf8_lossy(answer).trim().to_owned()
}

fn filters(refuse_seconds: f64) -> v1::Filters {
    v1::Filters { refuse_seconds: Some(refuse_seconds) }
}
