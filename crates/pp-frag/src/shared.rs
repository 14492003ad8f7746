//! One fragment, counted.

use core::ops::Deref;

use pp_core::{Access, DmaAddr, Exposed, Host, OutOfRange, SharedPart};

/// Bytes of a page that several hold and nobody writes; made by [`Frag::share`](crate::Frag::share).
///
/// Each handle is one reference to the page, of the same kind that a fragment is, and has its own view of the bytes.
///
/// # Examples
///
/// ```
/// # use pp_core::{Home, PagePool, doc::Heap};
/// # use pp_frag::FragCache;
/// # let mut pool = PagePool::builder(Home::new(Heap::new(4096, 8))).build()?;
/// # let mut cache = FragCache::new();
/// let mut frag = cache.alloc(&mut pool, 11)?;
/// frag.copy_from_slice(b"hello world");
/// let mut hello = frag.share();
/// let mut world = hello.slice(6, 5)?;
/// hello.truncate(5);
/// assert_eq!((hello.len(), hello.is_empty(), hello.truesize(), hello.dma_addr()), (5, false, 64, None));
/// world.trim_front(0)?;
/// assert_eq!(world.offset(), 6);
/// std::thread::spawn(move || assert_eq!(&*world, b"world")).join().unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// ```compile_fail,E0594
/// # use pp_core::{Home, PagePool, doc::Heap};
/// # use pp_frag::FragCache;
/// # let mut pool = PagePool::builder(Home::new(Heap::new(4096, 8))).build().unwrap();
/// let mut shared = FragCache::new().alloc(&mut pool, 100).unwrap().share();
/// shared[0] = 1; // others may be reading
/// ```
#[derive(Clone, Debug)]
pub struct SharedFrag<A: Access = Host> {
    part: SharedPart<A>,
    /// First byte of the view, from the part's first.
    start: u32,
    /// Bytes in the view; `start + len` is at most the part's length.
    len: u32,
}

impl<A: Access> SharedFrag<A> {
    #[inline]
    pub(crate) fn new(part: SharedPart<A>, start: u32, len: u32) -> Self {
        SharedFrag { part, start, len }
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

    /// Bytes of the page that stay taken as long as any handle is there.
    #[inline]
    pub fn truesize(&self) -> usize {
        self.part.len()
    }

    /// The first byte, counted from the page's first.
    #[inline]
    pub fn offset(&self) -> usize {
        self.part.offset() + self.start as usize
    }

    /// Where the device finds the first byte; `None` when the page is not mapped.
    #[inline]
    pub fn dma_addr(&self) -> Option<DmaAddr> {
        self.part.dma_addr().map(|first| DmaAddr(first.0 + u64::from(self.start)))
    }

    /// Another handle, to `len` of the bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] when the range is not within this one.
    pub fn slice(&self, offset: usize, len: usize) -> Result<Self, OutOfRange> {
        OutOfRange::check(offset, len, self.len())?;
        Ok(SharedFrag { part: self.part.clone(), start: self.start + offset as u32, len: len as u32 })
    }

    /// Sees the first `count` bytes no more.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] when there are fewer; nothing changes.
    #[inline]
    pub fn trim_front(&mut self, count: usize) -> Result<(), OutOfRange> {
        OutOfRange::check(0, count, self.len())?;
        self.start += count as u32;
        self.len -= count as u32;
        Ok(())
    }

    /// Sees only the first `len` bytes; nothing if there are fewer.
    #[inline]
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(u32::try_from(len).unwrap_or(u32::MAX));
    }
}

impl SharedFrag<Exposed> {
    /// Copies bytes out, from `offset` on; another process may be writing them. See [`Exposed`].
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] when the range is not within the view; nothing is copied.
    pub fn copy_to(&self, offset: usize, out: &mut [u8]) -> Result<(), OutOfRange> {
        OutOfRange::check(offset, out.len(), self.len())?;
        self.part.copy_to(self.start as usize + offset, out)
    }
}

impl Deref for SharedFrag<Host> {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        let (start, len) = (self.start as usize, self.len as usize);
        // Always there; asked for so that no panic is compiled in.
        self.part.get(start..start + len).unwrap_or_default()
    }
}

impl AsRef<[u8]> for SharedFrag<Host> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}
