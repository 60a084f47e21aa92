//! Checks that the agent makes (rules 126 and 138 to 142).

use mezzo_mesos::v1::{
    self, CheckInfo, HealthCheck, check_info,
    health_check::{HttpCheckInfo, TcpCheckInfo, Type},
    network_info::Protocol,
};
use mezzo_services_model::{
    App, Check, CheckTarget, HealthCheck as PodHealthCheck, HealthProtocol, HttpScheme, ShellOrArgs,
};

use super::ports::{Port, referred};

/// The one check of an app that the agent makes, when it has any: Mesos takes one per task (rule 140).
pub(super) fn of_app(app: &App, ports: &[Port<'_>]) -> Option<Box<HealthCheck>> {
    let check = app.health_checks.iter().find(|check| check.protocol.is_by_agent())?;
    let mut message = HealthCheck {
        delay_seconds: Some(check.delay.as_secs_f64()),
        interval_seconds: Some(check.interval.as_secs_f64()),
        timeout_seconds: Some(check.timeout.as_secs_f64()),
        consecutive_failures: Some(failures(check.max_consecutive_failures)),
        grace_period_seconds: Some(check.grace_period.as_secs_f64()),
        ..Default::default()
    };
    let port = || referred(check.port.as_ref(), ports).map(u32::from);
    let protocol = check.ipv6.then(|| Protocol::IPv6.into());
    match check.protocol {
        HealthProtocol::Command => {
            message.set_type(Type::Command);
            message.command = Some(shell(check.command.as_ref()?));
        }
        HealthProtocol::MesosTcp => {
            message.set_type(Type::Tcp);
            message.tcp = Some(TcpCheckInfo { protocol, port: port()? });
        }
        HealthProtocol::MesosHttp | HealthProtocol::MesosHttps => {
            message.set_type(Type::Http);
            let scheme = if check.protocol == HealthProtocol::MesosHttps { "https" } else { "http" };
            message.http = Some(HttpCheckInfo {
                protocol,
                scheme: Some(scheme.into()),
                port: port()?,
                path: check.path.clone(),
                statuses: Vec::new(),
            });
        }
        HealthProtocol::Http | HealthProtocol::Https | HealthProtocol::Tcp => return None,
    }
    Some(Box::new(message))
}

/// The health check of a pod's container.
pub(super) fn of_container(check: &PodHealthCheck, ports: &[Port<'_>]) -> Option<Box<HealthCheck>> {
    let mut message = HealthCheck {
        delay_seconds: Some(check.delay.as_secs_f64()),
        interval_seconds: Some(check.interval.as_secs_f64()),
        timeout_seconds: Some(check.timeout.as_secs_f64()),
        consecutive_failures: Some(failures(check.max_consecutive_failures)),
        grace_period_seconds: Some(check.grace_period.as_secs_f64()),
        ..Default::default()
    };
    match &check.target {
        CheckTarget::Command(command) => {
            message.set_type(Type::Command);
            message.command = Some(command_of(command));
        }
        CheckTarget::Tcp { port } => {
            message.set_type(Type::Tcp);
            message.tcp = Some(TcpCheckInfo { protocol: None, port: referred(port.as_ref(), ports)?.into() });
        }
        CheckTarget::Http { port, path, scheme } => {
            message.set_type(Type::Http);
            let scheme = match scheme {
                HttpScheme::Http => "http",
                HttpScheme::Https => "https",
            };
            message.http = Some(HttpCheckInfo {
                protocol: None,
                scheme: Some(scheme.into()),
                port: referred(port.as_ref(), ports)?.into(),
                path: path.clone(),
                statuses: Vec::new(),
            });
        }
    }
    Some(Box::new(message))
}

/// A check that decides nothing.
pub(super) fn check(check: &Check, ports: &[Port<'_>]) -> Option<Box<CheckInfo>> {
    let mut message = CheckInfo {
        delay_seconds: Some(check.delay.as_secs_f64()),
        interval_seconds: Some(check.interval.as_secs_f64()),
        timeout_seconds: Some(check.timeout.as_secs_f64()),
        ..Default::default()
    };
    match &check.target {
        CheckTarget::Command(command) => {
            message.set_type(check_info::Type::Command);
            message.command = Some(check_info::Command { command: command_of(command) });
        }
        CheckTarget::Tcp { port } => {
            message.set_type(check_info::Type::Tcp);
            message.tcp = Some(check_info::Tcp { port: referred(port.as_ref(), ports)?.into() });
        }
        CheckTarget::Http { port, path, .. } => {
            message.set_type(check_info::Type::Http);
            let port = referred(port.as_ref(), ports)?.into();
            message.http = Some(check_info::Http { port, path: path.clone() });
        }
    }
    Some(Box::new(message))
}

/// 0 means that no number of failures kills; Mesos has no such word, so it becomes a number that is never reached.
fn failures(most: u32) -> u32 {
    if most == 0 { u32::MAX } else { most }
}

fn shell(line: &str) -> v1::CommandInfo {
    v1::CommandInfo { shell: Some(true), value: Some(line.into()), ..Default::default() }
}

/// A command as checks and containers of pods have it.
pub(super) fn command_of(command: &ShellOrArgs) -> v1::CommandInfo {
    match command {
        ShellOrArgs::Shell(line) => shell(line),
        ShellOrArgs::Args(arguments) => v1::CommandInfo {
            shell: Some(false),
            value: arguments.first().cloned(),
            arguments: arguments.clone(),
            ..Default::default()
        },
    }
}
