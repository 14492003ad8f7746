//! Rules: which flows are meant.

use std::net::IpAddr;

use super::flow::Flow;

/// A flow matches if each field that is given is equal; one that has no such field does not. Nothing given matches all.
///
/// # Examples
///
/// ```
/// use pp_netdev::steer::{Flow, Match};
///
/// let ssh = Match { protocol: Some(6), destination_port: Some(22), ..Match::ANY };
/// assert!(!ssh.is_met_by(&Flow::of(b"no TCP at all")));
///
/// let (from, to) = (([10, 0, 0, 1].into(), 50_000), ([10, 0, 0, 2].into(), 22));
/// let one = Match::flow(6, from, to);
/// let mut flow = Flow::default(); // or what `Flow::of` found in a frame
/// (flow.protocol, flow.addresses, flow.ports) = (Some(6), Some((from.0, to.0)), Some((from.1, to.1)));
/// assert!(one.is_met_by(&flow) && ssh.is_met_by(&flow));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Match {
    /// What the frame carries, behind its VLAN tags.
    pub ethertype: Option<u16>,
    /// IPv4's or IPv6's protocol.
    pub protocol: Option<u8>,
    /// The address it comes from.
    pub source: Option<IpAddr>,
    /// The address it goes to.
    pub destination: Option<IpAddr>,
    /// The port it comes from.
    pub source_port: Option<u16>,
    /// The port it goes to.
    pub destination_port: Option<u16>,
}

impl Match {
    /// Every frame.
    pub const ANY: Self = Self {
        ethertype: None,
        protocol: None,
        source: None,
        destination: None,
        source_port: None,
        destination_port: None,
    };

    /// The five fields that make a flow: every frame of this one, and no other.
    #[must_use]
    pub fn flow(protocol: u8, source: (IpAddr, u16), destination: (IpAddr, u16)) -> Self {
        Self {
            protocol: Some(protocol),
            source: Some(source.0),
            destination: Some(destination.0),
            source_port: Some(source.1),
            destination_port: Some(destination.1),
            ethertype: None,
        }
    }

    /// Whether a flow is meant.
    #[must_use]
    pub fn is_met_by(&self, flow: &Flow) -> bool {
        fn fits<T: PartialEq>(wanted: Option<T>, there: Option<T>) -> bool {
            wanted.is_none() || wanted == there
        }
        let (source, destination) = flow.addresses.unzip();
        let (source_port, destination_port) = flow.ports.unzip();
        fits(self.ethertype, flow.ethertype)
            && fits(self.protocol, flow.protocol)
            && fits(self.source, source)
            && fits(self.destination, destination)
            && fits(self.source_port, source_port)
            && fits(self.destination_port, destination_port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_counts_and_a_missing_one_is_not_met() {
        let (source, destination): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let flow = Flow {
            ethertype: Some(0x0800),
            addresses: Some((source, destination)),
            protocol: Some(6),
            ports: Some((1000, 80)),
        };
        let exact = Match::flow(6, (source, 1000), (destination, 80));
        assert!(Match::ANY.is_met_by(&flow) && Match::ANY.is_met_by(&Flow::default()) && exact.is_met_by(&flow));
        for other in [
            Match { ethertype: Some(0x86dd), ..exact },
            Match { protocol: Some(17), ..exact },
            Match { source: Some(destination), ..exact },
            Match { destination: Some(source), ..exact },
            Match { source_port: Some(1001), ..exact },
            Match { destination_port: Some(81), ..exact },
        ] {
            assert!(!other.is_met_by(&flow), "{other:?}");
        }
        let fragment = Flow { ports: None, ..flow };
        assert!(!exact.is_met_by(&fragment));
        assert!(Match { protocol: Some(6), ..Match::ANY }.is_met_by(&fragment));
        assert!(!exact.is_met_by(&Flow::default()));
    }
}
