//! A page that is handed out in parts.

use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use crate::access::{Access, Host};
use crate::descriptor::{Descriptor, owner};
use crate::error::GivenBack;
use crate::page::Page;
use crate::part::{PagePart, PartError};
use crate::put;
use crate::refs;
use crate::sync::{Mutant, Ordering, mutant};

/// References that one page can be fragmented into at most. As many again remain for splitting and sharing. See [`Fragmented`].
pub const BIAS_MAX: usize = isize::MAX as usize / 2;

/// A page and the references to it that have not been handed out: a driver's page with its *bias*.
///
/// All references are taken at once when the page is fragmented. [`cut`](Fragmented::cut) hands one of them out with some
/// bytes, which costs a subtraction and no atomic operation; [`defrag`](Fragmented::defrag) gives back what is left of them, and
/// whoever drops the last reference has the page. The bytes that are not cut yet are this value's own, so no two parts overlap.
///
/// Kernel counterpart: `page_pool_fragment_page` with a large bias, `page_pool_unref_page` with what is left of it (Linux 7.3;
/// `page_pool_defrag_page` before 6.8).
///
/// # Examples
///
/// ```
/// # use pp_core::{BIAS_MAX, Home, PagePool, doc::Heap};
/// let mut pool = PagePool::builder(Home::new(Heap::new(4096, 8))).build()?;
/// let mut page = pool.alloc()?.fragment(BIAS_MAX).map_err(|error| error.reason)?;
/// let (one, two, three) = (page.cut(1536)?, page.cut(1536)?, page.cut(512)?);
/// assert_eq!((page.bias(), page.uncut(), page.page_bytes()), (BIAS_MAX - 3, 512, 4096));
/// assert_eq!(page.descriptor().unit_bytes(), 4096);
/// drop(one);                        // any thread; one atomic operation
/// page.rejoin(three).map_err(|error| error.reason)?; // the one who cuts; none
/// assert_eq!((page.bias(), page.uncut()), (BIAS_MAX - 2, 1024));
/// pool.recycle_fragmented(page);    // `two` is out, so the page stays out
/// assert_eq!(pool.stats().in_use(), 1);
/// pool.recycle_part(two);           // the last reference
/// assert_eq!(pool.stats().in_use(), 0);
///
/// // Begun anew in place, if all parts are back; by hand if it must be a page again.
/// let page = pool.alloc()?.fragment(2).map_err(|error| error.reason)?;
/// let page = pool.renew(page).expect("no part is out");
/// let page = page.defrag().expect("no part is out");
/// assert!(page.fragment(0).unwrap_err().to_string().contains("use 1 to"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a fragmented page that is not kept gives its references back"]
pub struct Fragmented<A: Access = Host> {
    descriptor: NonNull<Descriptor>,
    /// Of the page's references, how many are ours: 1 or more.
    bias: usize,
    /// First byte that is not cut.
    next: u32,
    /// Bytes in the page.
    end: u32,
    /// What becomes of the bytes of a part that rejoins.
    rejoined: Rejoined,
    _access: PhantomData<A>,
}

/// What becomes of the bytes of a part that comes back to its page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rejoined {
    /// They can be cut again.
    Uncut,
    /// They wait for the whole page to go through its pool, which gives it back to the device before it is handed out.
    Kept,
}

// SAFETY: owns bytes and references of a page, as parts do.
unsafe impl<A: Access> Send for Fragmented<A> {}
// SAFETY: `&Fragmented` only reads.
unsafe impl<A: Access> Sync for Fragmented<A> {}

/// Why no part was cut. See [`Fragmented`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CutError {
    /// A part of no bytes was asked for.
    Empty,
    /// Fewer bytes are left.
    NoRoom {
        /// What was asked for.
        bytes: usize,
        /// What is left.
        uncut: usize,
    },
    /// All references but the last are handed out, and that one keeps the page.
    BiasSpent,
}

