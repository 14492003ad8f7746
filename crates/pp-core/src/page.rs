//! One page, owned.

use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

use crate::access::{Access, Device, Exposed, Host};
use crate::descriptor::{Descriptor, SYNC_FULL, owner};
use crate::dma::DmaAddr;
use crate::provider::NodeId;
use crate::put;
use crate::shared::Shared;
use crate::sync::Ordering;

/// A whole unit of memory, and its only owner.
///
/// One pointer wide, `Option<Page>` too. Not `Clone`: that it is unshared is a matter of type, so putting it looks at no
/// counter. Dropping it puts it, from any thread: back to its own pool through the ring.
///
/// What can be done with the bytes is the business of `A`: a `Page<Host>` derefs to them, a
/// [`Page<Device>`](Device) has none that the CPU could read, a [`Page<Exposed>`](Exposed) copies them in and out.
///
/// # Examples
///
/// ```
/// # use pp_core::{Home, PagePool, doc::Heap};
/// let mut pool = PagePool::builder(Home::new(Heap::new(4096, 8))).build()?;
/// let mut page = pool.alloc()?;
/// page[..4].copy_from_slice(b"ping");
/// std::thread::spawn(move || drop(page)).join().unwrap();
/// assert_eq!(pool.stats().recycle.ring, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A page is gone once it was put:
///
/// ```compile_fail,E0382
/// # use pp_core::{Home, PagePool, doc::Heap};
/// # let mut pool = PagePool::builder(Home::new(Heap::new(4096, 8))).build().unwrap();
/// let page = pool.alloc().unwrap();
/// pool.recycle_direct(page);
/// println!("{}", page[0]);
/// ```
///
/// What else can be done with one:
///
/// ```
/// # use pp_core::{Home, PagePool, doc::Heap};
/// use pp_core::{NodeId, Page};
/// let mut pool = PagePool::builder(Home::new(Heap::new(4096, 8))).build()?;
/// let page = pool.alloc()?;
/// assert_eq!((page.len(), page.node(), page.dma_addr()), (4096, NodeId(0), None));
/// assert_eq!(page.descriptor().unit_bytes(), 4096);
///
/// // Into a descriptor ring, and back when the device is done.
/// let raw = page.into_raw();
/// // SAFETY: from `into_raw`, once, and nobody else has it.
/// let page: Page = unsafe { Page::from_raw(raw) };
/// page.put_synced(1514); // the device wrote no more
///
/// // From an interrupt: never a lock. A full ring gives the page back.
/// assert!(pool.alloc()?.try_put().is_ok());
///
/// // Read by several; see `Shared`.
/// let shared = pool.alloc()?.share();
/// let other = shared.clone();
///
/// // Kept for good: off the pool's books, home when it is dropped.
/// let page = pool.alloc()?.detach();
/// assert!(page.is_detached());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[repr(transparent)]
#[must_use = "a page that is not kept goes straight back to its pool"]
pub struct Page<A: Access = Host> {
    descriptor: NonNull<Descriptor>,
    _access: PhantomData<A>,
}

// SAFETY: a page is the sole owner of its unit; what others may do to a unit is atomic or behind the provider's locks.
unsafe impl<A: Access> Send for Page<A> {}
// SAFETY: `&Page` only reads.
unsafe impl<A: Access> Sync for Page<A> {}

const _: () = assert!(size_of::<Option<Page<Host>>>() == size_of::<usize>());

impl<A: Access> Page<A> {
    /// # Safety
    ///
    /// The caller owns the page, whose memory is of kind `A`, and gives it to the value.
    #[inline(always)]
    pub(crate) unsafe fn from_descriptor(descriptor: NonNull<Descriptor>) -> Self {
        Page { descriptor, _access: PhantomData }
    }

    /// Gives the page to the caller as a bare pointer.
    #[inline(always)]
    pub(crate) fn into_descriptor(self) -> NonNull<Descriptor> {
        ManuallyDrop::new(self).descriptor
    }

    /// What is known of the page.
    #[inline(always)]
    pub fn descriptor(&self) -> &Descriptor {
        // SAFETY: readable as long as the unit is out.
        unsafe { self.descriptor.as_ref() }
    }

    /// Bytes in the page.
    #[inline(always)]
    #[allow(clippy::len_without_is_empty, reason = "a page is never empty")]
    pub fn len(&self) -> usize {
        self.descriptor().unit_bytes()
    }

    /// The memory node it lies on.
    #[inline]
    pub fn node(&self) -> NodeId {
        self.descriptor().node()
    }

