//! Makes the checks that the core asks for.

use std::{
    collections::BTreeMap,
    error::Error,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use mezzo_http::{Client, HeaderMap, HeaderValue, Method, header};
use mezzo_services::{Input, Probe, ProbeKind, ProbeOutcome};
use mezzo_services_model::{HttpAnswer, HttpScheme};
use tokio::{net::TcpStream, sync::Semaphore};
use ureq::{
    Agent,
    tls::{TlsConfig, TlsProvider},
};

use crate::shared::Shared;

/// Probes at once. The core asks for no more than `max_concurrent_marathon_health_checks` and a few for readiness; this
/// bounds descriptors whatever it asks for.
const PROBES_MAX: usize = 4_096;
/// HTTPS probes at once: each holds a thread.
const TLS_PROBES_MAX: usize = 64;
/// How much of an answer is kept for the API, where it is kept at all.
const BODY_KEPT_MAX: usize = 64 << 10;

/// Makes probes, many at once.
#[derive(Debug)]
pub(crate) struct Prober {
    client: Client,
    hosts: BTreeMap<String, IpAddr>,
    permits: Arc<Semaphore>,
    tls_permits: Arc<Semaphore>,
}

impl Prober {
    /// `hosts` are names that no resolver knows.
    pub(crate) fn new(hosts: BTreeMap<String, IpAddr>) -> Self {
        Self {
            client: Client::new(),
            hosts,
            permits: Arc::new(Semaphore::new(PROBES_MAX)),
            tls_permits: Arc::new(Semaphore::new(TLS_PROBES_MAX)),
        }
    }

    /// Makes a probe and tells the core what it found. Needs a runtime.
    pub(crate) fn start(&self, shared: &Arc<Shared>, mut probe: Probe) {
        if let Some(ip) = self.hosts.get(&probe.host) {
            probe.host = ip.to_string();
        }
        let (shared, client) = (shared.clone(), self.client.clone());
        let (permits, tls_permits) = (self.permits.clone(), self.tls_permits.clone());
        tokio::spawn(async move {
            let timeout = probe.timeout;
            let id = probe.id;
            let run = async {
                // Neither semaphore is ever closed.
                let _permit = permits.acquire().await;
                let _tls = match &probe.kind {
                    ProbeKind::Http { scheme: HttpScheme::Https, .. } => Some(tls_permits.acquire().await),
                    _ => None,
                };
                make(&client, probe).await
            };
            let outcome = tokio::time::timeout(timeout, run).await;
            let outcome = outcome.unwrap_or_else(|_| {
                ProbeOutcome::Failed(format!("no answer within {} s", timeout.as_secs_f64()))
            });
            shared.inbox.push(Input::Probed(id, outcome)).await;
        });
    }
}

async fn make(client: &Client, probe: Probe) -> ProbeOutcome {
    let address = address(&probe.host, probe.port);
    match probe.kind {
        ProbeKind::Tcp => match TcpStream::connect(&address).await {
            Ok(_) => ProbeOutcome::Connected,
            Err(error) => ProbeOutcome::Failed(format!("connect to {address}: {error}")),
        },
        ProbeKind::Http { scheme: HttpScheme::Http, path } => get(client, &address, &slashed(&path)).await,
        ProbeKind::Http { scheme: HttpScheme::Https, path } => {
            let url = format!("https://{address}{}", slashed(&path));
            let asked = tokio::task::spawn_blocking(move || get_tls(&url, probe.timeout)).await;
            asked.unwrap_or_else(|error| ProbeOutcome::Failed(error.to_string()))
        }
    }
}

/// `host:port`, with an address of version 6 in brackets.
fn address(host: &str, port: u16) -> String {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) => bracketed(ip, port),
        _ => format!("{host}:{port}"),
    }
}

fn bracketed(ip: Ipv6Addr, port: u16) -> String {
    format!("[{ip}]:{port}")
}

fn slashed(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

async fn get(client: &Client, address: &str, path: &str) -> ProbeOutcome {
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static("mezzo-services"));
    let asked = client.request(Method::GET, address, path, headers, mezzo_http::Body::Empty).await;
    let mut response = match asked {
        Ok(response) => response,
        Err(error) => return ProbeOutcome::Failed(chain(&error)),
    };
    let content_type = response.header(header::CONTENT_TYPE).unwrap_or_default().to_owned();
    let status = response.status.as_u16();
    let mut body = Vec::new();
    while let Some(Ok(chunk)) = response.chunk().await {
        let room = BODY_KEPT_MAX - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() == BODY_KEPT_MAX {
            // Dropping the answer closes the connection.
            break;
        }
    }
    let body = String::from_utf8_lossy(&body).into_owned();
    ProbeOutcome::Answered(HttpAnswer { status, content_type, body })
}

/// Certificates of instances are not looked at (marathon rule 130). Blocks.
fn get_tls(url: &str, timeout: Duration) -> ProbeOutcome {
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .disable_verification(true)
        .build();
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(timeout))
        .proxy(None)
        .tls_config(tls)
        .build();
    match config.new_agent().get(url).header("Accept", "*/*").call() {
        Ok(mut response) => {
            let status = response.status().as_u16();
            let content_type = response.headers().get("content-type").and_then(|value| value.to_str().ok());
            let content_type = content_type.unwrap_or_default().to_owned();
            let body = response.body_mut().with_config().limit(BODY_KEPT_MAX as u64).read_to_string();
            ProbeOutcome::Answered(HttpAnswer { status, content_type, body: body.unwrap_or_default() })
        }
        Err(error) => ProbeOutcome::Failed(error.to_string()),
    }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
    };

    use super::*;
    use mezzo_services::ProbeId;

    fn probe(port: u16, kind: ProbeKind) -> Probe {
        Probe {
            id: ProbeId(1),
            instance: None,
            host: "127.0.0.1".into(),
            port,
            kind,
            timeout: Duration::from_secs(5),
        }
    }

    #[tokio::test]
    async fn an_answer_has_status_type_and_the_start_of_its_body() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let body = "x".repeat(BODY_KEPT_MAX + 1);
            let head = "HTTP/1.1 503 No\r\nContent-Type: text/plain\r\n";
            let _ = write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
        });
        let kind = ProbeKind::Http { scheme: HttpScheme::Http, path: "health".into() };
        let ProbeOutcome::Answered(answer) = make(&Client::new(), probe(port, kind)).await else {
            panic!("answered")
        };
        assert_eq!((answer.status, answer.content_type.as_str()), (503, "text/plain"));
        assert_eq!(answer.body.len(), BODY_KEPT_MAX);
    }

    #[tokio::test]
    async fn marathon_rule_131_connections_are_taken_or_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(make(&Client::new(), probe(port, ProbeKind::Tcp)).await, ProbeOutcome::Connected);
        drop(listener);
        assert!(matches!(make(&Client::new(), probe(port, ProbeKind::Tcp)).await, ProbeOutcome::Failed(_)));
        assert_eq!(address("::1", 80), "[::1]:80");
    }
}
