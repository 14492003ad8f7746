//! Several pages in one hand: what every bulk verb takes and gives.

use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use crate::access::{Access, Host};
use crate::block::Place;
use crate::descriptor::{Descriptor, owner};
use crate::page::Page;
use crate::sync::Ordering;
use crate::{put, put_many};

/// Up to `N` pages, an array and a length. Dropping it puts all of them in bulk.
///
/// # Examples
///
/// ```
/// # use pp_core::{Home, PageBatch, PagePool, doc::Heap};
/// let mut pool = PagePool::builder(Home::new(Heap::new(4096, 64))).build()?;
/// let mut batch: PageBatch<16> = pool.alloc_batch();
/// let one = batch.pop().unwrap();
/// batch.push(one).unwrap();
/// pool.recycle_batch(&mut batch);
/// assert!(batch.is_empty());
/// # Ok::<(), pp_core::BuildError>(())
/// ```
///
/// ```
/// # use pp_core::{Home, PageBatch, PagePool, doc::Heap};
/// # let mut pool = PagePool::builder(Home::new(Heap::new(4096, 64))).build()?;
/// let mut batch = PageBatch::<2>::new();
/// while !batch.is_full() {
///     let page = pool.alloc()?;
///     batch.push(page).expect("there is room");
/// }
/// assert_eq!(batch.len(), 2);
/// let refused = batch.push(pool.alloc()?).unwrap_err(); // the page comes back
/// drop(batch); // both pages, in bulk
/// # drop(refused);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
// On cache lines of its own, as the cache's places are: copies between the two that cross lines take a third longer, and whether they do
// would be a matter of where the caller's stack is.
#[repr(C, align(64))]
pub struct PageBatch<const N: usize, A: Access = Host> {
    places: [Place; N],
    len: usize,
    /// The owner word that all pages in it are known to have, or [`UNKNOWN`]: a batch that one pool filled needs no look at its pages when
    /// it is put, and they stay out of the putting processor's cache. Means nothing while the batch is empty.
    owner: usize,
    _access: PhantomData<Page<A>>,
}

/// The owner word of a page.
///
/// # Safety
///
/// The caller owns the page, or borrows it from its owner.
#[inline(always)]
unsafe fn word(page: &NonNull<Descriptor>) -> usize {
    // SAFETY: pages that are out are readable. Relaxed: only the owner of a page that is not shared writes its word.
    unsafe { page.as_ref() }.owner.load(Ordering::Relaxed)
}

/// Of pages that were put in one by one nobody looks whose they are before that is needed.
const UNKNOWN: usize = owner::HOME;

// SAFETY: a batch is nothing but pages, and those are `Send`.
unsafe impl<const N: usize, A: Access> Send for PageBatch<N, A> {}
// SAFETY: `&PageBatch` gives the count and `&Page`, which is `Sync`.
unsafe impl<const N: usize, A: Access> Sync for PageBatch<N, A> {}

impl<const N: usize, A: Access> PageBatch<N, A> {
    /// No pages.
    #[inline]
    pub const fn new() -> Self {
        PageBatch { places: [MaybeUninit::uninit(); N], len: 0, owner: UNKNOWN, _access: PhantomData }
    }

    /// How many pages are in it.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether none more fit.
    #[inline(always)]
    pub fn is_full(&self) -> bool {
        self.len == N
    }

    /// Adds a page.
    ///
    /// # Errors
    ///
    /// The page, when the batch is full.
    #[inline]
    pub fn push(&mut self, page: Page<A>) -> Result<(), Page<A>> {
        let Some(place) = self.places.get_mut(self.len) else { return Err(page) };
        *place = MaybeUninit::new(page.into_descriptor());
        self.len += 1;
        self.owner = UNKNOWN;
        Ok(())
    }

    /// Takes the page out that was added last.
    #[inline]
    pub fn pop(&mut self) -> Option<Page<A>> {
        let rest = self.len.checked_sub(1)?;
        let place = self.places.get(rest)?;
        self.len = rest;
        // SAFETY: below the old length, so a page of ours, which the new length forgets.
        Some(unsafe { Page::from_descriptor(place.assume_init()) })
    }

