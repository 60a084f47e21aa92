//! The way to the master: calls go out in the order of the effects, but acknowledgements do not wait for each other.
//!
//! A thousand instances that start are three thousand acknowledgements, and an agent tells the next of a task when the one
//! before is acknowledged. One after the other, each would wait for the answers to all before it. Their order means nothing:
//! none is sent before what it acknowledges is on the disk, and no task has two that are not acknowledged.

use std::{collections::BTreeSet, sync::Arc};

use mezzo_mesos::v1::scheduler::{Call, call::Type};
use mezzo_sdk::{CallError, Driver};
use mezzo_services::Input;
use tokio::{sync::mpsc, task::JoinSet};
use tracing::{debug, info, warn};

use crate::{
    inbox::Work,
    master::{framework, roles_of},
    shared::Shared,
};

/// Acknowledgements on their way at once: as many as the client keeps connections.
const ACKNOWLEDGEMENTS_MAX: usize = 8;

/// Sends calls until no more can come.
pub(crate) async fn send_calls(
    shared: Arc<Shared>,
    driver: Driver,
    mut calls: mpsc::Receiver<Box<Call>>,
    mut roles: BTreeSet<String>,
) {
    let mut acknowledgements = JoinSet::new();
    let mut seen = None;
    while let Some(call) = calls.recv().await {
        if call.r#type() == Type::Acknowledge {
            while acknowledgements.len() >= ACKNOWLEDGEMENTS_MAX {
                acknowledgements.join_next().await;
            }
            let (shared, driver) = (shared.clone(), driver.clone());
            acknowledgements.spawn(async move { send(&shared, &driver, call).await });
            continue;
        }
        // Offers of a role come only to frameworks that have it. Roles are not given up while this process lives, because
        // instances keep theirs when a definition changes.
        let root = shared.snapshot().root.clone();
        if seen.as_ref().is_none_or(|seen| !Arc::ptr_eq(seen, &root)) {
            let mut wanted = roles_of(&root);
            wanted.extend(roles.iter().cloned());
            seen = Some(root);
            if wanted != roles {
                let framework = framework(&shared.config, shared.address, None, &wanted);
                match driver.update_framework(framework).await {
                    Ok(()) | Err(CallError::NotSubscribed) => {}
                    Err(error) => warn!(%error, "the master does not take other roles"),
                }
                roles = wanted;
            }
        }
        match &call.update_framework {
            Some(update) => {
                let framework = framework(&shared.config, shared.address, None, &roles);
                let (suppressed, constraints) =
                    (update.suppressed_roles.clone(), update.offer_constraints.clone());
                match driver.update(framework, suppressed, constraints).await {
                    // Whoever subscribes says it again.
                    Ok(()) | Err(CallError::NotSubscribed) => {}
                    Err(error @ CallError::Lost(_)) => lost(&shared, call, &error),
                    Err(error) => warn!(%error, "the master does not take constraints on offers"),
                }
            }
            None => send(&shared, &driver, call).await,
        }
    }
}

fn lost(shared: &Shared, call: Box<Call>, error: &CallError) {
    debug!(%error, "a call may be lost");
    shared.inbox.push_now(Work::Step(Box::new(Input::CallLost(call))));
}

