//! A capture, written again.

use std::io;
use std::num::NonZeroU16;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::Ordering;

use super::Capture;
use super::error::CaptureError;
use super::lane::{Lane, Section, Step};
use super::records::Record;
use crate::port::output::{OutputError, OutputFile};
use crate::{Frame, FrameSink};

/// Writes the frames that arrive into a file of the capture's format, each in the record it came from.
///
/// It reads the capture itself and goes on to the record of each frame: what is no packet is copied on the way, packets
/// that did not arrive are left out. So frames must arrive in the order of their marks, though any may be missing.
///
/// Frames that came through several queues arrive in as many such orders, mixed. Each frame is then looked for by the *lane*, the
/// reader, that is nearest before it: with as many lanes as queues there always is one (they are the piles of patience sorting). A
/// packet that arrives when a later section of a pcapng file has begun finds the header and the interfaces of its own
/// section written once more.
///
/// See [`Capture`](super::Capture).
#[derive(Debug)]
pub struct CaptureSink {
    capture: Capture,
    lanes: Vec<Lane>,
    written: Written,
}

/// The file, and what it has come to.
#[derive(Debug)]
struct Written {
    output: OutputFile,
    /// The section it is in, and how much of that one's head is there.
    section: u64,
    head: usize,
    /// The furthest that any lane has come: a section, and bytes of its head.
    newest: (u64, usize),
    /// Records that are neither packets nor in a section's head.
    others: u64,
}

impl CaptureSink {
    pub(super) fn create(capture: &Capture, file: &Path, lanes: NonZeroU16) -> Result<Self, OutputError> {
        let written = Written { output: OutputFile::create(file)?, section: 0, head: 0, newest: (0, 0), others: 0 };
        let lanes = (0..lanes.get()).map(|_| Lane::new(capture)).collect();
        Ok(Self { capture: capture.clone(), lanes, written })
    }

    fn foreign(&self, mark: u64) -> io::Error {
        CaptureError::Foreign { name: self.capture.name().to_owned(), mark }.into()
    }
}

/// Brings `lane` to the record of packet `mark`, which it has not passed; everything between is copied if it is no packet.
fn seek(lane: &mut Lane, written: &mut Written, mark: u64) -> io::Result<Record> {
    loop {
        match lane.step()? {
            Step::Packet(record) if lane.at() - 1 == mark => return Ok(record),
            Step::Packet(_) => {}
            Step::Head => written.head(lane.section())?,
            Step::Other { place, record } => written.other(lane, place, record.whole)?,
            Step::End => lane.rewind()?,
        }
    }
}

impl Written {
    /// Sees to it that the file is in this section, with all of the head that is known here.
    fn enter(&mut self, section: &Section) -> io::Result<()> {
        let there = if self.section == section.number { self.head } else { 0 };
        if let Some(missing) = section.head.get(there..).filter(|missing| !missing.is_empty()) {
            self.output.write(missing)?;
            (self.section, self.head) = (section.number, section.head.len());
        }
        Ok(())
    }

    /// Writes the head of a section, or more of it, unless another lane came by before.
    fn head(&mut self, section: &Section) -> io::Result<()> {
        let at = (section.number, section.head.len());
        if at > self.newest {
            self.newest = at;
            self.enter(section)?;
        }
        Ok(())
    }

    /// Writes what is no packet, unless another lane came by before.
    fn other(&mut self, lane: &Lane, place: u64, record: Range<usize>) -> io::Result<()> {
        if place == self.others {
            self.enter(lane.section())?;
            self.output.write(lane.records.bytes(record))?;
            self.others += 1;
        }
        Ok(())
    }
}

impl FrameSink for CaptureSink {
    fn send_frame(&mut self, frame: Frame<'_>) -> io::Result<()> {
        let before = self.lanes.iter_mut().filter(|lane| lane.at() <= frame.mark);
        let Some(lane) = before.max_by_key(|lane| lane.at()) else { return Err(self.foreign(frame.mark)) };
        let Record { whole, frame: place, .. } = seek(lane, &mut self.written, frame.mark)?;
        let Some(place) = place.filter(|place| place.len() == frame.bytes.len()) else {
            return Err(self.foreign(frame.mark));
        };
        self.written.enter(lane.section())?;
        self.written.output.write(lane.records.bytes(whole.start..place.start))?;
        self.written.output.write(frame.bytes)?;
        self.written.output.write(lane.records.bytes(place.end..whole.end))?;
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        let Some(lane) = self.lanes.iter_mut().max_by_key(|lane| lane.at()) else { return Ok(()) };
        // Nothing arrived: the header at least, so that it is a capture of no packets and not an empty file.
        let mut header = lane.at() == 0;
        // Pairs with the store of the source. Where the source was stopped, so is the copy.
        let ended = self.capture.shared.ended.load(Ordering::Acquire);
        while header || ended {
            match lane.step()? {
                Step::End => break,
                Step::Packet(_) => {}
                Step::Head => self.written.head(lane.section())?,
                Step::Other { place, record } => self.written.other(lane, place, record.whole)?,
            }
            header = false;
        }
        self.written.output.finish()?;
        Ok(())
    }
}
