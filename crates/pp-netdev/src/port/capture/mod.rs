//! Captures: pcap and pcapng files, read in records and written the way they were.
//!
//! A [`Capture`] is opened and checked once and then read as often as it takes: by its [`CaptureSource`], once for each
//! repetition, and by its [`CaptureSink`], in step with what arrives there. A *record* is what a capture is made of: the
//! header of the file, a packet, a block of pcapng. Of a packet's record the crate `pcap_file` says where the frame lies;
//! everything around it is kept as it is.

mod error;
mod format;
mod lane;
mod records;
mod sink;
mod source;

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::num::{NonZeroU16, NonZeroU64};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};

pub use error::{Advice, CaptureError};
pub use format::Format;
use records::{Pass, Records};
pub use sink::CaptureSink;
pub use source::CaptureSource;

use super::output::OutputError;

/// A capture that was found to be one. Clones share what is read.
///
/// # Examples
///
/// ```
/// use pp_netdev::port::{Capture, CaptureError, Format, Repeat, StampSink};
/// use pp_netdev::{Frame, FrameSink, FrameSource};
/// # let folder = tempfile::tempdir()?;
/// # let (first, second) = (folder.path().join("first.pcap"), folder.path().join("second.pcap"));
/// let mut stamped = StampSink::create(&first)?; // a capture of frames that no capture knows
/// stamped.send_frame(Frame { bytes: &[1; 60], mark: 0 })?;
/// stamped.send_frame(Frame { bytes: &[2; 60], mark: 1 })?;
/// stamped.finish()?;
///
/// let capture = Capture::open(&first)?;
/// assert_eq!((capture.format(), capture.count()?), (Format::Pcap, 2));
/// let (mut source, mut sink) = (capture.source(Repeat::Times(1.try_into()?)), capture.sink(&second)?);
/// while let Some(frame) = source.next_frame()? {
///     sink.send_frame(frame)?;
/// }
/// sink.finish()?;
/// assert_eq!(std::fs::read(&first)?, std::fs::read(&second)?); // byte for byte, times and all
///
/// let error = Capture::embedded("the default", b"no capture").unwrap_err();
/// println!("{error}"); // a `CaptureError`, with an `Advice` where there is one
/// assert!(capture.name().ends_with("first.pcap"));
/// # let _: CaptureError = error;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Capture {
    shared: Arc<Shared>,
}

/// How often a capture is read. See [`Capture`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// So many times.
    Times(NonZeroU64),
    /// Until nobody wants more. A capture without packets ends nevertheless.
    Forever,
}

#[derive(Debug)]
struct Shared {
    name: String,
    data: Data,
    format: Format,
    /// What the first whole pass found; a pass that finds something else reads a file that changed.
    whole: OnceLock<Pass>,
    /// | state | meaning |
    /// |---|---|
    /// | n | the source ended n passes, so that no frame can come from a later one than the next; only it adds |
    /// | 0 | also when another source begins |
    passes: AtomicU64,
    /// | state | meaning |
    /// |---|---|
    /// | false | no source came to its end; every new source says so |
    /// | true | the source did: its sink brings what comes after the last packet; only that source says so |
    ended: AtomicBool,
}

/// What can be read at any place, by several readers.
#[derive(Debug)]
enum Data {
    File(File),
    Memory(&'static [u8]),
}

// === impl Capture ===

impl Capture {
    /// Opens a file. What can be read only once, a pipe for one, is copied to a file without a name first.
    ///
    /// # Errors
    ///
    /// The file is missing, empty, or no capture; its first record is truncated or damaged.
    pub fn open(file: &Path) -> Result<Self, CaptureError> {
        let name = file.display().to_string();
        let opened = File::open(file).and_then(|data| Ok((data.metadata()?.file_type(), data)));
        let data = match opened {
            Ok((kind, _)) if kind.is_dir() => return Err(CaptureError::Directory { name }),
            Ok((kind, data)) if kind.is_file() => data,
            Ok((_, data)) => copy(&name, data)?,
            Err(source) => return Err(CaptureError::Open { name, source }),
        };
        Self::new(name, Data::File(data))
    }

    /// A capture that is part of the program.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn embedded(name: &str, bytes: &'static [u8]) -> Result<Self, CaptureError> {
        Self::new(name.to_owned(), Data::Memory(bytes))
    }

