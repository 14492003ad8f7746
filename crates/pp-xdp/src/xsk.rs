//! Memory type xsk-buff-pool: chunks of a fixed area.

use alloc::vec::Vec;

use pp_core::{AllocError, Backing, BuildError, Fragmented, GivenBack, Home, Host, PagePart};

use crate::XDP_PACKET_HEADROOM;
use crate::buffer::Buffer;
use crate::mem_type::MemType;
use crate::memory::{MemModel, Memory};
use crate::returns::{Loan, Stock, room};
use crate::source::Source;

/// The smallest chunk (`XDP_UMEM_MIN_CHUNK_SIZE`).
const MIN_CHUNK: usize = 2048;

/// A fixed number of chunks, taken from a provider once, with addresses (`struct xsk_buff_pool`).
///
/// The *area* is all chunks in a row; a chunk's address is its offset in it, whatever pages it lies in. Chunk and address turn into
/// each other in constant time: rings of descriptors carry addresses, and what comes out of one is not to be trusted, so a chunk that is
/// in a ring lies here as [posted](XskBuffPool::post), and an address [takes](XskBuffPool::take) it once.
///
/// # Examples
///
/// ```
/// # use pp_core::{Home, doc::Heap};
/// use pp_xdp::{AddrError, XDP_PACKET_HEADROOM, XskBuffPool};
/// let mut pool = XskBuffPool::new(Home::new(Heap::new(4096, 8)), 2048, 16)?;
/// let mut chunk = pool.chunk()?;
/// chunk.bytes_mut().fill(1);
/// assert_eq!((chunk.bytes()[0], chunk.bytes().len(), pool.chunk_bytes(), pool.chunks()), (1, 2048, 2048, 16));
/// let addr = pool.post(chunk).map_err(|error| error.reason)?;      // into the fill ring
/// assert_eq!(pool.posted(), 1);
/// let (chunk, offset) = pool.take(addr.get() + 256)?;              // what a receive ring says
/// assert_eq!((chunk.addr(), offset, pool.headroom()), (addr, 256, XDP_PACKET_HEADROOM));
/// assert!(matches!(pool.take(addr.get()), Err(AddrError::NotPosted { .. }))); // said twice
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct XskBuffPool {
    stock: Stock<Place>,
    /// What lies in rings, by number.
    posted: Vec<Option<PagePart<Host>>>,
    chunk_shift: u32,
    source: Source,
}

/// A chunk that nobody has.
struct Place {
    index: u32,
    part: PagePart<Host>,
}

/// One chunk, owned. Dropping it puts it on its pool's free list (`xsk_buff_free`); if that is gone, its page goes home with
/// the last of its chunks. [`XskBuffPool`] shows one.
#[must_use = "a chunk that is not kept goes back to its pool"]
pub struct Chunk(Loan<Place>);

/// A chunk's offset in its area. [`XskBuffPool`] shows one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkAddr(u64);

impl ChunkAddr {
    /// The offset in bytes.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// Why there is no such pool: from `new` of [`XskBuffPool`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum XskError {
    /// A chunk must be a power of two from 2048 bytes to a page.
    ChunkSize {
        /// What was asked for.
        chunk_bytes: usize,
        /// Bytes in a page.
        page_bytes: usize,
    },
    /// From 1 to 2^32 - 1 chunks.
    Chunks {
        /// How many were asked for.
        chunks: usize,
    },
    /// There is nothing to draw pages with, or no memory to list the chunks.
    Build(BuildError),
    /// The provider has not as many pages; those it had are home again.
    Alloc(AllocError),
}

impl core::fmt::Display for XskError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            XskError::ChunkSize { chunk_bytes, page_bytes } => {
                let range = (MIN_CHUNK, page_bytes);
                write!(
                    f,
                    "chunks of {chunk_bytes} bytes are not possible; use a power of two from {} to {}",
                    range.0, range.1
                )
            }
            XskError::Chunks { chunks } => write!(f, "{chunks} chunks are not possible; use 1 to {}", u32::MAX),
            XskError::Build(error) => error.fmt(f),
            XskError::Alloc(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for XskError {}

/// An address that is no posted chunk's, or a chunk of another pool, as [`XskBuffPool`] shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddrError {
    /// It lies beyond the area.
    OutOfArea {
        /// The address.
        addr: u64,
        /// Bytes in the area.
        area_bytes: u64,
    },
    /// Its chunk is in no ring: it was never posted, or has been taken already.
    NotPosted {
        /// The address.
        addr: u64,
    },
    /// The chunk to be posted is another pool's.
    Foreign,
}

impl core::fmt::Display for AddrError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            AddrError::OutOfArea { addr, area_bytes } => {
                write!(f, "address {addr} is not within an area of {area_bytes} bytes; drop the descriptor")
            }
            AddrError::NotPosted { addr } => {
                write!(
                    f,
                    "the chunk at address {addr} is in no ring; drop the descriptor, it was given twice or made up"
                )
            }
            AddrError::Foreign => f.write_str("the chunk is another pool's; copy the packet, or post it there"),
        }
    }
}

impl core::error::Error for AddrError {}

