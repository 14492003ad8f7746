//! A slab: many objects of one type.

use core::alloc::Layout;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

use pp_core::PagePool;

use crate::slots::{MAX_ALIGN, NoSlot, Slots};

/// Objects of type `T` on the pages of a pool (kernel: `struct kmem_cache`).
///
/// One thread inserts, without a lock or an atomic read-modify-write; every thread may drop what was inserted. Dropping the
/// slab does not wait: objects that are out stay valid, and the last one of each page sends the page home.
///
/// # Examples
///
/// ```
/// use pp_allocators::Slab;
/// use pp_core::PagePool;
/// use pp_provider_buddy::Buddy;
///
/// let pool = PagePool::builder(Buddy::anonymous(1 << 20)?).name("sessions").limit(16).build()?;
/// let mut slab = Slab::<[u64; 8]>::new(pool)?;
/// let mut session = slab.insert([0; 8]).map_err(|full| full.why)?;
/// session[0] = 7;
/// std::thread::spawn(move || drop(session)).join().unwrap();
/// let session = slab.insert([1; 8]).map_err(|full| full.why)?;
/// assert_eq!(slab.take(session), [1; 8]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Slab<T, const PAGE: usize = 4096> {
    slots: Slots<PAGE>,
    pool: PagePool,
    _object: PhantomData<fn(T)>,
}

/// An insertion that found no place.
#[derive(Clone, Copy, Debug)]
pub struct Full<T> {
    /// What was to be inserted.
    pub value: T,
    /// Why there is no place.
    pub why: NoSlot,
}

impl<T, const PAGE: usize> Slab<T, PAGE> {
    const FITS: () = assert!(
        size_of::<T>() <= Slots::<PAGE>::LARGEST && align_of::<T>() <= MAX_ALIGN,
        "the object does not fit a page; choose a larger PAGE"
    );

    /// A slab on `pool`, which it takes over.
    ///
    /// # Errors
    ///
    /// [`NoSlot::PageSize`] when the pool's pages are not of `PAGE` bytes.
    pub fn new(pool: PagePool) -> Result<Self, NoSlot> {
        let () = Self::FITS;
        Slots::<PAGE>::check(&pool)?;
        Ok(Slab { slots: Slots::new(Layout::new::<T>()), pool, _object: PhantomData })
    }

    /// Moves `value` into the slab.
    ///
    /// # Errors
    ///
    /// The value, with the reason, when there is no place now.
    #[inline]
    pub fn insert(&mut self, value: T) -> Result<SlabBox<T, PAGE>, Full<T>> {
        match self.slots.alloc(&mut self.pool) {
            Ok(slot) => {
                let object = slot.cast::<T>();
                // SAFETY: a slot for a `T`, ours alone.
                unsafe { object.write(value) };
                Ok(SlabBox { object, _owns: PhantomData })
            }
            Err(why) => Err(Full { value, why }),
        }
    }

    /// Moves an object out. Cheaper than dropping it if it is one of this slab's.
    #[inline]
    pub fn take(&mut self, object: SlabBox<T, PAGE>) -> T {
        let object = ManuallyDrop::new(object).object;
        // SAFETY: the box was its only owner and is gone, so it is read once, and its slot given back once.
        unsafe {
            let value = object.read();
            self.slots.recycle(object.cast());
            value
        }
    }

    /// Gives empty pages back to the pool and the pool's idle pages to its provider; says how many pages the slab gave.
    pub fn trim(&mut self) -> usize {
        let pages = self.slots.trim(&mut self.pool);
        self.pool.trim(0);
        pages
    }

    /// Pages the slab holds now.
    pub fn pages(&self) -> usize {
        self.slots.pages()
    }

    /// Objects that fit a page.
    pub fn objects_per_page(&self) -> usize {
        self.slots.slots_per_page()
    }

    /// The pool under it: limits, statistics.
    pub fn pool(&self) -> &PagePool {
        &self.pool
    }
}

/// An object in a slab, owned.
///
/// One pointer wide. Dropping it, on any thread, drops the object and gives its place back.
#[derive(Debug)]
pub struct SlabBox<T, const PAGE: usize = 4096> {
    object: NonNull<T>,
    _owns: PhantomData<T>,
}

// SAFETY: the only owner of its object; its place is given back by an atomic exchange.
unsafe impl<T: Send, const PAGE: usize> Send for SlabBox<T, PAGE> {}
// SAFETY: `&SlabBox` gives `&T` and nothing else.
unsafe impl<T: Sync, const PAGE: usize> Sync for SlabBox<T, PAGE> {}

impl<T, const PAGE: usize> Deref for SlabBox<T, PAGE> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: written by `insert`, owned by this box.
        unsafe { self.object.as_ref() }
    }
}

impl<T, const PAGE: usize> DerefMut for SlabBox<T, PAGE> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`.
        unsafe { self.object.as_mut() }
    }
}

impl<T, const PAGE: usize> Drop for SlabBox<T, PAGE> {
    #[inline]
    fn drop(&mut self) {
        /// Gives the place back also when the object's drop panics.
        struct Place<const PAGE: usize>(NonNull<u8>);
        impl<const PAGE: usize> Drop for Place<PAGE> {
            #[inline]
            fn drop(&mut self) {
                // SAFETY: from `Slots::<PAGE>::alloc`; the object in it is gone, and its box with it.
                unsafe { Slots::<PAGE>::give_back(self.0) };
            }
        }
        let _place = Place::<PAGE>(self.object.cast());
        // SAFETY: the only owner, for the last time.
        unsafe { self.object.drop_in_place() };
    }
}
