//! Memory type page-pool, in pages and in fragments; and device memory.

use pp_core::{AllocError, Device, Host, PagePool};
use pp_frag::{Frag, FragCache, FragError};

use crate::buffer::Buffer;
use crate::mem_type::MemType;
use crate::memory::{MemModel, Memory};
use crate::split::SplitError;

/// A page a packet.
impl Memory for PagePool<Host> {
    fn model(&self) -> MemModel {
        MemModel::new(MemType::PagePool, self.handle())
    }

    #[inline]
    #[cfg_attr(feature = "leak-trace", track_caller)]
    fn alloc(&mut self) -> Result<Buffer, AllocError> {
        PagePool::alloc(self).map(Buffer::Page)
    }

    #[inline]
    fn recycle(&mut self, buffer: Buffer) {
        match buffer {
            Buffer::Page(page) | Buffer::Umem(page) => self.recycle_direct(page),
            Buffer::Part(part) => self.recycle_part(part),
            other => drop(other),
        }
    }
}

/// Pages without bytes.
impl Memory for PagePool<Device> {
    fn model(&self) -> MemModel {
        MemModel::new(MemType::Device, self.handle())
    }

    #[inline]
    #[cfg_attr(feature = "leak-trace", track_caller)]
    fn alloc(&mut self) -> Result<Buffer, AllocError> {
        PagePool::alloc(self).map(Buffer::Device)
    }

    #[inline]
    fn recycle(&mut self, buffer: Buffer) {
        match buffer {
            Buffer::Device(page) => self.recycle_direct(page),
            other => drop(other),
        }
    }
}

/// Memory type page-pool, several packets to a page (`page_pool_alloc_frag`).
///
/// # Examples
///
/// ```
/// # use pp_core::{Home, PagePool, doc::Heap};
/// use pp_xdp::{Memory, PoolFrags};
/// let pool = PagePool::builder(Home::new(Heap::new(4096, 8))).build()?;
/// let mut frags = PoolFrags::new(pool, 2048)?;
/// let (one, two) = (frags.alloc()?, frags.alloc()?);
/// assert_eq!(frags.pool().stats().in_use(), 1);
/// frags.recycle(two);
/// frags.recycle(one);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct PoolFrags {
    /// Before the pool: its page goes back into that.
    cache: FragCache,
    pool: PagePool<Host>,
    bytes: usize,
}

impl PoolFrags {
    /// Buffers of `bytes` from `pool`.
    ///
    /// # Errors
    ///
    /// [`SplitError::BufferSize`] if that is 0 or more than a page.
    pub fn new(pool: PagePool<Host>, bytes: usize) -> Result<Self, SplitError> {
        SplitError::check(bytes, pool.page_bytes())?;
        Ok(PoolFrags { cache: FragCache::new(), pool, bytes })
    }

    /// The pool.
    pub fn pool(&self) -> &PagePool<Host> {
        &self.pool
    }
}

impl Memory for PoolFrags {
    fn model(&self) -> MemModel {
        self.pool.model()
    }

    #[cfg_attr(feature = "leak-trace", track_caller)]
    fn alloc(&mut self) -> Result<Buffer, AllocError> {
        match self.cache.alloc(&mut self.pool, self.bytes) {
            Ok(frag) => Ok(Buffer::Part(frag.into_part())),
            Err(FragError::Alloc(error)) => Err(error),
            // The size was looked at in `new`.
            Err(_) => Err(AllocError::OutOfMemory),
        }
    }

    fn recycle(&mut self, buffer: Buffer) {
        match buffer {
            Buffer::Part(part) => self.cache.recycle(&mut self.pool, Frag::from(part)),
            other => self.pool.recycle(other),
        }
    }
}
