//! One page, counted.

use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::Deref;
use core::ptr::NonNull;

use crate::access::{Access, Exposed, Host};
use crate::descriptor::{Descriptor, owner};
use crate::page::{self, OutOfRange, Page};
use crate::put;
use crate::refs;
use crate::sync::{Mutant, Ordering, mutant};

/// A page that several hold and nobody writes.
///
/// Made by [`Page::share`]. One word counts all references, and exists for shared pages only. Dropping the last handle
/// puts the page like any other.
///
/// # Examples
///
/// ```
/// # use pp_core::{Home, PagePool, doc::Heap};
/// let mut pool = PagePool::builder(Home::new(Heap::new(4096, 8))).build()?;
/// let shared = pool.alloc()?.share();
/// let other = shared.clone();
/// let shared = shared.try_unshare().unwrap_err(); // two handles
/// drop(other);
/// let mut page = shared.try_unshare().unwrap();
/// page[0] = 1;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// ```compile_fail,E0594
/// # use pp_core::{Home, PagePool, doc::Heap};
/// # let mut pool = PagePool::builder(Home::new(Heap::new(4096, 8))).build().unwrap();
/// let mut shared = pool.alloc().unwrap().share();
/// shared[0] = 1; // others may be reading
/// ```
#[repr(transparent)]
pub struct Shared<A: Access = Host> {
    descriptor: NonNull<Descriptor>,
    _access: PhantomData<A>,
}

// SAFETY: handles only read the page; the count is atomic; the last one becomes a `Page`, which is `Send`.
unsafe impl<A: Access> Send for Shared<A> {}
// SAFETY: as above.
unsafe impl<A: Access> Sync for Shared<A> {}

impl<A: Access> Shared<A> {
    /// # Safety
    ///
    /// The caller is the page's sole owner and gives it up.
    pub(crate) unsafe fn new(descriptor: NonNull<Descriptor>) -> Self {
        // SAFETY: readable while out. Relaxed: other handles are made from this one.
        unsafe { descriptor.as_ref() }.refs.store(1, Ordering::Relaxed);
        Shared { descriptor, _access: PhantomData }
    }

    /// What is known of the page. See [`release`](Shared::release).
    #[inline(always)]
    pub fn descriptor(&self) -> &Descriptor {
        // SAFETY: readable as long as the unit is out.
        unsafe { self.descriptor.as_ref() }
    }

    /// Bytes in the page. See [`release`](Shared::release).
    #[allow(clippy::len_without_is_empty, reason = "a page is never empty")]
    pub fn len(&self) -> usize {
        self.descriptor().unit_bytes()
    }

    /// Handles there are now. A guess unless it says 1: then this is the only one.
    pub fn handles(&self) -> usize {
        self.descriptor().refs.load(Ordering::Relaxed)
    }

    /// The page back, when this is the only handle.
    ///
    /// # Errors
    ///
    /// The handle, when there are others.
    pub fn try_unshare(self) -> Result<Page<A>, Self> {
        // What the others read, they read before we may write.
        if !refs::are_all(self.descriptor(), 1) {
            return Err(self);
        }
        self.descriptor().refs.store(0, Ordering::Relaxed);
        let this = ManuallyDrop::new(self);
        // SAFETY: the only handle, and it is consumed.
        Ok(unsafe { Page::from_descriptor(this.descriptor) })
    }

    /// Gives this handle back and the page out of the pool: the kernel's put of a page with an elevated reference count.
    ///
    /// The page leaves the pool at once (unmapped, off the books, counted as `released_refcnt`) and goes home with the
    /// last of the other handles. With no other handle this is an ordinary put.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pp_core::{Home, PagePool, doc::Heap};
    /// let mut pool = PagePool::builder(Home::new(Heap::new(4096, 8))).build()?;
    /// let shared = pool.alloc()?.share();
    /// let other = shared.clone();
    /// shared.release();
    /// assert_eq!((pool.stats().in_use(), pool.stats().strays), (0, 1)); // off the books, and still readable
    /// assert_eq!((other.len(), other.descriptor().unit_bytes()), (4096, 4096));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn release(self) {
        let this = match self.try_unshare() {
            Ok(page) => return drop(page),
            Err(this) => this,
        };
        let descriptor = this.descriptor();
        descriptor.clock.tick();
        let word = descriptor.owner.load(Ordering::Relaxed);
        descriptor.clock.tick();
        if word & (owner::STRAY | owner::LEAVING) == 0
            // Of several that release at once, one takes the page off the books. Relaxed: the winner passes its result on
            // through the reference count, and the others do nothing but drop their handle.
            && (descriptor.owner.compare_exchange(word, owner::LEAVING, Ordering::Relaxed, Ordering::Relaxed).is_ok()
                || mutant(Mutant::ReleaseWithoutClaim))
            && let Some(block) = put::block_of(word)
        {
            #[cfg(feature = "leak-trace")]
            // SAFETY: on the books until `make_stray` is done, so the block is alive.
            unsafe { block.as_ref() }.trace.back(this.descriptor);
            // SAFETY: on the books, and won by us; our own handle keeps the page from being put meanwhile.
            unsafe {
                block.as_ref().producers.released_refcnt.add_shared(1);
                put::make_stray(this.descriptor, block);
            }
        }
        drop(this);
    }
}

impl<A: Access> Clone for Shared<A> {
    /// # Panics
    ///
    /// When there are `isize::MAX` handles to the page, as `Arc` does.
    fn clone(&self) -> Self {
        refs::take(self.descriptor()).expect("fewer handles to one page than can be counted");
        Shared { descriptor: self.descriptor, _access: PhantomData }
    }
}

impl Shared<Exposed> {
    /// Copies bytes out, from `offset` on; another process may be writing them.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] when the range is not within the page; nothing is copied.
    ///
    /// [`Exposed`] shows the same on a page.
    pub fn copy_to(&self, offset: usize, out: &mut [u8]) -> Result<(), OutOfRange> {
        // SAFETY: an exposed page that we hold a handle to.
        unsafe { page::copy_out(self.descriptor(), offset, out) }
    }
}

impl Deref for Shared<Host> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let descriptor = self.descriptor();
        descriptor.bytes.enter();
        // SAFETY: host memory, valid and initialised; while shared nobody writes it.
        unsafe { core::slice::from_raw_parts(descriptor.addr(), descriptor.unit_bytes()) }
    }
}

impl<A: Access> Drop for Shared<A> {
    fn drop(&mut self) {
        // Our reads, and a `release` we may have made, happen before the put by the last one.
        if refs::drop(self.descriptor(), 1) {
            // SAFETY: the last handle, so the page is ours alone.
            unsafe { put::put_rarely(self.descriptor) }
        }
    }
}

impl<A: Access> core::fmt::Debug for Shared<A> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Shared").field("handles", &self.handles()).field("descriptor", self.descriptor()).finish()
    }
}
