//! One reader's way through a capture on behalf of its sink.

use std::sync::atomic::Ordering;

use super::error::CaptureError;
use super::format::Head;
use super::records::{Record, Records};
use super::{Capture, Format};

/// Reads the capture once more, forwards only, in step with frames whose marks rise.
#[derive(Debug)]
pub(super) struct Lane {
    capture: Capture,
    pub(super) records: Records,
    /// Passes that came to their end.
    passes: u64,
    section: Section,
    /// Records passed that are neither packets nor in a section's head.
    others: u64,
}

/// Where a lane is: what a packet needs before it, to mean in a file what it meant in this one.
#[derive(Clone, Debug, Default)]
pub(super) struct Section {
    /// Counts on through all passes, from 1.
    pub(super) number: u64,
    /// The section's header and its interfaces so far; of a pcap file the header.
    pub(super) head: Vec<u8>,
}

/// What a lane came to.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A packet.
    Packet(Record),
    /// The head of a section, or more of it.
    Head,
    /// Something else, by its place among its like.
    Other { place: u64, record: Record },
    /// The end of a pass.
    End,
}

impl Lane {
    pub(super) fn new(capture: &Capture) -> Self {
        let (capture, records) = (capture.clone(), capture.records());
        Lane { capture, records, passes: 0, section: Section::default(), others: 0 }
    }

    /// Packets passed: the mark of the next one.
    pub(super) fn at(&self) -> u64 {
        self.records.packets()
    }

    pub(super) fn section(&self) -> &Section {
        &self.section
    }

    /// The next record.
    pub(super) fn step(&mut self) -> Result<Step, CaptureError> {
        let shared = &self.capture.shared;
        let Some(record) = self.records.next().map_err(|error| shared.explain(error))? else {
            shared.compare(self.records.pass())?;
            self.passes += 1;
            return Ok(Step::End);
        };
        if record.frame.is_some() {
            return Ok(Step::Packet(record));
        }
        if let Some(head) = record.head {
            self.section.take(head, self.records.bytes(record.whole));
            return Ok(Step::Head);
        }
        let place = self.others;
        self.others += 1;
        Ok(Step::Other { place, record })
    }

    /// Begins again. Sections of pcapng may follow each other; the header of a pcap file stands at its beginning alone.
    ///
    /// # Errors
    ///
    /// The capture has become shorter.
    pub(super) fn rewind(&mut self) -> Result<(), CaptureError> {
        // Acquire: pairs with the Release in the source. A frame comes from the pass it is in at the latest, so here it has
        // found a packet where we see the end.
        if self.passes > self.capture.shared.passes.load(Ordering::Acquire) {
            return Err(self.capture.shared.changed());
        }
        self.records.rewind();
        match self.capture.format() {
            Format::Pcap => self.records.next().map(drop),
            Format::PcapNg => Ok(()),
        }
    }
}

impl Section {
    /// Takes in a record of a head.
    fn take(&mut self, head: Head, record: &[u8]) {
        if let Head::Begins = head {
            self.number += 1;
            self.head.clear();
        }
        self.head.extend_from_slice(record);
    }
}
