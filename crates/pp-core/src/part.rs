//! A stretch of a page, owned.

use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

use crate::access::{Access, Exposed, Host};
use crate::descriptor::Descriptor;
use crate::dma::DmaAddr;
use crate::error::GivenBack;
use crate::page::{self, OutOfRange, Page};
use crate::put;
use crate::refs;
use crate::shared_part::SharedPart;
use crate::sync::Ordering;

/// Some bytes of a page, and their only owner: nobody else reads or writes them.
///
/// Cut from a [`Fragmented`](crate::Fragmented) page, or made of a whole one by `From`. Every part is one reference to its page;
/// whoever drops the last one, on whatever thread, puts the page like any other. `pp-frag` makes buffers of it that know
/// how much of them is in use.
///
/// # Examples
///
/// ```
/// # use pp_core::{DmaDirection, Home, Identity, PagePart, PagePool, PartError, defrag_all, doc::Heap};
/// # let pool = PagePool::builder(Home::new(Heap::new(4096, 8)));
/// # let mut pool = pool.dma(Identity, DmaDirection::Bidirectional).build()?;
/// let mut front = PagePart::from(pool.alloc()?);
/// let mut back = front.split_off(1000)?;
/// front[0] = 1;
/// back[0] = 2;
/// assert_eq!((back.offset(), back.len(), back.is_empty()), (1000, 3096, false));
/// assert_eq!(back.dma_addr().map(|addr| addr.0), back.addr().map(|addr| addr.addr().get() as u64));
/// assert_eq!(back.split_off(4000).unwrap_err(), PartError::OutOfRange { at: 4000, len: 3096 });
/// front.coalesce(back).map_err(|error| error.reason)?;
/// assert_eq!((front.len(), front[0], front[1000]), (4096, 1, 2));
///
/// // Through a descriptor ring and back.
/// let raw = front.into_raw();
/// // SAFETY: given away just now, and nobody has written it.
/// let part: PagePart = unsafe { PagePart::from_raw(raw) };
/// let page = part.defrag().expect("the only reference");
///
/// // Many at once: one atomic operation for those of one page.
/// let mut one = PagePart::from(page);
/// let two = one.split_off(64)?;
/// assert!(core::ptr::eq(one.descriptor(), two.descriptor()));
/// defrag_all([one, two], |page| pool.recycle_direct(page));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a part that is not kept gives its page back"]
pub struct PagePart<A: Access = Host> {
    descriptor: NonNull<Descriptor>,
    offset: u32,
    len: u32,
    _access: PhantomData<A>,
}

// SAFETY: a part is the sole owner of its bytes; the count of references is atomic, and the last one puts the page, which
// may happen on any thread.
unsafe impl<A: Access> Send for PagePart<A> {}
// SAFETY: `&PagePart` only reads.
unsafe impl<A: Access> Sync for PagePart<A> {}

const _: () = assert!(size_of::<Option<PagePart>>() == size_of::<usize>() + 8);

/// A part on its way through a descriptor ring or foreign code: what [`PagePart::into_raw`] gives. See [`PagePart`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawPart {
    /// The page.
    pub descriptor: NonNull<Descriptor>,
    /// First byte, from the page's.
    pub offset: u32,
    /// How many bytes.
    pub len: u32,
}

/// Why a part could not be split or joined. See [`PagePart`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PartError {
    /// The place to split at lies beyond the part.
    OutOfRange {
        /// The place.
        at: usize,
        /// Bytes in the part.
        len: usize,
    },
    /// There are as many references to one page as can be counted.
    TooManyReferences,
    /// The other part is of another page, or does not begin where this one ends.
    NotNeighbours,
    /// The part is of another page than the one it should rejoin.
    OtherPage,
}

impl core::fmt::Display for PartError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            PartError::OutOfRange { at, len } => {
                write!(f, "byte {at} is not within a part of {len} bytes; split at 0 to {len}")
            }
            PartError::TooManyReferences => f.write_str("no more references to the page can be counted; drop some"),
            PartError::OtherPage => f.write_str("the part is of another page; drop it, and it finds its own"),
            PartError::NotNeighbours => {
                f.write_str("the two parts are not neighbours; join only what lies behind one another in the same page")
            }
        }
    }
}

impl core::error::Error for PartError {}

impl<A: Access> PagePart<A> {
    /// # Safety
    ///
    /// The caller owns these bytes of the page, which are within it, and a reference to it, and gives both up.
    #[inline(always)]
    pub(crate) unsafe fn new(descriptor: NonNull<Descriptor>, offset: u32, len: u32) -> Self {
        PagePart { descriptor, offset, len, _access: PhantomData }
    }

    /// The same part again, for a [`SharedPart`].
    ///
    /// # Safety
    ///
    /// As for `new`, but others have the bytes too: neither part may be written any more.
    #[inline(always)]
    pub(crate) unsafe fn again(&self) -> Self {
        PagePart { ..*self }
    }

    /// What is known of the page.
    #[inline(always)]
    pub fn descriptor(&self) -> &Descriptor {
        // SAFETY: readable as long as the unit is out, which our reference sees to.
        unsafe { self.descriptor.as_ref() }
    }

