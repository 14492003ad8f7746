//! A buddy page allocator over any memory, as provider of page pools.
//!
//! The kernel's page_pool sits on the kernel's page allocator; a pool in user space, or in a kernel written in Rust,
//! sits on this one. It cuts *regions* (anonymous mappings, memfds, a caller's file, a static array) into base units
//! of 2 KiB to 64 KiB, joins them to blocks of 2^order units and back, hands out up to a whole refill under one lock,
//! and keeps the memory of each node apart.
//!
//! | here | Linux 7.3, `mm/page_alloc.c` unless said |
//! |---|---|
//! | [`Buddy`] | the page allocator as `page_pool` sees it: `alloc_pages_bulk_node`, `alloc_pages_node` (`include/linux/gfp.h`), `put_page` (`include/linux/mm.h`) |
//! | a node's zone, one lock each | `struct zone`, `zone->lock` (`include/linux/mmzone.h`) |
//! | cutting up, joining | `__rmqueue_smallest`, `expand`; `__free_one_page` |
//! | [`BuddyBuilder::reserve_units`] | `WMARK_MIN` (`include/linux/mmzone.h`); its pages are `page_is_pfmemalloc` (`include/linux/mm.h`) and no pool recycles them |
//! | [`NodeInfo`] | a line of `/proc/buddyinfo` (`mm/vmstat.c`) |
//! | [`Buddy::fragmentation_index`] | `extfrag_index` in debugfs (`mm/vmstat.c`), with a formula of its own |
//! | [`BuddyBuilder::node`] | `numa_node_id` of the request; memory is placed by `mbind` (`mm/mempolicy.c`) |
//!
//! # Examples
//!
//! ```
//! # #[cfg(all(feature = "std", target_os = "linux"))] {
//! use pp_core::{NodeId, PagePool};
//! use pp_provider_buddy::Buddy;
//!
//! let buddy = Buddy::anonymous(8 << 20)?; // 8 MiB in units of 4 KiB
//! let mut rx = PagePool::builder(&buddy).name("rx0").build()?;
//! let mut tx = PagePool::builder(&buddy).name("tx0").build()?; // the same memory
//! let (mut page, other) = (rx.alloc()?, tx.alloc()?);
//! page[..4].copy_from_slice(b"ping");
//! assert_eq!(buddy.free_units(), 2048 - 2 * 64); // each pool refilled its cache
//!
//! let jumbo = Buddy::builder().unit_bytes(16 << 10).node(NodeId(0)).reserve_units(16).anonymous(8 << 20).build()?;
//! assert_eq!(PagePool::builder(jumbo).build()?.page_bytes(), 16 << 10);
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Who else can write the memory
//!
//! | region | handle | why |
//! |---|---|---|
//! | [`anonymous`](BuddyBuilder::anonymous), [`static_memory`](BuddyBuilder::static_memory) | `Buddy<L, Host>` | nobody else has it |
//! | [`memfd`](BuddyBuilder::memfd) | `Buddy<L, Host>` | its file is sealed against further writers once it is mapped, and leaves through [`Buddy::share_fd`] |
//! | [`exposed_memfd`](BuddyBuilder::exposed_memfd) | `Buddy<L, Exposed>` | made to be written by others too |
//! | [`fd`](BuddyBuilder::fd) | `Buddy<L, Exposed>` | no seal proves that nobody else has a caller's file mapped for writing |
//!
//! # Callouts
//!
//! * Pages that are not there at their first touch, because a cgroup, tmpfs or the huge pages are used up, kill
//!   the process (OOM or SIGBUS). [`Prefault::Now`](crate::Prefault) turns that into an error of `build`,
//!   though whoever may write a file can still punch its pages.
//! * A child of `fork` gets a copy of anonymous and no view of `memfd` and `exclusive_fd` regions: two writers of one
//!   `Host` page would be one too many.
//! * Whoever may open `/dev/udmabuf` can turn a file from [`Buddy::share_fd`] into writable memory on kernels before 6.13,
//!   where that driver looked past `F_SEAL_FUTURE_WRITE`. Share with such a process only what it may write.
//! * A region without [`node`](BuddyBuilder::node) counts as node 0, wherever its pages come to lie.
//!
//! # Features
//!
//! `std` (on): mapped memory, nodes, and a mutex that sleeps. Without it the crate needs `alloc` for its tables, takes
//! [`static_memory`](BuddyBuilder::static_memory) and spins. `loom` and `shuttle` do nothing without the cfg of the
//! same name.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![no_std]
#![deny(unsafe_code, unsafe_op_in_unsafe_fn)]
// The text above speaks of mapped memory too, which needs `std` on Linux.
#![cfg_attr(not(all(feature = "std", target_os = "linux")), allow(rustdoc::broken_intra_doc_links))]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

mod area;
mod buddy;
mod builder;
mod error;
mod freelist;
mod info;
mod lock;
mod map;
#[cfg(all(feature = "std", target_os = "linux"))]
mod memfd;
#[cfg(all(feature = "std", target_os = "linux"))]
mod memory;
#[cfg(all(feature = "std", target_os = "linux"))]
mod node;
mod provider;
mod watermark;
mod zone;

pub use buddy::Buddy;
pub use builder::BuddyBuilder;
pub use error::BuddyError;
pub use info::NodeInfo;
pub use lock::DefaultLock;
#[cfg(all(feature = "std", target_os = "linux"))]
pub use memfd::SharedFile;
#[cfg(all(feature = "std", target_os = "linux"))]
pub use memory::Prefault;
pub use provider::BuddyProvider;

/// The largest order there is, above the smallest base unit: 2 GiB in units of 2 KiB. See the [crate](crate#examples).
pub const MAX_ORDER: u8 = 20;

/// How many orders there are, 0 included: the length of [`NodeInfo::blocks`]. See [`NodeInfo`].
pub const ORDERS: usize = MAX_ORDER as usize + 1;

/// The largest order a region gets unless told otherwise (`MAX_PAGE_ORDER` in the kernel).
/// See the [crate](crate#examples).
pub const DEFAULT_MAX_ORDER: u8 = 10;

/// Bytes in a base unit unless told otherwise. See the [crate](crate#examples).
pub const DEFAULT_UNIT_BYTES: usize = 4096;

/// The most base units in one buddy: numbers of units and of blocks past the end fit 32 bits.
const MAX_UNITS: usize = 1 << 31;
