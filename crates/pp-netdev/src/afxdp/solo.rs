//! A port of one queue whose frames are copied: what a source and a sink have in common.

use pp_core::{Host, PoolHandle};
use pp_xdp::af_xdp::{RedirectProgram, Umem};

use std::sync::Arc;
use std::time::Instant;

use super::error::{PortError, QUIET_LIMIT};
use super::port::AfxdpPort;
use super::report::PortReport;
use super::side::Side;
use super::state::PortState;
use crate::forward::PoolReport;

/// What a port did whose frames were copied, for [`AfxdpSource`](super::AfxdpSource), which has an example, and
/// [`AfxdpSink`](super::AfxdpSink).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SoloReport {
    /// The port.
    pub port: PortReport,
    /// Its pool.
    pub pool: PoolReport,
    /// Bytes that were copied out of its pages, or into them.
    pub copied_bytes: u64,
    /// Frames that were too short for an Ethernet header, and did not go out.
    pub too_short: u64,
    /// Whether the kernel has given the queue up. What it holds of one that it has not is counted as lost, and comes back later.
    pub is_quiet: bool,
}

#[derive(Debug)]
pub(super) struct Solo {
    pub(super) side: Side,
    /// `None` where nothing comes in, or no more.
    pub(super) program: Option<RedirectProgram>,
    umem: Umem,
    handle: PoolHandle<Host>,
    report: PortReport,
}

// === impl Solo ===

impl Solo {
    /// # Errors
    ///
    /// [`PortError::OneQueue`] if it has more.
    pub(super) fn new(mut port: AfxdpPort) -> Result<Self, PortError> {
        let report = PortReport::of(&port);
        let (queues, name) = (port.queues(), port.name.to_string());
        let lane = port.lanes.pop().filter(|_| queues == 1);
        let (queue, pool) = lane.ok_or(PortError::OneQueue { port: name, queues })?;
        let handle = pool.handle();
        let side = Side::new(queue, pool, port.state);
        Ok(Solo { side, program: port.program, umem: port.umem, handle, report })
    }

    pub(super) fn state(&self) -> &Arc<PortState> {
        &self.side.state
    }

    /// Closes it.
    pub(super) fn close(self, copied_bytes: u64) -> SoloReport {
        let Solo { side, program, umem, handle, report: mut port } = self;
        drop(program);
        let mut pool = side.report(None);
        pool.kernel_held = umem.kernel_held(&handle);
        for queue in &mut port.queues {
            queue.kernel = side.queue.statistics().ok();
        }
        let Side { queue, pool: kept, .. } = side;
        let end = Instant::now() + QUIET_LIMIT;
        let is_quiet = queue.close().wait(end.saturating_duration_since(Instant::now())).is_ok();
        pool.lost = kept.stats().in_use();
        SoloReport { port, pool, copied_bytes, too_short: 0, is_quiet }
    }
}
