//! Keeps the subscription alive and hands its events to the scheduler.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

use mezzo_http::{Body, ClientResponse, HeaderValue, Method, StatusCode, header};
use mezzo_mesos::v1::{
    self,
    scheduler::{
        Call, Event,
        call::{self, Type},
        event,
    },
};
use mezzo_recordio::Decoder;
use prost::Message as _;
use tokio::time::{Instant, timeout_at};
use tracing::{debug, info, warn};

use crate::{
    Config, Receipts, Scheduler,
    driver::{ANSWER_BYTES_MAX, Driver, PATH, STREAM_ID, Stop, Subscription, protobuf_headers, text},
    error::RunError,
    tasks::{News, RECONCILE_MAX, RECONCILE_MIN, acknowledgement, reconcile},
};

/// The first wait after a lost connection; doubles with every failure.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// Missed heartbeats until the connection counts as dead, as schedulers commonly do it.
const HEARTBEATS_MISSED_MAX: u32 = 5;
/// The interval when the master names none.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);
/// One event with thousands of offers stays below this; more is a broken stream.
const EVENT_BYTES_MAX: usize = 64 << 20;
/// Redirects in a row before the next address is tried.
const REDIRECTS_MAX: usize = 5;

/// Runs a scheduler until [`Driver::stop`] or [`Driver::teardown`], or until the master ends it.
/// `started` gets a driver for use outside of the handlers.
pub async fn run(
    config: Config,
    scheduler: &mut impl Scheduler,
    started: impl FnOnce(Driver),
) -> Result<(), RunError> {
    if config.masters.is_empty() {
        return Err(RunError::NoMaster);
    }
    let driver = Driver::new(config.framework.clone());
    started(driver.clone());
    let mut session = Session { master: config.masters[0].clone(), config, driver, subscribed_before: false };
    session.run(scheduler).await
}

struct Session {
    config: Config,
    driver: Driver,
    /// Where to try next.
    master: String,
    subscribed_before: bool,
}

/// How one connection ended.
enum Ended {
    /// Try again.
    Lost,
    /// The caller asked for it.
    Stopped(Stop),
}

