//! What drivers did before there was a pool, in two classic forms. Both are built on reference counts that everybody who
//! is done with a page takes down by an atomic operation, and both go to the system's allocator when they fail.

use alloc::alloc::{alloc, dealloc};
use core::alloc::Layout;
use core::sync::atomic::{AtomicUsize, Ordering, fence};

use crate::loops::Direct;

const PAGE: Layout = Layout::new::<super::queues::PageBytes>();

/// What stands for the kernel's `struct page`: a count beside the memory.
struct Head {
    /// How many hold the page; whoever takes it to 0 frees it.
    refs: AtomicUsize,
    memory: *mut u8,
}

impl Head {
    #[cold]
    fn new(refs: usize) -> *mut Head {
        // SAFETY: not of size 0.
        let memory = unsafe { alloc(PAGE) };
        assert!(!memory.is_null(), "no memory for a page");
        Box::into_raw(Box::new(Head { refs: AtomicUsize::new(refs), memory }))
    }

    /// Drops `count` references.
    ///
    /// # Safety
    ///
    /// The caller holds so many and uses none of them again.
    #[inline(always)]
    unsafe fn drop_refs(head: *mut Head, count: usize) {
        // SAFETY: held by the caller. Release pairs with the fence below and with `is_free`'s load.
        if unsafe { (*head).refs.fetch_sub(count, Ordering::Release) } == count {
            fence(Ordering::Acquire);
            // SAFETY: the last reference: made by `new`, freed once.
            unsafe {
                dealloc((*head).memory, PAGE);
                drop(Box::from_raw(head));
            }
        }
    }
}

/// A ring of pages that were received and perhaps not given back yet. Only the one that lies there longest is looked at: if
/// somebody still holds it, a new page is allocated, whatever lies behind it (head-of-line blocking).
pub(crate) struct PageRing {
    pages: Box<[*mut Head]>,
    head: usize,
    tail: usize,
}

// SAFETY: the ring owns a reference to each page between head and tail; counts are atomic.
unsafe impl Send for PageRing {}

impl PageRing {
    /// Of so many places, a power of two.
    pub(crate) fn new(places: usize) -> Self {
        assert!(places.is_power_of_two());
        PageRing { pages: vec![core::ptr::null_mut(); places].into(), head: 0, tail: 0 }
    }

    #[inline(always)]
    fn place(&mut self, at: usize) -> &mut *mut Head {
        let mask = self.pages.len() - 1;
        &mut self.pages[at & mask]
    }

    /// The page that lies there longest, if nobody else holds it.
    #[inline(always)]
    fn take(&mut self) -> Option<*mut Head> {
        if self.head == self.tail {
            return None;
        }
        let page = *self.place(self.head);
        // SAFETY: a reference of ours. Acquire pairs with the Release in `drop_refs`.
        if unsafe { (*page).refs.load(Ordering::Acquire) } != 1 {
            return None;
        }
        self.head += 1;
        Some(page)
    }
}

impl Direct for PageRing {
    /// A head's address: pointers are not `Send`.
    type Item = usize;
    #[inline(always)]
    fn get(&mut self) -> Option<usize> {
        let page = self.take().unwrap_or_else(|| Head::new(1));
        // One reference for whoever receives it, one for the ring, which has it in view at once.
        // SAFETY: ours.
        unsafe { (*page).refs.fetch_add(1, Ordering::Relaxed) };
        if self.tail - self.head < self.pages.len() {
            let tail = self.tail;
            *self.place(tail) = page;
            self.tail += 1;
        } else {
            // SAFETY: the ring's reference, which found no place.
            unsafe { Head::drop_refs(page, 1) };
        }
        Some(page.expose_provenance())
    }
    #[inline(always)]
    fn put(&mut self, page: usize) {
        // SAFETY: the reference that `get` gave out.
        unsafe { Head::drop_refs(core::ptr::with_exposed_provenance_mut(page), 1) };
    }
}

impl Drop for PageRing {
    fn drop(&mut self) {
        for at in self.head..self.tail {
            let page = *self.place(at);
            // SAFETY: the ring's reference.
            unsafe { Head::drop_refs(page, 1) };
        }
    }
}

