//! An arena: everything that one subsystem allocates.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;

use allocator_api2::alloc::{AllocError, Allocator};
use pp_core::lock::{Locked, RawLock};
use pp_core::{PagePool, Stats};
use pp_provider_buddy::DefaultLock;

use crate::slots::{MAX_ALIGN, NoSlot, Slots};

/// The smallest class.
const SMALLEST: usize = 16;
/// Classes at most: two a doubling, from 16 bytes to 64 KiB.
const MOST: usize = 24;

/// A heap of its own for one subsystem, on the pages of a pool.
///
/// Sizes are rounded up to classes, two a doubling, up to a whole page without its head; larger ones, and alignments over 64,
/// are refused. Allocating takes the arena's lock, freeing does not: it is one atomic exchange, on any thread.
///
/// What a subsystem has from it: it can take so much and no more (the pool's limit), it fragments nobody else's heap, what it
/// holds is known at every moment, and it may be used where the system's allocator may not, with a lock and a provider that
/// may be used there too.
///
/// It is a [`GlobalAlloc`] and, by reference, an [`Allocator`] for collections that take one:
///
/// # Examples
///
/// ```
/// use allocator_api2::vec::Vec;
/// use pp_allocators::Arena;
/// use pp_core::PagePool;
/// use pp_provider_buddy::Buddy;
///
/// let pool = PagePool::builder(Buddy::anonymous(1 << 20)?).name("parser").limit(8).build()?;
/// let arena: Arena = Arena::new(pool)?;
/// let mut tokens = Vec::new_in(&arena);
/// tokens.extend_from_slice(b"GET / HTTP/1.1");
/// assert!(tokens.try_reserve(1 << 20).is_err()); // and nobody else notices
/// drop(tokens);
/// assert_eq!(arena.trim(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Arena<L: RawLock = DefaultLock, const PAGE: usize = 4096> {
    inner: Locked<L, Inner<PAGE>>,
}

struct Inner<const PAGE: usize> {
    classes: Vec<Slots<PAGE>>,
    pool: PagePool,
}

impl<const PAGE: usize> Inner<PAGE> {
    #[inline]
    fn alloc(&mut self, class: usize) -> Result<NonNull<u8>, NoSlot> {
        match self.classes[class].alloc(&mut self.pool) {
            // Another class may sit on an empty page.
            Err(NoSlot::Pool(_)) if self.trim() > 0 => self.classes[class].alloc(&mut self.pool),
            result => result,
        }
    }

    fn trim(&mut self) -> usize {
        self.classes.iter_mut().map(|class| class.trim(&mut self.pool)).sum()
    }
}

/// Bytes in each class, rising: 16, 24, 32, 48, 64, 96 ... and, last, the half and the whole of what a page has.
#[derive(Debug)]
struct Classes<const PAGE: usize>;

impl<const PAGE: usize> Classes<PAGE> {
    const TABLE: ([usize; MOST], usize) = Self::table();

    const fn table() -> ([usize; MOST], usize) {
        let (mut sizes, mut len, mut size) = ([0; MOST], 0, SMALLEST);
        let room = Slots::<PAGE>::LARGEST;
        let half = room / 2 / SMALLEST * SMALLEST;
        while size < half {
            sizes[len] = size;
            len += 1;
            if size + size / 2 < half {
                sizes[len] = size + size / 2;
                len += 1;
            }
            size *= 2;
        }
        sizes[len] = half;
        sizes[len + 1] = room;
        (sizes, len + 2)
    }

    fn sizes() -> &'static [usize] {
        const { &Self::TABLE.0 }.split_at(Self::TABLE.1).0
    }

    /// The first class that holds the layout. Slots are aligned to what their size is a multiple of, up to [`MAX_ALIGN`].
    #[inline]
    fn of(layout: Layout) -> Option<usize> {
        let size = layout.size().max(SMALLEST);
        if size > Slots::<PAGE>::LARGEST || layout.align() > MAX_ALIGN {
            return None;
        }
        // Two classes a doubling: near enough by the size's bits, exact by at most a few steps.
        let octave = (size.ilog2() - SMALLEST.ilog2()) as usize;
        let sizes = Self::sizes();
        let start = (2 * octave).min(sizes.len() - 2);
        let fits = |class: &usize| *class >= size && class.is_multiple_of(layout.align());
        sizes[start..].iter().position(fits).map(|steps| start + steps)
    }
}

impl<L: RawLock, const PAGE: usize> Arena<L, PAGE> {
    /// An arena on `pool`, which it takes over.
    ///
    /// # Errors
    ///
    /// [`NoSlot::PageSize`] when the pool's pages are not of `PAGE` bytes.
    pub fn new(pool: PagePool) -> Result<Self, NoSlot> {
        Slots::<PAGE>::check(&pool)?;
        let slots = |size: &usize| {
            let align = (1 << size.trailing_zeros()).min(MAX_ALIGN);
            Slots::new(Layout::from_size_align(*size, align).expect("a class is smaller than a page"))
        };
        Ok(Arena { inner: Locked::new(Inner { classes: Classes::<PAGE>::sizes().iter().map(slots).collect(), pool }) })
    }

