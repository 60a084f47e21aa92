//! The steps of deployments as records.

use mezzo_protocol::services::{self as proto, action::Kind};
use mezzo_services_model::{Action, ActionKind, Step};

use super::{RecordError, path};

pub(super) fn write_steps(steps: &[Step]) -> Vec<proto::Step> {
    let write = |action: &Action| {
        let (kind, scale_to) = match action.kind {
            ActionKind::Start => (Kind::Start, 0),
            ActionKind::Stop => (Kind::Stop, 0),
            ActionKind::Scale { to } => (Kind::Scale, to),
            ActionKind::Restart => (Kind::Restart, 0),
        };
        let (run_spec, is_pod) = (action.run_spec.to_string(), action.is_pod);
        proto::Action { run_spec, is_pod, kind: kind.into(), scale_to }
    };
    steps.iter().map(|step| proto::Step { actions: step.actions.iter().map(write).collect() }).collect()
}

pub(super) fn read_steps(key: &str, steps: &[proto::Step]) -> Result<Vec<Step>, RecordError> {
    let read = |action: &proto::Action| {
        let kind = match action.kind() {
            Kind::Start => ActionKind::Start,
            Kind::Stop => ActionKind::Stop,
            Kind::Scale => ActionKind::Scale { to: action.scale_to },
            Kind::Restart => ActionKind::Restart,
        };
        Ok(Action { run_spec: path(key, &action.run_spec)?, is_pod: action.is_pod, kind })
    };
    steps
        .iter()
        .map(|step| Ok(Step { actions: step.actions.iter().map(read).collect::<Result<_, RecordError>>()? }))
        .collect()
}
