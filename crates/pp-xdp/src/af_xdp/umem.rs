//! A provider's region as memory that sockets share with the kernel.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::ptr::NonNull;

use pp_core::{Backing, Descriptor, Home, Host, Page, PoolHandle};
use thiserror::Error;

use super::descriptor::ChunkLayout;
use super::places::Places;
use crate::XDP_PACKET_HEADROOM;

/// The smallest chunk of a [`Umem`], in bytes (`XDP_UMEM_MIN_CHUNK_SIZE`).
pub const MIN_CHUNK_BYTES: u32 = 2048;

/// The largest chunk and the alignment of a [`Umem`], in bytes: a page of most processors. Where pages are larger, the kernel may refuse what is
/// aligned to no more than this.
pub const MAX_CHUNK_BYTES: u32 = 4096;

/// All memory of a provider, to be shared with the kernel (`struct xdp_umem`): its units are the chunks that packets lie in.
///
/// One provider is one UMEM, whatever number of pools draw on it and of queues, of whatever interfaces, receive into it. A page that came in
/// on one of them leaves through another as it is. A handle; clones are the same UMEM. It keeps the provider.
///
/// # Examples
///
/// ```
/// # use pp_core::{Home, PagePool, doc::Heap};
/// use pp_xdp::af_xdp::{ChunkLayout, Umem};
/// # let provider = || Home::new(Heap::new(4096, 64));
/// let umem = Umem::new(provider())?; // each page a chunk
/// assert_eq!((umem.chunks(), umem.chunk_bytes(), umem.layout()), (64, 4096, ChunkLayout::Aligned));
/// assert_eq!(umem.packet_bytes(), 4096 - 256); // in front is room for programs to push headers into
///
/// // Chunks shorter than the units, of any length the kernel takes, with room for a header of one's own in front.
/// let home = provider();
/// let umem = Umem::builder(home.clone()).unaligned(3000).headroom(64).build()?;
/// assert_eq!((umem.chunk_bytes(), umem.headroom(), umem.layout()), (3000, 64, ChunkLayout::Unaligned));
/// let mut rx0 = PagePool::builder(home.clone()).build()?; // a pool for each queue, on the same memory
/// let mut rx1 = PagePool::builder(home).build()?;
/// let page = rx1.alloc()?;
/// assert!(umem.contains(&page));
/// assert_eq!(umem.kernel_held(&rx1.handle()), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Umem(Arc<Inner>);

struct Inner {
    base: usize,
    /// Where the region's descriptors are: a unit is a chunk because its descriptor is one of them.
    descriptors: usize,
    unit_shift: u32,
    shape: Shape,
    places: Places,
    #[cfg(not(any(all(loom, feature = "loom"), all(shuttle, feature = "shuttle"))))]
    sharers: std::sync::Mutex<super::system::Sharers>,
    /// Keeps memory and descriptors.
    _home: Box<dyn Send + Sync>,
}

/// How chunks lie.
#[derive(Clone, Copy, Debug)]
struct Shape {
    layout: ChunkLayout,
    chunk_bytes: u32,
    headroom: u32,
}

/// Why a provider's memory can be no UMEM: from `new` and `builder` of [`Umem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UmemError {
    /// The kernel takes one stretch of memory.
    #[error(
        "a UMEM is one stretch of memory, and the provider shows {regions}; use a provider of one region, such as Buddy::anonymous"
    )]
    Regions {
        /// How many it has.
        regions: usize,
    },
    /// There is no address to give to the kernel.
    #[error("the provider's memory has no address; use one whose memory the CPU can reach")]
    NoAddress,
    /// The first unit does not begin at a page.
    #[error("the provider's memory begins at {base:#x}, and a UMEM at a multiple of {MAX_CHUNK_BYTES}; align it")]
    Alignment {
        /// Its address.
        base: usize,
    },
    /// The kernel would refuse such chunks.
    #[error(
        "chunks of {chunk_bytes} bytes are not possible in units of {unit_bytes}; the kernel takes aligned chunks of 2048 or 4096, as \
         long as the unit, and unaligned ones of any length from 2048 to 4096 that fits it"
    )]
    ChunkBytes {
        /// What was asked for.
        chunk_bytes: u32,
        /// The provider's unit.
        unit_bytes: usize,
    },
    /// An unaligned address has 16 bits for where in its unit it is.
    #[error("units of {unit_bytes} bytes are too long for unaligned chunks; use a provider of units of 65536 or less")]
    UnitBytes {
        /// The provider's unit.
        unit_bytes: usize,
    },
    /// Nothing would be left for packets.
    #[error(
        "a headroom of {headroom} bytes leaves no room in chunks of {chunk_bytes}; {XDP_PACKET_HEADROOM} more are the kernel's; give less"
    )]
    Headroom {
        /// What was asked for.
        headroom: u32,
        /// Bytes in a chunk.
        chunk_bytes: u32,
    },
}

