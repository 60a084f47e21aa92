//! `/v2/leader`

use std::{sync::Arc, time::Duration};

use mezzo_http::{Request, Response};
use mezzo_marathon_api::answer::{Problem, message_body, write_leader};

use super::written;
use crate::{
    http::{Failure, json, leader},
    shared::Shared,
};

/// From the answer to the end of the process, so that the answer arrives.
const GRACE: Duration = Duration::from_millis(500);

/// This process: it is the only one.
pub(super) fn show(shared: &Shared) -> Response {
    let leader = leader(shared);
    written(|w| write_leader(w, &leader))
}

/// Ends the process; whoever supervises it starts another one.
pub(super) fn abdicate(shared: &Arc<Shared>, request: &Request) -> Result<Response, Failure> {
    for name in ["backup", "restore"] {
        if request.parameter(name).is_some() {
            let text = format!(
                "{name} is not supported: the records are a file in --work_dir, copy it while it rests"
            );
            return Err(Problem::Argument(text).into());
        }
    }
    let shared = shared.clone();
    tokio::spawn(async move {
        tokio::time::sleep(GRACE).await;
        shared.exit("leadership was given up on request".into());
    });
    Ok(json(200, message_body("Leadership abdicated")))
}