    /// The pages, the one that was added first first, to be looked at: their addresses for a device, say.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pp_core::{Home, PagePool, doc::Heap};
    /// let mut pool = PagePool::builder(Home::new(Heap::new(4096, 64))).build()?;
    /// let batch = pool.alloc_batch::<16>();
    /// let bytes: usize = batch.as_slice().iter().map(|page| page.len()).sum();
    /// assert_eq!(bytes, 16 * 4096);
    /// # Ok::<(), pp_core::BuildError>(())
    /// ```
    #[inline]
    pub fn as_slice(&self) -> &[Page<A>] {
        // SAFETY: as in `descriptors`; a page has the layout of the pointer that it wraps.
        unsafe { core::slice::from_raw_parts(self.places.as_ptr().cast(), self.len) }
    }

    /// Takes all pages out, the one that was added first first. Those that are left when the iterator is dropped are put in bulk.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pp_core::{Home, PageBatch, PagePool, doc::Heap};
    /// let mut pool = PagePool::builder(Home::new(Heap::new(4096, 64))).build()?;
    /// let mut batch: PageBatch<16> = pool.alloc_batch();
    /// let held: Vec<_> = batch.drain().take(10).collect();
    /// assert!(batch.is_empty());
    /// assert_eq!((held.len(), pool.stats().in_ring), (10, 6));
    /// # Ok::<(), pp_core::BuildError>(())
    /// ```
    #[inline]
    pub fn drain(&mut self) -> Drain<'_, A> {
        Drain { rest: self.take().iter(), _access: PhantomData }
    }

    /// Puts pages of one pool next to each other and says of how many pools they are, pages that do not recycle left out: each pool's go
    /// back together (`page_pool_put_netmem_bulk` sorts by rounds).
    ///
    /// # Examples
    ///
    /// ```
    /// # use pp_core::{Home, PageBatch, PagePool, doc::Heap};
    /// let home = Home::new(Heap::new(4096, 256));
    /// let mut rx0 = PagePool::builder(home.clone()).build()?;
    /// let mut rx1 = PagePool::builder(home).build()?;
    /// let mut batch: PageBatch<16> = PageBatch::new();
    /// for page in [rx0.alloc()?, rx1.alloc()?, rx0.alloc()?, rx1.alloc()?] {
    ///     batch.push(page).expect("room");
    /// }
    /// assert_eq!(batch.sort_by_pool(), 2);
    /// drop(batch); // each pool's together
    /// assert_eq!((rx0.stats().in_ring, rx1.stats().in_ring), (2, 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sort_by_pool(&mut self) -> usize {
        // SAFETY: places below the length are initialised, have the layout of what they wrap, and are ours alone.
        let pages = unsafe {
            core::slice::from_raw_parts_mut(self.places.as_mut_ptr().cast::<NonNull<Descriptor>>(), self.len)
        };
        // SAFETY: pages of ours.
        let word = |page: &NonNull<Descriptor>| unsafe { word(page) };
        if !pages.is_sorted_by_key(word) {
            pages.sort_unstable_by_key(word);
        }
        let recycles = |run: &&[NonNull<Descriptor>]| run.first().is_some_and(|page| word(page) & owner::TAGS == 0);
        pages.chunk_by(|one, next| word(one) == word(next)).filter(recycles).count()
    }

    /// The pages as bare descriptors, still the batch's.
    #[inline(always)]
    pub(crate) fn descriptors(&self) -> &[NonNull<Descriptor>] {
        // SAFETY: places below the length are initialised, and `Place` has the layout of what it wraps.
        unsafe { core::slice::from_raw_parts(self.places.as_ptr().cast(), self.len) }
    }

    /// Forgets the pages: they are somebody else's now.
    #[inline(always)]
    pub(crate) fn forget(&mut self) {
        self.len = 0;
    }

    /// Where more pages can be written. Always some.
    #[inline(always)]
    pub(crate) fn spare(&mut self) -> Option<&mut [Place]> {
        self.places.get_mut(self.len..)
    }

    /// Counts `more` pages that were written into [`PageBatch::spare`] and have the owner word `owner`, or nobody knows which.
    ///
    /// # Safety
    ///
    /// They were written, are the batch's, and have that word if it is one.
    #[inline(always)]
    pub(crate) unsafe fn fill(&mut self, more: usize, owner: usize) {
        self.owner = if self.len == 0 || self.owner == owner { owner } else { UNKNOWN };
        self.len += more;
    }

    /// Whether all its pages are known to have this owner word, without a look at them.
    #[inline(always)]
    pub(crate) fn is_all_of(&self, owner: usize) -> bool {
        let known = self.owner == owner;
        debug_assert!(
            // SAFETY: pages of ours.
            !known || self.descriptors().iter().all(|page| unsafe { word(page) } == owner),
            "a batch is mistaken about its pages"
        );
        known
    }

    /// Gives up the pages first and names them then: whoever puts them may unwind without their being put twice.
    #[inline]
    pub(crate) fn take(&mut self) -> &[NonNull<Descriptor>] {
        let len = core::mem::take(&mut self.len);
        // SAFETY: as in `descriptors`, for the old length.
        unsafe { core::slice::from_raw_parts(self.places.as_ptr().cast(), len) }
    }

    /// Puts all pages by the shared path.
    pub(crate) fn put(&mut self) {
        let owner = self.owner;
        let pages = self.take();
        match put::block_of(owner) {
            // SAFETY: pages of ours, given up by `take`, and known to be that block's; there are some, so it is alive.
            Some(block) if !pages.is_empty() => unsafe { put_many::put_run(pages, block, owner) },
            // SAFETY: pages of ours, given up by `take`.
            _ => unsafe { put_many::put_many(pages) },
        }
    }
}

