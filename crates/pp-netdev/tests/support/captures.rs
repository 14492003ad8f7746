//! Captures made by hand, byte by byte, so that no library's idea of them is tested against itself.

/// How numbers stand in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Little,
    Big,
}

/// The fraction of a second that times in a pcap file count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fraction {
    Micro,
    Nano,
}

impl Order {
    pub fn u16(self, value: u16) -> [u8; 2] {
        match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        }
    }

    pub fn u32(self, value: u32) -> [u8; 4] {
        match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        }
    }
}

/// A frame of `len` bytes whose addresses and content tell its number.
pub fn frame(number: u32, len: usize) -> Vec<u8> {
    let mut frame = vec![0x02, 0, 0, 0, 0, 0xbb, 0x02, 0, 0, 0, 0, 0xaa, 0x88, 0xb5];
    frame.extend(number.to_be_bytes());
    frame.extend((frame.len()..len).map(|at| (at as u32 ^ number) as u8));
    frame
}

/// Frames of all lengths that a link carries, some of the shortest and some of the longest.
pub fn frames(count: u32) -> Vec<Vec<u8>> {
    (0..count).map(|number| frame(number, 60 + (number as usize * 131) % 1455)).collect()
}

/// A frame as `swap-mac` sends it.
pub fn swapped(frame: &[u8]) -> Vec<u8> {
    [&frame[6..12], &frame[..6], &frame[12..]].concat()
}

pub fn pcap_header(order: Order, fraction: Fraction, link_type: u32) -> Vec<u8> {
    let magic = match fraction {
        Fraction::Micro => 0xa1b2_c3d4,
        Fraction::Nano => 0xa1b2_3c4d,
    };
    let mut file = order.u32(magic).to_vec();
    file.extend(order.u16(2));
    file.extend(order.u16(4));
    // A time zone and an accuracy that nobody sets, so that they show when they are lost.
    file.extend(order.u32((-3600_i32) as u32));
    file.extend(order.u32(7));
    file.extend(order.u32(262_144));
    file.extend(order.u32(link_type));
    file
}

pub fn pcap_packets(order: Order, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    for (number, frame) in (0..).zip(frames) {
        file.extend(order.u32(1_700_000_000 + number));
        file.extend(order.u32(number * 997 % 1_000_000));
        file.extend(order.u32(frame.len() as u32));
        // Each third was cut when it was captured.
        file.extend(order.u32(frame.len() as u32 + 1000 * u32::from(number.is_multiple_of(3))));
        file.extend(frame);
    }
    file
}

pub fn pcap(order: Order, fraction: Fraction, frames: &[Vec<u8>]) -> Vec<u8> {
    [pcap_header(order, fraction, 1), pcap_packets(order, frames)].concat()
}

/// A block of pcapng; the body is filled up to words, with bytes that show when they are lost.
pub fn block(order: Order, kind: u32, body: &[u8]) -> Vec<u8> {
    let padding = body.len().next_multiple_of(4) - body.len();
    let len = order.u32((12 + body.len() + padding) as u32);
    [&order.u32(kind), &len, body, &[0xee; 3][..padding], &len].concat()
}

pub fn option(order: Order, code: u16, value: &[u8]) -> Vec<u8> {
    let padding = value.len().next_multiple_of(4) - value.len();
    [&order.u16(code), &order.u16(value.len() as u16), value, &[0; 3][..padding]].concat()
}

pub fn section(order: Order) -> Vec<u8> {
    let mut body = order.u32(0x1a2b_3c4d).to_vec();
    body.extend([order.u16(1), order.u16(0)].concat());
    body.extend([0xff; 8]);
    body.extend(option(order, 4, b"by hand"));
    body.extend(option(order, 0, b""));
    block(order, 0x0a0d_0d0a, &body)
}

pub fn interface(order: Order, link_type: u16, snaplen: u32) -> Vec<u8> {
    let mut body = [order.u16(link_type), [0, 0]].concat();
    body.extend(order.u32(snaplen));
    body.extend(option(order, 2, b"eth0"));
    body.extend(option(order, 9, &[9]));
    body.extend(option(order, 0, b""));
    block(order, 1, &body)
}

pub fn enhanced(order: Order, interface: u32, number: u32, frame: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for word in [interface, 0x0006_0000, number, frame.len() as u32, frame.len() as u32 + 4] {
        body.extend(order.u32(word));
    }
    body.extend(frame);
    body.resize(body.len().next_multiple_of(4), 0xdd);
    if number.is_multiple_of(2) {
        body.extend(option(order, 1, format!("packet {number}").as_bytes()));
        body.extend(option(order, 0, b""));
    }
    block(order, 6, &body)
}

pub fn simple(order: Order, original: u32, frame: &[u8]) -> Vec<u8> {
    block(order, 3, &[&order.u32(original), frame].concat())
}

pub fn obsolete(order: Order, interface: u16, frame: &[u8]) -> Vec<u8> {
    let mut body = [order.u16(interface), order.u16(99)].concat();
    for word in [0x0006_0000, 5, frame.len() as u32, frame.len() as u32] {
        body.extend(order.u32(word));
    }
    block(order, 2, &[&body, frame].concat())
}

/// Two sections of different byte order with every kind of packet, and blocks of other kinds between, before and after.
pub fn pcapng(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    let half = frames.len() / 2;
    for (order, frames) in [(Order::Little, &frames[..half]), (Order::Big, &frames[half..])] {
        file.extend(section(order));
        file.extend(interface(order, 1, 0));
        file.extend(block(order, 0x0bad, &[&order.u32(32473)[..], b"custom"].concat()));
        for (number, frame) in (0..).zip(frames) {
            match number % 5 {
                1 => file.extend(simple(order, frame.len() as u32, frame)),
                2 => file.extend(obsolete(order, 0, frame)),
                3 => {
                    // A second interface in the middle, and one that is not Ethernet but never heard.
                    if number == 3 {
                        file.extend(interface(order, 1, 262_144));
                        file.extend(interface(order, 113, 0));
                    }
                    file.extend(enhanced(order, 1, number, frame));
                }
                _ => file.extend(enhanced(order, 0, number, frame)),
            }
            if number.is_multiple_of(7) {
                file.extend(block(order, 0x7777_0000 | number, b"unknown to everyone"));
            }
        }
        file.extend(block(order, 5, &[order.u32(0), order.u32(0), order.u32(0)].concat()));
    }
    file
}
