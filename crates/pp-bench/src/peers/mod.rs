//! Who the pool is compared with.
//!
//! Most pass `usize`s, each of which is a page's address or stands for one, and know nothing else of pages: no owner, no
//! books, no statistics, no way home to a provider. The system's allocators are the exception: theirs is real memory.

mod hacks;
mod malloc;
mod mempool;
mod ours;
mod queues;
mod stack;

pub(crate) use hacks::{BiasSplit, PageRing};
pub(crate) use malloc::{Jemalloc, Malloc, Mapping};
pub(crate) use mempool::{Attendance, CHUNK, Loop, Mempool};
pub(crate) use ours::{BulkByRing, ByRing, Direct as DirectPool, Pushed, heap_pool};
pub(crate) use queues::{Boxes, PageBytes, array_queue, locked_ring, opool, opool_once, seg_queue};
pub(crate) use stack::ArrayStack;
