//! Devices that run on page pools.
//!
//! | part | what it is | in the kernel |
//! |---|---|---|
//! | [`DmaWindow`] | the only way a device reaches pages | an IOMMU domain |
//! | [`ring`](mod@ring) | descriptors between driver and device | a queue's descriptor ring |
//! | [`RxDevice`], [`TxDevice`] | the software NIC, a thread each | hardware |
//! | [`Buffer`] | a page a packet, or several packets to a page | a driver's `rx_buf` |
//! | [`steer`] | which queue a frame goes to | RSS and n-tuple filters |
//! | [`RxQueue`], [`TxQueue`], [`TxCleaner`] | the driver's side of a queue | a driver's `rx_ring`, `tx_ring`, transmit clean |
//! | [`Napi`] | the poll loop | `napi_poll` |
//! | [`QueueControl`] | what other threads ask of a queue that runs | `netdev_rx_queue_restart` |
//! | [`port`] | where frames come from and go: captures, a generator | - |
//! | [`Program`], [`Action`] | what is done with a packet | an XDP program |
//! | `afxdp` | network interfaces of real machines, with the feature `af-xdp` on Linux | AF_XDP sockets |
//! | [`Forwarder`] | all of it, from a [`FrameSource`] to a [`FrameSink`] | - |
//!
//! `examples/driver.rs` is a whole driver, from registration to unload; [`converting`] shows a receive loop before and after.
//!
//! ```text
//!              post / receive           send               complete
//! FrameSource --> RxDevice --> RxQueue --> Napi --> TxQueue --> TxDevice --> FrameSink
//!                                 ^                                |
//!                               pool <-------- TxCleaner <---------+
//! ```
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "a crate of threads and files: two names for what std has under one would only be noise"
)]

#[cfg(not(unix))]
compile_error!(
    "pp-netdev needs Unix, for reading captures at an offset and for files that keep their mode; leave it out"
);

#[cfg(all(
    feature = "af-xdp",
    target_os = "linux",
    not(any(all(loom, feature = "loom"), all(shuttle, feature = "shuttle")))
))]
pub mod afxdp;
mod bell;
mod buffer;
mod control;
#[cfg(doc)]
pub mod converting;
mod counters;
mod forward;
mod frame;
mod napi;
mod nic;
pub mod port;
mod program;
pub mod ring;
mod rx_queue;
pub mod steer;
mod stop;
mod sync;
mod tx_queue;
mod window;

pub use bell::Bell;
pub use buffer::Buffer;
pub use control::QueueControl;
pub use counters::{CleanCounters, Live, NapiCounters, RxCounters, TxCounters};
pub use forward::{ForwardConfig, ForwardError, Forwarder, Phase, PoolReport, Progress, Report, Traffic};
pub use frame::{Frame, FrameSink, FrameSource};
pub use napi::{Ended, NAPI_BUDGET, Napi, NapiError, Polled};
pub use nic::{GateError, OnNoBuffer, QueueGate, QueuesError, RxDevice, TxDevice};
pub use program::{Action, Program, Verdict};
pub use rx_queue::{Buffers, GRACE, Received, RefillError, RestartError, RestartFailed, RxQueue};
pub use stop::StopFlag;
pub use tx_queue::{TxCleaner, TxQueue};
pub use window::{DmaFault, DmaWindow, FaultKind, Faults, WindowError};
