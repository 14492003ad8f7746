//! An AF_XDP port with a port of another kind: a source or a sink of the software NIC.

use std::sync::Arc;

use pp_core::{Host, PoolHandle};
use pp_netdev::afxdp::{AfxdpPort, AfxdpSink, AfxdpSource, PortState, Role, SoloReport, buffers_for};
use pp_netdev::port::AfxdpName;
use pp_netdev::{FrameSink, FrameSource};

use super::memory::Memories;
use super::watch::say_not_quiet;
use crate::args::ForwardArgs;
use crate::failure::Failure;
use crate::forward::{headroom, pool_to_report};
use crate::report::Report;
use crate::sizes::Sizes;

/// Frames from an interface.
#[derive(Debug)]
pub(crate) struct Source(AfxdpSource, PoolHandle<Host>);

/// Frames to an interface.
#[derive(Debug)]
pub(crate) struct Sink(AfxdpSink, PoolHandle<Host>);

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
        Ok(Sink(AfxdpSink::new(port)?, handle))
    }

    pub(crate) fn frames(&mut self) -> &mut dyn FrameSink {
        &mut self.0
    }

    pub(crate) fn state(&self) -> Arc<PortState> {
        Arc::clone(self.0.state())
    }

    /// Closes it, and adds what it did.
    pub(crate) fn close_into(self, report: &mut Report) {
        let port = self.0.close();
        // The device gave them to the port, which is where they ended.
        report.packets_out -= port.too_short.min(report.packets_out);
        report.dropped += port.too_short;
        report.too_short += port.too_short;
        add(report, &port, &self.1);
    }
}

fn add(report: &mut Report, port: &SoloReport, handle: &PoolHandle<Host>) {
    report.copied_bytes += port.copied_bytes;
    report.ports.push(super::report::port(&port.port));
    report.pools.push(pool_to_report(&port.pool, handle));
    say_not_quiet(usize::from(!port.is_quiet));
}
