//! What asks the system: interfaces, sockets, their rings, and whether a queue is quiet.

mod config;
mod error;
mod given_up;
mod interface;
mod mmap;
mod probe;
mod queue;
mod socket;
mod sys;

pub use config::{BindMode, Bound, BusyPoll, Modes, QueueConfig};
pub use error::OpenError;
pub use interface::Interface;
pub use queue::{KernelStatistics, XskQueue};
pub(crate) use socket::Sharers;
