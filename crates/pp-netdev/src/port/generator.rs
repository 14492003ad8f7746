//! Frames made up on the spot: Ethernet, IPv4, UDP, and a number in the payload.
//!
//! One frame is built once; each next one differs in its number and in the UDP checksum that follows from it, so a frame
//! costs ten stores whatever its size.

use std::io;
use std::num::NonZeroU16;
use std::str::FromStr;

use crate::{Frame, FrameSource};

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const UDP: usize = 8;
const IP_AT: usize = ETHERNET;
const UDP_AT: usize = IP_AT + IPV4;
const UDP_CHECKSUM_AT: usize = UDP_AT + 6;
const NUMBER_AT: usize = UDP_AT + UDP;

/// Locally administered, so that they belong to nobody.
const TO: [u8; 6] = [0x02, 0, 0, 0, 0, 0x02];
const FROM: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];
/// The range that RFC 2544 keeps for benchmarks: one address on each of its two networks.
const FROM_IP: [u8; 4] = [198, 18, 0, 1];
const TO_IP: [u8; 4] = [198, 19, 0, 1];
/// From the dynamic range, to the discard service.
const FROM_PORT: u16 = 49152;
const TO_PORT: u16 = 9;
const PROTOCOL_UDP: u8 = 17;

/// Bytes of a generated frame, without the four of the checksum on the wire.
///
/// # Examples
///
/// ```
/// use pp_netdev::port::FrameSize;
/// assert_eq!((FrameSize::MIN.bytes(), FrameSize::MAX.bytes()), (60, 65_535));
/// assert_eq!(FrameSize::new(1514)?, "1514".parse()?);
/// let error = FrameSize::new(12).unwrap_err();
/// assert_eq!(error.to_string(), "`12` is no size for a frame; give a number of bytes from 60 to 65535");
/// # Ok::<(), pp_netdev::port::FrameSizeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FrameSize(usize);

/// A size that no frame can have. See [`FrameSize`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no size for a frame; give a number of bytes from {min} to {max}", min = FrameSize::MIN.0, max = FrameSize::MAX.0)]
pub struct FrameSizeError(String);

/// A source of numbered frames that never ends.
///
/// ```
/// use pp_netdev::FrameSource;
/// use pp_netdev::port::{FrameSize, Generator};
///
/// let mut generator = Generator::new(FrameSize::new(60)?);
/// let first = generator.next_frame()?.expect("a generator never ends").bytes.to_vec();
/// let second = generator.next_frame()?.expect("a generator never ends");
/// assert_eq!(first.len(), 60);
/// assert_ne!(first, second.bytes);
/// let of_two = Generator::of_flows(FrameSize::new(60)?, 2.try_into()?);
/// # let _ = of_two;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Generator {
    frame: Vec<u8>,
    /// The UDP checksum's sum over everything but the number, not yet folded.
    sum: u32,
    number: u64,
    flows: NonZeroU16,
}

// === impl FrameSize ===

impl FrameSize {
    /// The shortest frame Ethernet carries, 64 bytes with its checksum.
    pub const MIN: Self = Self(60);
    /// More than any link carries; a capture's usual limit.
    pub const MAX: Self = Self(65_535);

    /// A size from [`MIN`](Self::MIN) to [`MAX`](Self::MAX).
    ///
    /// # Errors
    ///
    /// Outside that range.
    pub fn new(bytes: usize) -> Result<Self, FrameSizeError> {
        if (Self::MIN.0..=Self::MAX.0).contains(&bytes) {
            Ok(Self(bytes))
        } else {
            Err(FrameSizeError(bytes.to_string()))
        }
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(self) -> usize {
        self.0
    }
}

impl FromStr for FrameSize {
    type Err = FrameSizeError;

    fn from_str(text: &str) -> Result<Self, FrameSizeError> {
        text.parse().ok().and_then(|bytes| Self::new(bytes).ok()).ok_or_else(|| FrameSizeError(text.to_owned()))
    }
}

// === impl Generator ===

impl Generator {
    /// Frames of `size` bytes, numbered from 0.
    #[must_use]
    pub fn new(size: FrameSize) -> Self {
        Self::of_flows(size, NonZeroU16::MIN)
    }