    /// First byte, counted from the page's first.
    #[inline(always)]
    pub fn offset(&self) -> usize {
        self.offset as usize
    }

    /// How many bytes.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there are none: what splitting at an end leaves.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first byte's address, where the CPU has one for it.
    #[inline]
    pub fn addr(&self) -> Option<NonNull<u8>> {
        let page = NonNull::new(self.descriptor().addr())?;
        // Wrapping, because nothing is promised of the address of device memory.
        NonNull::new(page.as_ptr().wrapping_add(self.offset()))
    }

    /// Where the device finds the first byte; `None` when the page is not mapped.
    #[inline]
    pub fn dma_addr(&self) -> Option<DmaAddr> {
        self.descriptor().dma().map(|page| DmaAddr(page.0 + u64::from(self.offset)))
    }

    /// Cuts the part in two: it keeps the first `at` bytes, the rest is returned.
    ///
    /// # Errors
    ///
    /// [`PartError`]; the part is as it was.
    pub fn split_off(&mut self, at: usize) -> Result<Self, PartError> {
        if at > self.len() {
            return Err(PartError::OutOfRange { at, len: self.len() });
        }
        refs::take(self.descriptor()).map_err(|refs::TooMany| PartError::TooManyReferences)?;
        let (offset, len) = (self.offset + at as u32, self.len - at as u32);
        self.len = at as u32;
        // SAFETY: the bytes were ours and no longer are; the reference was just taken.
        Ok(unsafe { PagePart::new(self.descriptor, offset, len) })
    }

    /// Adds the part that lies directly behind this one in the same page.
    ///
    /// # Errors
    ///
    /// `other`, when it is not this part's neighbour; both are as they were.
    pub fn coalesce(&mut self, other: Self) -> Result<(), GivenBack<Self, PartError>> {
        if self.descriptor != other.descriptor || self.offset + self.len != other.offset {
            return Err(GivenBack { buffer: other, reason: PartError::NotNeighbours });
        }
        self.len += other.len;
        let other = ManuallyDrop::new(other);
        let last = refs::drop(other.descriptor(), 1);
        debug_assert!(!last, "we have a reference as well");
        Ok(())
    }

    /// Makes the part countable: many read-only handles, none of which may write. No reference is taken. See [`SharedPart`].
    pub fn share(self) -> SharedPart<A> {
        SharedPart::of(self)
    }

    /// Gives the part's reference back. `Some`: it was the last one, and the whole page is the caller's
    /// (`page_pool_unref_netmem` coming to 0). Dropping a part does this and puts the page.
    #[inline]
    pub fn defrag(self) -> Option<Page<A>> {
        let part = ManuallyDrop::new(self);
        // SAFETY: the last reference, so no part is left and the page is ours.
        refs::drop_of_part(part.descriptor(), part.offset).then(|| unsafe { Page::from_descriptor(part.descriptor) })
    }

    /// Gives the part away in pieces that a descriptor ring can hold. It stays a reference to its page, and what others
    /// may write is no `PagePart`.
    pub fn into_raw(self) -> RawPart {
        let part = ManuallyDrop::new(self);
        RawPart { descriptor: part.descriptor, offset: part.offset, len: part.len }
    }

    /// Takes back what [`into_raw`](PagePart::into_raw) gave away.
    ///
    /// # Safety
    ///
    /// `raw` came from `into_raw` of a part of the same `A`, is taken back once, and nobody writes its bytes any more.
    pub unsafe fn from_raw(raw: RawPart) -> Self {
        // SAFETY: the caller's promise: what `into_raw` gave up.
        unsafe { PagePart::new(raw.descriptor, raw.offset, raw.len) }
    }
}

/// Drops many parts at once: neighbours in the iteration that are of one page cost one read-modify-write together. Each page
/// that nobody holds any more goes to `last`: to [`drop`], or into a batch. See [`PagePart`]. The consumer has
/// [`PagePool::recycle_parts`](crate::PagePool::recycle_parts).
///
/// Kernel counterpart: the `page_pool_put_netmem_bulk` of fragments (Linux 7.3), which drops one reference each.
#[inline]
pub fn defrag_all<A: Access>(parts: impl IntoIterator<Item = PagePart<A>>, mut last: impl FnMut(Page<A>)) {
    /// References to one page that are to be dropped together; also when `last` or the iterator panics.
    struct Run<A: Access>(Option<NonNull<Descriptor>>, usize, PhantomData<A>);
    impl<A: Access> Run<A> {
        fn end(&mut self) -> Option<Page<A>> {
            let descriptor = self.0.take()?;
            // SAFETY: readable, because of the references that the run owns.
            let page = unsafe { descriptor.as_ref() };
            let last = if self.1 > 1 { refs::drop_likely_last(page, self.1) } else { refs::drop(page, 1) };
            // SAFETY: the last references, so no part is left and the page is ours.
            last.then(|| unsafe { Page::from_descriptor(descriptor) })
        }
    }
    impl<A: Access> Drop for Run<A> {
        fn drop(&mut self) {
            drop(self.end());
        }
    }
    let mut run = Run(None, 0, PhantomData);
    for part in parts {
        let part = ManuallyDrop::new(part);
        if run.0 == Some(part.descriptor) {
            run.1 += 1;
            continue;
        }
        let ended = run.end();
        (run.0, run.1) = (Some(part.descriptor), 1);
        ended.into_iter().for_each(&mut last);
    }
    run.end().into_iter().for_each(last);
}