impl Session {
    async fn run(&mut self, scheduler: &mut impl Scheduler) -> Result<(), RunError> {
        let mut stop = self.driver.stopping();
        let mut failures = 0;
        loop {
            let attempt = tokio::select! {
                attempt = self.subscribe() => attempt?,
                _ = stop.wait_for(|stop| *stop != Stop::Running) => return Ok(()),
            };
            if let Some((response, stream_id)) = attempt {
                let ended = self.read(response, stream_id, scheduler).await?;
                let was_up = self.driver.state().subscription.is_some();
                if let Ended::Stopped(how) = ended {
                    self.leave(how).await;
                    return Ok(());
                }
                self.driver.state().subscription = None;
                if was_up {
                    failures = 0;
                    scheduler.disconnected(&self.driver).await;
                }
            }
            self.next_master(failures);
            let wait = backoff(failures, self.config.backoff_max);
            failures += 1;
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = stop.wait_for(|stop| *stop != Stop::Running) => return Ok(()),
            }
        }
    }

    /// The first failure is retried at the same address, which may be about to come back.
    fn next_master(&mut self, failures: u32) {
        if failures == 0 && self.config.masters.contains(&self.master) {
            return;
        }
        let at = self.config.masters.iter().position(|master| *master == self.master);
        let next = at.map_or(0, |at| (at + 1) % self.config.masters.len());
        self.master = self.config.masters[next].clone();
    }

    async fn subscribe(&mut self) -> Result<Option<(ClientResponse, HeaderValue)>, RunError> {
        let (framework_info, offer_constraints) = {
            let state = self.driver.state();
            (state.framework.clone(), state.offer_constraints.clone())
        };
        let call = Call {
            r#type: Some(Type::Subscribe as i32),
            framework_id: framework_info.id.clone(),
            subscribe: Some(Box::new(call::Subscribe {
                framework_info,
                suppressed_roles: self.config.suppressed_roles.clone(),
                offer_constraints,
            })),
            ..Call::default()
        };
        let body = call.encode_to_vec();
        for _ in 0..REDIRECTS_MAX {
            let body = Body::Full(body.clone().into());
            let sent = self
                .driver
                .client()
                .request(Method::POST, &self.master, PATH, protobuf_headers(), body)
                .await;
            let response = match sent {
                Ok(response) => response,
                Err(error) => {
                    debug!(master = %self.master, %error, "subscribe failed");
                    return Ok(None);
                }
            };
            match response.status {
                StatusCode::OK => {
                    let Some(stream_id) = response.headers.get(STREAM_ID).cloned() else {
                        warn!(master = %self.master, "answer without {STREAM_ID}");
                        return Ok(None);
                    };
                    return Ok(Some((response, stream_id)));
                }
                StatusCode::TEMPORARY_REDIRECT => {
                    let Some(leader) = response.header(header::LOCATION).and_then(redirect_address) else {
                        return Ok(None);
                    };
                    info!(from = %self.master, to = %leader, "redirected to the leading master");
                    self.master = leader;
                }
                // No leader, or a master that is not ready: another attempt may succeed.
                StatusCode::SERVICE_UNAVAILABLE | StatusCode::NOT_FOUND => return Ok(None),
                status if status.is_client_error() => {
                    let message =
                        response.bytes(ANSWER_BYTES_MAX).await.map(|b| text(&b)).unwrap_or_default();
                    return Err(RunError::Refused { status: status.as_u16(), message });
                }
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Reads events until the connection ends; returns what ended it.
    async fn read(
        &mut self,
        mut response: ClientResponse,
        stream_id: HeaderValue,
        scheduler: &mut impl Scheduler,
    ) -> Result<Ended, RunError> {
        let mut stop = self.driver.stopping();
        let mut decoder = Decoder::new(EVENT_BYTES_MAX);
        let mut silence_max = HEARTBEAT_INTERVAL * HEARTBEATS_MISSED_MAX;
        let mut reconcile_wait = RECONCILE_MIN;
        let mut reconcile_at = Instant::now() + reconcile_wait;
        let mut heard = Instant::now();
        loop {
            let wake = reconcile_at.min(heard + silence_max);
            let chunk = tokio::select! {
                chunk = timeout_at(wake, response.chunk()) => chunk,
                how = stop.wait_for(|stop| *stop != Stop::Running) => {
                    return Ok(Ended::Stopped(how.map_or(Stop::Failover, |how| *how)));
                }
            };
            let chunk = match chunk {
                Ok(Some(Ok(chunk))) => chunk,
                Ok(Some(Err(_)) | None) => return Ok(Ended::Lost),
                Err(_) if heard.elapsed() >= silence_max => {
                    warn!(master = %self.master, "no heartbeat, subscribing again");
                    return Ok(Ended::Lost);
                }
                Err(_) if self.config.receipts == Receipts::ByScheduler => {
                    reconcile_at = Instant::now() + RECONCILE_MAX;
                    continue;
                }
                Err(_) => {
                    let call = self.driver.state().tasks.reconcile();
                    if let Some(call) = call {
                        self.send(call).await;
                        reconcile_wait = (reconcile_wait * 2).min(RECONCILE_MAX);
                        reconcile_at = Instant::now() + reconcile_wait;
                    } else {
                        reconcile_at = Instant::now() + RECONCILE_MAX;
                    }
                    continue;
                }
            };
            heard = Instant::now();
            decoder.push(&chunk);
            loop {
                let event = match decoder.next_record() {
                    Ok(Some(record)) => Event::decode(&record[..]),
                    Ok(None) => break,
                    Err(error) => {
                        warn!(master = %self.master, %error, "event stream is broken");
                        return Ok(Ended::Lost);
                    }
                };
                let Ok(event) = event else {
                    warn!(master = %self.master, "event cannot be decoded");
                    return Ok(Ended::Lost);
                };
                if let Some(subscribed) = event.subscribed {
                    if let Some(seconds) = subscribed.heartbeat_interval_seconds {
                        let interval = Duration::try_from_secs_f64(seconds).unwrap_or(HEARTBEAT_INTERVAL);
                        silence_max = interval * HEARTBEATS_MISSED_MAX;
                    }
                    if let Some(master) = &subscribed.master_info {
                        scheduler.master(&self.driver, master).await;
                    }
                    self.on_subscribed(subscribed.framework_id, stream_id.clone(), scheduler).await;
                    reconcile_wait = RECONCILE_MIN;
                    reconcile_at = Instant::now() + reconcile_wait;
                } else {
                    self.on_event(event, scheduler).await?;
                }
                if *stop.borrow() != Stop::Running {
                    break;
                }
            }
        }
    }

    async fn on_subscribed(
        &mut self,
        framework: v1::FrameworkId,
        stream_id: HeaderValue,
        scheduler: &mut impl Scheduler,
    ) {
        let takeover = !self.subscribed_before && self.driver.state().framework.id.is_some();
        let resubscribed = std::mem::replace(&mut self.subscribed_before, true);
        {
            let mut state = self.driver.state();
            state.framework.id = Some(framework.clone());
            let master = self.master.clone();
            state.subscription = Some(Subscription { master, stream_id, framework: framework.clone() });
            state.tasks.ask_all();
        }
        scheduler.subscribed(&self.driver, &framework, resubscribed).await;
        if self.config.receipts == Receipts::ByScheduler {
            return;
        }
        // A successor does not know its tasks: it asks for all. Otherwise the known ones are enough.
        let call = if takeover { Some(reconcile(Vec::new())) } else { self.driver.state().tasks.reconcile() };
        if let Some(call) = call {
            self.send(call).await;
        }
    }

    async fn on_event(&mut self, event: Event, scheduler: &mut impl Scheduler) -> Result<(), RunError> {
        let kind = event.r#type.and_then(|kind| event::Type::try_from(kind).ok());
        let driver = &self.driver;
        match kind {
            Some(event::Type::Offers) => {
                let offers = event.offers.map(|offers| offers.offers).unwrap_or_default();
                scheduler.offers(driver, offers).await;
            }
            Some(event::Type::InverseOffers) => {
                let offers = event.inverse_offers.map(|offers| offers.inverse_offers).unwrap_or_default();
                scheduler.inverse_offers(driver, offers).await;
            }
            Some(event::Type::Rescind) => {
                if let Some(rescind) = event.rescind {
                    scheduler.rescinded(driver, rescind.offer_id).await;
                }
            }
            Some(event::Type::Update) => {
                if let Some(update) = event.update {
                    self.on_update(update.status, scheduler).await;
                }
            }
            Some(event::Type::UpdateOperationStatus) => {
                if let Some(update) = event.update_operation_status {
                    self.on_operation_update(update.status, scheduler).await;
                }
            }
            Some(event::Type::Message) => {
                if let Some(message) = event.message {
                    scheduler.message(driver, message).await;
                }
            }
            Some(event::Type::Failure) => {
                if let Some(failure) = event.failure {
                    scheduler.failure(driver, failure).await;
                }
            }
            Some(event::Type::Error) => {
                let message = event.error.map(|error| error.message).unwrap_or_default();
                return Err(RunError::Ended(message));
            }
            // Events of a later version are not for us.
            Some(_) | None => {}
        }
        Ok(())
    }

    async fn on_update(&self, status: v1::TaskStatus, scheduler: &mut impl Scheduler) {
        if self.config.receipts == Receipts::ByScheduler {
            return scheduler.update(&self.driver, status).await;
        }
        let news = self.driver.state().tasks.heard(&status);
        let acknowledge = acknowledgement(&status);
        if news == News::Fresh {
            scheduler.update(&self.driver, status).await;
        }
        if let Some(call) = acknowledge {
            self.send(call).await;
        }
    }

    async fn on_operation_update(&self, status: v1::OperationStatus, scheduler: &mut impl Scheduler) {
        let acknowledge = match (&status.uuid, &status.operation_id) {
            (Some(uuid), Some(id)) => Some(call::AcknowledgeOperationStatus {
                agent_id: status.agent_id.clone(),
                resource_provider_id: status.resource_provider_id.clone(),
                uuid: uuid.value.clone(),
                operation_id: id.clone(),
            }),
            _ => None,
        };
        scheduler.operation_update(&self.driver, status).await;
        if acknowledge.is_some() {
            self.send(Call {
                r#type: Some(Type::AcknowledgeOperationStatus as i32),
                acknowledge_operation_status: acknowledge,
                ..Call::default()
            })
            .await;
        }
    }

    /// Sends what the library itself has to say. A lost call comes again: the master repeats an update
    /// that was not acknowledged, and questions are asked until they are answered.
    async fn send(&self, call: Call) {
        if let Err(error) = self.driver.call(call).await {
            debug!(%error, "call was lost");
        }
    }

    async fn leave(&self, how: Stop) {
        if how == Stop::Teardown {
            self.send(Call { r#type: Some(Type::Teardown as i32), ..Call::default() }).await;
        }
        self.driver.state().subscription = None;
    }
}

/// `//host:port/path` and `http://host:port/path` to `host:port`.
fn redirect_address(location: &str) -> Option<String> {
    let rest = location.strip_prefix("http:").unwrap_or(location).strip_prefix("//")?;
    let address = rest.split('/').next().filter(|address| !address.is_empty())?;
    Some(address.to_owned())
}

/// Doubles with the failures; half of it is random so that schedulers do not come back all at once.
fn backoff(failures: u32, max: Duration) -> Duration {
    let full = BACKOFF_MIN.saturating_mul(1 << failures.min(16)).min(max);
    let random = RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64;
    full.mul_f64(0.5 + random / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_4_redirects_are_scheme_relative() {
        assert_eq!(redirect_address("//m2:5050/api/v1/scheduler").as_deref(), Some("m2:5050"));
        assert_eq!(redirect_address("http://m2:5050").as_deref(), Some("m2:5050"));
        assert_eq!(redirect_address("/path"), None);
    }

    #[test]
    fn waits_grow_and_stay_bounded() {
        let max = Duration::from_secs(10);
        assert!(backoff(0, max) <= BACKOFF_MIN);
        for failures in [8, 100] {
            assert!((max / 2..=max).contains(&backoff(failures, max)), "{failures}");
        }
    }
}
