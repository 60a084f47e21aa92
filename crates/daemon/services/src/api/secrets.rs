//! `/v2/secrets`, an extension of ours: secrets are set, listed by name and removed. No answer has a value.

use std::sync::Arc;

use mezzo_clock::now;
use mezzo_http::{Request, Response};
use mezzo_marathon_api::answer::{Problem, write_secret_list};
use mezzo_services::{Answer, Request as Ask};
use mezzo_services_model::{SealedSecret, SecretName};

use super::{switch, written};
use crate::{
    change::{ask, refused},
    http::{Failure, json},
    secrets::VALUE_BYTES_MAX,
    shared::Shared,
};

/// Their names, when they were set, and who uses them.
pub(super) fn list(shared: &Shared) -> Response {
    let snapshot = shared.snapshot();
    let users = snapshot.secret_users();
    let all = snapshot.secrets.values().map(|secret| {
        let users = users.get(secret.name.as_str()).map_or(&[][..], Vec::as_slice);
        (secret.name.as_str(), secret.changed_at, users)
    });
    written(|w| write_secret_list(w, all))
}

/// The body, as it is, is the value.
pub(super) async fn set(shared: &Shared, request: &mut Request, name: &str) -> Result<Response, Failure> {
    let name = parsed(name)?;
    let value = request.bytes(VALUE_BYTES_MAX).await.map_err(|error| Failure::Response(error.response()))?;
    if value.is_empty() {
        return Err(
            Problem::BadRequest("The body is the value of the secret, and it is empty.".into()).into()
        );
    }
    let sealed = shared.key.seal(&name, value.to_vec());
    let sealed = sealed.map_err(|_| Problem::Internal("the secret cannot be sealed".into()))?;
    let is_new = !shared.snapshot().secrets.contains_key(&name);
    let secret = SealedSecret { name, sealed: sealed.into(), changed_at: now() };
    done(shared, Ask::SetSecret(secret)).await?;
    Ok(json(if is_new { 201 } else { 200 }, b"{}".to_vec()))
}

/// Unless a service needs it, or all the same.
pub(super) async fn remove(shared: &Arc<Shared>, request: &Request, name: &str) -> Result<Response, Failure> {
    let force = switch(request, "force", false)?;
    done(shared, Ask::RemoveSecret { name: parsed(name)?, force }).await?;
    Ok(json(200, b"{}".to_vec()))
}

fn parsed(name: &str) -> Result<SecretName, Failure> {
    SecretName::parse(name).map_err(|error| Problem::BadRequest(format!("'{name}': {error}")).into())
}

async fn done(shared: &Shared, request: Ask) -> Result<(), Failure> {
    match ask(shared, request).await? {
        Answer::Refused(refusal) => Err(refused(shared, refusal)),
        _ => Ok(()),
    }
}