    /// Memory for `layout`.
    ///
    /// # Errors
    ///
    /// Why the pool gave no page; `None` when a layout is larger than a page holds, or aligned to more than 64.
    ///
    /// # Panics
    ///
    /// Only where a hook of the pool does. As a `GlobalAlloc` the arena aborts then.
    #[inline]
    pub fn allocate(&self, layout: Layout) -> Result<NonNull<u8>, Option<NoSlot>> {
        let class = Classes::<PAGE>::of(layout).ok_or(None)?;
        self.inner.with(|inner| inner.alloc(class)).map_err(Some)
    }

    /// Gives empty pages back to the pool and the pool's idle pages to its provider; says how many pages the arena gave.
    pub fn trim(&self) -> usize {
        self.inner.with(|inner| {
            let pages = inner.trim();
            inner.pool.trim(0);
            pages
        })
    }

    /// Pages the arena holds now.
    pub fn pages(&self) -> usize {
        self.inner.with(|inner| inner.classes.iter().map(Slots::pages).sum())
    }

    /// What happened in the pool under it.
    pub fn stats(&self) -> Stats {
        self.inner.with(|inner| inner.pool.stats())
    }
}

/// Ends the process when it is dropped by a panic: an allocator must not unwind.
struct NoUnwinding;

impl Drop for NoUnwinding {
    #[cold]
    fn drop(&mut self) {
        eprintln!("a hook of the arena's pool panicked inside an allocation; use hooks that do not panic");
        std::process::abort();
    }
}

// SAFETY: (1) a slot is handed out to one caller at a time, holds its layout by `Classes::of`, and stays where it is also when the
// arena goes; (2) nothing here unwinds: locks, pools and slots do not panic, class indices come from `Classes`, the hooks of the
// pool, which may, run under `NoUnwinding`, and freeing runs none, since the pages of an arena that is there stay its own.
unsafe impl<L: RawLock, const PAGE: usize> GlobalAlloc for Arena<L, PAGE> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let guard = NoUnwinding;
        let memory = self.allocate(layout).map_or(core::ptr::null_mut(), NonNull::as_ptr);
        core::mem::forget(guard);
        memory
    }

    #[inline]
    unsafe fn dealloc(&self, memory: *mut u8, _: Layout) {
        // SAFETY: from `alloc`, so not null, a slot of pages of this size, and given up by the caller.
        unsafe { Slots::<PAGE>::give_back(NonNull::new_unchecked(memory)) };
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Ok(new) = Layout::from_size_align(new_size, layout.align()) else { return core::ptr::null_mut() };
        if Classes::<PAGE>::of(layout) == Classes::<PAGE>::of(new) {
            return memory;
        }
        // SAFETY: `new` is not of size zero by the caller's promise.
        let moved = unsafe { self.alloc(new) };
        if !moved.is_null() {
            // SAFETY: both are valid for the shorter of the two sizes, and distinct; the old one is given up.
            unsafe {
                moved.copy_from_nonoverlapping(memory, layout.size().min(new_size));
                self.dealloc(memory, layout);
            }
        }
        moved
    }
}

// SAFETY: as (1) for `GlobalAlloc`; copies of the reference are the same arena, and none outlives it.
unsafe impl<L: RawLock, const PAGE: usize> Allocator for &Arena<L, PAGE> {
    #[inline]
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let memory = if layout.size() == 0 {
            // What is given back is told apart by its size as well.
            NonNull::new(core::ptr::without_provenance_mut(layout.align())).ok_or(AllocError)?
        } else {
            Arena::allocate(self, layout).map_err(|_| AllocError)?
        };
        Ok(NonNull::slice_from_raw_parts(memory, layout.size()))
    }

    #[inline]
    unsafe fn deallocate(&self, memory: NonNull<u8>, layout: Layout) {
        if layout.size() > 0 {
            // SAFETY: the caller's promise; memory of size zero came from no slot.
            unsafe { self.dealloc(memory.as_ptr(), layout) };
        }
    }
}

impl<L: RawLock, const PAGE: usize> core::fmt::Debug for Arena<L, PAGE> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Arena").field("pages", &self.pages()).finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn classes_rise_and_each_size_gets_the_smallest_that_fits() {
        fn check<const PAGE: usize>() {
            let sizes = Classes::<PAGE>::sizes();
            assert!(sizes.is_sorted_by(|a, b| a < b) && sizes[0] == SMALLEST, "{sizes:?}");
            for align in [1, 2, 4, 8, 16, 32, 64] {
                for size in 1..=Slots::<PAGE>::LARGEST {
                    let layout = Layout::from_size_align(size, align).unwrap();
                    let expected = sizes.iter().position(|class| *class >= size && class.is_multiple_of(align));
                    assert_eq!(Classes::<PAGE>::of(layout), expected, "{layout:?} of {sizes:?}");
                }
            }
            assert_eq!(Classes::<PAGE>::of(Layout::from_size_align(Slots::<PAGE>::LARGEST + 1, 1).unwrap()), None);
            assert_eq!(Classes::<PAGE>::of(Layout::from_size_align(1, 128).unwrap()), None);
        }
        check::<1024>();
        check::<2048>();
        check::<4096>();
        check::<65536>();
    }
}
