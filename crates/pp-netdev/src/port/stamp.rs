//! A pcap file for frames that no capture knows.

use std::io;
use std::path::Path;
use std::time::SystemTime;

use pcap_file::pcap::{PcapHeader, PcapPacket, PcapTsResolution, PcapValidationError, PcapWriteError, PcapWriter};
use pcap_file::{DataLink, Endianness};

use super::output::{OutputError, OutputFile};
use crate::{Frame, FrameSink};

/// What tcpdump writes, and the most that readers accept.
const SNAPLEN: u32 = 262_144;

/// Writes frames to a pcap file with nanosecond times, each stamped when it is written.
/// See [`Capture`](super::Capture).
#[derive(Debug)]
pub struct StampSink {
    /// `None` once the file is complete.
    writer: Option<PcapWriter<OutputFile>>,
}

impl StampSink {
    /// Opens the way to `file`.
    ///
    /// # Errors
    ///
    /// As [`OutputFile::create`].
    pub fn create(file: &Path) -> Result<Self, OutputError> {
        let output = OutputFile::create(file)?;
        let header = PcapHeader {
            version_major: 2,
            version_minor: 4,
            ts_correction: 0,
            ts_accuracy: 0,
            snaplen: SNAPLEN,
            datalink: DataLink::ETHERNET,
            ts_resolution: PcapTsResolution::NanoSecond,
            // The same file on every machine.
            endianness: Endianness::Little,
        };
        PcapWriter::with_header(output, header)
            .map(|writer| Self { writer: Some(writer) })
            .map_err(|error| OutputError::Write { file: file.to_owned(), source: io_error(error) })
    }
}

impl FrameSink for StampSink {
    fn send_frame(&mut self, frame: Frame<'_>) -> io::Result<()> {
        // A clock set before 1970 gives time zero.
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let packet = u32::try_from(frame.bytes.len())
            .map_err(|_| PcapValidationError::DataTooBig(frame.bytes.len()))
            .and_then(|len| PcapPacket::new(now, len, frame.bytes))
            .map_err(io::Error::other)?;
        let Some(writer) = &mut self.writer else { return Err(io::ErrorKind::InvalidInput.into()) };
        writer.write_packet(&packet).map(drop).map_err(io_error)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.writer.take().map_or(Ok(()), |writer| Ok(writer.into_inner().finish()?))
    }
}

/// The system's or [`OutputFile`]'s own error, without the library's wrapping that hides it.
fn io_error(error: PcapWriteError) -> io::Error {
    match error {
        PcapWriteError::Io(error) | PcapWriteError::FieldWriteFailed(_, error) => error,
        PcapWriteError::Validation(error) => io::Error::other(error),
    }
}
