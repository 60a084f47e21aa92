//! The `canary` block of an app: an extension of ours, which clients of Marathon's API pass over.

use std::time::Duration;

use mezzo_services_model::{Canary, CanaryCheck, CanarySize, HttpScheme, OnFailure};
use serde_json::Value;

use crate::json::{At, Fields};

const SIZE: &str = "a number of instances from 1, or a share of them from \"1%\" to \"100%\"";
const URL: &str = "http://HOST[:PORT][/PATH] or https://HOST[:PORT][/PATH]";

pub(crate) fn read_canary(at: At<'_>) -> Option<Canary> {
    at.object(|o| {
        let on_failure = [("rollback", OnFailure::Rollback), ("stop", OnFailure::Stop)];
        Some(Canary {
            size: o.read("instances", read_size).unwrap_or(CanarySize::Count(1)),
            hold: seconds(o, "holdSeconds", 0, 300),
            deadline: seconds(o, "deadlineSeconds", 1, 600),
            failures_max: o.read("maxFailures", |at| at.count()).unwrap_or(0),
            check: o.read("check", read_check),
            on_failure: o.read("onFailure", |at| at.word(&on_failure)).unwrap_or_default(),
        })
    })
}

fn seconds(o: &Fields<'_>, key: &'static str, least: i32, default: u32) -> Duration {
    let seconds = o.read(key, |at| at.integer(least, i32::MAX)).map(i32::unsigned_abs);
    Duration::from_secs(seconds.unwrap_or(default).into())
}

fn read_size(at: At<'_>) -> Option<CanarySize> {
    let wrong = || at.wrong(&format!("expected {SIZE}"));
    match at.value() {
        Value::String(text) => {
            let share = text.strip_suffix('%').and_then(|digits| digits.trim_end().parse().ok());
            match share {
                Some(percent @ 1..=100) => Some(CanarySize::Percent(percent)),
                _ => wrong(),
            }
        }
        Value::Number(_) => match at.count()? {
            0 => wrong(),
            count => Some(CanarySize::Count(count)),
        },
        _ => wrong(),
    }
}

fn read_check(at: At<'_>) -> Option<CanaryCheck> {
    at.object(|o| {
        let address = o.required("url", |at| {
            let text = at.string()?;
            parts(&text).or_else(|| at.wrong(&format!("expected {URL}")))
        });
        let interval = seconds(o, "intervalSeconds", 1, 10);
        let timeout = seconds(o, "timeoutSeconds", 1, 5);
        let (scheme, host, port, path) = address?;
        Some(CanaryCheck { scheme, host, port, path, interval, timeout })
    })
}

/// Scheme, host, port, and path of an address.
fn parts(url: &str) -> Option<(HttpScheme, String, u16, String)> {
    let (scheme, default, rest) = match url.strip_prefix("http://") {
        Some(rest) => (HttpScheme::Http, 80, rest),
        None => (HttpScheme::Https, 443, url.strip_prefix("https://")?),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (host, port) = match authority.strip_prefix('[') {
        // An address of version 6 has colons of its own.
        Some(inner) => {
            let (host, rest) = inner.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = match port {
        Some(digits) => digits.parse().ok().filter(|port| *port > 0)?,
        None => default,
    };
    let sound = |text: &str| text.chars().all(|c| c.is_ascii_graphic());
    let bracketed = authority.starts_with('[');
    let host_is_sound = sound(host) && !host.contains(['@', '[', ']']) && (bracketed || !host.contains(':'));
    if host.is_empty() || !host_is_sound || !sound(path) || path.contains('#') {
        return None;
    }
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Some((scheme, host.to_owned(), port, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_checks() {
        let of = |url: &str| {
            parts(url).map(|(scheme, host, port, path)| (scheme == HttpScheme::Https, host, port, path))
        };
        let is = |tls: bool, host: &str, port: u16, path: &str| {
            Some((tls, host.to_owned(), port, path.to_owned()))
        };
        assert_eq!(of("http://prom:9090/api?q=up"), is(false, "prom", 9090, "/api?q=up"));
        assert_eq!(of("https://prom.example.com"), is(true, "prom.example.com", 443, "/"));
        assert_eq!(of("http://prom?x"), is(false, "prom", 80, "/?x"));
        assert_eq!(of("http://[::1]:81/a"), is(false, "::1", 81, "/a"));
        for bad in [
            "",
            "prom:9090",
            "ftp://a",
            "http://",
            "http://:80",
            "http://a:0",
            "http://a:b",
            "http://a b",
            "http://a/b c",
            "http://me@a",
            "http://[x]/",
            "http://a/#b",
            "http://::1/",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    fn errors(value: serde_json::Value) -> Vec<String> {
        match crate::json::Reading::document(&value, read_canary) {
            Ok(_) => Vec::new(),
            Err(crate::Invalid::Json(details)) => details
                .iter()
                .flat_map(|(at, errors)| errors.iter().map(move |one| format!("{at}: {one}")))
                .collect(),
            Err(other) => vec![other.to_string()],
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        let read = |value| crate::json::Reading::document(&value, read_canary).unwrap().0;
        let canary = read(serde_json::json!({}));
        assert_eq!(
            (canary.size, canary.hold.as_secs(), canary.deadline.as_secs()),
            (CanarySize::Count(1), 300, 600)
        );
        assert_eq!((canary.failures_max, canary.check, canary.on_failure), (0, None, OnFailure::Rollback));
        for bad in ["0%", "101%", "ten", "10", "-1%"] {
            assert_eq!(
                errors(serde_json::json!({ "instances": bad })),
                [format!("/instances: expected {SIZE}")]
            );
        }
        assert_eq!(errors(serde_json::json!({ "instances": 0 })), [format!("/instances: expected {SIZE}")]);
        assert_eq!(errors(serde_json::json!({ "holdSeconds": -1 })), ["/holdSeconds: error.min"]);
        assert_eq!(
            errors(serde_json::json!({ "onFailure": "retry" })),
            ["/onFailure: error.unknown.enum.literal"]
        );
        assert_eq!(errors(serde_json::json!({ "check": {} })), ["/check/url: error.path.missing"]);
        assert_eq!(
            errors(serde_json::json!({ "check": { "url": "x" } })),
            [format!("/check/url: expected {URL}")]
        );
    }
}
