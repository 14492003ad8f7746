//! What goes over the wire between a port and a device.

use std::io;

use crate::stop::StopFlag;

/// One Ethernet frame on the wire, with the mark it keeps on its way through devices.
/// See [`Forwarder`](crate::Forwarder).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The bytes from the destination address to the end of the payload, without the checksum.
    pub bytes: &'a [u8],
    /// What a device carries along unread: written into the receive completion, taken from the transmit descriptor,
    /// as real devices do with hardware timestamps. Its meaning is the port's.
    pub mark: u64,
}

/// A port that frames come in from. See [`Forwarder`](crate::Forwarder).
pub trait FrameSource: Send {
    /// The next frame; `None` at the end.
    ///
    /// # Errors
    ///
    /// What the file or device said; the source is at its end then.
    fn next_frame(&mut self) -> io::Result<Option<Frame<'_>>>;

    /// The flag that ends the run that this source is about to be used in: one that may wait for frames looks at it now and then,
    /// and is at its end when it is set. See [`Forwarder`](crate::Forwarder).
    fn stop_by(&mut self, stop: &StopFlag) {
        let _ = stop;
    }
}

/// A port that frames go out to. See [`Forwarder`](crate::Forwarder).
pub trait FrameSink: Send {
    /// Sends one frame.
    ///
    /// # Errors
    ///
    /// What the file or device said; nothing more should be sent then.
    fn send_frame(&mut self, frame: Frame<'_>) -> io::Result<()>;

    /// Completes the output: flushes it, and makes it visible under its name if it is a file.
    ///
    /// # Errors
    ///
    /// What the file or device said; the output is not complete then.
    fn finish(&mut self) -> io::Result<()>;

    /// There is nothing more to send for the moment: what is kept back to go out together goes now. See [`Forwarder`](crate::Forwarder).
    ///
    /// # Errors
    ///
    /// As of [`send_frame`](Self::send_frame).
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// The flag that ends the run that this sink is about to be used in: one that may have to wait for room looks at it now and then,
    /// and fails when it is set and there is none. See [`Forwarder`](crate::Forwarder).
    fn stop_by(&mut self, stop: &StopFlag) {
        let _ = stop;
    }
}
