//! Connects to the task's port.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use crate::Outcome;

pub(crate) fn run(port: u16, timeout: Option<Duration>) -> Outcome {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let connected = match timeout {
        Some(timeout) => TcpStream::connect_timeout(&address, timeout),
        None => TcpStream::connect(address),
    };
    match connected {
        Ok(_) => Outcome::Connected(true),
        Err(error) if error.kind() == ErrorKind::TimedOut => Outcome::TimedOut,
        Err(_) => Outcome::Connected(false),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn rule_339_a_tcp_check_connects_to_the_loopback_address() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
        let port = listener.local_addr().expect("address").port();
        assert_eq!(run(port, Some(Duration::from_secs(1))), Outcome::Connected(true));
        drop(listener);
        assert_eq!(run(port, None), Outcome::Connected(false));
    }
}