/// Makes a [`Umem`], which shows one.
#[must_use = "call `build`"]
pub struct UmemBuilder {
    base: *mut u8,
    descriptors: usize,
    regions: usize,
    units: u32,
    unit_bytes: usize,
    unaligned: Option<u32>,
    headroom: u32,
    home: Box<dyn Send + Sync>,
}

impl Umem {
    /// All memory of `home`, each unit a chunk.
    ///
    /// # Errors
    ///
    /// [`UmemError`].
    pub fn new<P: Backing<Access = Host>>(home: impl Into<Home<P>>) -> Result<Self, UmemError> {
        Self::builder(home).build()
    }

    /// The same with more said.
    pub fn builder<P: Backing<Access = Host>>(home: impl Into<Home<P>>) -> UmemBuilder {
        let home = home.into();
        let regions = home.regions();
        let (base, units, unit_bytes) = regions
            .first()
            .map_or((core::ptr::null_mut(), 0, 0), |region| (region.base(), region.units(), region.unit_bytes()));
        let first = regions.first().and_then(|region| region.descriptor(0));
        let descriptors = first.map_or(0, |first| core::ptr::from_ref(first).addr());
        let regions = regions.len();
        let home = Box::new(home);
        UmemBuilder { base, descriptors, regions, units, unit_bytes, unaligned: None, headroom: 0, home }
    }

    /// How many chunks there are.
    pub fn chunks(&self) -> u32 {
        self.0.places.chunks()
    }

    /// Bytes in a chunk: what the kernel may use of a page.
    pub fn chunk_bytes(&self) -> u32 {
        self.0.shape.chunk_bytes
    }

    /// Bytes in front of every packet that is received, beside the kernel's own [`XDP_PACKET_HEADROOM`].
    pub fn headroom(&self) -> u32 {
        self.0.shape.headroom
    }

    /// Bytes of packet that a chunk has room for when it is received.
    pub fn packet_bytes(&self) -> u32 {
        // At least one, by `build`.
        self.chunk_bytes() - self.headroom() - XDP_PACKET_HEADROOM as u32
    }

    /// How addresses name bytes.
    pub fn layout(&self) -> ChunkLayout {
        self.0.shape.layout
    }

    /// Whether a page is one of its chunks.
    pub fn contains(&self, page: &Page<Host>) -> bool {
        self.index_of(page.descriptor()).is_some()
    }

    /// Pages of `pool` that the kernel holds now: in fill and transmit rings of whatever queues, open or not yet quiet. What the pool counts as
    /// in use and is not among these is with the user. Walks over all chunks; other threads may give and take meanwhile.
    pub fn kernel_held(&self, pool: &PoolHandle<Host>) -> usize {
        self.0.places.held().filter(|page| pool.has_on_books(self.descriptor_of(page))).count()
    }

    /// A page that was given to the kernel. Descriptors stay readable as long as the provider, which is kept here.
    #[allow(unsafe_code, reason = "a descriptor of the provider that this value keeps")]
    fn descriptor_of<'a>(&'a self, page: &'a NonNull<Descriptor>) -> &'a Descriptor {
        // SAFETY: what is in the table was found to be one of the region's descriptors (`index_of`), which stay readable until the
        // provider is dropped (`MemoryProvider`, obligation 2); it is kept here.
        unsafe { page.as_ref() }
    }

    pub(crate) fn places(&self) -> &Places {
        &self.0.places
    }

    /// The chunk that a unit is, if it is one.
    #[inline]
    pub(crate) fn index_of(&self, unit: &Descriptor) -> Option<u32> {
        let index = core::ptr::from_ref(unit).addr().wrapping_sub(self.0.descriptors) / size_of::<Descriptor>();
        // Units of higher orders are several chunks, and have no place of their own. What a provider has moved within its unit would have the
        // kernel write beside it.
        let is_chunk = index < self.chunks() as usize
            && unit.addr().addr() == self.0.base + (index << self.0.unit_shift)
            && unit.unit_bytes() == 1 << self.0.unit_shift;
        is_chunk.then_some(index as u32)
    }

    /// The address of a byte of chunk `index`.
    #[inline]
    pub(crate) fn addr(&self, index: u32, offset: usize) -> u64 {
        self.layout().addr(u64::from(index) << self.0.unit_shift, offset as u64)
    }

