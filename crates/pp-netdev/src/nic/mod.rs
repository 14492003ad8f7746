//! The software NIC: what is hardware elsewhere, as two threads that share nothing with the driver but descriptor
//! rings, and reach pages through a [`DmaWindow`](crate::DmaWindow) only.
//!
//! ```text
//!                             +--ring 0--> driver 0 --ring 0--+
//!  FrameSource --> RxDevice --+--ring 1--> driver 1 --ring 1--+--> TxDevice --> FrameSink
//!                     |       +--  ..          ..          .. +       |
//!                     +---- write ------> DmaWindow <------- read ----+
//! ```
//!
//! A port is the wire; [`Frame`](crate::Frame) is what is on it. The receiving device has a steering table, which names a frame's
//! queue, the transmitting one takes its queues in turns. A queue keeps the order of its frames.

mod gate;
mod queues;
mod receive;
mod transmit;

pub use gate::{GateError, QueueGate};
pub use queues::QueuesError;
pub use receive::{OnNoBuffer, RxDevice};
pub use transmit::TxDevice;
