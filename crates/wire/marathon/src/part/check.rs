//! Health checks, generic checks and readiness checks of apps.

use std::time::Duration;

use mezzo_services_model::{
    AppHealthCheck, Check, CheckTarget, HealthProtocol, HttpScheme, PortRef, ReadinessCheck, ShellOrArgs,
};

use crate::json::{At, Fields};

use super::name::is_legacy_name;

const PATH_MAX: usize = 1024;

pub(crate) fn read_scheme(at: At<'_>) -> Option<HttpScheme> {
    at.word(&[("HTTP", HttpScheme::Http), ("HTTPS", HttpScheme::Https)])
}

/// Whole seconds at `key`, or so many.
pub(crate) fn seconds(o: &Fields<'_>, key: &'static str, default: u32) -> Duration {
    Duration::from_secs(o.read(key, |at| at.count()).unwrap_or(default).into())
}

/// A port by number or by place; the number wins where both are given.
fn read_port(o: &Fields<'_>) -> Option<PortRef> {
    let index = o.read("portIndex", |at| at.port()).map(|index| PortRef::Index(index.into()));
    o.read("port", |at| at.port()).map(PortRef::Number).or(index)
}

pub(crate) fn read_health_check(at: At<'_>) -> Option<AppHealthCheck> {
    let protocols = [
        ("HTTP", HealthProtocol::Http),
        ("HTTPS", HealthProtocol::Https),
        ("TCP", HealthProtocol::Tcp),
        ("COMMAND", HealthProtocol::Command),
        ("MESOS_HTTP", HealthProtocol::MesosHttp),
        ("MESOS_HTTPS", HealthProtocol::MesosHttps),
        ("MESOS_TCP", HealthProtocol::MesosTcp),
    ];
    at.object(|o| {
        let command = o.read("command", |at| at.object(|o| o.required("value", |at| at.string())));
        Some(AppHealthCheck {
            protocol: o.read("protocol", |at| at.word(&protocols)).unwrap_or(HealthProtocol::Http),
            command,
            port: read_port(o),
            path: o.read("path", |at| at.string()),
            ipv6: o.read("ipProtocol", |at| at.word(&[("IPv4", false), ("IPv6", true)])).unwrap_or(false),
            ignore_http_1xx: o.read("ignoreHttp1xx", |at| at.boolean()).unwrap_or(false),
            grace_period: seconds(o, "gracePeriodSeconds", 300),
            interval: seconds(o, "intervalSeconds", 60),
            timeout: seconds(o, "timeoutSeconds", 20),
            delay: seconds(o, "delaySeconds", 15),
            max_consecutive_failures: o.read("maxConsecutiveFailures", |at| at.count()).unwrap_or(3),
        })
    })
}

/// A command as one line or as a list, never both.
pub(crate) fn read_command(at: At<'_>) -> Option<ShellOrArgs> {
    at.object(|o| {
        let shell = o.read("shell", |at| at.some_text());
        let args = o.read("argv", |at| at.some_list(|at| at.string()));
        match (o.has("shell"), o.has("argv")) {
            (true, false) => shell.map(ShellOrArgs::Shell),
            (false, true) => args.map(ShellOrArgs::Args),
            _ => o.whole().wrong("error.expected.shell.or.argv"),
        }
    })
}

/// The generic check of an app. What is looked at is one of `http`, `tcp` and `exec`.
pub(crate) fn read_check(at: At<'_>) -> Option<Check> {
    at.object(|o| {
        let http = o.read("http", |at| {
            at.object(|o| {
                Some(CheckTarget::Http {
                    port: read_port(o),
                    path: o.read("path", |at| at.text(1, PATH_MAX)),
                    scheme: o.read("scheme", read_scheme).unwrap_or(HttpScheme::Http),
                })
            })
        });
        let tcp = o.read("tcp", |at| at.object(|o| Some(CheckTarget::Tcp { port: read_port(o) })));
        let exec = o.read("exec", |at| {
            at.object(|o| Some(CheckTarget::Command(o.required("command", read_command)?)))
        });
        let given = [o.has("http"), o.has("tcp"), o.has("exec")].into_iter().filter(|given| *given).count();
        if given != 1 {
            return o.whole().wrong("error.expected.http.or.tcp.or.exec");
        }
        Some(Check {
            target: http.or(tcp).or(exec)?,
            interval: seconds(o, "intervalSeconds", 60),
            timeout: seconds(o, "timeoutSeconds", 20),
            delay: seconds(o, "delaySeconds", 15),
        })
    })
}

pub(crate) fn read_readiness_check(at: At<'_>) -> Option<ReadinessCheck> {
    at.object(|o| {
        let text = |key, default: &str| o.read(key, |at| at.some_text()).unwrap_or_else(|| default.into());
        let statuses =
            o.read("httpStatusCodesForReady", |at| at.some_list(|at| at.integer(0, u16::MAX.into())));
        let mut ready: Vec<u16> =
            statuses.into_iter().flatten().filter_map(|status| u16::try_from(status).ok()).collect();
        if ready.is_empty() {
            ready.push(200);
        }
        ready.sort_unstable();
        ready.dedup();
        Some(ReadinessCheck {
            name: text("name", "readinessCheck"),
            scheme: o.read("protocol", read_scheme).unwrap_or(HttpScheme::Http),
            path: o.read("path", |at| at.text(1, PATH_MAX)).unwrap_or_else(|| "/".into()),
            port_name: o
                .read("portName", |at| at.pattern(is_legacy_name))
                .unwrap_or_else(|| "http-api".into()),
            interval: seconds(o, "intervalSeconds", 30),
            timeout: {
                let timeout = o.read("timeoutSeconds", |at| at.integer(1, i32::MAX)).unwrap_or(10);
                Duration::from_secs(timeout.unsigned_abs().into())
            },
            ready_statuses: ready,
            preserve_last_response: o.read("preserveLastResponse", |at| at.boolean()).unwrap_or(false),
        })
    })
}
