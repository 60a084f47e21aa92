//! The endpoints of before v1, which dashboards and scripts still read.

mod change;
pub(crate) mod metrics;
mod process;
mod read;
mod views;
mod why;

use std::sync::Arc;

use mezzo_http::{Method, Request, Response};

use crate::{
    endpoint::{Endpoint, expect_method},
    files,
    shared::Shared,
};

/// Answers a request to one of them. `rest` is what of the path follows the endpoint's own.
pub(crate) async fn handle(
    shared: &Arc<Shared>,
    endpoint: Endpoint,
    rest: &str,
    request: Request,
) -> Result<Response, Response> {
    let jsonp = request.parameter("jsonp").map(str::to_owned);
    let response = match endpoint {
        Endpoint::Version => process::version(),
        Endpoint::Flags => process::flags(shared),
        Endpoint::SystemStats => process::system_stats(),
        Endpoint::Processes => process::processes(),
        Endpoint::Help => process::help(&request),
        Endpoint::LoggingToggle => process::logging_toggle(shared, &request)?,
        Endpoint::FilesBrowse => files::browse(shared, &request).await?,
        Endpoint::FilesRead => files::read_part(shared, &request).await?,
        Endpoint::FilesDownload => files::download(shared, &request).await?,
        Endpoint::FilesDebug => files::debug(shared),
        Endpoint::Reserve | Endpoint::Unreserve | Endpoint::CreateVolumes | Endpoint::DestroyVolumes => {
            expect_method(&request, &[Method::POST])?;
            return change::resources(shared, endpoint, request).await;
        }
        Endpoint::Teardown => {
            expect_method(&request, &[Method::POST])?;
            return change::teardown(shared, request).await;
        }
        Endpoint::MachineDown | Endpoint::MachineUp => {
            expect_method(&request, &[Method::POST])?;
            return change::machines(shared, endpoint, request).await;
        }
        Endpoint::MaintenanceSchedule if request.method == Method::POST => {
            return change::schedule(shared, request).await;
        }
        Endpoint::Quota if request.method == Method::POST => return change::set_quota(shared, request).await,
        Endpoint::Quota if request.method == Method::DELETE => {
            return change::remove_quota(shared, rest, request).await;
        }
        Endpoint::Weights if request.method == Method::PUT => return change::weights(shared, request).await,
        Endpoint::Quota => {
            expect_method(&request, &[Method::GET, Method::POST, Method::DELETE])?;
            read::read(shared, endpoint, &request).await?
        }
        Endpoint::Weights => {
            expect_method(&request, &[Method::GET, Method::PUT])?;
            read::read(shared, endpoint, &request).await?
        }
        Endpoint::MaintenanceSchedule => {
            expect_method(&request, &[Method::GET, Method::POST])?;
            read::read(shared, endpoint, &request).await?
        }
        Endpoint::MaintenanceStatus => {
            expect_method(&request, &[Method::GET])?;
            read::read(shared, endpoint, &request).await?
        }
        Endpoint::Why => {
            expect_method(&request, &[Method::GET])?;
            why::why(shared, &request).await?
        }
        endpoint => read::read(shared, endpoint, &request).await?,
    };
    Ok(response.jsonp(jsonp.as_deref()))
}
