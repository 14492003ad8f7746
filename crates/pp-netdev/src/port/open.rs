//! Ports, opened.

use std::io;
use std::num::NonZeroU16;

use super::capture::{Capture, CaptureError, Repeat};
use super::generator::{FrameSize, Generator};
use super::name::{InPort, OutPort};
use super::null::Null;
use super::output::OutputError;
use super::stamp::StampSink;
use crate::{Frame, FrameSink, FrameSource, StopFlag};

/// Where frames come from: opened, and found to be good.
///
/// # Examples
///
/// ```
/// use std::path::Path;
/// use pp_netdev::port::{InPort, Input, OutPort, PortNameError, Ports, Repeat};
///
/// let (from, to): (InPort, OutPort) = ("gen".parse()?, "null".parse()?);
/// assert_eq!((&from, &to), (&InPort::GEN, &OutPort::Null));
/// let input = Input::open(&from, Repeat::Forever)?;
/// let (flows, queues) = (1.try_into()?, 1.try_into()?);
/// let (mut source, mut sink) = (input.source(flows), input.sink(&to, queues)?);
/// while let Some(frame) = source.next_frame()? {
///     sink.send_frame(frame)?;
/// #   break;
/// }
/// sink.finish()?;
///
/// let error = "null".parse::<InPort>().unwrap_err(); // nothing comes out of it
/// assert_eq!(error, PortNameError::WrongSide { name: "null".into(), ports: Ports::In });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Input {
    /// Frames made up on the spot.
    Generator(FrameSize),
    /// The packets of a capture, so many times over.
    Capture(Capture, Repeat),
}

// === impl Input ===

impl Input {
    /// Opens `port`. `repeat` is for captures; a generator never ends.
    ///
    /// # Errors
    ///
    /// The file is missing, empty or no capture that this crate reads; or it is [an interface](CaptureError::Interface).
    pub fn open(port: &InPort, repeat: Repeat) -> Result<Self, CaptureError> {
        Ok(match port {
            InPort::Gen(size) => Self::Generator(*size),
            InPort::Pcap(file) => Self::Capture(Capture::open(file)?, repeat),
            InPort::Afxdp(name) => return Err(CaptureError::Interface { name: name.clone() }),
        })
    }

    /// The frames, from the first one. A generator makes up so many flows; a capture has its own.
    #[must_use]
    pub fn source(&self, flows: NonZeroU16) -> Box<dyn FrameSource> {
        match self {
            Self::Generator(size) => Box::new(Generator::of_flows(*size, flows)),
            Self::Capture(capture, repeat) => Box::new(capture.source(*repeat)),
        }
    }

    /// Opens `port` for the frames of this input, which come through so many queues: what a capture knows about them goes into
    /// the file as well.
    ///
    /// # Errors
    ///
    /// The file can't be written; or it is [an interface](OutputError::Interface).
    pub fn sink(&self, port: &OutPort, queues: NonZeroU16) -> Result<Box<dyn FrameSink>, OutputError> {
        Ok(match (port, self) {
            (OutPort::Afxdp(name), _) => return Err(OutputError::Interface { name: name.clone() }),
            (OutPort::Null, _) => Box::new(Null::default()),
            (OutPort::Pcap(file), Self::Generator(_)) => Box::new(StampSink::create(file)?),
            (OutPort::Pcap(file), Self::Capture(capture, _)) => Box::new(capture.sink_of_queues(file, queues)?),
        })
    }
}

// === impl FrameSource, FrameSink for Box ===

impl<S: FrameSource + ?Sized> FrameSource for Box<S> {
    fn next_frame(&mut self) -> io::Result<Option<Frame<'_>>> {
        (**self).next_frame()
    }

    fn stop_by(&mut self, stop: &StopFlag) {
        (**self).stop_by(stop);
    }
}

impl<S: FrameSink + ?Sized> FrameSink for Box<S> {
    fn send_frame(&mut self, frame: Frame<'_>) -> io::Result<()> {
        (**self).send_frame(frame)
    }

    fn finish(&mut self) -> io::Result<()> {
        (**self).finish()
    }

    fn flush(&mut self) -> io::Result<()> {
        (**self).flush()
    }

    fn stop_by(&mut self, stop: &StopFlag) {
        (**self).stop_by(stop);
    }
}
