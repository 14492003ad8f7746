//! What a packet lies in, of whatever memory type.

use alloc::boxed::Box;

use pp_core::{Device, DmaAddr, GivenBack, Host, Page, PagePart, PartError, Recycling};

use crate::mem_type::MemType;
use crate::order0::Order0Page;
use crate::user::{UserBuff, UserBuffer};
use crate::xsk::Chunk;

/// One stretch of memory, and its only owner. Dropping it is its way back to its allocator, from any thread.
///
/// A page or part says by its variant what type it is of: a part that [`SplitPages`](crate::SplitPages) cut and one of a pool
/// are the same thing to `pp-core`.
///
/// # Examples
///
/// ```
/// # use pp_core::{Home, PagePool, doc::Heap};
/// use pp_xdp::{Buffer, MemType};
/// let mut pool = PagePool::builder(Home::new(Heap::new(4096, 8))).build()?;
/// let buffer = Buffer::from(pool.alloc()?);
/// assert_eq!((buffer.mem_type(), buffer.len(), buffer.bytes().map(<[u8]>::len)), (MemType::PagePool, 4096, Some(4096)));
/// assert!(buffer.is_readable() && !buffer.is_pfmemalloc());
/// drop(buffer);
/// assert_eq!(pool.stats().recycle.ring, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a buffer that is not kept goes back to its allocator"]
pub enum Buffer {
    /// A part of a split page.
    Shared(PagePart<Host>),
    /// A page of nobody's pool.
    Order0(Order0Page),
    /// A page of a pool.
    Page(Page<Host>),
    /// A part of a pool's page.
    Part(PagePart<Host>),
    /// A chunk of an area without sockets.
    Chunk(Chunk),
    /// A pool's page that is a chunk of an AF_XDP socket's memory.
    Umem(Page<Host>),
    /// A page that only devices can reach.
    Device(Page<Device>),
    /// What somebody else brought.
    User(UserBuff),
}

const _: () = assert!(size_of::<Buffer>() <= 40 || cfg!(any(loom, shuttle)), "packets are moved about");

impl Buffer {
    /// The type of its memory.
    #[inline]
    pub fn mem_type(&self) -> MemType {
        match self {
            Buffer::Shared(_) => MemType::PageShared,
            Buffer::Order0(_) => MemType::PageOrder0,
            Buffer::Page(_) | Buffer::Part(_) => MemType::PagePool,
            Buffer::Chunk(_) | Buffer::Umem(_) => MemType::XskBuffPool,
            Buffer::Device(_) => MemType::Device,
            Buffer::User(_) => MemType::User,
        }
    }

    /// Bytes in it: what it takes from its allocator (`frame_sz` of a buffer, the true size of a fragment).
    #[inline]
    pub fn len(&self) -> usize {
        match self {
            Buffer::Shared(part) | Buffer::Part(part) => part.len(),
            Buffer::Order0(page) => page.bytes().len(),
            Buffer::Page(page) | Buffer::Umem(page) => page.len(),
            Buffer::Chunk(chunk) => chunk.bytes().len(),
            Buffer::Device(page) => page.len(),
            Buffer::User(buffer) => buffer.get().map_or(0, |buffer| buffer.bytes().len()),
        }
    }

    /// Whether it has none, which only parts and users' buffers can.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its bytes; `None` where the CPU cannot reach them.
    #[inline]
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Buffer::Shared(part) | Buffer::Part(part) => Some(part),
            Buffer::Order0(page) => Some(page.bytes()),
            Buffer::Page(page) | Buffer::Umem(page) => Some(page),
            Buffer::Chunk(chunk) => Some(chunk.bytes()),
            Buffer::Device(_) => None,
            Buffer::User(buffer) => buffer.get().map(|buffer| buffer.bytes()),
        }
    }

    /// Its bytes for writing; `None` where the CPU cannot reach them.
    #[inline]
    pub fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        match self {
            Buffer::Shared(part) | Buffer::Part(part) => Some(part),
            Buffer::Order0(page) => Some(page.bytes_mut()),
            Buffer::Page(page) | Buffer::Umem(page) => Some(page),
            Buffer::Chunk(chunk) => Some(chunk.bytes_mut()),
            Buffer::Device(_) => None,
            Buffer::User(buffer) => buffer.get_mut().map(|buffer| buffer.bytes_mut()),
        }
    }

    /// Whether the CPU can reach its bytes.
    #[inline]
    pub fn is_readable(&self) -> bool {
        !matches!(self, Buffer::Device(_))
    }

    /// Where a device finds the first byte; `None` when it is not mapped.
    #[inline]
    pub fn dma_addr(&self) -> Option<DmaAddr> {
        match self {
            Buffer::Shared(part) | Buffer::Part(part) => part.dma_addr(),
            Buffer::Page(page) | Buffer::Umem(page) => page.dma_addr(),
            Buffer::Device(page) => page.dma_addr(),
            Buffer::User(buffer) => buffer.get().and_then(|buffer| buffer.dma_addr()),
            Buffer::Order0(_) | Buffer::Chunk(_) => None,
        }
    }

    /// Whether it is of a provider's emergency reserve: a packet in it may be for nobody but those who free memory
    /// (`pfmemalloc`).
    pub fn is_pfmemalloc(&self) -> bool {
        let recycling = match self {
            Buffer::Shared(part) | Buffer::Part(part) => part.descriptor().recycling(),
            Buffer::Page(page) | Buffer::Umem(page) => page.descriptor().recycling(),
            Buffer::Device(page) => page.descriptor().recycling(),
            Buffer::Order0(page) => page.recycling(),
            Buffer::Chunk(_) | Buffer::User(_) => Recycling::Allowed,
        };
        recycling == Recycling::Never
    }

    /// Adds the memory directly behind this, of the same page.
    ///
    /// # Errors
    ///
    /// `next`, when it is not that.
    pub(crate) fn coalesce(&mut self, next: Buffer) -> Result<(), Buffer> {
        let put_back = |wrap: fn(PagePart<Host>) -> Buffer| {
            move |refused: GivenBack<PagePart<Host>, PartError>| wrap(refused.buffer)
        };
        match (self, next) {
            (Buffer::Shared(part), Buffer::Shared(next)) => part.coalesce(next).map_err(put_back(Buffer::Shared)),
            (Buffer::Part(part), Buffer::Part(next)) => part.coalesce(next).map_err(put_back(Buffer::Part)),
            (_, next) => Err(next),
        }
    }
}

impl From<Page<Host>> for Buffer {
    /// A page of a pool.
    #[inline]
    fn from(page: Page<Host>) -> Self {
        Buffer::Page(page)
    }
}

impl From<Page<Device>> for Buffer {
    #[inline]
    fn from(page: Page<Device>) -> Self {
        Buffer::Device(page)
    }
}

impl From<PagePart<Host>> for Buffer {
    /// A part of a pool's page.
    #[inline]
    fn from(part: PagePart<Host>) -> Self {
        Buffer::Part(part)
    }
}

impl From<Order0Page> for Buffer {
    #[inline]
    fn from(page: Order0Page) -> Self {
        Buffer::Order0(page)
    }
}

impl From<Chunk> for Buffer {
    #[inline]
    fn from(chunk: Chunk) -> Self {
        Buffer::Chunk(chunk)
    }
}

impl<T: UserBuffer> From<Box<T>> for Buffer {
    #[inline]
    fn from(buffer: Box<T>) -> Self {
        Buffer::User(UserBuff::new(buffer))
    }
}
