//! What a frame's headers say about the flow it belongs to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `ETH_P_IP`, `ETH_P_IPV6`, and the two tags that may stand before them: `ETH_P_8021Q`, `ETH_P_8021AD`.
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const TAGS: [u16; 2] = [0x8100, 0x88a8];

/// Tags in a row that are looked behind: two are what Ethernet bridges stack.
const MAX_TAGS: usize = 2;
/// Extension headers that are looked behind: a frame made of nothing else must not cost more than one that is not.
const MAX_EXTENSIONS: usize = 8;

/// The headers of a frame, as far as they are there.
///
/// A frame that ends early, or contradicts itself, has fewer of them; nothing is ever read beyond its end, or beyond the length that its
/// IP header says: short frames are padded, and padding is not ports. A fragment has no ports, not even the first one, which could
/// say them: so all fragments of a packet are of one flow (as RSS has it).
///
/// # Examples
///
/// ```
/// use pp_netdev::steer::Flow;
///
/// let arp = Flow::of(b"\xff\xff\xff\xff\xff\xffsource\x08\x06...");
/// assert_eq!((arp.ethertype, arp.addresses, arp.ports), (Some(0x0806), None, None));
/// assert_eq!(Flow::of(b"short"), Flow::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Flow {
    /// What the frame carries, behind its VLAN tags.
    pub ethertype: Option<u16>,
    /// IPv4's or IPv6's source and destination.
    pub addresses: Option<(IpAddr, IpAddr)>,
    /// IPv4's protocol, or the one behind IPv6's extension headers.
    pub protocol: Option<u8>,
    /// Source and destination port of TCP, UDP and SCTP.
    pub ports: Option<(u16, u16)>,
}

impl Flow {
    /// The flow of an Ethernet frame.
    #[must_use]
    pub fn of(frame: &[u8]) -> Self {
        let (mut at, mut tags) = (12, 0);
        let ethertype = loop {
            match word(frame, at) {
                Some(tag) if TAGS.contains(&tag) && tags < MAX_TAGS => {
                    at += 4;
                    tags += 1;
                }
                other => break other,
            }
        };
        let packet = frame.get(at + 2..).unwrap_or_default();
        let inner = match ethertype {
            Some(IPV4) => ipv4(packet),
            Some(IPV6) => ipv6(packet),
            _ => None,
        };
        Flow { ethertype, ..inner.unwrap_or_default() }
    }
}

/// `None` if it is no IPv4 packet, or ends within its header.
fn ipv4(packet: &[u8]) -> Option<Flow> {
    let header: &[u8; 20] = packet.first_chunk()?;
    let header_bytes = usize::from(header[0] & 0xf) * 4;
    if header[0] >> 4 != 4 || header_bytes < header.len() {
        return None;
    }
    let address = |at: usize| Some(IpAddr::V4(Ipv4Addr::from(*header.get(at..)?.first_chunk::<4>()?)));
    // More fragments, or not the first.
    let fragment = word(header, 6)? & 0x3fff != 0;
    let protocol = header[9];
    // Padding may follow.
    let packet = up_to(packet, word(header, 2)?.into());
    Some(Flow {
        addresses: Some((address(12)?, address(16)?)),
        protocol: Some(protocol),
        ports: if fragment { None } else { ports(protocol, packet.get(header_bytes..).unwrap_or_default()) },
        ..Flow::default()
    })
}

/// `None` if it is no IPv6 packet, or ends within its header.
fn ipv6(packet: &[u8]) -> Option<Flow> {
    let (header, mut rest) = packet.split_first_chunk::<40>()?;
    if header[0] >> 4 != 6 {
        return None;
    }
    // Padding may follow. A jumbogram says 0: its length is in an option, and no frame has so many bytes.
    match word(header, 4)? {
        0 => {}
        payload => rest = up_to(rest, payload.into()),
    }
    let address = |at: usize| Some(IpAddr::V6(Ipv6Addr::from(*header.get(at..)?.first_chunk::<16>()?)));
    let addresses = Some((address(8)?, address(24)?));
    let mut protocol = header[6];
    for _ in 0..MAX_EXTENSIONS {
        // RFC 8200: hop-by-hop options, routing, destination options count in units of eight bytes after the first eight;
        // RFC 4302: the authentication header in units of four after the first eight.
        let bytes = match (protocol, rest) {
            (0 | 43 | 60, [_, units, ..]) => 8 + usize::from(*units) * 8,
            (51, [_, units, ..]) => 8 + usize::from(*units) * 4,
            // A fragment: what follows is a piece.
            (44, [next, ..]) => return Some(Flow { addresses, protocol: Some(*next), ..Flow::default() }),
            _ => {
                return Some(Flow {
                    addresses,
                    protocol: Some(protocol),
                    ports: ports(protocol, rest),
                    ..Flow::default()
                });
            }
        };
        protocol = rest[0];
        rest = rest.get(bytes..).unwrap_or_default();
    }
    Some(Flow { addresses, ..Flow::default() })
}

