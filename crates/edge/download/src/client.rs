//! Trust and patience of an HTTP client.

use std::{
    io::{self, Read},
    sync::Arc,
    time::{Duration, Instant},
};

use ureq::{
    config::ConfigBuilder,
    tls::{Certificate, RootCerts, TlsConfig},
    typestate::AgentScope,
};

/// The settings of a client that trusts whom the host trusts, hands on every status, and gives up when nothing
/// happens for as long as this. Reading the host's certificates takes milliseconds.
pub fn client(stall_timeout: Duration) -> ConfigBuilder<AgentScope> {
    // The whole chain of trust is the host's own, as for every other program on it.
    let certificates: Vec<_> = rustls_native_certs::load_native_certs()
        .certs
        .iter()
        .map(|certificate| Certificate::from_der(certificate).to_owned())
        .collect();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(certificates)))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .build();
    ureq::Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .timeout_resolve(Some(stall_timeout))
        .timeout_connect(Some(stall_timeout))
        .timeout_recv_response(Some(stall_timeout))
        .timeout_per_read(Some(stall_timeout))
}

/// Whether a body broke off because nothing came, or too little.
pub fn is_timeout(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>());
    error.kind() == io::ErrorKind::TimedOut || matches!(inner, Some(ureq::Error::Timeout(_)))
}

/// Breaks off a transfer that is too slow to end. Complete silence is ended by the client's own timeout.
pub struct Paced<R> {
    reader: R,
    bytes_per_second_min: u64,
    window: Duration,
    window_start: Instant,
    window_bytes: u64,
}

impl<R> Paced<R> {
    /// Over every `window` this many bytes per second have to come.
    pub fn new(reader: R, bytes_per_second_min: u64, window: Duration) -> Self {
        Self { reader, bytes_per_second_min, window, window_start: Instant::now(), window_bytes: 0 }
    }
}

impl<R: Read> Read for Paced<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.window_bytes += count as u64;
        let elapsed = self.window_start.elapsed();
        if count > 0 && elapsed >= self.window {
            if self.window_bytes < self.bytes_per_second_min.saturating_mul(elapsed.as_secs().max(1)) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.window_start = Instant::now();
            self.window_bytes = 0;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::thread::sleep;

    use super::*;

    /// One byte at a time.
    struct Drops(Duration);

    impl Read for Drops {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            sleep(self.0);
            buffer[0] = 0;
            Ok(1)
        }
    }

    #[test]
    fn a065_a_transfer_that_drips_is_broken_off() {
        let window = Duration::from_millis(1100);
        let mut slow = Paced::new(Drops(Duration::from_millis(100)), 1_000, window);
        let error = io::copy(&mut slow, &mut io::sink()).expect_err("it never ends");
        assert!(is_timeout(&error));
        // Rule 392: as many bytes as seconds are enough for a file.
        let mut enough = Paced::new(Drops(Duration::from_millis(100)), 1, window).take(20);
        assert_eq!(io::copy(&mut enough, &mut io::sink()).expect("read"), 20);
    }
}
