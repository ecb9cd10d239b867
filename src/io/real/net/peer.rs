//! Who is at the other end of a connection.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

/// The address at the other end of a connection: of a client, or of a proxy in front of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(SocketAddr);

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        Self(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }
}

impl Peer {
    /// Those that it is counted with: of IPv4 the address alone, of IPv6 all of its /64, since whoever has one
    /// address of these has them all.
    #[must_use]
    pub fn network(self) -> Network {
        match self.0.ip() {
            IpAddr::V4(address) => Network::V4(address.octets()),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Network::V6([a, b, c, d])
            }
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An address of IPv4, or a /64 of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Network {
    /// An address.
    V4([u8; 4]),
    /// The first half of addresses.
    V6([u16; 4]),
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4([a, b, c, d]) => write!(f, "{a}.{b}.{c}.{d}"),
            Self::V6([a, b, c, d]) => write!(f, "{a:x}:{b:x}:{c:x}:{d:x}::/64"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> Peer {
        Peer::from(text.parse::<SocketAddr>().unwrap())
    }

    #[test]
    fn addresses_of_one_64_are_counted_together_and_those_of_ipv4_alone() {
        let network = |text: &str| peer(text).network();
        assert_eq!(network("[2001:db8:1:2::3]:1"), network("[2001:db8:1:2:ffff::4]:2"));
        assert_ne!(network("[2001:db8:1:2::3]:1"), network("[2001:db8:1:3::3]:1"));
        assert_ne!(network("10.0.0.1:1"), network("10.0.0.2:1"));
        // However a socket of both kinds spells it.
        assert_eq!(network("[::ffff:10.0.0.1]:1"), network("10.0.0.1:1"));
        assert_eq!(peer("[::ffff:10.0.0.1]:1").to_string(), "10.0.0.1:1");
        assert_eq!(network("[2001:db8:1:2::3]:1").to_string(), "2001:db8:1:2::/64");
        assert_eq!(network("10.0.0.1:1").to_string(), "10.0.0.1");
    }
}
