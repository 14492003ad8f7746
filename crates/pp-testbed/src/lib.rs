//! Networks for tests, made on the spot and gone with the process that made them.
//!
//! A [`Path`] is the scene that every forwarder is tried in: a client, a server, and a namespace between them whose two ports
//! `f0` and `f1` lead to one and the other. Whatever is started between these ports has to make the two reach each other:
//!
//! ```text
//!    client namespace          forwarder namespace          server namespace
//!   +----------------+        +-------------------+        +----------------+
//!   |  10.77.0.1  c0-|--veth--|-f0     ?      f1  |--veth--|-s0  10.77.0.2  |
//!   +----------------+        +-------------------+        +----------------+
//! ```
//!
//! Real programs send through it ([`Ping`], [`Iperf`]), or a [`Generator`] and a [`Sink`] that are XDP programs and therefore cost
//! the forwarder's processor nothing.
//!
//! # Nothing is left behind
//!
//! A [`Namespace`] has no name under `/run/netns`: it is a descriptor of this process, and the children that run in it are
//! killed by the kernel when this process ends. So a test that panics, aborts or is killed leaves no interface and no process,
//! and there is nothing to sweep. Nothing is ever changed in the namespace that the test itself was started in.
//!
//! # Rights
//!
//! All of this needs root. A test says so and passes where it has not the right:
//!
//! ```
//! # fn main() -> Result<(), pp_testbed::Error> {
//! use pp_testbed::{Path, Ping};
//!
//! pp_testbed::skip_without_rights!(return Ok(()));
//! let path = Path::builder().build()?;
//! path.bridge()?; // Linux itself as the forwarder
//! let replies = path.ping(Ping::new().count(3))?;
//! assert_eq!(replies.received, 3);
//! # Ok(())
//! # }
//! ```
//!
//! Unsafe code is in `sys`, and nowhere else.

#![cfg(target_os = "linux")]
#![deny(unsafe_code)]
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "namespaces, processes and sockets: there is no use without std"
)]

mod assembly;
mod cpu;
mod error;
mod frame;
mod generator;
mod iperf;
mod namespace;
mod path;
mod ping;
mod rights;
mod running;
mod sink;
#[allow(unsafe_code)]
mod sys;
mod veth;

pub use crate::cpu::{CpuTime, processors};
pub use crate::error::Error;
pub use crate::frame::{Endpoint, Mac};
pub use crate::generator::{Generator, Traffic};
pub use crate::iperf::{Iperf, Transfer};
pub use crate::namespace::{Launch, Namespace};
pub use crate::path::{Arp, Path, PathBuilder};
pub use crate::ping::{Ping, Replies};
pub use crate::rights::{Missing, Rights, skip};
pub use crate::running::Running;
pub use crate::sink::{Counts, Hook, Sink};
pub use crate::veth::{End, Offloads, Veth};
