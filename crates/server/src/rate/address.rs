//! The key of limits by address.

use std::net::{IpAddr, Ipv6Addr};

/// An IPv4 address, or the /64 of an IPv6 address: one subscriber has at least that many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct AddressKey(IpAddr);

/// The factor of limits by address for loopback.
const LOOPBACK: u64 = 10;

impl AddressKey {
    /// Whether this is a loopback address.
    pub(crate) const fn is_loopback(self) -> bool {
        self.0.is_loopback()
    }

    /// The factor for this address. Loopback stands for a developer's programs, or for all clients of a proxy that is
    /// not configured.
    pub(crate) const fn factor(self) -> u64 {
        if self.is_loopback() { LOOPBACK } else { 1 }
    }

    /// This address's limit on concurrency.
    pub(crate) const fn share(self, limit: usize) -> usize {
        limit.saturating_mul(self.factor() as usize)
    }
}

impl From<IpAddr> for AddressKey {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) if !address.is_loopback() => {
                Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into()
            }
            address @ (IpAddr::V4(_) | IpAddr::V6(_)) => address,
        })
    }
}

impl std::fmt::Display for AddressKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(address: &str) -> AddressKey {
        address.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn ipv6_counts_by_64_and_every_form_of_loopback_is_recognised() {
        assert_eq!(key("2001:db8:1:2:3:4:5:6"), key("2001:db8:1:2::9"));
        assert_eq!(key("::ffff:198.51.100.7"), key("198.51.100.7"));
        for loopback in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!((key(loopback).factor(), key(loopback).share(3)), (10, 30), "{loopback}");
        }
        for other in ["192.0.2.1", "::2", "2001:db8::1"] {
            assert_eq!((key(other).factor(), key(other).share(3)), (1, 3), "{other}");
        }
    }
}
