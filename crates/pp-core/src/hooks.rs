//! What a pool does to a page once a stay: when it enters from the provider, and when it leaves.
//!
//! Kernel counterpart: the `init_callback` of `struct page_pool_params` (Linux 7.3); leaving has none there.

use alloc::boxed::Box;
use core::marker::PhantomData;

use crate::access::{Access, CpuAccess, Host};
use crate::descriptor::Descriptor;
use crate::dma::DmaAddr;
use crate::provider::NodeId;
use crate::sync::{Mutant, Ordering, mutant};

/// A page as its hook sees it: the bytes, and nothing that would let it keep or swap the page.
///
/// # Examples
///
/// ```
/// # use pp_core::{Home, PagePool, doc::Heap};
/// use pp_core::NodeId;
/// let mut pool = PagePool::builder(Home::new(Heap::new(4096, 8)))
///     .page_in(|mut page| {
///         assert_eq!((page.len(), page.node(), page.dma_addr()), (4096, NodeId(0), None));
///         if let Some(bytes) = page.bytes_mut() {
///             bytes[..4].copy_from_slice(b"new!");
///         }
///     })
///     .page_out(|mut page| {
///         let first = page.as_mut_ptr(); // for memory that is no slice; others may be reading it
///         assert!(!first.is_null());
///     })
///     .build()?;
/// assert_eq!(&pool.alloc()?[..4], b"new!");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PageView<'a, A: Access> {
    descriptor: &'a Descriptor,
    _access: PhantomData<&'a mut A>,
}

impl<'a, A: Access> PageView<'a, A> {
    /// # Safety
    ///
    /// The caller owns the page during `'a`, its memory is of kind `A`, and there is no other view.
    pub(crate) unsafe fn new(descriptor: &'a Descriptor) -> Self {
        PageView { descriptor, _access: PhantomData }
    }

    /// Bytes in the page.
    #[allow(clippy::len_without_is_empty, reason = "a page is never empty")]
    pub fn len(&self) -> usize {
        self.descriptor.unit_bytes()
    }

    /// The node it lies on.
    pub fn node(&self) -> NodeId {
        self.descriptor.node()
    }

    /// Where the device finds it, if it is mapped.
    pub fn dma_addr(&self) -> Option<DmaAddr> {
        self.descriptor.dma()
    }
}

impl<A: CpuAccess> PageView<'_, A> {
    /// First byte. Others may be reading while `bytes_mut` of a host page says `None`.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.descriptor.addr()
    }
}

impl PageView<'_, Host> {
    /// The bytes. `None` in a page-out hook when others still hold the page, and read it:
    /// [`Shared::release`](crate::Shared::release).
    pub fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        // Relaxed: the count is over 0 exactly while the page is shared, and then one of the handles is our caller's.
        if self.descriptor.refs.load(Ordering::Relaxed) > 0 && !mutant(Mutant::PageOutWrites) {
            return None;
        }
        self.descriptor.bytes.bury();
        // SAFETY: host memory is valid and initialised for its length (`Backing`). The page is not shared, so this view,
        // which is borrowed exclusively, is its only user.
        Some(unsafe { core::slice::from_raw_parts_mut(self.descriptor.addr(), self.descriptor.unit_bytes()) })
    }
}

impl<A: Access> core::fmt::Debug for PageView<'_, A> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("PageView").field("descriptor", self.descriptor).finish()
    }
}

/// When a pool clears pages. Always off the fast path.
///
/// # Examples
///
/// ```
/// # use pp_core::{Home, PagePool, doc::Heap};
/// use pp_core::Zeroing;
/// let pool = PagePool::builder(Home::new(Heap::new(4096, 1))).cache(1);
/// let mut pool = pool.zeroing(Zeroing::OnCrossOwner).build()?;
/// let mut page = pool.alloc()?;
/// page.fill(0xff);
/// std::thread::spawn(move || drop(page)).join().unwrap(); // another owner
/// assert!(pool.alloc()?.iter().all(|byte| *byte == 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Zeroing {
    /// Never: pages hold what their last holder left.
    #[default]
    Never,
    /// When a page enters from the provider: what another pool or process left in it is never readable.
    OnEntry,
    /// On entry, and whenever a page comes back from anybody but the consumer: through the ring, a bag or a bulk
    /// put; a page in parts counts as anybody's. What one holder left is then not readable by the next; what the consumer
    /// recycles directly stays its own business, and so does a part that it lets rejoin its page.
    OnCrossOwner,
}

/// A hook without its access type.
pub(crate) type ErasedHook = Box<dyn Fn(&Descriptor) + Send + Sync>;

pub(crate) fn erase<A: Access>(hook: impl Fn(PageView<'_, A>) + Send + Sync + 'static) -> ErasedHook {
    Box::new(move |descriptor| {
        // SAFETY: the pool calls hooks on pages that it owns at that moment, one call a page; the builder pairs the
        // hook's `A` with the provider's.
        hook(unsafe { PageView::new(descriptor) });
    })
}

/// Clears the bytes of a page.
///
/// The stores are volatile, as in [`Page::copy_from`](crate::Page::copy_from): the memory may be exposed, which is not known
/// here, and then be written by others meanwhile, through a second mapping in this process as well.
///
/// # Safety
///
/// The caller owns the page, and the CPU can write its memory.
pub(crate) unsafe fn zero(descriptor: &Descriptor) {
    descriptor.bytes.bury();
    let (start, bytes) = (descriptor.addr(), descriptor.unit_bytes());
    let words = if start.cast::<usize>().is_aligned() { bytes / size_of::<usize>() } else { 0 };
    for word in 0..words {
        // SAFETY: inside the unit, which is valid for writes of its length by `Backing` and the caller's; the word is
        // aligned like the first.
        unsafe { start.cast::<usize>().add(word).write_volatile(0) };
    }
    for byte in words * size_of::<usize>()..bytes {
        // SAFETY: as above, and a byte is always aligned.
        unsafe { start.add(byte).write_volatile(0) };
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_page_is_cleared_however_it_lies() {
        for (skip, len) in [(0, 64), (8, 61), (3, 64), (5, 1), (0, 0)] {
            let mut memory = alloc::vec![0xffff_ffff_ffff_ffff_u64; 16];
            let start = memory.as_mut_ptr().cast::<u8>();
            let descriptor = Descriptor::new(start.wrapping_add(skip), len, NodeId(0));
            // SAFETY: the bytes are inside the vector, which nobody else has.
            unsafe { zero(&descriptor) };
            let bytes = memory.iter().flat_map(|word| word.to_ne_bytes());
            let cleared: alloc::vec::Vec<_> =
                (0..).zip(bytes).filter(|(_, byte)| *byte == 0).map(|(at, _)| at).collect();
            assert!(cleared.into_iter().eq(skip..skip + len as usize));
        }
    }
}