impl XskBuffPool {
    /// `chunks` chunks of `chunk_bytes`, out of pages of `home` that are drawn now.
    ///
    /// # Errors
    ///
    /// [`XskError`].
    pub fn new<P: Backing<Access = Host>>(
        home: impl Into<Home<P>>,
        chunk_bytes: usize,
        chunks: usize,
    ) -> Result<Self, XskError> {
        let mut source = Source::new(home, "xsk-buff-pool").map_err(XskError::Build)?;
        let page_bytes = source.page_bytes();
        if !chunk_bytes.is_power_of_two() || !(MIN_CHUNK..=page_bytes).contains(&chunk_bytes) {
            return Err(XskError::ChunkSize { chunk_bytes, page_bytes });
        }
        let count = u32::try_from(chunks).ok().filter(|count| *count > 0).ok_or(XskError::Chunks { chunks })?;
        // All of it before the first page is drawn.
        let mut stock = Stock::new(chunks).map_err(XskError::Build)?;
        let mut posted = room(chunks).map_err(XskError::Build)?;
        let mut page = None;
        for index in (0..count).rev() {
            let part = match page.as_mut().and_then(|page: &mut Fragmented| page.cut(chunk_bytes).ok()) {
                Some(part) => part,
                None => {
                    let next = page.insert(Fragmented::from(source.page().map_err(XskError::Alloc)?));
                    // A chunk is no larger than a page.
                    next.cut(chunk_bytes).map_err(|_| XskError::ChunkSize { chunk_bytes, page_bytes })?
                }
            };
            stock.push(Place { index, part });
        }
        source.trim();
        posted.resize_with(chunks, || None);
        Ok(XskBuffPool { stock, posted, chunk_shift: chunk_bytes.trailing_zeros(), source })
    }

    /// Takes a chunk off the free list (`xsk_buff_alloc`).
    ///
    /// # Errors
    ///
    /// [`AllocError::OutOfMemory`] when all chunks are out.
    pub fn chunk(&mut self) -> Result<Chunk, AllocError> {
        let place = self.stock.pop().ok_or(AllocError::OutOfMemory)?;
        Ok(self.lend(place))
    }

    fn lend(&self, place: Place) -> Chunk {
        Chunk(self.stock.lend(place))
    }

    /// Puts a chunk on its way through a ring, whose descriptor carries the address.
    ///
    /// # Errors
    ///
    /// The chunk, with [`AddrError::Foreign`], if it is another pool's.
    pub fn post(&mut self, chunk: Chunk) -> Result<ChunkAddr, GivenBack<Chunk, AddrError>> {
        let addr = chunk.addr();
        match self.stock.redeem(chunk.0) {
            Ok(Place { index, part }) => {
                self.posted[index as usize] = Some(part);
                Ok(addr)
            }
            Err(loan) => Err(GivenBack { buffer: Chunk(loan), reason: AddrError::Foreign }),
        }
    }

    /// Takes the chunk that a ring's address lies in, and says where in it (`xp_get_handle` and back).
    ///
    /// # Errors
    ///
    /// [`AddrError`] for an address of no posted chunk, be it made up or said twice.
    pub fn take(&mut self, addr: u64) -> Result<(Chunk, usize), AddrError> {
        let index = addr >> self.chunk_shift;
        let place = usize::try_from(index).ok().and_then(|index| self.posted.get_mut(index));
        let Some(place) = place else {
            return Err(AddrError::OutOfArea { addr, area_bytes: (self.posted.len() as u64) << self.chunk_shift });
        };
        let part = place.take().ok_or(AddrError::NotPosted { addr })?;
        let offset = (addr - (index << self.chunk_shift)) as usize;
        // The area has 2^32 - 1 chunks at most.
        Ok((self.lend(Place { index: index as u32, part }), offset))
    }

    /// Where a packet begins in a chunk: room for programs to push headers into.
    pub fn headroom(&self) -> usize {
        XDP_PACKET_HEADROOM
    }

    /// Bytes in a chunk.
    pub fn chunk_bytes(&self) -> usize {
        1 << self.chunk_shift
    }

    /// How many chunks there are.
    pub fn chunks(&self) -> usize {
        self.posted.len()
    }

    /// How many are in rings.
    pub fn posted(&self) -> usize {
        self.posted.iter().flatten().count()
    }
}

impl Memory for XskBuffPool {
    fn model(&self) -> MemModel {
        MemModel::new(MemType::XskBuffPool, self.source.handle())
    }

    fn alloc(&mut self) -> Result<Buffer, AllocError> {
        self.chunk().map(Buffer::Chunk)
    }

    fn recycle(&mut self, buffer: Buffer) {
        match buffer {
            Buffer::Chunk(chunk) => self.stock.recycle(chunk.0),
            other => drop(other),
        }
    }
}

impl core::fmt::Debug for XskBuffPool {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("XskBuffPool")
            .field("chunks", &self.chunks())
            .field("chunk_bytes", &self.chunk_bytes())
            .field("free", &self.stock.len())
            .field("posted", &self.posted())
            .finish_non_exhaustive()
    }
}

impl Chunk {
    /// Its offset in the area.
    #[inline]
    pub fn addr(&self) -> ChunkAddr {
        // A chunk's part is never split, so it has the length that chunks have.
        self.0.get().map_or(ChunkAddr(0), |place| ChunkAddr(u64::from(place.index) * place.part.len() as u64))
    }

    /// Its bytes, headroom included.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        self.0.get().map(|place| &*place.part).unwrap_or_default()
    }

    /// Its bytes, for writing.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.0.get_mut().map(|place| &mut *place.part).unwrap_or_default()
    }
}

impl core::fmt::Debug for Chunk {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Chunk").field("addr", &self.addr()).field("bytes", &self.bytes().len()).finish()
    }
}
