//! Memory type page-order0: whole pages of nobody's pool.

use pp_core::{AllocError, Backing, BuildError, Home, Host, Page, Recycling};

use crate::buffer::Buffer;
use crate::mem_type::MemType;
use crate::memory::{MemModel, Memory};
use crate::returns::{Loan, Stock};
use crate::source::Source;

/// A page a packet, on no pool's books: nothing is mapped, synced or counted for it. What the kernel has from `alloc_page` and gives
/// back by `put_page`, with a free list between, so that the provider is not asked for each.
///
/// # Examples
///
/// ```
/// # use pp_core::{Home, doc::Heap};
/// use pp_xdp::{Memory, Order0Pages};
/// let mut pages = Order0Pages::new(Home::new(Heap::new(4096, 8)), 8)?;
/// let mut page = pages.page()?;
/// page.bytes_mut()[0] = 1;
/// assert_eq!((page.bytes()[0], page.bytes().len(), pages.page_bytes()), (1, 4096, 4096));
/// std::thread::spawn(move || drop(page)).join().unwrap(); // on the free list again
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Order0Pages {
    stock: Stock<Page<Host>>,
    source: Source,
}

/// A page of an [`Order0Pages`], which shows one, owned. Dropping it puts it on the free list; if that is full or gone, sends it home.
#[must_use = "a page that is not kept goes back to its allocator"]
pub struct Order0Page(Loan<Page<Host>>);

impl Order0Pages {
    /// Pages of `home`, of which up to `keep` lie idle here on each side, the consumer's and that of those who return; more go
    /// home.
    ///
    /// # Errors
    ///
    /// [`BuildError`]: [`OutOfMemory`](BuildError::OutOfMemory) also for a `keep` that there is no memory to list.
    pub fn new<P: Backing<Access = Host>>(home: impl Into<Home<P>>, keep: usize) -> Result<Self, BuildError> {
        let source = Source::new(home, "page-order0")?;
        Ok(Order0Pages { stock: Stock::new(keep)?, source })
    }

    /// A page.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when there is none now.
    #[cfg_attr(feature = "leak-trace", track_caller)]
    pub fn page(&mut self) -> Result<Order0Page, AllocError> {
        let page = match self.stock.pop() {
            Some(page) => page,
            None => self.source.page()?,
        };
        Ok(Order0Page(self.stock.lend(page)))
    }

    /// Bytes in a page.
    pub fn page_bytes(&self) -> usize {
        self.source.page_bytes()
    }
}

impl Memory for Order0Pages {
    fn model(&self) -> MemModel {
        MemModel::new(MemType::PageOrder0, self.source.handle())
    }

    #[cfg_attr(feature = "leak-trace", track_caller)]
    fn alloc(&mut self) -> Result<Buffer, AllocError> {
        self.page().map(Buffer::Order0)
    }

    fn recycle(&mut self, buffer: Buffer) {
        match buffer {
            Buffer::Order0(page) => self.stock.recycle(page.0),
            other => drop(other),
        }
    }
}

impl core::fmt::Debug for Order0Pages {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Order0Pages")
            .field("free", &self.stock.len())
            .field("keep", &self.stock.keep())
            .finish_non_exhaustive()
    }
}

impl Order0Page {
    /// Its bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        self.0.get().map(|page| &**page).unwrap_or_default()
    }

    /// Its bytes, for writing.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.0.get_mut().map(|page| &mut **page).unwrap_or_default()
    }

    pub(crate) fn recycling(&self) -> Recycling {
        self.0.get().map_or(Recycling::Allowed, |page| page.descriptor().recycling())
    }
}

impl core::fmt::Debug for Order0Page {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Order0Page").field(&self.0.get()).finish()
    }
}