    fn new(name: String, data: Data) -> Result<Self, CaptureError> {
        let head = match head_of(|buffer, at| data.read_at(buffer, at)) {
            Ok(head) => head,
            Err(source) => return Err(CaptureError::Read { name, source }),
        };
        let format = format_of(&name, &head)?;
        let (whole, passes, ended) = (OnceLock::new(), AtomicU64::new(0), AtomicBool::new(false));
        let capture = Self { shared: Arc::new(Shared { name, data, format, whole, passes, ended }) };
        capture.records().next()?;
        Ok(capture)
    }

    /// Whether it is pcap or pcapng.
    #[must_use]
    pub fn format(&self) -> Format {
        self.shared.format
    }

    /// What messages call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Reads all of it and counts its packets. What reads it afterwards must find as many.
    ///
    /// # Errors
    ///
    /// It is truncated, damaged or not Ethernet, or was counted before and changed since.
    pub fn count(&self) -> Result<u64, CaptureError> {
        let mut records = self.records();
        while records.next()?.is_some() {}
        self.shared.compare(records.pass())?;
        Ok(records.packets())
    }

    /// Its frames, `repeat` times, marked with their place.
    #[must_use]
    pub fn source(&self, repeat: Repeat) -> CaptureSource {
        CaptureSource::new(self, repeat)
    }

    /// Writes those of its frames that arrive, in their order, to `file`, with all that this capture knows about them.
    ///
    /// # Errors
    ///
    /// As [`OutputFile::create`](super::OutputFile::create).
    pub fn sink(&self, file: &Path) -> Result<CaptureSink, OutputError> {
        CaptureSink::create(self, file, NonZeroU16::MIN)
    }

    /// The same for frames that come through so many queues, each of which keeps their order. See [`Capture`].
    ///
    /// # Errors
    ///
    /// As [`OutputFile::create`](super::OutputFile::create).
    pub fn sink_of_queues(&self, file: &Path, queues: NonZeroU16) -> Result<CaptureSink, OutputError> {
        CaptureSink::create(self, file, queues)
    }

    fn records(&self) -> Records {
        Records::new(Arc::clone(&self.shared))
    }
}

/// The first bytes, as many as a format is told by.
fn head_of(mut read: impl FnMut(&mut [u8], u64) -> io::Result<usize>) -> io::Result<Vec<u8>> {
    let mut head = [0; 4];
    let mut len = 0;
    while len < head.len() {
        match read(&mut head[len..], len as u64) {
            Ok(0) => break,
            Ok(more) => len += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(head[..len].to_vec())
}

/// The format of what begins with `head`.
fn format_of(name: &str, head: &[u8]) -> Result<Format, CaptureError> {
    let name = || name.to_owned();
    if head.is_empty() {
        return Err(CaptureError::Empty { name: name() });
    }
    Format::of(head).map_err(|advice| CaptureError::NotCapture { name: name(), advice })
}

/// A copy without a name of what can be read only once. Looked at first, for there may be no end of it.
fn copy(name: &str, mut data: File) -> Result<File, CaptureError> {
    let head = head_of(|buffer, _| data.read(buffer))
        .map_err(|source| CaptureError::Read { name: name.to_owned(), source })?;
    format_of(name, &head)?;
    let copied = tempfile::tempfile().and_then(|mut copy| {
        copy.write_all(&head)?;
        io::copy(&mut data, &mut copy)?;
        copy.rewind()?;
        Ok(copy)
    });
    copied.map_err(|source| CaptureError::Copy { name: name.to_owned(), source })
}

// === impl Shared ===

impl Shared {
    /// Holds a pass that came to the end of the file against the first one that did.
    ///
    /// # Errors
    ///
    /// They differ.
    fn compare(&self, pass: Pass) -> Result<(), CaptureError> {
        if *self.whole.get_or_init(|| pass) == pass { Ok(()) } else { Err(self.changed()) }
    }

    /// What an error means if all of the capture was good before.
    fn explain(&self, error: CaptureError) -> CaptureError {
        match error {
            CaptureError::Truncated { .. } | CaptureError::Damaged { .. } | CaptureError::LinkType { .. }
                if self.whole.get().is_some() =>
            {
                self.changed()
            }
            error => error,
        }
    }

    fn changed(&self) -> CaptureError {
        CaptureError::Changed { name: self.name.clone() }
    }
}

// === impl Data ===

impl Data {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        match self {
            Self::File(file) => loop {
                match file.read_at(buffer, at) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    result => return result,
                }
            },
            Self::Memory(bytes) => {
                let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
                let len = rest.len().min(buffer.len());
                buffer[..len].copy_from_slice(&rest[..len]);
                Ok(len)
            }
        }
    }
}
