//! What traffic a program takes.
//!
//! [`Filter`] is what users write, and says what it means by [`Filter::takes`]; `code.rs` makes instructions of it.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use thiserror::Error;

/// What a [`RedirectProgram`](super::RedirectProgram) takes away from the ordinary stack: everything, until something is named;
/// then only what is named, by any one of its entries.
///
/// Ports are destination ports of UDP and TCP over IPv4, with options or without, and over IPv6 without extension headers.
/// Behind one VLAN tag (802.1Q) all is found as it is without; behind two, or other tags, no port is. Of a datagram in fragments
/// only the first has ports, so the rest goes up the stack.
///
/// ```
/// use pp_xdp::af_xdp::Filter;
///
/// let dns = Filter::new().port(53).ethertype(0x0806);         // DNS over either protocol, and ARP
///
/// let mut frame = [0; 60];
/// frame[12..14].copy_from_slice(&[0x08, 0x00]);               // IPv4
/// frame[14] = 0x45;                                           // version, words in the header
/// frame[23] = 17;                                             // UDP
/// frame[36..38].copy_from_slice(&53_u16.to_be_bytes());
/// assert!(dns.takes(&frame));
///
/// frame[36..38].copy_from_slice(&54_u16.to_be_bytes());
/// assert!(!dns.takes(&frame));
/// assert!(Filter::new().takes(&frame));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    entries: Vec<Entry>,
}

/// Why there is no program for a [`Filter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FilterError {
    /// It has more than [`Filter::MAX_ENTRIES`].
    #[error(
        "a filter of {entries} entries is too long: at most {} are looked at for each packet; \
         take an Ethernet type as a whole, or everything",
        Filter::MAX_ENTRIES
    )]
    TooManyEntries {
        /// How many it has, twins counted once.
        entries: usize,
    },
    /// The number is below 0x600, where Ethernet's type field is a length.
    #[error("{number:#06x} is no Ethernet type: they begin at 0x0600, lower numbers are lengths")]
    NotAnEtherType {
        /// What was given.
        number: u16,
    },
}

/// One thing to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Entry {
    EtherType(u16),
    Port(Transport, u16),
}

/// Whose destination ports are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// What is in Ethernet's type field.
pub(super) const ETH_P_IP: u16 = 0x0800;
pub(super) const ETH_P_IPV6: u16 = 0x86dd;
pub(super) const ETH_P_8021Q: u16 = 0x8100;
/// The least number there that is a type.
const ETH_P_MIN: u16 = 0x0600;

// === impl Transport ===

impl Transport {
    /// Its number in IP's headers.
    pub(super) const fn number(self) -> u8 {
        match self {
            Transport::Udp => 17,
            Transport::Tcp => 6,
        }
    }
}

// === impl Filter ===

impl Filter {
    /// How many things a filter can name; a [`port`](Self::port) counts twice, once for each protocol. See [`Filter`].
    pub const MAX_ENTRIES: usize = 64;

    /// Takes everything, until something is named. See [`Filter`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Also takes UDP to this destination port. See [`Filter`].
    #[must_use]
    pub fn udp_port(self, port: u16) -> Self {
        self.with(Entry::Port(Transport::Udp, port))
    }

    /// Also takes TCP to this destination port. See [`Filter`].
    #[must_use]
    pub fn tcp_port(self, port: u16) -> Self {
        self.with(Entry::Port(Transport::Tcp, port))
    }

    /// Also takes UDP and TCP to this destination port. See [`Filter`].
    #[must_use]
    pub fn port(self, port: u16) -> Self {
        self.udp_port(port).tcp_port(port)
    }

    /// Also takes frames of this Ethernet type, 0x0806 for ARP. Of a frame with a VLAN tag both the tag's 0x8100 and the type
    /// behind it count. See [`Filter`].
    #[must_use]
    pub fn ethertype(self, number: u16) -> Self {
        self.with(Entry::EtherType(number))
    }

    /// Whether the program takes this frame, which begins with its Ethernet header. What follows the frame's first buffer is
    /// never looked at. For tests of filters; nothing is loaded. See [`Filter`].
    #[must_use]
    pub fn takes(&self, frame: &[u8]) -> bool {
        self.takes_all() || self.names(frame).unwrap_or(false)
    }

    /// `None` where the frame ends before it is known.
    fn names(&self, frame: &[u8]) -> Option<bool> {
        let (mut ether_type, mut rest) = be16(frame, 12)?;
        if self.has(Entry::EtherType(ether_type)) {
            return Some(true);
        }
        if ether_type == ETH_P_8021Q {
            (ether_type, rest) = be16(rest, 2)?;
            if self.has(Entry::EtherType(ether_type)) {
                return Some(true);
            }
        }
        let (protocol, segment) = match ether_type {
            ETH_P_IP => {
                let header = rest.get(..20)?;
                let (version, words) = (header[0] >> 4, usize::from(header[0] & 15));
                let (fragment, _) = be16(header, 6)?;
                if version != 4 || words < 5 || fragment & 0x1fff != 0 {
                    return Some(false);
                }
                (header[9], rest.get(4 * words..)?)
            }
            ETH_P_IPV6 => {
                let (header, segment) = rest.split_at_checked(40)?;
                if header[0] >> 4 != 6 {
                    return Some(false);
                }
                (header[6], segment)
            }
            _ => return Some(false),
        };
        let transport = [Transport::Udp, Transport::Tcp].into_iter().find(|t| t.number() == protocol);
        let (port, _) = be16(segment, 2)?;
        Some(transport.is_some_and(|transport| self.has(Entry::Port(transport, port))))
    }

    /// Whether nothing has been named.
    pub(super) fn takes_all(&self) -> bool {
        self.entries.is_empty()
    }

    /// The Ethernet types that are named, each once, in order.
    pub(super) fn ether_types(&self) -> BTreeSet<u16> {
        let types = self.entries.iter().filter_map(|&entry| match entry {
            Entry::EtherType(number) => Some(number),
            Entry::Port(..) => None,
        });
        types.collect()
    }

    /// The same of the ports of `transport`.
    pub(super) fn ports(&self, transport: Transport) -> BTreeSet<u16> {
        let ports = self.entries.iter().filter_map(|&entry| match entry {
            Entry::Port(of, port) if of == transport => Some(port),
            _ => None,
        });
        ports.collect()
    }

    /// That a program can be made of it.
    pub(super) fn check(&self) -> Result<(), FilterError> {
        let entries = self.entries.iter().collect::<BTreeSet<_>>().len();
        if entries > Self::MAX_ENTRIES {
            return Err(FilterError::TooManyEntries { entries });
        }
        match self.ether_types().first() {
            Some(&number) if number < ETH_P_MIN => Err(FilterError::NotAnEtherType { number }),
            _ => Ok(()),
        }
    }

    fn has(&self, entry: Entry) -> bool {
        self.entries.contains(&entry)
    }

    fn with(mut self, entry: Entry) -> Self {
        self.entries.push(entry);
        self
    }
}

/// The two bytes at `offset`, as the network has them, and what follows.
fn be16(bytes: &[u8], offset: usize) -> Option<(u16, &[u8])> {
    let (number, rest) = bytes.get(offset..)?.split_first_chunk::<2>()?;
    Some((u16::from_be_bytes(*number), rest))
}
