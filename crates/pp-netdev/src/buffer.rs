//! What a packet lies in: a page of its own, or a part of one.

use pp_core::{DmaAddr, Host, Page, PagePart, RawPart};

/// A packet's memory, and its only owner. Drivers choose per queue which kind they post ([`Buffers`](crate::Buffers)), rings and
/// devices take both.
///
/// # Examples
///
/// ```
/// # use pp_core::{Home, PagePart, PagePool, doc::Heap};
/// # use pp_netdev::Buffer;
/// # let mut pool = PagePool::builder(Home::new(Heap::new(4096, 8))).build()?;
/// let mut page = Buffer::from(pool.alloc()?);
/// page.bytes_mut()[..4].copy_from_slice(b"ping");
/// let mut part = PagePart::from(pool.alloc()?);
/// let part = Buffer::from(part.split_off(4000)?);
/// assert_eq!((page.len(), part.len(), part.is_empty(), part.dma_addr()), (4096, 96, false, None));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a buffer that is not kept goes straight back to its pool"]
pub enum Buffer {
    /// A page a packet.
    Page(Page<Host>),
    /// Several packets to a page.
    Part(PagePart<Host>),
}

impl Buffer {
    /// Bytes in it.
    #[inline]
    pub fn len(&self) -> usize {
        match self {
            Buffer::Page(page) => page.len(),
            Buffer::Part(part) => part.len(),
        }
    }

    /// Whether it has none, which only a part can.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the device finds the first byte.
    #[inline]
    pub fn dma_addr(&self) -> Option<DmaAddr> {
        match self {
            Buffer::Page(page) => page.dma_addr(),
            Buffer::Part(part) => part.dma_addr(),
        }
    }

    /// All of its bytes.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Buffer::Page(page) => page,
            Buffer::Part(part) => part,
        }
    }

    /// Gives the buffer to a ring. A length of 0 says that it is a page: an empty part is not posted.
    #[inline]
    pub(crate) fn into_raw(self) -> RawPart {
        match self {
            Buffer::Page(page) => RawPart { descriptor: page.into_raw(), offset: 0, len: 0 },
            Buffer::Part(part) => part.into_raw(),
        }
    }

    /// Takes back what [`into_raw`](Buffer::into_raw) gave away.
    ///
    /// # Safety
    ///
    /// `raw` came from `into_raw` of a buffer that was not empty, is taken back once, and nobody writes its bytes any more.
    #[inline]
    pub(crate) unsafe fn from_raw(raw: RawPart) -> Self {
        if raw.len == 0 {
            // SAFETY: the caller's promise; only pages say 0.
            Buffer::Page(unsafe { Page::from_raw(raw.descriptor) })
        } else {
            // SAFETY: the caller's promise.
            Buffer::Part(unsafe { PagePart::from_raw(raw) })
        }
    }
}

impl From<Page<Host>> for Buffer {
    #[inline]
    fn from(page: Page<Host>) -> Self {
        Buffer::Page(page)
    }
}

impl From<PagePart<Host>> for Buffer {
    #[inline]
    fn from(part: PagePart<Host>) -> Self {
        Buffer::Part(part)
    }
}
