//! A stretch of a page, counted.

use core::marker::PhantomData;
use core::ops::Deref;
use core::ptr::NonNull;

use crate::access::{Access, Exposed, Host};
use crate::descriptor::Descriptor;
use crate::dma::DmaAddr;
use crate::page::{self, OutOfRange};
use crate::put;
use crate::refs;

/// Some bytes of a page that several hold and nobody writes.
///
/// Made by [`PagePart::share`](crate::PagePart::share). Each handle is one reference to the page, of the same kind that a part is.
///
/// # Examples
///
/// ```
/// # use pp_core::{Home, PagePart, PagePool, doc::Heap};
/// let mut pool = PagePool::builder(Home::new(Heap::new(4096, 8))).build()?;
/// let shared = PagePart::from(pool.alloc()?).share();
/// let other = shared.clone();
/// assert!(core::ptr::eq(shared.descriptor(), other.descriptor()) && shared.dma_addr().is_none());
/// assert_eq!((other.offset(), other.len(), other.is_empty()), (0, 4096, false));
/// std::thread::spawn(move || drop(other)).join().unwrap();
/// drop(shared); // the last one puts the page
/// assert_eq!(pool.stats().in_use(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SharedPart<A: Access = Host> {
    descriptor: NonNull<Descriptor>,
    offset: u32,
    len: u32,
    _access: PhantomData<A>,
}

// SAFETY: handles only read; the count is atomic; the last one puts the page, which may happen on any thread.
unsafe impl<A: Access> Send for SharedPart<A> {}
// SAFETY: as above.
unsafe impl<A: Access> Sync for SharedPart<A> {}

impl<A: Access> SharedPart<A> {
    /// # Safety
    ///
    /// The caller owns these bytes of the page and a reference to it, and gives both up.
    pub(crate) unsafe fn new(descriptor: NonNull<Descriptor>, offset: u32, len: u32) -> Self {
        SharedPart { descriptor, offset, len, _access: PhantomData }
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

    /// Whether there are none.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where the device finds the first byte; `None` when the page is not mapped.
    #[inline]
    pub fn dma_addr(&self) -> Option<DmaAddr> {
        self.descriptor().dma().map(|page| DmaAddr(page.0 + u64::from(self.offset)))
    }
}

impl<A: Access> Clone for SharedPart<A> {
    /// # Panics
    ///
    /// When there are `isize::MAX` references to the page, as `Arc` does.
    #[inline]
    fn clone(&self) -> Self {
        refs::take(self.descriptor()).expect("fewer references to one page than can be counted");
        SharedPart { ..*self }
    }
}

impl SharedPart<Exposed> {
    /// Copies bytes out, from `offset` within the part on; another process may be writing them. See [`Exposed`].
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] when the range is not within the part; nothing is copied.
    pub fn copy_to(&self, offset: usize, out: &mut [u8]) -> Result<(), OutOfRange> {
        OutOfRange::check(offset, out.len(), self.len())?;
        // SAFETY: an exposed page that we hold a reference to.
        unsafe { page::copy_out(self.descriptor(), self.offset() + offset, out) }
    }
}

impl Deref for SharedPart<Host> {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        let descriptor = self.descriptor();
        descriptor.bytes.enter();
        // SAFETY: host memory, valid and initialised; while shared nobody writes these bytes.
        unsafe { core::slice::from_raw_parts(descriptor.addr().add(self.offset()), self.len()) }
    }
}

impl<A: Access> Drop for SharedPart<A> {
    #[inline]
    fn drop(&mut self) {
        if refs::drop_of_part(self.descriptor(), self.offset) {
            // SAFETY: the last reference, so the page is ours and ends here.
            unsafe { put::put_rarely(self.descriptor) }
        }
    }
}

impl<A: Access> core::fmt::Debug for SharedPart<A> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SharedPart")
            .field("access", &A::NAME)
            .field("offset", &self.offset)
            .field("len", &self.len)
            .field("descriptor", self.descriptor())
            .finish()
    }
}
