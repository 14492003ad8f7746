//! The count of references to a page that several hold, whatever they hold it for.
//!
//! Handles to a [`Shared`](crate::Shared) page and the parts of a [`Fragmented`](crate::Fragmented) one are counted in the
//! same word by the functions here, so what takes a reference and what drops it cannot differ: the kernel counts
//! some in the page and some in the pool, and mixed them up more than once (0646dc31ca88).
//!
//! Kernel counterpart: `pp_ref_count`, `page_pool_ref_netmem`, `page_pool_unref_netmem` (Linux 7.3; `pp_frag_count` before 6.8).

use crate::descriptor::Descriptor;
use crate::sync::{Mutant, Ordering, fence, mutant};

/// There are as many references to one page as can be counted.
#[derive(Debug)]
pub(crate) struct TooMany;

/// Takes one more reference, from a reference.
#[inline]
pub(crate) fn take(page: &Descriptor) -> Result<(), TooMany> {
    // Relaxed as for `Arc`: the caller's own reference keeps the page.
    if page.refs.fetch_add(1, Ordering::Relaxed) >= isize::MAX as usize {
        // An overflow would free the page under its holders, so the count goes back before anybody hears of it.
        page.refs.fetch_sub(1, Ordering::Relaxed);
        return Err(TooMany);
    }
    Ok(())
}

/// Whether the caller's `n` references are all there are: the page is its alone, and what the others did happened before.
#[inline]
pub(crate) fn are_all(page: &Descriptor, n: usize) -> bool {
    page.clock.tick();
    // Acquire pairs with the Release in `drop`.
    let acquire = if mutant(Mutant::RelaxedShortcut) { Ordering::Relaxed } else { Ordering::Acquire };
    page.refs.load(acquire) == n
}

/// Drops `n` references of the caller's at once. Whether they were the last: then the page is the caller's alone, and counted no more.
///
/// Looks first, and needs no read-modify-write if nobody else is left. Worth it where that is likely, and not else: a
/// locked instruction that has to wait for a load of the same word takes a third longer.
#[inline]
#[must_use = "the last reference is a page to be put"]
pub(crate) fn drop_likely_last(page: &Descriptor, n: usize) -> bool {
    if are_all(page, n) {
        // Relaxed: nobody else is left to read it.
        page.refs.store(0, Ordering::Relaxed);
        return true;
    }
    drop(page, n)
}

/// The same without looking first.
#[inline]
#[must_use = "the last reference is a page to be put"]
pub(crate) fn drop(page: &Descriptor, n: usize) -> bool {
    page.clock.tick();
    // Release: our use of the page happens before whatever the last holder makes of it. Pairs with the Acquire fence
    // below and the load in `are_all`.
    let release = if mutant(Mutant::RelaxedUnref) { Ordering::Relaxed } else { Ordering::Release };
    if page.refs.fetch_sub(n, release) != n {
        return false;
    }
    fence(Ordering::Acquire);
    true
}

/// Drops the reference of a part that begins at `offset`. The part at a page's beginning may well be the whole page, and
/// then it is the last.
#[inline]
#[must_use = "the last reference is a page to be put"]
pub(crate) fn drop_of_part(page: &Descriptor, offset: u32) -> bool {
    if offset == 0 { drop_likely_last(page, 1) } else { drop(page, 1) }
}
