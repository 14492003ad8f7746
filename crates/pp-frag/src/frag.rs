//! One fragment, owned.

use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

use pp_core::{Access, DmaAddr, Exposed, GivenBack, Host, OutOfRange, PagePart, PartError, defrag_all};

use crate::shared::SharedFrag;
use crate::view::View;

/// Bytes of a page, and their only owner.
///
/// Dropping it gives its reference to the page back, on any thread; the last one puts the page like any other. It knows
/// where it lies, how many of its bytes are in use ([`len`](Frag::len)), how many could be ([`capacity`](Frag::capacity)), and
/// what it takes from its page ([`truesize`](Frag::truesize)). Host memory derefs to the bytes in use.
///
/// # Examples
///
/// ```
/// # use pp_core::{Home, PagePool, doc::Heap};
/// # use pp_frag::FragCache;
/// # let mut pool = PagePool::builder(Home::new(Heap::new(4096, 8))).build()?;
/// # let mut cache = FragCache::new();
/// let mut packet = cache.alloc(&mut pool, 1500)?;
/// packet[..14].copy_from_slice(b"ethernetheader");
/// let payload = packet.split_off(14)?;   // no copy: two owners, of bytes that do not overlap
/// assert_eq!((packet.len(), payload.len()), (14, 1486));
/// packet.coalesce(payload).map_err(|error| error.reason)?;
/// assert_eq!((packet.len(), packet.is_empty(), packet.offset(), packet.dma_addr()), (1500, false, 0, None));
/// assert_eq!((packet.capacity(), packet.truesize()), (1536, 1536));
///
/// // What is in use gets less and more, at both ends.
/// packet.trim_front(14)?;
/// packet.truncate(1000);
/// assert_eq!((packet.len(), packet.offset(), packet.room_mut().len()), (1000, 14, 522));
/// let header = packet.split_to(20)?;
/// assert_eq!((header.len(), packet.offset()), (20, 34));
/// packet.clear();
/// packet.set_len(100)?;
///
/// // The bytes that are owned, in use or not.
/// assert_eq!(packet.part().addr(), packet.addr());
/// let part = packet.into_part();
/// pp_frag::drop_all([header, part.into()]); // one page: one atomic operation
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// It is not `Clone`; several hold a [`SharedFrag`]:
///
/// ```compile_fail,E0599
/// # use pp_core::{Home, PagePool, doc::Heap};
/// # use pp_frag::FragCache;
/// # let mut pool = PagePool::builder(Home::new(Heap::new(4096, 8))).build().unwrap();
/// let frag = FragCache::new().alloc(&mut pool, 100).unwrap();
/// let again = frag.clone();
/// ```
#[derive(Debug)]
#[must_use = "a fragment that is not kept goes straight back to its page"]
pub struct Frag<A: Access = Host> {
    part: PagePart<A>,
    /// The bytes in use.
    view: View,
}

const _: () = assert!(size_of::<Option<Frag>>() == size_of::<usize>() + 16);

impl<A: Access> Frag<A> {
    /// `len` is at most the part's.
    #[inline(always)]
    pub(crate) fn new(part: PagePart<A>, len: usize) -> Self {
        debug_assert!(len <= part.len());
        Frag { part, view: View { start: 0, len: len as u32 } }
    }