impl<const N: usize, A: Access> Default for PageBatch<N, A> {
    fn default() -> Self {
        PageBatch::new()
    }
}

impl<const N: usize, A: Access> Drop for PageBatch<N, A> {
    fn drop(&mut self) {
        self.put();
    }
}

impl<const N: usize, A: Access> Iterator for PageBatch<N, A> {
    type Item = Page<A>;

    /// The page that was added last.
    fn next(&mut self) -> Option<Page<A>> {
        self.pop()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len, Some(self.len))
    }
}

impl<const N: usize, A: Access> ExactSizeIterator for PageBatch<N, A> {
    fn len(&self) -> usize {
        self.len
    }
}

impl<const N: usize, A: Access> core::fmt::Debug for PageBatch<N, A> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "PageBatch({} of {N})", self.len)
    }
}

/// The pages of a [`PageBatch`] on their way out of it. See [`PageBatch::drain`].
#[derive(Debug)]
pub struct Drain<'a, A: Access = Host> {
    rest: core::slice::Iter<'a, NonNull<Descriptor>>,
    _access: PhantomData<Page<A>>,
}

impl<A: Access> Iterator for Drain<'_, A> {
    type Item = Page<A>;

    #[inline(always)]
    fn next(&mut self) -> Option<Page<A>> {
        // SAFETY: the batch gave it up, and it is named once.
        self.rest.next().map(|descriptor| unsafe { Page::from_descriptor(*descriptor) })
    }

    #[inline(always)]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.rest.size_hint()
    }
}

impl<A: Access> ExactSizeIterator for Drain<'_, A> {}

impl<A: Access> Drop for Drain<'_, A> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: given up by the batch and not named.
        unsafe { put_many::put_many(self.rest.as_slice()) }
    }
}

impl<const N: usize, A: Access> From<[Page<A>; N]> for PageBatch<N, A> {
    /// A full batch.
    #[inline]
    fn from(pages: [Page<A>; N]) -> Self {
        PageBatch {
            places: pages.map(|page| Place::new(page.into_descriptor())),
            len: N,
            owner: UNKNOWN,
            _access: PhantomData,
        }
    }
}
