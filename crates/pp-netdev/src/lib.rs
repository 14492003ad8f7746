//! Devices that run on page pools.

#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "a crate of threads and files: two names for what std has under one would only be noise"
)]

mod bell;
mod frame;
pub mod ring;
mod window;

pub use bell::Bell;
pub use frame::{Frame, FrameSink, FrameSource};
pub use window::{DmaFault, DmaWindow, FaultKind, Faults, WindowError};
