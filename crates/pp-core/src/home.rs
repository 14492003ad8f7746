//! Shared ownership of a provider, and with it of its memory and descriptors.

use alloc::boxed::Box;
use core::ops::Deref;
use core::ptr::NonNull;

use crate::provider::MemoryProvider;
use crate::reaper::Reaper;
use crate::sync::{AtomicUsize, Canary, Mutant, Ordering, fence, mutant};

struct Inner<P: ?Sized> {
    /// | state | meaning |
    /// |---|---|
    /// | n > 0 | n owners: handles, pools that still have pages on their books, pages off the books |
    /// | 0 | being freed by whoever took it there |
    owners: AtomicUsize,
    canary: Canary,
    reaper: Option<Reaper>,
    provider: P,
}

/// A reference-counted provider: memory, descriptors and free lists as one object.
///
/// Owners are every clone of this handle, every pool built on it (until the last page on that pool's books is home), and
/// every page that is on no pool's books. Whoever drops the last one frees it, on whatever thread, or hands it to the
/// [`Reaper`] it was made with.
///
/// # Examples
///
/// ```
/// # use pp_core::doc::Heap as MyProvider;
/// use pp_core::{Home, PagePool};
///
/// let home = Home::new(MyProvider::new(4096, 8));
/// let rx = PagePool::builder(home.clone()).name("rx0").build()?;
/// let tx = PagePool::builder(home).name("tx0").build()?; // two pools on one region
/// # Ok::<(), pp_core::BuildError>(())
/// ```
///
/// ```
/// # use pp_core::doc::Heap as MyProvider;
/// use pp_core::{Home, Reaper};
///
/// let home = Home::with_reaper(MyProvider::new(4096, 8), Reaper::new(drop));
/// let other = home.clone();
/// assert_eq!((Home::owners(&home), other.free_units()), (2, 8)); // derefs to the provider
/// ```
pub struct Home<P: MemoryProvider + ?Sized = dyn MemoryProvider>(NonNull<Inner<P>>);

// SAFETY: like `Arc`: the provider is `Send + Sync` by its trait, the count is atomic.
unsafe impl<P: MemoryProvider + ?Sized> Send for Home<P> {}
// SAFETY: as above.
unsafe impl<P: MemoryProvider + ?Sized> Sync for Home<P> {}

impl<P: MemoryProvider> Home<P> {
    /// Makes `provider` shareable. Its last owner frees it on the spot.
    pub fn new(provider: P) -> Self {
        Home::build(provider, None)
    }

    /// The same, but the freeing is left to `reaper`: unmapping gigabytes is no work for a packet thread.
    pub fn with_reaper(provider: P, reaper: Reaper) -> Self {
        Home::build(provider, Some(reaper))
    }

    fn build(provider: P, reaper: Option<Reaper>) -> Self {
        let inner = Box::new(Inner { owners: AtomicUsize::new(1), canary: Canary::new(), reaper, provider });
        Home(NonNull::from(Box::leak(inner)))
    }

    /// Forgets the provider's type; the pool knows it in this form only.
    pub(crate) fn erase(self) -> Home {
        let inner = self.0.as_ptr() as *mut Inner<dyn MemoryProvider>;
        core::mem::forget(self);
        // SAFETY: an unsizing cast of a non-null pointer. The count moves along.
        Home(unsafe { NonNull::new_unchecked(inner) })
    }
}

impl<P: MemoryProvider + ?Sized> Home<P> {
    fn inner(&self) -> &Inner<P> {
        // SAFETY: we are an owner, so the count is over 0 and the box is there.
        unsafe { self.0.as_ref() }
    }

    /// How many owners there are now: handles, pools, pages off the books. For tests and tables.
    pub fn owners(this: &Self) -> usize {
        this.inner().owners.load(Ordering::Relaxed)
    }
}

impl Home {
    /// A second, uncounted pointer to the same provider, for the block of a pool.
    pub(crate) fn as_raw(&self) -> RawHome {
        RawHome(self.0)
    }
}

impl<P: MemoryProvider + ?Sized> Clone for Home<P> {
    fn clone(&self) -> Self {
        // Relaxed, as for `Arc`: a new owner is made from an owner, who keeps the object alive meanwhile.
        let before = self.inner().owners.fetch_add(1, Ordering::Relaxed);
        if before >= isize::MAX as usize {
            // An overflow would free the provider under its owners, so the count goes back before anybody hears of it.
            self.inner().owners.fetch_sub(1, Ordering::Relaxed);
            panic!("too many owners of one provider");
        }
        Home(self.0)
    }
}

impl<P: MemoryProvider + ?Sized> Deref for Home<P> {
    type Target = P;

    fn deref(&self) -> &P {
        let inner = self.inner();
        inner.canary.enter();
        &inner.provider
    }
}

impl<P: MemoryProvider + ?Sized> Drop for Home<P> {
    fn drop(&mut self) {
        self.inner().canary.enter();
        // Release: what this owner did with the provider happens before its free. Pairs with the Acquire fence below.
        if self.inner().owners.fetch_sub(1, Ordering::Release) != 1 {
            return;
        }
        fence(Ordering::Acquire);
        self.inner().canary.bury();
        // SAFETY: the count is 0 and was taken there by us, so nobody else has or can get a reference.
        let mut inner = unsafe { Box::from_raw(self.0.as_ptr()) };
        match inner.reaper.take() {
            Some(reaper) => reaper.reap(Erased(inner)),
            None => drop(inner),
        }
    }
}

/// Keeps what a reaper frees as a value whose drop does it.
struct Erased<P: MemoryProvider + ?Sized>(#[allow(dead_code, reason = "held to be dropped")] Box<Inner<P>>);

impl<P: MemoryProvider + ?Sized> core::fmt::Debug for Home<P> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Home").field("provider", &self.describe()).field("owners", &Self::owners(self)).finish()
    }
}

/// The provider of a block, without a share in it. Valid while somebody has one: the books, or a page off them.
#[derive(Clone, Copy)]
pub(crate) struct RawHome(NonNull<Inner<dyn MemoryProvider>>);

impl RawHome {
    /// # Safety
    ///
    /// The caller is, or acts for, an owner during `'a`.
    pub(crate) unsafe fn get<'a>(self) -> &'a dyn MemoryProvider {
        // SAFETY: by the caller's promise the count is over 0.
        let inner = unsafe { self.0.as_ref() };
        inner.canary.enter();
        &inner.provider
    }

    /// Takes a share for a page that leaves the books.
    ///
    /// # Safety
    ///
    /// As for [`get`](RawHome::get).
    pub(crate) unsafe fn retain(self) {
        if mutant(Mutant::StrayWithoutOwner) {
            return;
        }
        core::mem::forget(Home(self.0).clone_unowned());
    }

    /// Gives a share back, as a handle whose drop does it.
    ///
    /// # Safety
    ///
    /// The caller owns a share from [`retain`](RawHome::retain) and gives it up.
    pub(crate) unsafe fn adopt(self) -> Option<Home> {
        if mutant(Mutant::StrayWithoutOwner) {
            return None;
        }
        Some(Home(self.0))
    }
}

impl Home {
    /// Clones through a handle that owns nothing itself.
    fn clone_unowned(self) -> Home {
        // Before the clone, which may panic: this handle never owned anything.
        core::mem::ManuallyDrop::new(self).deref().clone()
    }
}
