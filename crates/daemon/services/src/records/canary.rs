//! What became of canaries as records.

use mezzo_protocol::services as proto;
use mezzo_services_model::{CanaryPhase, CanaryReport};
use mezzo_time::Timestamp;

use super::{RecordError, path};

pub(super) fn write(report: &CanaryReport) -> proto::Canary {
    proto::Canary {
        run_spec: report.run_spec.to_string(),
        version: report.version.as_nanos(),
        base: report.base.as_nanos(),
        base_instances: report.base_instances,
        phase: report.phase.name().into(),
        since: report.since.as_nanos(),
        checked: report.checked,
        failures: report.failures,
        reason: report.reason.clone(),
    }
}

pub(super) fn read(key: &str, record: proto::Canary) -> Result<CanaryReport, RecordError> {
    let phase = CanaryPhase::ALL.into_iter().find(|phase| phase.name() == record.phase);
    let phase = phase.ok_or_else(|| RecordError::Text {
        key: key.to_owned(),
        text: record.phase,
        what: "phase of canaries",
    })?;
    Ok(CanaryReport {
        run_spec: path(key, &record.run_spec)?,
        version: Timestamp::from_nanos(record.version),
        base: Timestamp::from_nanos(record.base),
        base_instances: record.base_instances,
        phase,
        since: Timestamp::from_nanos(record.since),
        checked: record.checked,
        failures: record.failures,
        reason: record.reason,
    })
}
