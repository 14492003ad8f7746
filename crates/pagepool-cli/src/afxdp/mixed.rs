//! An AF_XDP port with a port of another kind: a source or a sink of the software NIC.

use std::io;
use std::sync::Arc;

use pp_netdev::afxdp::{AfxdpSink, AfxdpSource, PortState, Role, SoloReport, buffers_for};
use pp_netdev::port::AfxdpName;
use pp_netdev::{Frame, FrameSink, FrameSource, StopFlag};

use super::memory::Memories;
use super::watch::say_not_quiet;
use crate::args::ForwardArgs;
use crate::failure::Failure;
use crate::forward::{headroom, pool_to_report};
use crate::report::Report;
use crate::sizes::Sizes;

use pp_core::{Host, PoolHandle};
use pp_netdev::afxdp::AfxdpPort;

/// Frames from an interface.
#[derive(Debug)]
pub(crate) struct Source(AfxdpSource, PoolHandle<Host>);

/// Frames to an interface.
#[derive(Debug)]
pub(crate) struct Sink {
    whole: WholeFrames,
    handle: PoolHandle<Host>,
}

/// Frames that have an Ethernet header. The kernel takes no others, which a capture may have; they are dropped.
#[derive(Debug)]
struct WholeFrames {
    sink: AfxdpSink,
    /// Frames that were too short.
    short: u64,
}

/// An Ethernet header.
const HEADER_BYTES: usize = 14;

fn open(args: &ForwardArgs, name: &AfxdpName, role: Role) -> Result<(AfxdpPort, PoolHandle<Host>), Failure> {
    super::check(args, name)?;
    let queues = args.queues.get().get();
    if queues > 1 {
        return Err(Failure::QueuesPort { port: name.to_string(), queues });
    }
    let sizes = Sizes::of_sockets(args)?;
    headroom(sizes)?;
    let memories = Memories::new(args, sizes, 1)?;
    let port = memories.port(name, 0, buffers_for(memories.first(), [name])?, role)?;
    headroom(sizes)?;
    let handle = port.pools().swap_remove(0);
    Ok((port, handle))
}

// === impl Source ===

impl Source {
    /// # Errors
    ///
    /// [`Failure`]; the interface is as it was then.
    pub(crate) fn open(args: &ForwardArgs, name: &AfxdpName) -> Result<Self, Failure> {
        let (port, handle) = open(args, name, Role::Receives)?;
        Ok(Source(AfxdpSource::new(port)?, handle))
    }

    pub(crate) fn frames(&mut self) -> &mut dyn FrameSource {
        &mut self.0
    }

    pub(crate) fn state(&self) -> Arc<PortState> {
        Arc::clone(self.0.state())
    }

    /// Closes it, and adds what it did.
    pub(crate) fn close_into(self, report: &mut Report) {
        add(report, &self.0.close(), &self.1);
    }
}

// === impl Sink ===

impl Sink {
    /// # Errors
    ///
    /// [`Failure`]; the interface is as it was then.
    pub(crate) fn open(args: &ForwardArgs, name: &AfxdpName) -> Result<Self, Failure> {
        let (port, handle) = open(args, name, Role::Sends)?;
        Ok(Sink { whole: WholeFrames { sink: AfxdpSink::new(port)?, short: 0 }, handle })
    }

    pub(crate) fn frames(&mut self) -> &mut dyn FrameSink {
        &mut self.whole
    }

    pub(crate) fn state(&self) -> Arc<PortState> {
        Arc::clone(self.whole.sink.state())
    }

    /// Closes it, and adds what it did.
    pub(crate) fn close_into(self, report: &mut Report) {
        let WholeFrames { sink, short } = self.whole;
        // The device gave them to the port, which is where they ended.
        report.packets_out -= short.min(report.packets_out);
        report.dropped += short;
        report.too_short += short;
        add(report, &sink.close(), &self.handle);
    }
}

// === impl WholeFrames ===

impl FrameSink for WholeFrames {
    fn send_frame(&mut self, frame: Frame<'_>) -> io::Result<()> {
        if frame.bytes.len() < HEADER_BYTES {
            self.short += 1;
            return Ok(());
        }
        self.sink.send_frame(frame)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.sink.finish()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }

    fn stop_by(&mut self, stop: &StopFlag) {
        self.sink.stop_by(stop);
    }
}

fn add(report: &mut Report, port: &SoloReport, handle: &PoolHandle<Host>) {
    report.copied_bytes += port.copied_bytes;
    report.ports.push(super::report::port(&port.port));
    report.pools.push(pool_to_report(&port.pool, handle));
    say_not_quiet(usize::from(!port.is_quiet));
}
