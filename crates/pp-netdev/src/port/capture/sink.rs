//! A capture, written again.

use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;

use super::error::CaptureError;
use super::records::{Record, Records};
use super::{Capture, Format};
use crate::port::output::{OutputError, OutputFile};
use crate::{Frame, FrameSink};

/// Writes the frames that arrive into a file of the capture's format, each in the record it came from.
///
/// It reads the capture itself and goes on to the record of each frame: what is no packet is copied on the way, packets
/// that did not arrive are left out. So frames must arrive in the order of their marks, though any may be missing.
/// See [`Capture`](super::Capture).
#[derive(Debug)]
pub struct CaptureSink {
    capture: Capture,
    records: Records,
    /// Passes that came to their end.
    passes: u64,
    output: OutputFile,
}

impl CaptureSink {
    pub(super) fn create(capture: &Capture, file: &Path) -> Result<Self, OutputError> {
        let output = OutputFile::create(file)?;
        Ok(Self { capture: capture.clone(), records: capture.records(), passes: 0, output })
    }

    /// The record of packet `mark`; everything between is copied if it is no packet.
    fn seek(&mut self, mark: u64) -> io::Result<Record> {
        loop {
            match self.next()? {
                Some(record) if record.frame.is_some() => match self.records.packets() - 1 {
                    place if place < mark => {}
                    place if place == mark => return Ok(record),
                    _ => return Err(self.foreign(mark)),
                },
                Some(record) => self.output.write(self.records.bytes(record.whole))?,
                None => {
                    // Acquire: pairs with the Release in the source. A frame comes from the pass it is in at the latest,
                    // so here it has found a packet where we see the end.
                    if self.passes > self.capture.shared.passes.load(Ordering::Acquire) {
                        return Err(self.capture.shared.changed().into());
                    }
                    self.rewind()?;
                }
            }
        }
    }

    /// The next record; `None` at the end of a pass.
    fn next(&mut self) -> Result<Option<Record>, CaptureError> {
        let shared = &self.capture.shared;
        let record = self.records.next().map_err(|error| shared.explain(error))?;
        if record.is_none() {
            shared.compare(self.records.pass())?;
            self.passes += 1;
        }
        Ok(record)
    }

    /// Begins again. Sections of pcapng may follow each other; the header of a pcap file stands at its beginning alone.
    fn rewind(&mut self) -> Result<(), CaptureError> {
        self.records.rewind();
        match self.capture.format() {
            Format::Pcap => self.next().map(drop),
            Format::PcapNg => Ok(()),
        }
    }

    fn foreign(&self, mark: u64) -> io::Error {
        CaptureError::Foreign { name: self.capture.name().to_owned(), mark }.into()
    }
}

impl FrameSink for CaptureSink {
    fn send_frame(&mut self, frame: Frame<'_>) -> io::Result<()> {
        let Record { whole, frame: Some(place) } = self.seek(frame.mark)? else { return Err(self.foreign(frame.mark)) };
        if place.len() != frame.bytes.len() {
            return Err(self.foreign(frame.mark));
        }
        self.output.write(self.records.bytes(whole.start..place.start))?;
        self.output.write(frame.bytes)?;
        self.output.write(self.records.bytes(place.end..whole.end))?;
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        // Nothing arrived: the header at least, so that it is a capture of no packets and not an empty file.
        let mut header = self.records.packets() == 0;
        // Pairs with the store of the source. Where the source was stopped, so is the copy.
        let ended = self.capture.shared.ended.load(Ordering::Acquire);
        while header || ended {
            let Some(record) = self.next()? else { break };
            if record.frame.is_none() {
                self.output.write(self.records.bytes(record.whole))?;
            }
            header = false;
        }
        self.output.finish()?;
        Ok(())
    }
}
