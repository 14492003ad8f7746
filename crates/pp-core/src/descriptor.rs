//! The descriptor: one per unit of memory, the `struct page` of this crate.
//!
//! A descriptor never moves and stays readable until its provider is dropped, also while its unit is home. Whoever
//! owns the unit owns what the descriptor says of it; everybody else may at most load words that tell them that
//! they do not. Kernel counterpart: the page_pool fields of `struct page` / `struct netmem_desc` (Linux 7.3,
//! `include/net/netmem.h`).

use core::sync::atomic::{AtomicPtr as CoreAtomicPtr, AtomicU32, Ordering};

use crate::dma::DmaAddr;
use crate::provider::NodeId;
use crate::sync::{AtomicUsize, Canary, Clock, MODEL};

/// The length of a sync that covers the pool's whole `max_len`.
pub(crate) const SYNC_FULL: u32 = u32::MAX;

/// What is known of one unit.
///
/// One cache line: the direct path loads one word of it, the owner.
///
/// # Examples
///
/// What a provider does with one; pools and pages only read it.
///
/// ```
/// use core::sync::atomic::Ordering;
/// use pp_core::{Descriptor, NodeId, Recycling};
///
/// let mut memory = [0; 256];
/// let unit = Descriptor::new(memory.as_mut_ptr(), 64, NodeId(0));
/// assert_eq!((unit.addr(), unit.unit_bytes()), (memory.as_mut_ptr(), 64));
/// assert_eq!((unit.node(), unit.order(), unit.recycling()), (NodeId(0), 0, Recycling::Allowed));
///
/// // Home, it is its provider's, which may keep its free list here ...
/// unit.home_words()[0].store(7, Ordering::Relaxed);
/// // ... and says what it hands out: two base units in one, which pools shall not keep.
/// // SAFETY: home, and of the memory 128 bytes are there.
/// unsafe { unit.reshape(unit.addr(), 128, 1, Recycling::Never) };
/// assert_eq!((unit.unit_bytes(), unit.order(), unit.recycling()), (128, 1, Recycling::Never));
/// ```
#[repr(C)]
#[cfg_attr(not(any(loom, shuttle)), repr(align(64)))]
pub struct Descriptor {
    /// Whose the unit is. See [`owner`] for the states.
    pub(crate) owner: AtomicUsize,
    /// First byte, or null where the CPU has no address for the unit. Written by the provider while home.
    addr: CoreAtomicPtr<u8>,
    /// References to the page while several hold it; see [`refs`](crate::refs).
    ///
    /// | state | meaning |
    /// |---|---|
    /// | 0 | not counted: a `Page`, or home, or idle in the pool |
    /// | n | n `Shared` handles; or the parts that are out and a `Fragmented` page's bias. Who takes it to 0 owns the page |
    pub(crate) refs: AtomicUsize,
    /// Who has this unit mapped for DMA.
    ///
    /// | state | meaning | who leaves it |
    /// |---|---|---|
    /// | 0 | nobody | the consumer that maps it |
    /// | a pool's generation | that pool; the generation is never used again | whoever wins the compare-exchange from it unmaps |
    /// | `UNMAPPING` | that pool, which is closing | the closing consumer, to 0; the unit's owner waits for it |
    /// | `PREMAPPED` | its provider, while it is on a pool's books | whoever takes it off them |
    pub(crate) dma_claim: AtomicUsize,
    /// The mapped address in `DmaAddr::pack` form. Written before the claim; the owner's, or whose claim it is.
    pub(crate) dma_addr: AtomicUsize,
    /// Two words with two lives. Home: the provider's free-list links. Out: `[sync length, place in the mapped list]`.
    link: [AtomicU32; 2],
    /// Bytes from `addr`.
    len: AtomicU32,
    /// Node in the low half, order and flags in the high half. Written by the provider while home.
    shape: AtomicU32,
    /// Stands for the bytes of the unit under a model checker.
    pub(crate) bytes: Canary,
    /// Ticks before `refs` and `owner` are looked at and then changed, while several hold the page.
    pub(crate) clock: Clock,
}

const _: () = assert!(MODEL || size_of::<Descriptor>() <= 64, "a descriptor is at most one cache line");
const _: () =
    assert!(MODEL || align_of::<Descriptor>() == 64, "the owner word needs its low bits, lines their alignment");

const NEVER_FLAG: u32 = 1 << 24;

/// What becomes of a unit when its page is put. See [`Descriptor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recycling {
    /// It goes round in its pool.
    Allowed,
    /// It leaves the pool and goes home at once. For units of an emergency reserve (`pfmemalloc` in the kernel), so that
    /// the reserve fills again, and for providers that want every page back.
    Never,
}

