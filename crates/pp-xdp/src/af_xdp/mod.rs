//! Real packets: AF_XDP sockets whose chunks are pages of pools.
//!
//! | to | use |
//! |---|---|
//! | share a provider's memory with the kernel | [`Umem`] |
//! | open a queue of an interface | [`Interface`], [`QueueConfig`], [`XskQueue`] |
//! | have packets come to it | [`RedirectProgram`] |
//! | receive and send | [`XskRx`], [`XskTx`] |
//! | end it | drop it; [`Closing`] to know when |
//! | test what stands on it | [`model`] |
//!
//! Linux 5.11 or newer; packets of several chunks need 6.6.
//!
//! # Who has a page
//!
//! ```text
//!            refill              kernel             receive            send             kernel            complete
//!   pool  ------------> fill ring -----> receive ring -----> XdpBuff ------> transmit ring -----> completion ring ------> pool
//!         the kernel's: no `Page` any more                 the user's: a `Page`           the kernel's
//! ```
//!
//! A page that is given to the kernel stays on its pool's books, and is noted in the UMEM's table together with the queue it was given to;
//! what comes out of a ring is a page again only if the table says so. So pages that the kernel holds are told apart from those that a user
//! holds ([`Umem::kernel_held`]), and a descriptor that makes no sense is counted and dropped.

mod binding;
mod closing;
mod counters;
mod descriptor;
pub mod model;
mod places;
mod program;
mod ring;
mod rx;
mod tx;
mod umem;

// Model checkers replace the words that it shares with the kernel.
#[cfg(not(any(all(loom, feature = "loom"), all(shuttle, feature = "shuttle"))))]
mod system;

pub use binding::WakeError;
pub use closing::Closing;
pub use counters::QueueCounters;
pub use descriptor::{ChunkLayout, XdpDesc};
pub use program::{AttachMode, Attached, Filter, FilterError, Packets, ProgramError, RedirectProgram, XskMap};
pub use rx::{Received, RefillError, XskRx};
pub use tx::{Buffers, SendError, Wakeups, XskTx};
pub use umem::{MAX_CHUNK_BYTES, MIN_CHUNK_BYTES, Umem, UmemBuilder, UmemError};

#[cfg(not(any(all(loom, feature = "loom"), all(shuttle, feature = "shuttle"))))]
pub use system::{BindMode, Bound, BusyPoll, Interface, KernelStatistics, Modes, OpenError, QueueConfig, XskQueue};

/// Gives a queue up whose sides these are: first the rings go, then the queue.
fn close_sides(rx: XskRx, tx: XskTx) -> Closing {
    let (binding, other) = (rx.into_binding(), tx.into_binding());
    drop(other);
    // If somebody has put a side of another queue here, that one's other side closes it.
    alloc::sync::Arc::into_inner(binding).map_or_else(Closing::nothing, binding::Binding::close)
}
