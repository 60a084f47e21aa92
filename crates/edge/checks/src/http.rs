//! Asks the task's HTTP server.

use std::{sync::Arc, time::Duration};

use ureq::{
    Agent,
    tls::{TlsConfig, TlsProvider},
};

use crate::Outcome;

/// As many redirects as curl follows by default.
const REDIRECTS_MAX: u32 = 50;

pub(crate) fn run(scheme: &str, port: u16, path: &str, ipv6: bool, timeout: Option<Duration>) -> Outcome {
    let host = if ipv6 { "[::1]" } else { "127.0.0.1" };
    let slash = if path.starts_with('/') { "" } else { "/" };
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(REDIRECTS_MAX)
        .max_redirects_will_error(false)
        .timeout_global(timeout)
        .proxy(None);
    if scheme == "https" {
        // A task's certificate is seldom made for 127.0.0.1; Mesos does not verify it either.
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .disable_verification(true)
            .build();
        config = config.tls_config(tls);
    }
    match config.build().new_agent().get(format!("{scheme}://{host}:{port}{slash}{path}")).call() {
        Ok(response) => Outcome::Status(response.status().as_u16()),
        Err(ureq::Error::Timeout(_)) => Outcome::TimedOut,
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{Ipv4Addr, TcpListener},
        thread,
    };

    use super::*;

    /// Serves the answers one connection each.
    fn server(answers: Vec<String>) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
        let port = listener.local_addr().expect("address").port();
        thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().expect("accepted");
                let mut buffer = [0; 1024];
                let _ = stream.read(&mut buffer);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        port
    }

    fn answer(status: &str, headers: &str) -> String {
        format!("HTTP/1.1 {status}\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n")
    }

    #[test]
    fn rule_338_redirects_are_followed_and_any_status_is_an_answer() {
        let port = server(vec![answer("302 Found", "Location: /there\r\n"), answer("503 No", "")]);
        assert_eq!(run("http", port, "/here", false, Some(Duration::from_secs(5))), Outcome::Status(503));
        let closed = server(vec![]);
        assert!(matches!(run("http", closed, "/", false, Some(Duration::from_secs(5))), Outcome::Failed(_)));
    }

    #[test]
    fn rule_336_a_server_that_does_not_answer_times_out() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
        let port = listener.local_addr().expect("address").port();
        assert_eq!(run("http", port, "/", false, Some(Duration::from_millis(100))), Outcome::TimedOut);
    }
}
