//! A stretch of a page, counted.

use core::ops::Deref;

use crate::access::{Access, Exposed, Host};
use crate::descriptor::Descriptor;
use crate::dma::DmaAddr;
use crate::page::OutOfRange;
use crate::part::PagePart;
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
pub struct SharedPart<A: Access = Host>(
    /// Its bytes are other handles' as well, so nothing here may write them.
    PagePart<A>,
);

impl<A: Access> SharedPart<A> {
    pub(crate) fn of(part: PagePart<A>) -> Self {
        SharedPart(part)
    }

    /// What is known of the page.
    #[inline(always)]
    pub fn descriptor(&self) -> &Descriptor {
        self.0.descriptor()
    }

    /// First byte, counted from the page's first.
    #[inline(always)]
    pub fn offset(&self) -> usize {
        self.0.offset()
    }

    /// How many bytes.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where the device finds the first byte; `None` when the page is not mapped.
    #[inline]
    pub fn dma_addr(&self) -> Option<DmaAddr> {
        self.0.dma_addr()
    }
}

impl<A: Access> Clone for SharedPart<A> {
    /// # Panics
    ///
    /// When there are `isize::MAX` references to the page, as `Arc` does.
    #[inline]
    fn clone(&self) -> Self {
        refs::take(self.descriptor()).expect("fewer references to one page than can be counted");
        // SAFETY: the reference was just taken; the bytes are ours to read, and the part that is made lets nobody write them.
        SharedPart(unsafe { self.0.again() })
    }
}

impl SharedPart<Exposed> {
    /// Copies bytes out, from `offset` within the part on; another process may be writing them. See [`Exposed`].
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] when the range is not within the part; nothing is copied.
    pub fn copy_to(&self, offset: usize, out: &mut [u8]) -> Result<(), OutOfRange> {
        self.0.copy_to(offset, out)
    }
}

impl Deref for SharedPart<Host> {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<A: Access> core::fmt::Debug for SharedPart<A> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("SharedPart").field(&self.0).finish()
    }
}
