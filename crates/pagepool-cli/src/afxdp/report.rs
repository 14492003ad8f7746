//! Ports in the words that scripts rely on.

use pp_netdev::afxdp::{PortReport, QueueReport, Role};
use pp_xdp::af_xdp::{Bound, Buffers, KernelStatistics, Wakeups};

use crate::report;

/// A port's figures.
pub(super) fn port(port: &PortReport) -> report::PortReport {
    let queues: Vec<_> = port.queues.iter().map(queue).collect();
    let first = port.queues.first().map(|queue| queue.modes);
    report::PortReport {
        port: port.name.to_string(),
        interface: port.name.interface().to_owned(),
        receives: port.role == Role::Receives,
        modes: report::Modes {
            attached: port.attached.map(|attached| attached.to_string()),
            native_refusal: port.native_refusal.clone(),
            bound: match first.map(|modes| modes.bound) {
                Some(Bound::ZeroCopy) => "zerocopy",
                Some(Bound::Copy) | None => "copy",
            },
            need_wakeup: first.is_some_and(|modes| modes.wakeups == Wakeups::WhenNeeded),
            several_buffers: first.is_some_and(|modes| modes.buffers == Buffers::Several),
        },
        interface_queues: port.interface_queues,
        counts: queues.iter().fold(report::PortCounts::default(), |sum, queue| sum.plus(&queue.counts)),
        kernel: queues.iter().filter_map(|queue| queue.kernel).reduce(report::KernelCounts::plus),
        queues,
    }
}

fn queue(queue: &QueueReport) -> report::QueueReport {
    let counters = &queue.counters;
    let counts = report::PortCounts {
        packets_in: counters.packets_in.get() as u64,
        bytes_in: counters.bytes_in.get() as u64,
        packets_out: counters.packets_out.get() as u64,
        bytes_out: counters.bytes_out.get() as u64,
        fill: counters.given.get() as u64,
        rx: counters.received.get() as u64,
        tx: counters.sent.get() as u64,
        completion: counters.completed.get() as u64,
        copied_bytes: counters.copied_bytes.get() as u64,
        wakes: counters.wakes.get() as u64,
        nonsense: counters.nonsense() as u64,
    };
    report::QueueReport { queue: queue.queue, counts, kernel: queue.kernel.map(kernel) }
}

fn kernel(counted: KernelStatistics) -> report::KernelCounts {
    report::KernelCounts {
        rx_dropped: counted.rx_dropped,
        rx_ring_full: counted.rx_ring_full,
        rx_fill_ring_empty: counted.rx_fill_ring_empty,
        rx_invalid_descs: counted.rx_invalid_descs,
        tx_invalid_descs: counted.tx_invalid_descs,
        tx_ring_empty: counted.tx_ring_empty,
    }
}
