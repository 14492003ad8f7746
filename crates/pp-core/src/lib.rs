//! A recycling pool of DMA-ready pages.
//!
//! One consumer allocates without a lock or an atomic read-modify-write; any thread gives pages back; the pool knows at
//! every moment how many pages are out; its memory comes from a provider that can be swapped without touching the driver.
//! It is the Linux kernel's `page_pool` for everybody outside the Linux kernel, in safe Rust at the surface.
//!
//! | to | use |
//! |---|---|
//! | allocate and recycle | [`PagePool`], held by one context |
//! | hold a page | [`Page`], [`Shared`] once several hold it, [`NetMem`] if it may be device memory |
//! | hand a page out in pieces | [`Fragmented`], [`PagePart`], [`SharedPart`]; with their bookkeeping done in `pp-frag` |
//! | move many | [`PageBatch`] |
//! | return from elsewhere | drop the page; [`PoolHandle`]; [`Returner`] for a thread that returns much |
//! | bring memory | [`MemoryProvider`], [`Region`], [`Home`] |
//! | map it for a device | [`Dma`] |
//! | check an own provider or DMA backend | the module `conformance`, with the feature of that name |
//! | end it | drop the pool; [`Shutdown`] to know when the last page on its books is home |
//!
//! To embed it, with a lock and memory of your own: the module `embedding` of the documentation.
//!
//! `no_std` with `alloc`; the heap is used when a pool is made and when a list of DMA mappings grows, never on the
//! paths of a page. How it works inside, page by page, is told in `ARCHITECTURE.md`.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![no_std]

#[cfg(not(target_has_atomic = "ptr"))]
compile_error!(
    "pp-core needs a compare-and-swap of a word, which this target has not (`target_has_atomic = \"ptr\"`); \
     choose one that has, such as thumbv7em over thumbv6m, or riscv32imac over riscv32i"
);
#[cfg(target_pointer_width = "16")]
compile_error!("pp-core needs words of 32 bits or more: units and counts do not fit 16");

extern crate alloc;
#[cfg(any(feature = "std", test, loom, shuttle))]
extern crate std;

mod access;
mod bag;
mod batch;
mod block;
mod books;
mod builder;
mod completion;
#[cfg(feature = "conformance")]
pub mod conformance;
mod consumer;
mod descriptor;
mod dma;
#[doc(hidden)]
pub mod doc;
#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/embedding.md")]
pub mod embedding {}
mod error;
mod fragmented;
mod handle;
mod home;
mod hooks;
mod limit;
pub mod lock;
mod page;
mod part;
mod pool;
mod provider;
mod put;
mod put_many;
mod reaper;
mod refill;
mod refs;
mod region;
mod returner;
mod ring;
mod room;
mod shared;
mod shared_part;
mod shutdown;
mod stats;
pub mod sync;
#[cfg(feature = "leak-trace")]
mod trace;

pub use access::{Access, CpuAccess, Device, Exposed, Host};
pub use batch::PageBatch;
pub use books::PoolState;
pub use builder::{
    DEFAULT_BATCH_BAG, DEFAULT_CACHE, DEFAULT_REFILL, DEFAULT_RING, MAX_BATCH_BAGS, MAX_CACHE, MAX_RETURNERS, MAX_RING,
    PoolBuilder,
};
pub use descriptor::{Descriptor, Recycling};
pub use dma::{Counting, Dma, DmaAddr, DmaCounts, DmaDirection, DmaError, DmaRange, Identity};
pub use error::{AllocError, BuildError, GivenBack};
pub use fragmented::{BIAS_MAX, BiasError, CutError, Fragmented};
pub use handle::PoolHandle;
pub use home::Home;
pub use hooks::{PageView, Zeroing};
pub use limit::{Crossing, Pressure};
pub use page::{NetMem, OutOfRange, Page};
pub use part::{PagePart, PartError, RawPart, defrag_all};
pub use pool::{NodePolicy, PagePool};
pub use provider::{
    Backing, Description, Geometry, MemoryProvider, NodeId, ProvideError, Request, Unit, UnitDrain, UnitSink,
};
pub use reaper::{Reaper, Remains};
pub use region::{Region, RegionError, RegionMemory, StaticMemory};
pub use returner::Returner;
pub use shared::Shared;
pub use shared_part::SharedPart;
pub use shutdown::Shutdown;
pub use stats::{AllocStats, RecycleStats, Stats};
#[cfg(feature = "leak-trace")]
pub use trace::Held;
