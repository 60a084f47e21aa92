//! Calls about the master's process: GET_HEALTH, GET_VERSION, GET_MASTER, GET_METRICS.

use std::collections::BTreeMap;

use mezzo_mesos::v1::{
    self,
    master::{
        Response,
        response::{GetHealth, GetMaster, GetMetrics, GetVersion, Type},
    },
};
use mezzo_time::Timestamp;

use super::response;

/// A master that can answer is healthy.
pub fn get_health() -> Response {
    Response { get_health: Some(GetHealth { healthy: true }), ..response(Type::GetHealth) }
}

/// What was built when, by whom, from what.
pub fn get_version(version_info: v1::VersionInfo) -> Response {
    Response { get_version: Some(GetVersion { version_info }), ..response(Type::GetVersion) }
}

/// The leading master: this one.
pub fn get_master(info: v1::MasterInfo, started: Timestamp, elected: Timestamp) -> Response {
    let get_master = GetMaster {
        master_info: Some(info),
        start_time: Some(started.as_secs_f64()),
        elected_time: Some(elected.as_secs_f64()),
    };
    Response { get_master: Some(get_master), ..response(Type::GetMaster) }
}

/// Metrics by name: those of [`crate::metrics::values`], translated, and those of the process.
pub fn get_metrics(values: &BTreeMap<String, f64>) -> Response {
    let metrics = values.iter().map(|(name, value)| v1::Metric { name: name.clone(), value: Some(*value) });
    Response { get_metrics: Some(GetMetrics { metrics: metrics.collect() }), ..response(Type::GetMetrics) }
}
