//! Frames of many flows, and a sink that checks the order of each.

use std::collections::HashMap;
use std::io;

use pp_netdev::{Frame, FrameSink, FrameSource};

/// So many frames of so many UDP flows, in turns. A frame says its flow in its source port, and its place in the stream in its
/// mark and its payload.
pub struct Flows {
    next: u64,
    frames: u64,
    flows: u16,
    bytes: Vec<u8>,
}

impl Flows {
    /// The source port of the first flow, and the destination port of all.
    pub const PORT: u16 = 4000;

    pub fn new(frames: u64, flows: u16) -> Self {
        Flows { next: 0, frames, flows, bytes: Vec::new() }
    }

    /// Frame `index` of the stream; its length depends on the index.
    pub fn frame(index: u64, flows: u16, out: &mut Vec<u8>) {
        let payload = index.wrapping_mul(31) % 1400;
        let [high, low] = (20 + 8 + 8 + payload as u16).to_be_bytes();
        out.clear();
        out.extend([2; 12]);
        out.extend([0x08, 0x00, 0x45, 0, high, low, 0, 0, 0x40, 0, 64, 17, 0, 0, 198, 18, 0, 1, 198, 19, 0, 1]);
        let port = Self::PORT + (index % u64::from(flows)) as u16;
        out.extend(port.to_be_bytes());
        out.extend(Self::PORT.to_be_bytes());
        out.extend([0; 4]);
        out.extend(index.to_be_bytes());
        out.extend((0..payload).map(|at| (at ^ index) as u8));
    }
}

impl FrameSource for Flows {
    fn next_frame(&mut self) -> io::Result<Option<Frame<'_>>> {
        if self.next == self.frames {
            return Ok(None);
        }
        Self::frame(self.next, self.flows, &mut self.bytes);
        self.next += 1;
        Ok(Some(Frame { bytes: &self.bytes, mark: self.next - 1 }))
    }
}

/// Checks that each flow arrives in its order, and each frame byte by byte. Frames may be missing.
#[derive(Default)]
pub struct Ordered {
    pub frames: u64,
    pub finished: bool,
    /// The next place that each flow may come with.
    next: HashMap<[u8; 2], u64>,
}

impl Ordered {
    pub fn flows(&self) -> usize {
        self.next.len()
    }
}

impl FrameSink for Ordered {
    fn send_frame(&mut self, sent: Frame<'_>) -> io::Result<()> {
        let port = [sent.bytes[34], sent.bytes[35]];
        let index = u64::from_be_bytes(*sent.bytes[42..].first_chunk().unwrap());
        let next = self.next.entry(port).or_default();
        if sent.mark != index || index < *next {
            return Err(io::Error::other(format!("frame {index} arrived where {next} was due")));
        }
        *next = index + 1;
        let payload = &sent.bytes[50..];
        let good = |(at, byte): (u64, &u8)| *byte == (at ^ index) as u8;
        if payload.len() as u64 != index.wrapping_mul(31) % 1400 || !(0..).zip(payload).all(good) {
            return Err(io::Error::other(format!("frame {index} is not what it was")));
        }
        self.frames += 1;
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.finished = true;
        Ok(())
    }
}
