//! How a queue is opened, and what was got.

use core::time::Duration;

use crate::af_xdp::tx::{Buffers, Wakeups};

/// How packets get from the driver to chunks and back. Of [`QueueConfig`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BindMode {
    /// Zero-copy where the driver has it, copies where not; [`Modes`] says which.
    #[default]
    Best,
    /// The kernel copies (`XDP_COPY`).
    Copy,
    /// The device reads and writes chunks itself, or the queue is not opened (`XDP_ZEROCOPY`).
    ZeroCopy,
}

/// What a queue was bound to in the end. Of the [`Modes`] of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The kernel copies.
    Copy,
    /// The device reads and writes chunks itself.
    ZeroCopy,
}

/// The receiving thread does the driver's work itself (`SO_PREFER_BUSY_POLL`, Linux 5.11). Of [`QueueConfig`].
///
/// The interface must defer its interrupts for that: `napi_defer_hard_irqs` and `gro_flush_timeout` in `/sys/class/net/IFACE`. Setting it takes
/// `CAP_NET_ADMIN`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusyPoll {
    /// How long a call polls where nothing comes.
    pub microseconds: u32,
    /// Packets at most in a call.
    pub budget: u16,
}

/// How to open a queue.
///
/// ```
/// use pp_xdp::af_xdp::{BindMode, Buffers, BusyPoll, QueueConfig, Wakeups};
/// let config = QueueConfig {
///     queue: 3,
///     bind: BindMode::ZeroCopy,   // or none at all
///     buffers: Buffers::Several,  // jumbo frames
///     wakeups: Wakeups::WhenNeeded,
///     busy_poll: Some(BusyPoll { microseconds: 20, budget: 64 }),
///     ..QueueConfig::default()
/// };
/// assert_eq!(config.entries, 2048);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueConfig {
    /// Which of the interface's queues, from 0.
    pub queue: u32,
    /// Entries of each of the four rings, a power of two.
    pub entries: u32,
    /// Copies or not.
    pub bind: BindMode,
    /// Whether packets may lie in several chunks.
    pub buffers: Buffers,
    /// When the kernel is called.
    pub wakeups: Wakeups,
    /// Whether the caller polls the driver.
    pub busy_poll: Option<BusyPoll>,
    /// How long to wait for a queue that another socket has: one that was closed is not quiet at once.
    pub patience: Duration,
}

impl Default for QueueConfig {
    /// Queue 0, 2048 entries, best mode, packets of one chunk, half a second of patience.
    fn default() -> Self {
        QueueConfig {
            queue: 0,
            entries: 2048,
            bind: BindMode::Best,
            buffers: Buffers::One,
            wakeups: Wakeups::WhenNeeded,
            busy_poll: None,
            patience: Duration::from_millis(500),
        }
    }
}

/// What a queue got of what it was opened for. Queues of one UMEM have copies or not, buffers and wake-ups as the first of
/// them that is open.
///
/// ```no_run
/// use pp_xdp::af_xdp::{Bound, XskQueue};
///
/// fn warn_of_copies(queue: &XskQueue) {
///     if queue.modes().bound == Bound::Copy {
///         eprintln!("the driver has no zero-copy: the kernel copies");
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Modes {
    /// Copies or not.
    pub bound: Bound,
    /// Whether packets may lie in several chunks.
    pub buffers: Buffers,
    /// When the kernel is called.
    pub wakeups: Wakeups,
    /// Whether the caller polls the driver.
    pub busy_poll: Option<BusyPoll>,
}