    /// What an address in a ring names: a chunk, and where in it. `None` beyond the memory.
    #[inline]
    pub(crate) fn locate(&self, addr: u64) -> Option<(u32, usize)> {
        let byte = usize::try_from(self.layout().byte(addr)?).ok().filter(|byte| *byte < self.bytes())?;
        let index = byte >> self.0.unit_shift;
        Some((index as u32, byte - (index << self.0.unit_shift)))
    }

    /// Address and length, for the registration.
    pub(crate) fn bytes(&self) -> usize {
        (self.chunks() as usize) << self.0.unit_shift
    }

    #[cfg(not(any(all(loom, feature = "loom"), all(shuttle, feature = "shuttle"))))]
    pub(crate) fn base(&self) -> usize {
        self.0.base
    }

    #[cfg(not(any(all(loom, feature = "loom"), all(shuttle, feature = "shuttle"))))]
    pub(crate) fn sharers(&self) -> &std::sync::Mutex<super::system::Sharers> {
        &self.0.sharers
    }
}

impl UmemBuilder {
    /// Chunks of `chunk_bytes`, which need be no power of two, each at the beginning of a unit. Without this they are as long as
    /// the units.
    pub fn unaligned(mut self, chunk_bytes: u32) -> Self {
        self.unaligned = Some(chunk_bytes);
        self
    }

    /// So many bytes in front of every received packet, beside the kernel's [`XDP_PACKET_HEADROOM`].
    pub fn headroom(mut self, bytes: u32) -> Self {
        self.headroom = bytes;
        self
    }

    /// The UMEM. The kernel hears of it when the first queue is opened.
    ///
    /// # Errors
    ///
    /// [`UmemError`].
    pub fn build(self) -> Result<Umem, UmemError> {
        let UmemBuilder { base, descriptors, regions, units, unit_bytes, unaligned, headroom, home } = self;
        if regions != 1 {
            return Err(UmemError::Regions { regions });
        }
        if base.is_null() {
            return Err(UmemError::NoAddress);
        }
        let whole = u32::try_from(unit_bytes).unwrap_or(u32::MAX);
        let (layout, chunk_bytes) = unaligned.map_or((ChunkLayout::Aligned, whole), |b| (ChunkLayout::Unaligned, b));
        if !(MIN_CHUNK_BYTES..=MAX_CHUNK_BYTES.min(whole)).contains(&chunk_bytes) {
            return Err(UmemError::ChunkBytes { chunk_bytes, unit_bytes });
        }
        let base = base.addr();
        if !base.is_multiple_of(MAX_CHUNK_BYTES as usize) {
            return Err(UmemError::Alignment { base });
        }
        if layout == ChunkLayout::Unaligned && unit_bytes > 1 << 16 {
            return Err(UmemError::UnitBytes { unit_bytes });
        }
        if u64::from(headroom) + XDP_PACKET_HEADROOM as u64 >= u64::from(chunk_bytes) {
            return Err(UmemError::Headroom { headroom, chunk_bytes });
        }
        Ok(Umem(Arc::new(Inner {
            base,
            descriptors,
            unit_shift: unit_bytes.trailing_zeros(),
            shape: Shape { layout, chunk_bytes, headroom },
            places: Places::new(units),
            #[cfg(not(any(all(loom, feature = "loom"), all(shuttle, feature = "shuttle"))))]
            sharers: std::sync::Mutex::default(),
            _home: home,
        })))
    }
}

/// The same memory, shared with the kernel once.
///
/// ```
/// # use pp_core::{Home, doc::Heap};
/// # use pp_xdp::af_xdp::Umem;
/// let memory = Home::new(Heap::new(4096, 64));
/// let umem = Umem::new(memory.clone())?;
/// assert_eq!(umem, umem.clone());
/// assert_ne!(umem, Umem::new(memory)?);
/// # Ok::<(), pp_xdp::af_xdp::UmemError>(())
/// ```
impl PartialEq for Umem {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Umem {}

impl core::fmt::Debug for Umem {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Shape { layout, chunk_bytes, headroom } = self.0.shape;
        f.debug_struct("Umem")
            .field("chunks", &self.chunks())
            .field("chunk_bytes", &chunk_bytes)
            .field("layout", &layout)
            .field("headroom", &headroom)
            .finish_non_exhaustive()
    }
}

impl core::fmt::Debug for UmemBuilder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("UmemBuilder")
            .field("units", &self.units)
            .field("unit_bytes", &self.unit_bytes)
            .finish_non_exhaustive()
    }
}