    /// Where the device finds it; `None` when it is not mapped (`page_pool_get_dma_addr`).
    #[inline]
    pub fn dma_addr(&self) -> Option<DmaAddr> {
        self.descriptor().dma()
    }

    /// Puts the page, and says that the device must be given back no more than the first `len` bytes after the
    /// pool's offset (`page_pool_put_page` with a `dma_sync_size`). The pool clamps it to its `max_len`.
    pub fn put_synced(self, len: usize) {
        self.set_sync_len(len);
        drop(self);
    }

    pub(crate) fn set_sync_len(&self, len: usize) {
        self.descriptor().sync_len().store(u32::try_from(len).unwrap_or(SYNC_FULL), Ordering::Relaxed);
    }

    /// Puts the page into its pool's ring, or gives it back: when the ring is full, the pool closed, or the page is
    /// not one that recycles. Takes no lock and calls no provider, so it may be used where the consumer was interrupted
    /// (with feature `leak-trace` it locks that feature's table).
    ///
    /// # Errors
    ///
    /// The page, unchanged.
    pub fn try_put(self) -> Result<(), Self> {
        let page = ManuallyDrop::new(self);
        // SAFETY: the page is ours; on `Err` it stays so.
        unsafe { put::try_put(page.descriptor) }.map_err(|()| ManuallyDrop::into_inner(page))
    }

    /// Makes the page countable: many read-only handles, none of which may write.
    pub fn share(self) -> Shared<A> {
        // SAFETY: the page is ours and given up.
        unsafe { Shared::new(self.into_descriptor()) }
    }

    /// Takes the page off its pool's books for good (`page_pool_release_page`): unmapped, no longer waited for, home
    /// when it is dropped. From then on it owns a share of the region itself.
    pub fn detach(self) -> Self {
        let word = self.descriptor().owner.load(Ordering::Relaxed);
        if word & owner::STRAY == 0
            && let Some(block) = put::block_of(word)
        {
            #[cfg(feature = "leak-trace")]
            // SAFETY: on the books, so the block is alive.
            unsafe { block.as_ref() }.trace.back(self.descriptor);
            // SAFETY: ours, and on the books of that block.
            unsafe {
                block.as_ref().producers.detached.add_shared(1);
                put::make_stray(self.descriptor, block);
            }
        }
        self
    }

    /// Whether the page is on no pool's books.
    pub fn is_detached(&self) -> bool {
        self.descriptor().owner.load(Ordering::Relaxed) & owner::STRAY != 0
    }

    /// Gives the page away as a pointer: to a descriptor ring, a device, foreign code. It stays on its pool's books.
    /// What others may write is no `Page`, and this is how it stops being one.
    pub fn into_raw(self) -> NonNull<Descriptor> {
        self.into_descriptor()
    }

    /// Takes back what [`into_raw`](Page::into_raw) gave away.
    ///
    /// # Safety
    ///
    /// The pointer came from `into_raw` of a page of the same `A`, is taken back once, and nobody writes the memory any more.
    pub unsafe fn from_raw(descriptor: NonNull<Descriptor>) -> Self {
        Page { descriptor, _access: PhantomData }
    }
}

impl Page<Exposed> {
    /// First byte. What is read through it may change at any moment.
    pub fn as_ptr(&self) -> *mut u8 {
        self.descriptor().addr()
    }

    /// Copies bytes out, from `offset` on.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] when the range is not within the page; nothing is copied.
    pub fn copy_to(&self, offset: usize, out: &mut [u8]) -> Result<(), OutOfRange> {
        // SAFETY: an exposed page of ours.
        unsafe { copy_out(self.descriptor(), offset, out) }
    }

    /// Copies bytes in, from `offset` on.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] when the range is not within the page; nothing is copied.
    pub fn copy_from(&mut self, offset: usize, bytes: &[u8]) -> Result<(), OutOfRange> {
        // SAFETY: an exposed page of ours.
        unsafe { copy_in(self.descriptor(), offset, bytes) }
    }
}

/// Copies bytes out of a page that another process may write.
///
/// # Safety
///
/// The caller holds the page, whose memory is [`Exposed`].
pub(crate) unsafe fn copy_out(descriptor: &Descriptor, offset: usize, out: &mut [u8]) -> Result<(), OutOfRange> {
    OutOfRange::check(offset, out.len(), descriptor.unit_bytes())?;
    for (i, byte) in out.iter_mut().enumerate() {
        // SAFETY: within the page by the check, and valid for reads by `Backing`. Volatile, because another process may
        // write it.
        *byte = unsafe { descriptor.addr().add(offset + i).read_volatile() };
    }
    Ok(())
}

