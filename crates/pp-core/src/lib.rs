//! pp-core
#![no_std]
#![deny(unsafe_op_in_unsafe_fn)]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

mod access;
mod descriptor;
mod dma;
mod home;
pub mod lock;
mod provider;
mod reaper;
mod region;
pub mod sync;

pub use access::{Access, CpuAccess, Device, Exposed, Host};
pub use descriptor::Descriptor;
pub use dma::{Counting, Dma, DmaAddr, DmaCounts, DmaDirection, DmaError, DmaRange, Identity};
pub use home::Home;
pub use provider::{
    Backing, Description, Geometry, MemoryProvider, NodeId, ProvideError, Request, Unit, UnitDrain, UnitSink,
};
pub use reaper::{Reaper, Remains};
pub use region::{Region, RegionError, RegionMemory, StaticMemory};
