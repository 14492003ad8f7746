//! Frames as the generator makes them.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// An Ethernet address.
///
/// # Examples
///
/// ```
/// use pp_testbed::Mac;
///
/// let mac = Mac([0x02, 0, 0, 0, 0, 0x0a]);
/// assert_eq!(mac.to_string(), "02:00:00:00:00:0a");
/// assert_eq!("02:00:00:00:00:0a".parse(), Ok(mac));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

/// Where a packet comes from or goes to.
///
/// # Examples
///
/// ```
/// use pp_testbed::{Endpoint, Mac};
///
/// let server = Endpoint { mac: Mac([2, 0, 0, 0, 0, 2]), address: [10, 77, 0, 2].into() };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its Ethernet address.
    pub mac: Mac,
    /// Its IPv4 address.
    pub address: Ipv4Addr,
}

/// Ethernet, IPv4 and UDP.
pub(crate) const HEADERS: usize = 14 + 20 + 8;
/// Where a numbered frame says that it is one.
pub(crate) const MARK_AT: usize = HEADERS;
/// What it says there. Any word that other packets are unlikely to have.
pub(crate) const MARK: u32 = 0x7065_6e67;
/// Where its number is, in the machine's byte order.
pub(crate) const NUMBER_AT: usize = MARK_AT + 4;
/// Nobody listens there, and nobody minds.
const DISCARD: u16 = 9;

/// A UDP packet of `size` bytes in all, which has to hold the headers, without a checksum of its payload.
pub(crate) fn udp(from: Endpoint, to: Endpoint, size: u16) -> Vec<u8> {
    let mut frame = Vec::with_capacity(usize::from(size));
    frame.extend_from_slice(&to.mac.0);
    frame.extend_from_slice(&from.mac.0);
    frame.extend_from_slice(&[0x08, 0x00]);
    let mut ip = [0; 20];
    ip[0] = 0x45;
    ip[2..4].copy_from_slice(&size.saturating_sub(14).to_be_bytes());
    ip[6] = 0x40; // may not be fragmented
    ip[8] = 64;
    ip[9] = 17;
    ip[12..16].copy_from_slice(&from.address.octets());
    ip[16..20].copy_from_slice(&to.address.octets());
    let checksum = checksum(&ip);
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    frame.extend_from_slice(&ip);
    for word in [DISCARD, DISCARD, size.saturating_sub(34), 0] {
        frame.extend_from_slice(&word.to_be_bytes());
    }
    frame.resize(usize::from(size), 0);
    frame
}

/// The Internet checksum of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    // At most 16 bits are left.
    !(sum as u16)
}

// === impl Mac ===

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut mac = [0; 6];
        let mut parts = text.trim().split(':');
        for byte in &mut mac {
            *byte = u8::from_str_radix(parts.next().unwrap_or_default(), 16)?;
        }
        Ok(Mac(mac))
    }
}

#[cfg(test)]
mod tests {
    use super::{Endpoint, HEADERS, Mac, checksum, udp};

    #[test]
    fn headers_add_up() {
        let end = |last| Endpoint { mac: Mac([2, 0, 0, 0, 0, last]), address: [10, 77, 0, last].into() };
        let frame = udp(end(1), end(2), 60);
        assert_eq!(frame.len(), 60);
        // A header with its checksum in place sums up to nothing.
        assert_eq!(checksum(&frame[14..34]), 0);
        assert_eq!(&frame[16..18], &[0, 46]);
        assert_eq!(&frame[38..40], &[0, 26]);
        assert!(frame[HEADERS..].iter().all(|byte| *byte == 0));
    }
}
