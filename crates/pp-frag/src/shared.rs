//! One fragment, counted.

use core::ops::Deref;

use pp_core::{Access, DmaAddr, Exposed, Host, OutOfRange, SharedPart};

use crate::view::View;

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
    view: View,
}

impl<A: Access> SharedFrag<A> {
    #[inline]
    pub(crate) fn new(part: SharedPart<A>, view: View) -> Self {
        SharedFrag { part, view }
    }

    /// How many bytes.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.view.len()
    }

    /// Whether there are none.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.view.len == 0
    }

    /// Bytes of the page that stay taken as long as any handle is there.
    #[inline]
    pub fn truesize(&self) -> usize {
        self.part.len()
    }

    /// The first byte, counted from the page's first.
    #[inline]
    pub fn offset(&self) -> usize {
        self.part.offset() + self.view.start()
    }

    /// Where the device finds the first byte; `None` when the page is not mapped.
    #[inline]
    pub fn dma_addr(&self) -> Option<DmaAddr> {
        self.part.dma_addr().map(|first| DmaAddr(first.0 + u64::from(self.view.start)))
    }

    /// Another handle, to `len` of the bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] when the range is not within this one.
    pub fn slice(&self, offset: usize, len: usize) -> Result<Self, OutOfRange> {
        let view = self.view.slice(offset, len)?;
        Ok(SharedFrag { part: self.part.clone(), view })
    }

    /// Sees the first `count` bytes no more.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] when there are fewer; nothing changes.
    #[inline]
    pub fn trim_front(&mut self, count: usize) -> Result<(), OutOfRange> {
        self.view.trim_front(count)
    }

    /// Sees only the first `len` bytes; nothing if there are fewer.
    #[inline]
    pub fn truncate(&mut self, len: usize) {
        self.view.truncate(len);
    }
}

impl SharedFrag<Exposed> {
    /// Copies bytes out, from `offset` on; another process may be writing them. See [`Exposed`].
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] when the range is not within the view; nothing is copied.
    pub fn copy_to(&self, offset: usize, out: &mut [u8]) -> Result<(), OutOfRange> {
        let place = self.view.slice(offset, out.len())?;
        self.part.copy_to(place.start(), out)
    }
}

impl Deref for SharedFrag<Host> {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        // Always there; asked for so that no panic is compiled in.
        self.part.get(self.view.range()).unwrap_or_default()
    }
}

impl AsRef<[u8]> for SharedFrag<Host> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}