/// Copies bytes into a page that another process may write.
///
/// # Safety
///
/// The caller holds these bytes of the page, whose memory is [`Exposed`], and nobody else in this process uses them.
pub(crate) unsafe fn copy_in(descriptor: &Descriptor, offset: usize, bytes: &[u8]) -> Result<(), OutOfRange> {
    OutOfRange::check(offset, bytes.len(), descriptor.unit_bytes())?;
    for (i, byte) in bytes.iter().enumerate() {
        // SAFETY: within the page by the check, and the caller's to write. Volatile, because another process may too.
        unsafe { descriptor.addr().add(offset + i).write_volatile(*byte) };
    }
    Ok(())
}

/// A range that is not within its page or part.
///
/// [`Exposed`] shows what it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfRange {
    /// First byte asked for.
    pub offset: usize,
    /// How many bytes.
    pub len: usize,
    /// How many there are.
    pub available: usize,
}

impl OutOfRange {
    /// Whether `len` bytes at `offset` lie within `available` bytes. See [`Exposed`].
    ///
    /// # Errors
    ///
    /// They do not.
    #[inline]
    pub fn check(offset: usize, len: usize, available: usize) -> Result<(), Self> {
        let fits = offset.checked_add(len).is_some_and(|end| end <= available);
        if fits { Ok(()) } else { Err(OutOfRange { offset, len, available }) }
    }
}

impl core::fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let OutOfRange { offset, len, available } = self;
        write!(f, "{len} bytes at {offset} are not within {available} bytes; ask for a range inside them")
    }
}

impl core::error::Error for OutOfRange {}

impl Deref for Page<Host> {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        let descriptor = self.descriptor();
        descriptor.bytes.enter();
        // SAFETY: host memory is valid, initialised and written by nobody else while the page is out (`Backing`).
        unsafe { core::slice::from_raw_parts(descriptor.addr(), descriptor.unit_bytes()) }
    }
}

impl DerefMut for Page<Host> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [u8] {
        let descriptor = self.descriptor();
        descriptor.bytes.bury();
        // SAFETY: as in `deref`; `&mut self` of the sole owner makes it exclusive.
        unsafe { core::slice::from_raw_parts_mut(descriptor.addr(), descriptor.unit_bytes()) }
    }
}

impl<A: Access> Drop for Page<A> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the page is ours and ends here.
        unsafe { put::put(self.descriptor) }
    }
}

impl<A: Access> core::fmt::Debug for Page<A> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Page").field("access", &A::NAME).field("descriptor", self.descriptor()).finish()
    }
}

/// A page of either kind, for code that carries both (`netmem_ref` in the kernel).
///
/// Bytes are an `Option` here; that is the one place where "can the CPU read it" is asked at run time.
///
/// # Examples
///
/// ```
/// # use pp_core::{Home, PagePool, doc::Heap};
/// use pp_core::NetMem;
/// let mut pool = PagePool::builder(Home::new(Heap::new(4096, 8))).build()?;
/// let mut memory = NetMem::from(pool.alloc()?);
/// assert_eq!((memory.len(), memory.dma_addr()), (4096, None));
/// if let Some(bytes) = memory.bytes_mut() {
///     bytes[0] = 7;
/// }
/// assert_eq!(memory.bytes().map(|bytes| bytes[0]), Some(7)); // `None` for device memory
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub enum NetMem {
    /// The CPU reads and writes it.
    Host(Page<Host>),
    /// Only the device does.
    Device(Page<Device>),
}

impl NetMem {
    /// The bytes, if the CPU can read them.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            NetMem::Host(page) => Some(page),
            NetMem::Device(_) => None,
        }
    }

    /// The bytes for writing, if the CPU can.
    pub fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        match self {
            NetMem::Host(page) => Some(page),
            NetMem::Device(_) => None,
        }
    }

    /// Bytes in the page.
    #[allow(clippy::len_without_is_empty, reason = "a page is never empty")]
    pub fn len(&self) -> usize {
        match self {
            NetMem::Host(page) => page.len(),
            NetMem::Device(page) => page.len(),
        }
    }

    /// Where the device finds it.
    pub fn dma_addr(&self) -> Option<DmaAddr> {
        match self {
            NetMem::Host(page) => page.dma_addr(),
            NetMem::Device(page) => page.dma_addr(),
        }
    }
}

impl From<Page<Host>> for NetMem {
    fn from(page: Page<Host>) -> Self {
        NetMem::Host(page)
    }
}

impl From<Page<Device>> for NetMem {
    fn from(page: Page<Device>) -> Self {
        NetMem::Device(page)
    }
}
