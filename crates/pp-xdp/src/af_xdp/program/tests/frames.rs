//! Frames, byte by byte.

use alloc::vec::Vec;

/// Bytes in an Ethernet header.
pub(super) const ETH_HLEN: usize = 14;

pub(super) const UDP: u8 = 17;
pub(super) const TCP: u8 = 6;

/// A frame with these tags, outermost first, and this type.
pub(super) fn ethernet(tags: &[u16], ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec_of(&[0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2]);
    for tag in tags {
        frame.extend(tag.to_be_bytes());
        frame.extend([0x20, 0x05]);
    }
    frame.extend(ether_type.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A packet of IPv4 with a header of so many words, and this in the field of the fragment's flags and offset.
pub(super) fn ipv4(words: u8, fragment: u16, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec_of(&[0x40 | words, 0, 0, 0, 0, 1]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 53]);
    // Options that look like the port that most tests ask for, as the end of the address does.
    for _ in 5..words {
        packet.extend([0, 53, 0, 53]);
    }
    packet.extend(payload);
    packet
}

pub(super) fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec_of(&[0x60, 0, 0, 0]);
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next, 64]);
    packet.extend([0xfd; 16]);
    packet.extend([0xfe; 16]);
    packet.extend(payload);
    packet
}

/// What UDP and TCP have in common, and a few bytes more.
pub(super) fn segment(from: u16, to: u16) -> Vec<u8> {
    let mut segment = vec_of(&from.to_be_bytes());
    segment.extend(to.to_be_bytes());
    segment.extend([0; 16]);
    segment
}

fn vec_of(bytes: &[u8]) -> Vec<u8> {
    bytes.to_vec()
}
