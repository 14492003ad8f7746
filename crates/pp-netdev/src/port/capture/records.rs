//! One reader's way through a capture, record by record.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::Shared;
use super::error::CaptureError;
use super::format::{Flaw, Head, MAX_RECORD, Parser};

const FIRST_BUFFER: usize = 128 << 10;

/// Reads a capture from its beginning; any number of readers may share one.
#[derive(Debug)]
pub(super) struct Records {
    capture: Arc<Shared>,
    parser: Parser,
    buffer: Vec<u8>,
    /// What of the buffer is filled and not yet passed.
    unread: Range<usize>,
    /// Where in the file `unread` begins.
    at: u64,
    packets: u64,
    pass: Pass,
}

/// What a pass has found so far: two passes over the same file find the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pass {
    packets: u64,
    bytes: u64,
    /// Mixed from the lengths of all records, in their order.
    lengths: u64,
}

/// The header of a file, a packet or a block: places that [`Records::bytes`] takes until the next one is read.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// All of it.
    pub(super) whole: Range<usize>,
    /// The frame in it; `None` if it is no packet.
    pub(super) frame: Option<Range<usize>>,
    /// Whether it is of a section's head.
    pub(super) head: Option<Head>,
}

impl Records {
    pub(super) fn new(capture: Arc<Shared>) -> Self {
        let parser = Parser::new(capture.format);
        Self { capture, parser, buffer: Vec::new(), unread: 0..0, at: 0, packets: 0, pass: Pass::default() }
    }

    /// Begins again; the packets are counted on.
    pub(super) fn rewind(&mut self) {
        self.parser = Parser::new(self.capture.format);
        self.unread = 0..0;
        self.at = 0;
        self.pass = Pass::default();
    }

    /// Packets passed so far, over all passes.
    pub(super) fn packets(&self) -> u64 {
        self.packets
    }

    /// What this pass has found so far.
    pub(super) fn pass(&self) -> Pass {
        self.pass
    }

    /// The next record; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Record>, CaptureError> {
        let found = loop {
            let bytes = &self.buffer[self.unread.clone()];
            // No bytes are no record cut short: first look whether there are any.
            let flaw = if bytes.is_empty() {
                Flaw::Short
            } else {
                match self.parser.find(bytes) {
                    Ok(found) => break found,
                    Err(flaw) => flaw,
                }
            };
            match flaw {
                Flaw::Short if self.fill()? => {}
                Flaw::Short if self.unread.is_empty() => return Ok(None),
                flaw => return Err(self.error(flaw)),
            }
        };
        let start = self.unread.start;
        self.unread.start += found.len;
        self.at += found.len as u64;
        let packets = u64::from(found.frame.is_some());
        self.packets += packets;
        self.pass.add(packets, found.len as u64);
        let frame = found.frame.map(|frame| start + frame.start..start + frame.end);
        Ok(Some(Record { whole: start..self.unread.start, frame, head: found.head }))
    }

    /// The bytes of the latest record, or of a part of it.
    pub(super) fn bytes(&self, part: Range<usize>) -> &[u8] {
        &self.buffer[part]
    }

    /// Reads on; false at the end of the file.
    fn fill(&mut self) -> Result<bool, CaptureError> {
        self.buffer.copy_within(self.unread.clone(), 0);
        self.unread = 0..self.unread.len();
        if self.buffer.is_empty() {
            self.buffer = vec![0; FIRST_BUFFER];
        } else if self.unread.end == self.buffer.len() {
            self.grow()?;
        }
        let at = self.at + self.unread.len() as u64;
        match self.capture.data.read_at(&mut self.buffer[self.unread.end..], at) {
            Ok(more) => {
                self.unread.end += more;
                Ok(more > 0)
            }
            Err(source) => Err(CaptureError::Read { name: self.capture.name.clone(), source }),
        }
    }

    /// Doubles the buffer. A record claims a bounded size, so this is done a few times at most.
    fn grow(&mut self) -> Result<(), CaptureError> {
        let more = self.buffer.len().min(2 * MAX_RECORD);
        if self.buffer.try_reserve_exact(more).is_err() {
            let source = io::ErrorKind::OutOfMemory.into();
            return Err(CaptureError::Read { name: self.capture.name.clone(), source });
        }
        self.buffer.resize(self.buffer.len() + more, 0);
        Ok(())
    }

    fn error(&self, flaw: Flaw) -> CaptureError {
        let (name, at, packets) = (self.capture.name.clone(), self.at, self.packets);
        match flaw {
            Flaw::Short => CaptureError::Truncated { name, at, packets },
            Flaw::Damaged(what) => CaptureError::Damaged { name, at, packets, what },
            Flaw::LinkType(link_type) => CaptureError::LinkType { name, packet: packets + 1, link_type },
        }
    }
}

// === impl Pass ===

impl Pass {
    fn add(&mut self, packets: u64, bytes: u64) {
        self.packets += packets;
        self.bytes += bytes;
        // A step of FNV-1a: the same lengths in another order are another file.
        self.lengths = (self.lengths ^ bytes).wrapping_mul(0x100_0000_01b3);
    }
}