impl Descriptor {
    /// The descriptor of a unit of `len` bytes at `addr` on `node`, home.
    ///
    /// `addr` is null for memory without a CPU address.
    pub fn new(addr: *mut u8, len: u32, node: NodeId) -> Self {
        Descriptor {
            owner: AtomicUsize::new(0),
            addr: CoreAtomicPtr::new(addr),
            refs: AtomicUsize::new(0),
            dma_claim: AtomicUsize::new(0),
            dma_addr: AtomicUsize::new(0),
            link: [AtomicU32::new(SYNC_FULL), AtomicU32::new(0)],
            len: AtomicU32::new(len),
            shape: AtomicU32::new(u32::from(node.0)),
            bytes: Canary::new(),
            clock: Clock::new(),
        }
    }

    /// First byte of the unit; null where the CPU has no address for it.
    #[inline(always)]
    pub fn addr(&self) -> *mut u8 {
        self.addr.load(Ordering::Relaxed)
    }

    /// Bytes in the unit as it was handed out.
    #[inline(always)]
    pub fn unit_bytes(&self) -> usize {
        self.len.load(Ordering::Relaxed) as usize
    }

    /// The memory node the unit lies on.
    #[inline(always)]
    pub fn node(&self) -> NodeId {
        NodeId(self.shape.load(Ordering::Relaxed) as u16)
    }

    /// log2 of the number of base units this one spans.
    #[inline]
    pub fn order(&self) -> u8 {
        (self.shape.load(Ordering::Relaxed) >> 16) as u8
    }

    /// Whether the unit goes round in its pool: its provider's decision at each handing out.
    #[inline]
    pub fn recycling(&self) -> Recycling {
        if self.shape.load(Ordering::Relaxed) & NEVER_FLAG == 0 { Recycling::Allowed } else { Recycling::Never }
    }

    /// Says what is handed out: address, length, order, and whether pools may recycle it.
    ///
    /// For providers, while the unit is home.
    ///
    /// # Safety
    ///
    /// The unit is home and the caller decides alone about it, and `addr` for `len` bytes is what the
    /// provider's [`Backing::Access`](crate::Backing::Access) promises.
    pub unsafe fn reshape(&self, addr: *mut u8, len: u32, order: u8, recycling: Recycling) {
        self.addr.store(addr, Ordering::Relaxed);
        self.len.store(len, Ordering::Relaxed);
        let flags = if recycling == Recycling::Never { NEVER_FLAG } else { 0 };
        self.shape.store(u32::from(self.node().0) | u32::from(order) << 16 | flags, Ordering::Relaxed);
    }

    /// The provider's two words on a unit that is home: free-list links, a state, what it likes.
    ///
    /// They mean nothing once the unit is handed out and hold anything when it comes back.
    ///
    /// Anybody who sees a descriptor can write them. Such a scribble may make a provider lose sight of free units, or, while
    /// the unit is out, a pool sync less of it for the device than was written. It never costs memory safety: a provider
    /// checks what it reads here against records of its own before it hands a unit out.
    #[inline]
    pub fn home_words(&self) -> &[AtomicU32; 2] {
        &self.link
    }

    /// How much of the page the next sync for the device must cover. Stored by a put, consumed by the consumer.
    #[inline]
    pub(crate) fn sync_len(&self) -> &AtomicU32 {
        &self.link[0]
    }

    /// Where the pool's list of mapped units says this one is.
    #[inline]
    pub(crate) fn mapped_slot(&self) -> &AtomicU32 {
        &self.link[1]
    }

    /// The DMA address, if the unit is mapped.
    #[inline]
    pub(crate) fn dma(&self) -> Option<DmaAddr> {
        // Relaxed: the holder of the page got it, and with it both words, from the consumer that mapped it. If the
        // pool is being torn down meanwhile the answer is stale either way.
        (self.dma_claim.load(Ordering::Relaxed) != 0).then(|| DmaAddr::unpack(self.dma_addr.load(Ordering::Relaxed)))
    }
}

impl core::fmt::Debug for Descriptor {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Descriptor")
            .field("addr", &self.addr())
            .field("unit_bytes", &self.unit_bytes())
            .field("node", &self.node())
            .field("order", &self.order())
            .field("recycling", &self.recycling())
            .finish_non_exhaustive()
    }
}

/// The owner word.
///
/// | word | the unit is | a put |
/// |---|---|---|
/// | 0 | home with its provider | cannot happen |
/// | block | on that pool's books: out, in its cache or in its ring | recycles |
/// | block + `NEVER` | on that pool's books, from a unit that its provider wants back ([`Recycling::Never`]) | leaves the pool |
/// | `LEAVING` | on its way off the books, by the `Shared` handle that won the word | - |
/// | block + `STRAY` | off the books; owns a share of the region and of that block | goes home |
///
/// The tags sit where a block's alignment leaves zeros, so "ours and recyclable" is one compare with the block's address.
pub(crate) mod owner {
    pub(crate) const HOME: usize = 0;
    pub(crate) const NEVER: usize = 1;
    pub(crate) const STRAY: usize = 2;
    pub(crate) const LEAVING: usize = 4;
    pub(crate) const TAGS: usize = NEVER | STRAY | LEAVING;
}