impl core::fmt::Display for CutError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            CutError::Empty => f.write_str("a part of 0 bytes was asked for; ask for at least 1"),
            CutError::NoRoom { bytes, uncut } => {
                write!(f, "{bytes} bytes are more than the {uncut} that are left of the page; take another page")
            }
            CutError::BiasSpent => {
                f.write_str("the page's bias is handed out; fragment with one more than there are parts")
            }
        }
    }
}

impl core::error::Error for CutError {}

/// A bias that a page cannot have. See [`Fragmented`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BiasError {
    /// What was asked for.
    pub bias: usize,
}

impl core::fmt::Display for BiasError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "a page cannot be fragmented into {} references; use 1 to {BIAS_MAX}", self.bias)
    }
}

impl core::error::Error for BiasError {}

impl<A: Access> Page<A> {
    /// Makes the page one of which parts are handed out, with `bias` references: one for each part and one for
    /// the value itself (`page_pool_fragment_page`). See [`Fragmented`].
    ///
    /// A pool that syncs gives no more than its window back to the device: let that be the whole page.
    ///
    /// # Errors
    ///
    /// The page, when `bias` is 0 or over [`BIAS_MAX`].
    #[inline]
    pub fn fragment(self, bias: usize) -> Result<Fragmented<A>, GivenBack<Self, BiasError>> {
        if !(1..=BIAS_MAX).contains(&bias) {
            return Err(GivenBack { buffer: self, reason: BiasError { bias } });
        }
        Ok(Fragmented::new(self, bias))
    }
}

impl<A: Access> From<Page<A>> for Fragmented<A> {
    /// With as many references as can be.
    #[inline]
    fn from(page: Page<A>) -> Self {
        Fragmented::new(page, BIAS_MAX)
    }
}

impl<A: Access> Fragmented<A> {
    /// `bias` is a possible one.
    #[inline]
    fn new(page: Page<A>, bias: usize) -> Self {
        let end = page.len() as u32;
        let descriptor = page.into_descriptor();
        // SAFETY: the page was ours, and so is its block alive.
        let (page, block) = unsafe { (descriptor.as_ref(), put::block_of_page(descriptor)) };
        // Relaxed: others get their references from us.
        page.refs.store(bias, Ordering::Relaxed);
        let rejoined = if block.is_some_and(|block| block.config.syncs) { Rejoined::Kept } else { Rejoined::Uncut };
        Fragmented { descriptor, bias, next: 0, end, rejoined, _access: PhantomData }
    }

    /// What is known of the page.
    #[inline(always)]
    pub fn descriptor(&self) -> &Descriptor {
        // SAFETY: readable as long as the unit is out, which our references see to.
        unsafe { self.descriptor.as_ref() }
    }

    /// References that are not handed out, the last of which keeps the page.
    #[inline(always)]
    pub fn bias(&self) -> usize {
        self.bias
    }

    /// Bytes in the page.
    #[inline(always)]
    pub fn page_bytes(&self) -> usize {
        self.end as usize
    }

    /// Bytes that are not cut: the end of the page.
    #[inline(always)]
    pub fn uncut(&self) -> usize {
        (self.end - self.next) as usize
    }

    /// Hands out the next `bytes` bytes and one reference.
    ///
    /// # Errors
    ///
    /// [`CutError`]; nothing was handed out.
    #[inline(always)]
    pub fn cut(&mut self, bytes: usize) -> Result<PagePart<A>, CutError> {
        if bytes == 0 {
            return Err(CutError::Empty);
        }
        if bytes > self.uncut() {
            return Err(CutError::NoRoom { bytes, uncut: self.uncut() });
        }
        if self.bias < 2 {
            return Err(CutError::BiasSpent);
        }
        let offset = self.next;
        self.next += bytes as u32;
        self.bias -= 1;
        // SAFETY: the bytes were uncut, so ours, and are within the page; the reference is one of ours.
        Ok(unsafe { PagePart::new(self.descriptor, offset, bytes as u32) })
    }

