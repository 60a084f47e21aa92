//! /images and /images/pull: what is in the store of images and on its way there, and bringing one before a task
//! needs it. Mesos has nothing of the kind; PRUNE_IMAGES is among the operator's calls.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use mezzo_http::{Bytes, Request, Response, StatusCode, StreamSender, header};
use mezzo_images::Progress;
use serde_json::{Value, json};

use super::{Api, negotiate::bad_request};
use crate::images::Images;

/// Pulls by operators at the same time; each has a thread and up to four transfers.
pub(super) const PULLS_MAX: usize = 16;
/// Between two words about how far a pull is.
const TOLD_EVERY: Duration = Duration::from_millis(200);
/// What a client may leave unread: far more than an hour of such words.
const BACKLOG_MAX: usize = 4 << 20;

/// GET /images: what is here and what is on its way.
pub(super) async fn list(api: &Api) -> Response {
    let images = match find(api) {
        Ok(images) => images,
        Err(response) => return response,
    };
    let here: Vec<Value> = images
        .list()
        .into_iter()
        .map(|image| {
            json!({
                "name": image.name,
                "digest": image.digest.to_string(),
                "id": image.id.to_string(),
                "bytes": image.bytes,
                "layers": image.layers,
                "pulled": seconds(image.pulled),
                "used": seconds(image.used),
                "in_use": image.in_use,
            })
        })
        .collect();
    let coming: Vec<Value> = images
        .pulls()
        .list()
        .into_iter()
        .map(|(image, pull)| {
            let mut value = progress(pull.progress);
            value["image"] = image.into();
            value["waiting"] = pull.waiting.into();
            value
        })
        .collect();
    Response::json(json!({ "images": here, "pulls": coming }).to_string())
}

/// POST /images/pull?image=NAME: asks where the image comes from, whether it is here or not. The answer is a line
/// of JSON for every step, and the last one has `digest` and `bytes_unpacked`, or `error`. Who leaves before the
/// end does not want it any more.
pub(super) fn pull(api: &Api, request: &Request) -> Response {
    if request.method != "POST" {
        let text = "Expecting one of { 'POST' }, but received 'GET'";
        return Response::text(StatusCode::METHOD_NOT_ALLOWED, text).with(header::ALLOW, "POST");
    }
    let images = match find(api) {
        Ok(images) => Arc::clone(images),
        Err(response) => return response,
    };
    let Some(name) = request.parameter("image") else {
        return bad_request("Missing 'image' query parameter, such as /images/pull?image=busybox:1.36");
    };
    let reference = match name.parse() {
        Ok(reference) => reference,
        Err(error) => return bad_request(format!("{error}")),
    };
    let Ok(permit) = Arc::clone(&api.pulls).try_acquire_owned() else {
        let text = format!("More than {PULLS_MAX} images are being pulled for operators");
        return Response::text(StatusCode::SERVICE_UNAVAILABLE, text);
    };
    let (sender, response) = Response::stream("application/x-ndjson", BACKLOG_MAX);
    let cancelled = Arc::new(AtomicBool::new(false));
    let (left, leaves) = (sender.closed(), Arc::clone(&cancelled));
    tokio::spawn(async move {
        left.await;
        leaves.store(true, Ordering::Relaxed);
    });
    tokio::task::spawn_blocking(move || {
        let teller = Teller { sender: &sender, last: Mutex::new(None) };
        let last = match images.fetch(reference, &cancelled, &|now| teller.tell(now)) {
            Ok(image) => {
                json!({ "digest": image.digest.to_string(), "id": image.id.to_string(), "bytes_unpacked": image.bytes })
            }
            Err(error) => json!({ "error": error.to_string() }),
        };
        line(&sender, &last);
        drop(permit);
    });
    response
}

fn find(api: &Api) -> Result<&Arc<Images>, Response> {
    api.launches.images().ok_or_else(|| {
        let text = "Containers of this agent have no images: it needs --image_providers=docker";
        Response::text(StatusCode::NOT_FOUND, text)
    })
}

/// Tells a client how far its pull is, not too often.
struct Teller<'t> {
    sender: &'t StreamSender,
    last: Mutex<Option<Instant>>,
}

impl Teller<'_> {
    fn tell(&self, now: Progress) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= TOLD_EVERY) {
            *last = Some(Instant::now());
            line(self.sender, &progress(now));
        }
    }
}

fn line(sender: &StreamSender, value: &Value) {
    // Who does not read or has left is noticed by the end of the stream.
    let _ = sender.try_send(Bytes::from(format!("{value}\n")));
}

fn progress(now: Progress) -> Value {
    let Progress { bytes, bytes_total, layers, layers_total } = now;
    json!({ "bytes": bytes, "bytes_total": bytes_total, "layers": layers, "layers_total": layers_total })
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