    /// The same of so many flows in turns, which differ in their source port.
    #[must_use]
    pub fn of_flows(size: FrameSize, flows: NonZeroU16) -> Self {
        let frame = template(size);
        // The pseudo header, the UDP header with its checksum still zero, the payload with its number still zero. The source port
        // is the first flow's.
        let udp_len = (frame.len() - UDP_AT) as u32;
        let sum = sum_of(&FROM_IP) + sum_of(&TO_IP) + u32::from(PROTOCOL_UDP) + udp_len + sum_of(&frame[UDP_AT..]);
        Self { frame, sum, number: 0, flows }
    }
}

impl FrameSource for Generator {
    #[inline]
    fn next_frame(&mut self) -> io::Result<Option<Frame<'_>>> {
        let number = self.number;
        self.number = number.wrapping_add(1);
        let bytes = number.to_be_bytes();
        self.frame[NUMBER_AT..NUMBER_AT + 8].copy_from_slice(&bytes);
        let mut sum = self.sum + sum_of(&bytes);
        if self.flows > NonZeroU16::MIN {
            let flow = (number % u64::from(self.flows.get())) as u16;
            let port = FROM_PORT.wrapping_add(flow);
            self.frame[UDP_AT..UDP_AT + 2].copy_from_slice(&port.to_be_bytes());
            // The first flow's is in the sum.
            sum += u32::from(port) + u32::from(!FROM_PORT);
        }
        let checksum = match !fold(sum) {
            0 => 0xffff, // Zero would say "no checksum"; both mean zero in this arithmetic.
            sum => sum,
        };
        self.frame[UDP_CHECKSUM_AT..NUMBER_AT].copy_from_slice(&checksum.to_be_bytes());
        Ok(Some(Frame { bytes: &self.frame, mark: number }))
    }
}

/// The frame with its number and its UDP checksum zero.
fn template(size: FrameSize) -> Vec<u8> {
    let size = size.bytes();
    let mut frame = Vec::with_capacity(size);
    frame.extend(TO);
    frame.extend(FROM);
    frame.extend([0x08, 0x00]);

    let ip_len = (size - IP_AT) as u16;
    frame.extend([0x45, 0]);
    frame.extend(ip_len.to_be_bytes());
    frame.extend([0, 0, 0x40, 0]); // Don't fragment, so the identification may stay zero.
    frame.extend([64, PROTOCOL_UDP, 0, 0]);
    frame.extend(FROM_IP);
    frame.extend(TO_IP);
    let checksum = !fold(sum_of(&frame[IP_AT..UDP_AT]));
    frame[IP_AT + 10..IP_AT + 12].copy_from_slice(&checksum.to_be_bytes());

    frame.extend(FROM_PORT.to_be_bytes());
    frame.extend(TO_PORT.to_be_bytes());
    frame.extend(((size - UDP_AT) as u16).to_be_bytes());
    frame.extend([0, 0]);
    frame.extend([0; 8]);
    frame.extend((NUMBER_AT + 8..size).map(|at| at as u8));
    frame
}

/// The sum of RFC 1071 over big-endian words, not folded. At most 64 KiB, so 32 bits hold it.
fn sum_of(bytes: &[u8]) -> u32 {
    let (words, last) = bytes.as_chunks::<2>();
    let last = last.first().map_or(0, |&byte| u32::from(byte) << 8);
    words.iter().map(|&word| u32::from(u16::from_be_bytes(word))).sum::<u32>() + last
}

fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_hold_at_every_size_and_number() {
        for (size, flows) in
            (60..200).chain([1513, 1514, 9000, 65_534, 65_535]).flat_map(|size| [(size, 1), (size, u16::MAX)])
        {
            let mut generator = Generator::of_flows(FrameSize::new(size).unwrap(), NonZeroU16::new(flows).unwrap());
            for number in [0, 1, 0xffff, 0x1_0000, u64::MAX] {
                generator.number = number;
                let frame = generator.next_frame().unwrap().unwrap();
                assert_eq!(frame.bytes.len(), size);
                let port = FROM_PORT.wrapping_add((number % u64::from(flows)) as u16);
                assert_eq!(frame.bytes[UDP_AT..UDP_AT + 2], port.to_be_bytes());
                assert_eq!(frame.mark, number);
                assert_eq!(frame.bytes[NUMBER_AT..NUMBER_AT + 8], number.to_be_bytes());
                assert_eq!(fold(sum_of(&frame.bytes[IP_AT..UDP_AT])), 0xffff, "IP checksum at {size}");
                let udp = &frame.bytes[UDP_AT..];
                let pseudo = sum_of(&FROM_IP) + sum_of(&TO_IP) + u32::from(PROTOCOL_UDP) + udp.len() as u32;
                assert_eq!(fold(pseudo + sum_of(udp)), 0xffff, "UDP checksum at {size}, number {number}");
                assert_ne!(udp[6..8], [0, 0]);
                assert_eq!(usize::from(u16::from_be_bytes([frame.bytes[16], frame.bytes[17]])), size - IP_AT);
                assert_eq!(usize::from(u16::from_be_bytes([udp[4], udp[5]])), size - UDP_AT);
            }
        }
    }

    #[test]
    fn sizes_outside_the_range_are_named() {
        for text in ["0", "59", "65536", "-1", "", "1k", "99999999999999999999"] {
            let error = text.parse::<FrameSize>().unwrap_err().to_string();
            assert_eq!(error, format!("`{text}` is no size for a frame; give a number of bytes from 60 to 65535"));
        }
    }
}
