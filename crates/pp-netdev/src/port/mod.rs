//! Ports: where frames come from and where they go.
//!
//! A port is named on a command line: [`InPort`] and [`OutPort`] parse the names, [`Input`] opens them.
//! There are two types for each because a name that is good on one side may mean nothing on the other: nothing comes
//! out of `null`, nothing goes into `gen`.
//!
//! | name          | in                                            | out                                           |
//! |---------------|-----------------------------------------------|-----------------------------------------------|
//! | `gen:SIZE`    | [`Generator`]: numbered Ethernet/IPv4/UDP     | -                                             |
//! | `pcap:FILE`   | [`CaptureSource`]: pcap or pcapng, by content | [`CaptureSink`]: in the format that came in   |
//! | `afxdp:IFACE` | `afxdp::AfxdpSource`: a network interface     | `afxdp::AfxdpSink`; between two, `afxdp::AfxdpForwarder` moves the pages |
//! | `null`        | -                                             | [`Null`]: counts                              |
//!
//! What a capture knows about a packet beside its bytes (time, original length, interface, options) does not travel
//! through a device; [`Frame::mark`](crate::Frame::mark) does. The mark of a captured frame is its place in the
//! capture, and the sink reads the same capture a second time, in step, to find what belongs to it. So nothing is shared
//! between the two threads, nothing grows with what is in flight or dropped, and what no packet owns (sections,
//! interfaces, names, statistics) comes out where it stood.

mod capture;
mod generator;
mod interface;
mod name;
mod null;
mod open;
mod output;
mod stamp;
mod target;

pub use capture::{Advice, Capture, CaptureError, CaptureSink, CaptureSource, Format, Repeat};
pub use generator::{FrameSize, FrameSizeError, Generator};
pub use interface::{AfxdpName, AfxdpNameError, Attach, Copies};
pub use name::{InPort, OutPort, PortNameError, Ports};
pub use null::Null;
pub use open::Input;
pub use output::{OutputError, OutputFile};
pub use stamp::StampSink;
pub use target::remove_unfinished;