    /// How many bytes are in use.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.view.len()
    }

    /// Whether none are.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.view.len == 0
    }

    /// How many bytes could be in use, from the first one that is.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.part.len() - self.view.start()
    }

    /// Bytes of the page that nobody else can have as long as this fragment is there: what a receive buffer must be charged
    /// with. As they are cut, the true sizes of a page's fragments, and what is not cut of it yet, add up to the page.
    #[inline]
    pub fn truesize(&self) -> usize {
        self.part.len()
    }

    /// The first byte in use, counted from the page's first.
    #[inline]
    pub fn offset(&self) -> usize {
        self.part.offset() + self.view.start()
    }

    /// The address of the first byte in use, where the CPU has one for it.
    #[inline]
    pub fn addr(&self) -> Option<NonNull<u8>> {
        let first = self.part.addr()?;
        NonNull::new(first.as_ptr().wrapping_add(self.view.start()))
    }

    /// Where the device finds the first byte in use; `None` when the page is not mapped.
    #[inline]
    pub fn dma_addr(&self) -> Option<DmaAddr> {
        self.part.dma_addr().map(|first| DmaAddr(first.0 + u64::from(self.view.start)))
    }

    /// The bytes that are owned, in use or not.
    #[inline]
    pub fn part(&self) -> &PagePart<A> {
        &self.part
    }

    /// Forgets which bytes are in use.
    #[inline]
    pub fn into_part(self) -> PagePart<A> {
        self.part
    }

    /// Uses only the first `len` bytes; those behind are room again. Nothing if there are fewer.
    #[inline]
    pub fn truncate(&mut self, len: usize) {
        self.view.truncate(len);
    }

    /// Uses none of the bytes: what a writer begins with.
    #[inline]
    pub fn clear(&mut self) {
        self.view.len = 0;
    }

    /// Uses `len` bytes: fewer, or more of those behind, which hold what their last holder left in them.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] when that is more than the [`capacity`](Frag::capacity); nothing changes.
    #[inline]
    pub fn set_len(&mut self, len: usize) -> Result<(), OutOfRange> {
        OutOfRange::check(0, len, self.capacity())?;
        self.view.len = len as u32;
        Ok(())
    }

    /// Uses the first `count` bytes no more. They stay part of the fragment.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] when fewer are in use; nothing changes.
    #[inline]
    pub fn trim_front(&mut self, count: usize) -> Result<(), OutOfRange> {
        self.view.trim_front(count)
    }

    /// Cuts the fragment in two: it keeps the first `at` of its bytes in use, the others and the room behind are returned.
    ///
    /// # Errors
    ///
    /// [`PartError`] when fewer are in use; the fragment is as it was.
    pub fn split_off(&mut self, at: usize) -> Result<Self, PartError> {
        if at > self.len() {
            return Err(PartError::OutOfRange { at, len: self.len() });
        }
        let part = self.part.split_off(self.view.start() + at)?;
        let rest = self.len() - at;
        self.view.len = at as u32;
        Ok(Frag::new(part, rest))
    }

    /// The same, but the first `at` bytes are returned.
    ///
    /// # Errors
    ///
    /// As [`split_off`](Frag::split_off).
    pub fn split_to(&mut self, at: usize) -> Result<Self, PartError> {
        let rest = self.split_off(at)?;
        Ok(core::mem::replace(self, rest))
    }

    /// Adds the fragment whose bytes in use lie directly behind this one's, in the same page.
    ///
    /// # Errors
    ///
    /// `other`, when it is no such neighbour: of another page, from elsewhere in this one, or with room between the two.
    /// Both are as they were.
    pub fn coalesce(&mut self, other: Self) -> Result<(), GivenBack<Self, PartError>> {
        if self.len() < self.capacity() || other.view.start > 0 {
            return Err(GivenBack { buffer: other, reason: PartError::NotNeighbours });
        }
        let Frag { part, view } = other;
        self.part.coalesce(part).map_err(|GivenBack { buffer: part, reason }| {
            let buffer = Frag { part, view };
            GivenBack { buffer, reason }
        })?;
        self.view.len += view.len;
        Ok(())
    }

    /// Makes the fragment countable: many read-only handles, none of which may write. Costs nothing.
    #[inline]
    pub fn share(self) -> SharedFrag<A> {
        SharedFrag::new(self.part.share(), self.view)
    }
}

impl<A: Access> From<PagePart<A>> for Frag<A> {
    /// All bytes in use.
    #[inline]
    fn from(part: PagePart<A>) -> Self {
        let len = part.len();
        Frag::new(part, len)
    }
}

/// Drops many fragments: neighbours in the iteration that are of one page cost one atomic operation together. See [`Frag`].
#[inline]
pub fn drop_all<A: Access>(frags: impl IntoIterator<Item = Frag<A>>) {
    defrag_all(frags.into_iter().map(Frag::into_part), drop);
}

impl Frag<Exposed> {
    /// Copies bytes in use out, from `offset` on; another process may be writing them. See [`Exposed`].
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] when the range is not in use; nothing is copied.
    pub fn copy_to(&self, offset: usize, out: &mut [u8]) -> Result<(), OutOfRange> {
        let place = self.view.slice(offset, out.len())?;
        self.part.copy_to(place.start(), out)
    }

    /// Copies bytes in, over bytes in use, from `offset` on. See [`Exposed`].
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] when the range is not in use; nothing is copied.
    pub fn copy_from(&mut self, offset: usize, bytes: &[u8]) -> Result<(), OutOfRange> {
        let place = self.view.slice(offset, bytes.len())?;
        self.part.copy_from(place.start(), bytes)
    }
}

impl Deref for Frag<Host> {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        // Always there; asked for so that no panic is compiled in.
        self.part.get(self.view.range()).unwrap_or_default()
    }
}

impl DerefMut for Frag<Host> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [u8] {
        self.part.get_mut(self.view.range()).unwrap_or_default()
    }
}

impl Frag<Host> {
    /// The room behind the bytes in use, which holds what its last holder left in it.
    #[inline]
    pub fn room_mut(&mut self) -> &mut [u8] {
        let end = self.view.range().end;
        self.part.get_mut(end..).unwrap_or_default()
    }
}

impl AsRef<[u8]> for Frag<Host> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl AsMut<[u8]> for Frag<Host> {
    fn as_mut(&mut self) -> &mut [u8] {
        self
    }
}