    /// Takes a part of this page back, and with it a reference: what `recycle_direct` is to pages, without an atomic
    /// operation. If the part ends where the uncut bytes begin, its bytes are uncut again; but not in a pool that syncs, which
    /// must give them back to the device before they are handed out.
    ///
    /// # Errors
    ///
    /// The part, when it is of another page.
    #[inline(always)]
    pub fn rejoin(&mut self, part: PagePart<A>) -> Result<(), GivenBack<PagePart<A>, PartError>> {
        if core::ptr::from_ref(part.descriptor()) != self.descriptor.as_ptr() {
            return Err(GivenBack { buffer: part, reason: PartError::OtherPage });
        }
        let part = part.into_raw();
        if part.offset + part.len == self.next && self.rejoined == Rejoined::Uncut {
            self.next = part.offset;
        }
        self.bias += 1;
        Ok(())
    }

    /// Whether no part is out: the page is ours alone, and what the parts' holders did with it happened before.
    #[inline]
    pub(crate) fn is_whole(&self) -> bool {
        let whole = refs::are_all(self.descriptor(), self.bias);
        if whole {
            // From here on all bytes are ours to hand out again.
            self.descriptor().bytes.bury();
        }
        whole
    }

    /// Begins a page anew that is on no pool's books and of which no part is out: its bytes are uncut again, its bias is
    /// [`BIAS_MAX`]. Whether it did (a driver that looks whether its page's count is back at the bias, `igb_can_reuse_rx_page`).
    ///
    /// A page on a pool's books stays as it is: that is [`PagePool::renew`](crate::PagePool::renew)'s, which knows what its pool
    /// has to do for a page before somebody else gets it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pp_core::{Fragmented, Home, PagePool, doc::Heap};
    /// let mut pool = PagePool::builder(Home::new(Heap::new(4096, 8))).build()?;
    /// let mut page = Fragmented::from(pool.alloc()?.detach());
    /// let part = page.cut(4096)?;
    /// assert!(!page.renew_detached());
    /// drop(part);
    /// assert!(page.renew_detached());
    /// assert_eq!(page.uncut(), 4096);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn renew_detached(&mut self) -> bool {
        // Relaxed: our references keep the page, and nobody puts a detached one back on any books.
        let detached = self.descriptor().owner.load(Ordering::Relaxed) & owner::STRAY != 0;
        let renewed = detached && (self.is_whole() || mutant(Mutant::RenewUnderParts));
        if renewed {
            // SAFETY: no part is out.
            unsafe { self.renew() };
        }
        renewed
    }

    /// Begins at the page's first byte again, with as many references as can be.
    ///
    /// # Safety
    ///
    /// No part is out ([`is_whole`](Fragmented::is_whole)).
    #[inline]
    pub(crate) unsafe fn renew(&mut self) {
        self.descriptor().clock.tick();
        // Relaxed: as in `new`.
        self.descriptor().refs.store(BIAS_MAX, Ordering::Relaxed);
        self.bias = BIAS_MAX;
        self.next = 0;
    }

    /// Gives back the references that are left. `Some`: no part is out, and the whole page is the caller's, to be put.
    /// Dropping a fragmented page does this and puts the page; [`PagePool::recycle_fragmented`](crate::PagePool::recycle_fragmented)
    /// puts it straight into the cache.
    #[inline]
    pub fn defrag(self) -> Option<Page<A>> {
        let page = ManuallyDrop::new(self);
        if mutant(Mutant::MissingDrain) {
            return None;
        }
        // SAFETY: the last references, so no part is left and the page is ours.
        refs::drop_likely_last(page.descriptor(), page.bias).then(|| unsafe { Page::from_descriptor(page.descriptor) })
    }
}

impl<A: Access> Drop for Fragmented<A> {
    fn drop(&mut self) {
        if mutant(Mutant::MissingDrain) {
            return;
        }
        if refs::drop_likely_last(self.descriptor(), self.bias) {
            // SAFETY: the last references, so the page is ours and ends here.
            unsafe { put::put_rarely(self.descriptor) }
        }
    }
}

impl<A: Access> core::fmt::Debug for Fragmented<A> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Fragmented")
            .field("access", &A::NAME)
            .field("bias", &self.bias)
            .field("uncut", &self.uncut())
            .field("descriptor", self.descriptor())
            .finish()
    }
}
