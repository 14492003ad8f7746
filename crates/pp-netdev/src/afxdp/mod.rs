//! Ports on network interfaces, by AF_XDP.
//!
//! | to | use |
//! |---|---|
//! | name one | [`AfxdpName`](crate::port::AfxdpName) |
//! | open its queues, each with a pool | [`AfxdpPort`] |
//! | forward between two of them, without a copy | [`AfxdpForwarder`] |
//! | have a [`Forwarder`](crate::Forwarder) copy frames to or from one | [`AfxdpSource`], [`AfxdpSink`] |
//!
//! ```text
//!              port 0                         port 1
//!   pool --> fill ring                      transmit ring --> completion ring --> pool
//!            receive ring --> Program --------^
//! ```
//!
//! A thread a pair of queues; pairs share the end of a run, its limit if it has one, and the memory. Linux only, with the feature `af-xdp`; receiving needs
//! `CAP_NET_ADMIN`, `CAP_NET_RAW` and `CAP_BPF`.

mod error;
mod forward;
mod lane;
mod limit;
mod port;
mod report;
mod side;
mod sink;
mod solo;
mod source;
mod state;

pub use error::{AfxdpError, LinkError, PortError};
pub use forward::{AfxdpForwarder, Directions};
pub use port::{AfxdpPort, PortConfig, Role, buffers_for};
pub use report::{AfxdpProgress, AfxdpReport, PoolProgress, PortReport, QueueReport};
pub use sink::AfxdpSink;
pub use solo::SoloReport;
pub use source::AfxdpSource;
pub use state::PortState;