/// The first `len` bytes, or all if there are fewer.
fn up_to(bytes: &[u8], len: usize) -> &[u8] {
    bytes.get(..len).unwrap_or(bytes)
}

/// TCP, UDP and SCTP begin with their ports.
fn ports(protocol: u8, segment: &[u8]) -> Option<(u16, u16)> {
    matches!(protocol, 6 | 17 | 132).then_some(())?;
    Some((word(segment, 0)?, word(segment, 2)?))
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ethernet(ethertype: u16, packet: &[u8]) -> Vec<u8> {
        [&[2; 12][..], &ethertype.to_be_bytes(), packet].concat()
    }

    fn ipv4_packet(protocol: u8, fragment: u16, options: usize, payload: &[u8]) -> Vec<u8> {
        let mut header = vec![0; 20 + options];
        header[0] = 0x40 | (5 + options / 4) as u8;
        header[2..4].copy_from_slice(&((20 + options + payload.len()) as u16).to_be_bytes());
        header[6..8].copy_from_slice(&fragment.to_be_bytes());
        header[9] = protocol;
        header[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        [&header, payload].concat()
    }

    fn ipv6_packet(next: u8, payload: &[u8]) -> Vec<u8> {
        let mut header = vec![0; 40];
        (header[0], header[6], header[23], header[39]) = (0x60, next, 1, 2);
        header[4..6].copy_from_slice(&(payload.len() as u16).to_be_bytes());
        [&header, payload].concat()
    }

    const PORTS: [u8; 4] = [0x12, 0x34, 0, 80];

    #[test]
    fn ports_are_found_behind_tags_options_and_extensions() {
        let plain = ipv4_packet(17, 0, 0, &PORTS);
        let flow = Flow::of(&ethernet(IPV4, &plain));
        assert_eq!((flow.ethertype, flow.protocol, flow.ports), (Some(IPV4), Some(17), Some((0x1234, 80))));
        assert_eq!(flow.addresses, Some(([10, 0, 0, 1].into(), [10, 0, 0, 2].into())));
        assert_eq!(
            Flow::of(&ethernet(IPV4, &ipv4_packet(17, 0x4000, 40, &PORTS))),
            flow,
            "options, and not to be fragmented"
        );
        let tagged = [&[0, 5][..], &IPV4.to_be_bytes(), &plain].concat();
        assert_eq!(Flow::of(&ethernet(0x8100, &tagged)), flow);
        let twice = [&[0, 9][..], &0x8100u16.to_be_bytes(), &tagged].concat();
        assert_eq!(Flow::of(&ethernet(0x88a8, &twice)), flow);
        let thrice = [&[0, 9][..], &0x88a8u16.to_be_bytes(), &twice].concat();
        assert_eq!(Flow::of(&ethernet(0x88a8, &thrice)), Flow { ethertype: Some(0x8100), ..Flow::default() });

        let six = Flow::of(&ethernet(IPV6, &ipv6_packet(6, &PORTS)));
        assert_eq!((six.protocol, six.ports), (Some(6), Some((0x1234, 80))));
        // Hop-by-hop of 16 bytes, an authentication header of 12, then TCP.
        let mut extensions = vec![51, 1];
        extensions.resize(16, 0);
        extensions.extend([6, 1]);
        extensions.resize(28, 0);
        extensions.extend(PORTS);
        assert_eq!(Flow::of(&ethernet(IPV6, &ipv6_packet(0, &extensions))), six);
    }

    #[test]
    fn padding_is_no_ports() {
        let padded = |ethertype, mut packet: Vec<u8>, length_at: usize, length: u16| {
            packet[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
            let flow = Flow::of(&ethernet(ethertype, &packet));
            assert!(flow.addresses.is_some(), "the header is there");
            flow.ports
        };
        let ports = Some((0x1234, 80));
        // Nothing but the header; half the ports; less than the header, with options and without; all; more than there is.
        for (length, options, found) in [
            (20, 0, None),
            (23, 0, None),
            (0, 0, None),
            (19, 0, None),
            (24, 8, None),
            (28, 8, None),
            (24, 0, ports),
            (32, 8, ports),
            (u16::MAX, 0, ports),
        ] {
            let packet = ipv4_packet(17, 0, options, &PORTS);
            assert_eq!(padded(IPV4, packet, 2, length), found, "{length} bytes with {options} of options");
        }
        // A length of 0 is a jumbogram's.
        for (length, found) in [(1, None), (3, None), (4, ports), (0, ports), (u16::MAX, ports)] {
            assert_eq!(padded(IPV6, ipv6_packet(17, &PORTS), 4, length), found, "{length} bytes");
        }
        // The payload ends with, and within, an extension header.
        let extended = [&[17, 0, 0, 0, 0, 0, 0, 0], &PORTS[..]].concat();
        for (length, found) in [(1, None), (7, None), (8, None), (12, ports)] {
            assert_eq!(padded(IPV6, ipv6_packet(60, &extended), 4, length), found, "{length} bytes");
        }
        // A length beyond the frame reads nothing beyond it.
        assert_eq!(padded(IPV4, ipv4_packet(17, 0, 0, &PORTS[..3]), 2, u16::MAX), None);
        assert_eq!(padded(IPV6, ipv6_packet(17, &PORTS[..3]), 4, u16::MAX), None);
    }

    #[test]
    fn every_fragment_is_of_one_flow() {
        for fragment in [0x2000, 0x2010, 0x0010] {
            let flow = Flow::of(&ethernet(IPV4, &ipv4_packet(17, fragment, 0, &PORTS)));
            assert_eq!((flow.protocol, flow.ports), (Some(17), None));
        }
        let flow = Flow::of(&ethernet(IPV6, &ipv6_packet(44, &[17, 0, 0, 1, 0, 0, 0, 0, 0x12, 0x34, 0, 80])));
        assert_eq!((flow.protocol, flow.ports), (Some(17), None));
    }

    #[test]
    fn frames_cut_anywhere_or_made_of_anything_are_flows_of_less() {
        let mut extensions = [60, 0, 0, 0, 0, 0, 0, 0].repeat(20);
        extensions.extend(PORTS);
        let whole = [
            ethernet(IPV4, &ipv4_packet(6, 0, 40, &PORTS)),
            ethernet(IPV6, &ipv6_packet(6, &PORTS)),
            ethernet(IPV6, &ipv6_packet(60, &extensions)),
        ];
        for frame in &whole {
            let flow = Flow::of(frame);
            for len in 0..frame.len() {
                let cut = Flow::of(&frame[..len]);
                assert!(cut.ports.is_none() && (cut.addresses.is_none() || cut.addresses == flow.addresses), "{len}");
            }
        }
        assert_eq!((Flow::of(&whole[2]).protocol, Flow::of(&whole[2]).ports), (None, None), "too many extensions");
        // The length says less than a header, or more than there is; the version is another's.
        for first in [0x41, 0x65, 0x05] {
            let mut packet = ipv4_packet(6, 0, 0, &PORTS);
            packet[0] = first;
            assert_eq!(Flow::of(&ethernet(IPV4, &packet)).addresses, None);
        }
        let mut long = ipv4_packet(6, 0, 0, &PORTS);
        long[0] = 0x4f;
        assert_eq!(Flow::of(&ethernet(IPV4, &long)).ports, None);
        // Any bytes at all: xorshift.
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        for round in 0..20_000 {
            let bytes: Vec<u8> = (0..round % 120)
                .map(|at| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    match (at, round % 3) {
                        (12, 1) => 0x08,
                        (12, 2) => 0x86,
                        (13, 1) => 0x00,
                        (13, 2) => 0xdd,
                        (14, 1) => 0x45,
                        (14, 2) => 0x60,
                        _ => state as u8,
                    }
                })
                .collect();
            let _ = Flow::of(&bytes);
        }
    }
}
