//! Where a registry may send us: not to the host itself and not to what only the host can reach (attack A064).

use std::{
    io,
    net::{IpAddr, Ipv6Addr},
};

use ureq::{
    config::Config,
    http::Uri,
    unversioned::{
        resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver},
        transport::NextTimeout,
    },
};

/// Looks names up and forgets the answers that are not for images. It is asked for every connection, so a
/// name cannot change its address between check and use.
#[derive(Debug, Default)]
pub(super) struct Guarded(DefaultResolver);

impl Resolver for Guarded {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.0.resolve(uri, config, timeout)?;
        let mut kept = self.empty();
        for address in found.iter().filter(|address| may_serve(address.ip())) {
            kept.push(*address);
        }
        if kept.is_empty() {
            return Err(io::Error::from(io::ErrorKind::PermissionDenied).into());
        }
        Ok(kept)
    }
}

/// Whether a stranger may name this address. Private networks may hold a registry's storage and are allowed.
fn may_serve(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            !(v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
                || v4.octets()[0] == 0)
        }
        IpAddr::V6(v6) => {
            let link_local = v6.segments()[0] & 0xffc0 == 0xfe80;
            // Where a cloud serves credentials to its own machines.
            let metadata = v6 == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
            !(v6.is_loopback() || v6.is_unspecified() || v6.is_multicast() || link_local || metadata)
        }
    }
}

/// Whether a host, without port, is this machine by its very name.
pub(super) fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a064_addresses_of_the_host_and_of_clouds_are_not_for_images() {
        for no in [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "febf::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "fd00:ec2::254",
        ] {
            assert!(!may_serve(no.parse().unwrap()), "{no}");
        }
        for yes in ["10.0.0.1", "192.168.1.1", "8.8.8.8", "2001:db8::1", "fd12::1"] {
            assert!(may_serve(yes.parse().unwrap()), "{yes}");
        }
        assert!(is_loopback("localhost") && is_loopback("127.0.0.2") && is_loopback("[::1]"));
        assert!(!is_loopback("localhost.example") && !is_loopback("10.0.0.1"));
    }
}
