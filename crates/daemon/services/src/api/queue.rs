//! `/v2/queue`

use mezzo_clock::now;
use mezzo_http::{Body, Request, Response, StatusCode};
use mezzo_marathon_api::answer::{Problem, write_queue};
use mezzo_services::{Answer, Request as Asked};
use mezzo_services_model::PathId;

use super::{produced, words};
use crate::{change::ask, http::Failure, shared::Shared};

/// What waits, and why.
pub(super) fn list(shared: &Shared, request: &Request) -> Response {
    let with_offers = words(request, "embed").any(|word| word == "lastUnusedOffers");
    produced(shared.snapshot(), move |snapshot, w| {
        write_queue(w, snapshot.queue.values().map(AsRef::as_ref), now(), with_offers);
    })
}

/// Ends the wait of a service after its failures.
pub(super) async fn reset_delay(shared: &Shared, id: &PathId) -> Result<Response, Failure> {
    let waits = shared.snapshot().queue.keys().any(|(path, _)| path == id);
    if !waits {
        return Err(Problem::NotQueued(id.clone()).into());
    }
    match ask(shared, Asked::ResetDelay { run_spec: id.clone() }).await? {
        Answer::Refused(_) => Err(Problem::NotQueued(id.clone()).into()),
        Answer::Done | Answer::Planned(_) | Answer::Moved => {
            Ok(Response::new(StatusCode::NO_CONTENT, Body::Empty))
        }
    }
}
