//! Fragments with the count hidden.

use pp_core::{Access, Fragmented, Host, PagePart, PagePool};

use crate::error::FragError;
use crate::frag::Frag;

/// Every fragment begins at a multiple of this many bytes from its page's first, whatever sizes were asked for: one cache
/// line ([`FragCache`] shows it), so that devices that are not coherent and processors that write neighbours stay out of each other's way (kernel
/// dc0df5a0c62c, after an odd size made the next offset odd).
pub const FRAG_ALIGN: usize = 64;

/// The page that fragments are being cut from, beside the pool that it comes from.
///
/// Held by the pool's consumer, and one page out until it is dropped. A page that has no room left for a fragment is begun
/// anew in place if all its fragments are back by then; otherwise its last fragment puts it, and another page takes its
/// turn.
///
/// # Examples
///
/// ```
/// # use pp_core::{Home, PagePool, doc::Heap};
/// use pp_frag::FragCache;
///
/// let mut pool = PagePool::builder(Home::new(Heap::new(4096, 8))).build()?;
/// let mut cache = FragCache::new();
/// let mut small = cache.alloc(&mut pool, 100)?;
/// small.copy_from_slice(&[7; 100]);
/// let large = cache.alloc(&mut pool, 1536)?;
/// assert_eq!((small.truesize(), large.offset(), large.truesize()), (128, 128, 1536));
/// std::thread::spawn(move || drop(large)).join().unwrap(); // any thread
/// cache.recycle(&mut pool, small);                         // no atomic operation
/// let burst: Vec<_> = (0..3).map(|_| cache.alloc(&mut pool, 700)).collect::<Result<_, _>>()?;
/// cache.recycle_all(&mut pool, burst);
/// assert_eq!(pool.stats().in_use(), 1);                    // the cache's page
/// drop(cache);
/// assert_eq!(pool.stats().in_use(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FragCache<A: Access = Host> {
    page: Option<Fragmented<A>>,
    /// Why there was no fragment the last time there was none.
    error: FragError,
}

impl<A: Access> FragCache<A> {
    /// A cache without a page.
    #[inline]
    pub const fn new() -> Self {
        FragCache { page: None, error: FragError::Empty }
    }

    /// A fragment of `size` bytes, which hold what their last holder left in them.
    ///
    /// Of a page that has no room for two of that size it is the whole page, and a rest too small for another of that
    /// size goes to this one; [`Frag::truesize`] says what it really takes. No lock and no atomic read-modify-write
    /// unless another page is needed (`page_pool_alloc`).
    ///
    /// # Errors
    ///
    /// [`FragError`].
    #[inline]
    #[cfg_attr(feature = "leak-trace", track_caller)]
    pub fn alloc(&mut self, pool: &mut PagePool<A>, size: usize) -> Result<Frag<A>, FragError> {
        // Spelled out, because no closure tells who called; and joined once both ways have their result in registers.
        let part = match &mut self.page {
            Some(page) => cut(page, size),
            None => None,
        };
        let part = match part {
            Some(part) => Some(part),
            None => self.part_slow(pool, size),
        };
        match part {
            Some(part) => Ok(Frag::new(part, size)),
            None => Err(self.error),
        }
    }

    /// Without a page that has room; on `None` the reason is in `self.error`, so that what is returned fits into registers.
    #[cold]
    #[cfg_attr(feature = "leak-trace", track_caller)]
    fn part_slow(&mut self, pool: &mut PagePool<A>, size: usize) -> Option<PagePart<A>> {
        let page_bytes = pool.page_bytes();
        if size == 0 {
            self.error = FragError::Empty;
            return None;
        }
        if size > page_bytes {
            self.error = FragError::TooLarge { size, page_bytes };
            return None;
        }
        let split = size <= room_for_two(page_bytes);
        if split
            && let Some(page) = self.page.take()
            && let Some(page) = pool.renew(page)
        {
            return cut(self.page.insert(page), size);
        }
        match pool.alloc() {
            Ok(page) if page.len() < page_bytes => {
                // Its provider gave less than it says that it does.
                self.error = FragError::TooLarge { size, page_bytes: page.len() };
                None
            }
            Ok(page) if split => cut(self.page.insert(Fragmented::from(page)), size),
            Ok(page) => Some(PagePart::from(page)),
            Err(error) => {
                self.error = FragError::Alloc(error);
                None
            }
        }
    }

    /// Gives a fragment back on the consumer's side. One of the page that is being cut costs no atomic operation, and
    /// if it was the last one cut, the next one gets its bytes, as `recycle_direct` does it with pages: uncleared, also in a pool
    /// that clears between owners. Others are dropped, and a page that nobody holds any more goes straight into the pool's cache.
    #[inline]
    pub fn recycle(&mut self, pool: &mut PagePool<A>, frag: Frag<A>) {
        if let Some(part) = self.rejoin(frag) {
            pool.recycle_part(part);
        }
    }

    /// Gives many back: neighbours in the iteration that are of one page cost one atomic operation together, or none.
    #[inline]
    pub fn recycle_all(&mut self, pool: &mut PagePool<A>, frags: impl IntoIterator<Item = Frag<A>>) {
        pool.recycle_parts(frags.into_iter().filter_map(|frag| self.rejoin(frag)));
    }

    /// Takes a fragment back into the page that is being cut, if it is of that one.
    #[inline]
    fn rejoin(&mut self, frag: Frag<A>) -> Option<PagePart<A>> {
        let part = frag.into_part();
        match &mut self.page {
            // What splitting left at an odd place must not be where the next fragment begins.
            Some(page) if part.offset().is_multiple_of(FRAG_ALIGN) => page.rejoin(part).err().map(|error| error.buffer),
            _ => Some(part),
        }
    }
}

impl<A: Access> Default for FragCache<A> {
    fn default() -> Self {
        FragCache::new()
    }
}

/// The largest size of which two fit a page, each beginning where fragments may begin.
#[inline(always)]
fn room_for_two(page_bytes: usize) -> usize {
    page_bytes / 2 / FRAG_ALIGN * FRAG_ALIGN
}

/// A part for a fragment of `size` bytes, if that is a size that two fit of and the page has room for one.
#[inline(always)]
fn cut<A: Access>(page: &mut Fragmented<A>, size: usize) -> Option<PagePart<A>> {
    if size == 0 || size > room_for_two(page.page_bytes()) {
        return None;
    }
    let bytes = size.next_multiple_of(FRAG_ALIGN);
    let uncut = page.uncut();
    // A rest that would hold no other goes along.
    page.cut(if uncut < 2 * bytes { uncut.max(bytes) } else { bytes }).ok()
}
