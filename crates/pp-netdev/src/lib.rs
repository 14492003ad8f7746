//! Devices that run on page pools.

mod frame;

pub use frame::{Frame, FrameSink, FrameSource};