/// Sends one, and tells the core when it did not get through or may not have.
async fn send(shared: &Shared, driver: &Driver, call: Box<Call>) {
    shared.meter.call(&call);
    let resolved = match shared.key.resolved(&call, &shared.snapshot()) {
        Ok(resolved) => resolved,
        Err(secret) => {
            info!(secret, "a secret was removed that a launch needs");
            // What was to be launched waits again, and the offer goes back.
            shared.inbox.push_now(Work::Step(Box::new(Input::CallFailed(call.clone()))));
            shared.inbox.push_now(Work::Step(Box::new(Input::CallLost(call))));
            return;
        }
    };
    match driver.call(resolved).await {
        Ok(()) => {}
        Err(error @ CallError::Lost(_)) => lost(shared, call, &error),
        Err(error) => {
            debug!(%error, "a call did not get through");
            // At once, because whoever performs effects may wait for this loop; bounded by the calls in line.
            shared.inbox.push_now(Work::Step(Box::new(Input::CallFailed(call))));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, path::PathBuf, time::Duration};

    use mezzo_clock::now;
    use mezzo_http::{Body, Handler, HeaderName, Limits, Request, Response, StatusCode, StreamSender, serve};
    use mezzo_mesos::v1::{
        self,
        scheduler::{Event, call, event},
    };
    use mezzo_services::{Recovered, Services};
    use prost::Message;
    use tokio::{
        net::TcpListener,
        sync::{oneshot, watch},
    };

    use super::*;
    use crate::{config::Config, master::Listener, random, secrets::Key};

    const PATIENCE: Duration = Duration::from_secs(60);

    /// What a master has heard.
    #[derive(Debug, Default)]
    struct Heard {
        subscriptions: Vec<StreamSender>,
        acknowledged: usize,
        others: Vec<Type>,
    }

    /// A master that answers acknowledgements only when as many as may be on their way are there.
    struct Slow(watch::Sender<Heard>);

    impl Handler for Slow {
        async fn handle(&self, mut request: Request) -> Response {
            let body = request.bytes(1 << 20).await.expect("a whole call");
            let call = Call::decode(body).expect("a call");
            match call.r#type() {
                Type::Subscribe => {
                    let (sender, response) = Response::stream("application/x-protobuf", 1 << 20);
                    let framework_id = v1::FrameworkId { value: "f".into() };
                    let event = Event {
                        r#type: Some(event::Type::Subscribed.into()),
                        subscribed: Some(Box::new(event::Subscribed { framework_id, ..Default::default() })),
                        ..Default::default()
                    };
                    let event = event.encode_to_vec();
                    let record = [format!("{}\n", event.len()).as_bytes(), &event].concat();
                    sender.try_send(record.into()).expect("an open stream");
                    self.0.send_modify(|heard| heard.subscriptions.push(sender));
                    return response.with(HeaderName::from_static("mesos-stream-id"), "s");
                }
                Type::Acknowledge => {
                    self.0.send_modify(|heard| heard.acknowledged += 1);
                    let all = |heard: &Heard| heard.acknowledged >= ACKNOWLEDGEMENTS_MAX;
                    self.0.subscribe().wait_for(|heard| all(heard)).await.expect("the master is there");
                }
                other => self.0.send_modify(|heard| heard.others.push(other)),
            }
            Response::new(StatusCode::ACCEPTED, Body::Empty)
        }
    }

    fn call(kind: Type) -> Box<Call> {
        let mut call = Call { r#type: Some(kind.into()), ..Default::default() };
        if kind == Type::Acknowledge {
            call.acknowledge = Some(call::Acknowledge { uuid: vec![1; 16], ..Default::default() });
        }
        Box::new(call)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn acknowledgements_do_not_wait_for_each_other_and_other_calls_keep_their_order() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = watch::Sender::new(Heard::default());
        let mut told = heard.subscribe();
        let master = serve(listener, Arc::new(Slow(heard)), Limits::default(), std::future::pending());
        tokio::spawn(master);

        let config = Config::new(vec![address.to_string()], PathBuf::new());
        let mut generator = random::generator().unwrap();
        let (services, _) =
            Services::recover(config.core.clone(), Recovered::default(), now(), &mut generator);
        let (sender, calls) = mpsc::channel(100);
        let here = SocketAddr::from(([127, 0, 0, 1], 0));
        let folder = tempfile::tempdir().unwrap();
        let key = Key::load(None, folder.path(), 0).unwrap();
        let shared = Arc::new(Shared::new(config, here, now(), services.snapshot(), key, sender.clone()));
        let mut sdk = mezzo_sdk::Config::new(vec![address.to_string()], "services", "root");
        sdk.receipts = crate::master::RECEIPTS;
        let (started, driver) = oneshot::channel();
        let mut listener = Listener { shared: shared.clone() };
        tokio::spawn(async move {
            let started = |driver| drop(started.send(driver));
            drop(mezzo_sdk::run(sdk, &mut listener, started).await);
        });
        let driver = driver.await.unwrap();
        let inbox = shared.clone();
        let subscribed = tokio::task::spawn_blocking(move || {
            let mut batch = Vec::new();
            inbox.inbox.take(Some(std::time::Instant::now() + PATIENCE), &mut batch);
            batch
        });
        assert!(!subscribed.await.unwrap().is_empty(), "the subscription is heard of");

        tokio::spawn(send_calls(shared, driver, calls, BTreeSet::new()));
        // None of these is answered until one more comes, and that keeps nobody back.
        for _ in 1..ACKNOWLEDGEMENTS_MAX {
            sender.send(call(Type::Acknowledge)).await.unwrap();
        }
        let others = [Type::Revive, Type::Kill, Type::Suppress];
        for other in others {
            sender.send(call(other)).await.unwrap();
        }
        let all = |heard: &Heard| heard.others.len() == others.len();
        let reached = tokio::time::timeout(PATIENCE, told.wait_for(|heard| all(heard))).await;
        assert_eq!(reached.expect("calls pass acknowledgements").unwrap().others, others);
        for _ in 0..ACKNOWLEDGEMENTS_MAX {
            sender.send(call(Type::Acknowledge)).await.unwrap();
        }
        let all = |heard: &Heard| heard.acknowledged == 2 * ACKNOWLEDGEMENTS_MAX - 1;
        let reached = tokio::time::timeout(PATIENCE, told.wait_for(|heard| all(heard))).await;
        reached.expect("acknowledgements go out together").unwrap();
    }
}