/// A receive ring of pages with two halves each. A half is given out while the other one waits for its turn; when that
/// comes and the half before is still out, the page is let go and a new one allocated. The count is paid in advance, so that
/// giving out a half costs no atomic operation.
pub(crate) struct BiasSplit {
    buffers: Box<[Buffer]>,
    next: usize,
}

struct Buffer {
    page: *mut Head,
    /// References that are paid and not given out.
    bias: usize,
    half: usize,
}

/// References that a page is paid with.
const PAID: usize = u16::MAX as usize;

impl Buffer {
    fn new() -> Self {
        Buffer { page: Head::new(PAID), bias: PAID, half: 0 }
    }
}

// SAFETY: as for the page ring: paid references are the ring's.
unsafe impl Send for BiasSplit {}

impl BiasSplit {
    /// Of so many buffers, a power of two.
    pub(crate) fn new(buffers: usize) -> Self {
        assert!(buffers.is_power_of_two());
        BiasSplit { buffers: (0..buffers).map(|_| Buffer::new()).collect(), next: 0 }
    }

    /// Gives back what `get` gave out, on whatever thread.
    #[inline(always)]
    pub(crate) fn put_half(item: usize) {
        // SAFETY: the reference that `get` gave out.
        unsafe { Head::drop_refs(core::ptr::with_exposed_provenance_mut(item & !1), 1) };
    }
}

impl Direct for BiasSplit {
    /// The head's address; which half, its lowest bit says.
    type Item = usize;
    #[inline(always)]
    fn get(&mut self) -> Option<usize> {
        let mask = self.buffers.len() - 1;
        let buffer = &mut self.buffers[self.next & mask];
        self.next += 1;
        let item = buffer.page.expose_provenance() | buffer.half;
        buffer.bias -= 1;
        // SAFETY: paid references keep it. Acquire pairs with the Release in `drop_refs`: the other half's user is done.
        let out = unsafe { (*buffer.page).refs.load(Ordering::Acquire) } - buffer.bias;
        if out > 1 {
            // SAFETY: the paid ones, none of which is used again.
            unsafe { Head::drop_refs(buffer.page, buffer.bias) };
            *buffer = Buffer::new();
            return Some(item);
        }
        buffer.half ^= 1;
        if buffer.bias == 1 {
            // SAFETY: as above.
            unsafe { (*buffer.page).refs.fetch_add(PAID - 1, Ordering::Relaxed) };
            buffer.bias = PAID;
        }
        Some(item)
    }
    #[inline(always)]
    fn put(&mut self, item: usize) {
        BiasSplit::put_half(item);
    }
}

impl Drop for BiasSplit {
    fn drop(&mut self) {
        for buffer in &self.buffers {
            // SAFETY: the paid references.
            unsafe { Head::drop_refs(buffer.page, buffer.bias) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BiasSplit, PageRing};
    use crate::loops::Direct;

    #[test]
    fn a_page_ring_reuses_and_is_blocked_by_its_head() {
        let mut ring = PageRing::new(4);
        let first = ring.get().unwrap();
        ring.put(first);
        assert_eq!(ring.get(), Some(first), "reused");
        // Held at the head: everything behind it is free, and yet each is a new one.
        let behind = [ring.get().unwrap(), ring.get().unwrap()];
        behind.into_iter().for_each(|page| ring.put(page));
        let fresh = ring.get().unwrap();
        assert!(!behind.contains(&fresh) && fresh != first);
        ring.put(fresh);
        ring.put(first);
    }

    #[test]
    fn a_split_page_alternates_and_is_let_go_when_both_are_out() {
        let mut split = BiasSplit::new(1);
        let first = split.get().unwrap();
        split.put(first);
        let second = split.get().unwrap();
        assert_eq!(first ^ second, 1, "the other half");
        let third = split.get().unwrap();
        assert_eq!(third, first);
        // Both halves were out: another page.
        let fourth = split.get().unwrap();
        assert_ne!(fourth & !1, first & !1);
        [second, third, fourth].into_iter().for_each(|half| split.put(half));
    }
}
