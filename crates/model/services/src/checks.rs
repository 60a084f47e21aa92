//! Health checks, checks and readiness checks.

use std::time::Duration;

use crate::ShellOrArgs;

/// How HTTP is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpScheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

/// Which port is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortRef {
    /// The nth of the app.
    Index(usize),
    /// That one.
    Number(u16),
    /// The endpoint of a pod with this name.
    Endpoint(String),
}

/// Who makes a health check of an app, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthProtocol {
    /// The services daemon, by HTTP.
    Http,
    /// The services daemon, by HTTPS, whose certificate is not looked at (rule 130).
    Https,
    /// The services daemon connects.
    Tcp,
    /// The agent runs a command.
    Command,
    /// The agent, by HTTP.
    MesosHttp,
    /// The agent, by HTTPS.
    MesosHttps,
    /// The agent connects.
    MesosTcp,
}

impl HealthProtocol {
    /// Whether the agent makes the check; the services daemon makes the others (rule 126).
    pub fn is_by_agent(self) -> bool {
        !matches!(self, Self::Http | Self::Https | Self::Tcp)
    }
}

/// A health check of an app.
#[derive(Clone, Debug, PartialEq)]
pub struct AppHealthCheck {
    /// Who and how.
    pub protocol: HealthProtocol,
    /// The command, for [`HealthProtocol::Command`].
    pub command: Option<String>,
    /// The port, for all others.
    pub port: Option<PortRef>,
    /// The path, for HTTP.
    pub path: Option<String>,
    /// Addresses of version 6.
    pub ipv6: bool,
    /// Answers 100 to 199 change nothing (rule 129).
    pub ignore_http_1xx: bool,
    /// Failures do not count so long, before the first success.
    pub grace_period: Duration,
    /// Between checks.
    pub interval: Duration,
    /// How long one may take.
    pub timeout: Duration,
    /// Before the first, when the agent makes it.
    pub delay: Duration,
    /// Failures in a row before a kill; 0 is never.
    pub max_consecutive_failures: u32,
}

/// What a check of a pod's container, or a generic check, looks at.
#[derive(Clone, Debug, PartialEq)]
pub enum CheckTarget {
    /// A request.
    Http {
        /// Where to.
        port: Option<PortRef>,
        /// The path.
        path: Option<String>,
        /// How.
        scheme: HttpScheme,
    },
    /// A connection.
    Tcp {
        /// Where to.
        port: Option<PortRef>,
    },
    /// A command in the container.
    Command(ShellOrArgs),
}

/// A check that tells something and decides nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// What is looked at.
    pub target: CheckTarget,
    /// Between checks.
    pub interval: Duration,
    /// How long one may take.
    pub timeout: Duration,
    /// Before the first.
    pub delay: Duration,
}

/// A health check of a pod's container, which the agent makes.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthCheck {
    /// What is looked at.
    pub target: CheckTarget,
    /// Failures do not count so long, before the first success.
    pub grace_period: Duration,
    /// Between checks.
    pub interval: Duration,
    /// How long one may take.
    pub timeout: Duration,
    /// Before the first.
    pub delay: Duration,
    /// Failures in a row before a kill.
    pub max_consecutive_failures: u32,
}

/// What a new instance of an app must answer before the deployment goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadinessCheck {
    /// Its name.
    pub name: String,
    /// How.
    pub scheme: HttpScheme,
    /// What is asked for.
    pub path: String,
    /// The name of the port.
    pub port_name: String,
    /// Between tries.
    pub interval: Duration,
    /// How long one may take.
    pub timeout: Duration,
    /// The answers that mean ready.
    pub ready_statuses: Vec<u16>,
    /// Keep the answer for the API.
    pub preserve_last_response: bool,
}