impl<A: Access> From<Page<A>> for PagePart<A> {
    /// The whole page as a part.
    #[inline]
    fn from(page: Page<A>) -> Self {
        let descriptor = page.into_descriptor();
        // SAFETY: readable while out.
        let page = unsafe { descriptor.as_ref() };
        // Relaxed: others get their references from this one.
        page.refs.store(1, Ordering::Relaxed);
        // SAFETY: the page was ours, and this is its one reference.
        unsafe { PagePart::new(descriptor, 0, page.unit_bytes() as u32) }
    }
}

impl PagePart<Exposed> {
    /// Copies bytes out, from `offset` within the part on. See [`Exposed`].
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] when the range is not within the part; nothing is copied.
    pub fn copy_to(&self, offset: usize, out: &mut [u8]) -> Result<(), OutOfRange> {
        OutOfRange::check(offset, out.len(), self.len())?;
        // SAFETY: an exposed page that we hold a reference to.
        unsafe { page::copy_out(self.descriptor(), self.offset() + offset, out) }
    }

    /// Copies bytes in, from `offset` within the part on. See [`Exposed`].
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] when the range is not within the part; nothing is copied.
    pub fn copy_from(&mut self, offset: usize, bytes: &[u8]) -> Result<(), OutOfRange> {
        OutOfRange::check(offset, bytes.len(), self.len())?;
        // SAFETY: an exposed page, of which these bytes are ours to write.
        unsafe { page::copy_in(self.descriptor(), self.offset() + offset, bytes) }
    }
}

impl Deref for PagePart<Host> {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        let descriptor = self.descriptor();
        descriptor.bytes.enter();
        // SAFETY: host memory is valid and initialised while the page is out (`Backing`); these bytes of it are ours.
        unsafe { core::slice::from_raw_parts(descriptor.addr().add(self.offset()), self.len()) }
    }
}

impl DerefMut for PagePart<Host> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [u8] {
        let descriptor = self.descriptor();
        // Not a write of the whole page, for which the canary stands: other parts may be written at the same time.
        descriptor.bytes.enter();
        // SAFETY: as in `deref`; `&mut self` of the bytes' sole owner makes it exclusive.
        unsafe { core::slice::from_raw_parts_mut(descriptor.addr().add(self.offset()), self.len()) }
    }
}

impl<A: Access> Drop for PagePart<A> {
    #[inline]
    fn drop(&mut self) {
        if refs::drop_of_part(self.descriptor(), self.offset) {
            // SAFETY: the last reference, so the page is ours and ends here.
            unsafe { put::put_rarely(self.descriptor) }
        }
    }
}

impl<A: Access> core::fmt::Debug for PagePart<A> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("PagePart")
            .field("access", &A::NAME)
            .field("offset", &self.offset)
            .field("len", &self.len)
            .field("descriptor", self.descriptor())
            .finish()
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use core::panic::AssertUnwindSafe;
    use std::panic::catch_unwind;

    use super::*;
    use crate::access::Device;
    use crate::doc::Heap;
    use crate::home::Home;
    use crate::pool::PagePool;
    use crate::provider::NodeId;

    #[test]
    fn references_that_cannot_be_counted_are_refused_and_change_nothing() {
        const FULL: usize = isize::MAX as usize;
        let mut pool = PagePool::builder(Home::new(Heap::new(4096, 2))).build().unwrap();
        let mut part = PagePart::from(pool.alloc().unwrap());
        part.descriptor().refs.store(FULL, Ordering::Relaxed);
        assert_eq!(part.split_off(100).unwrap_err(), PartError::TooManyReferences);
        assert_eq!((part.len(), part.descriptor().refs.load(Ordering::Relaxed)), (4096, FULL));
        let shared = part.share();
        assert!(catch_unwind(AssertUnwindSafe(|| shared.clone())).is_err());
        assert_eq!(shared.descriptor().refs.load(Ordering::Relaxed), FULL);
        shared.descriptor().refs.store(1, Ordering::Relaxed);
        drop(shared);
        assert_eq!(pool.stats().in_use(), 0);
    }

    #[test]
    fn an_address_that_means_nothing_is_only_a_number() {
        let far = core::ptr::without_provenance_mut(usize::MAX - 9);
        let unit = Descriptor::new(far, 4096, NodeId(0));
        // SAFETY: never used and never dropped.
        let part = ManuallyDrop::new(unsafe { PagePart::<Device>::new(NonNull::from(&unit), 100, 50) });
        assert_eq!(part.addr().map(|addr| addr.addr().get()), Some(90));
    }
}
