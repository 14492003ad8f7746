//! The software NIC: what is hardware elsewhere, as two threads that share nothing with the driver but descriptor
//! rings, and reach pages through a [`DmaWindow`](crate::DmaWindow) only.
//!
//! ```text
//!  FrameSource --> RxDevice --ring--> driver --ring--> TxDevice --> FrameSink
//!                     |                                   |
//!                     +--- write ---> DmaWindow <--- read-+
//! ```
//!
//! A port is the wire; [`Frame`](crate::Frame) is what is on it. The devices keep the order of frames.

mod receive;
mod transmit;

pub use receive::{OnNoBuffer, RxDevice};
pub use transmit::TxDevice;
