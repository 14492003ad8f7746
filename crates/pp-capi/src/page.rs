//! Pages as C holds them, and the way back that is open to every thread.

use core::ffi::c_void;
use core::ptr::NonNull;

use pp_core::{Descriptor, PageBatch};

/// Pages that are handed on together.
pub(crate) const CHUNK: usize = 64;

/// A page. Whoever holds the pointer owns it and may read and write its bytes.
#[derive(Debug)]
pub struct Page {
    _opaque: [u8; 0],
}

/// A page on its way to C.
#[inline(always)]
pub(crate) fn into_c(page: pp_core::Page) -> *mut Page {
    page.into_raw().as_ptr().cast()
}

/// A page on its way back.
///
/// # Safety
///
/// `page` is from [`into_c`], owned by the caller, given up by this call, and nobody writes its bytes any more.
#[inline(always)]
unsafe fn from_c(page: NonNull<Page>) -> pp_core::Page {
    // SAFETY: what `into_c` gave away, taken back once by the caller's promise; all pages of this crate are `Host`.
    unsafe { pp_core::Page::from_raw(page.cast::<Descriptor>()) }
}

/// The page that C gives up, unless it is NULL.
///
/// # Safety
///
/// As for `from_c`, or NULL.
#[inline(always)]
pub(crate) unsafe fn take(page: *mut Page) -> Option<pp_core::Page> {
    // SAFETY: the caller's promise.
    NonNull::new(page).map(|page| unsafe { from_c(page) })
}

/// Hands the pages of a C array on in batches, which `put` empties. Places that hold NULL are skipped.
///
/// # Safety
///
/// `pages` is readable for `count` pointers, or NULL; each is as for [`take`].
pub(crate) unsafe fn each_batch(pages: *const *mut Page, count: usize, mut put: impl FnMut(&mut PageBatch<CHUNK>)) {
    if pages.is_null() {
        return;
    }
    // SAFETY: readable by the caller's promise.
    let pages = unsafe { core::slice::from_raw_parts(pages, count) };
    for chunk in pages.chunks(CHUNK) {
        let mut batch = PageBatch::new();
        for page in chunk {
            // SAFETY: the caller's promise.
            if let Some(page) = unsafe { take(*page) } {
                // A chunk fits a batch.
                let _ = batch.push(page);
            }
        }
        put(&mut batch);
    }
}

/// The page's bytes; NULL for NULL. Valid until the page is put.
///
/// # Safety
///
/// `page` is a page that the caller owns, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_page_data(page: *const Page) -> *mut c_void {
    // SAFETY: a page of ours is its descriptor, readable while the page is out.
    unsafe { page.cast::<Descriptor>().as_ref() }.map_or(core::ptr::null_mut(), |descriptor| descriptor.addr().cast())
}

/// How many bytes the page has; 0 for NULL.
///
/// # Safety
///
/// As for `pp_page_data`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_page_bytes(page: *const Page) -> usize {
    // SAFETY: as in `pp_page_data`.
    unsafe { page.cast::<Descriptor>().as_ref() }.map_or(0, Descriptor::unit_bytes)
}

/// Puts a page: back to its own pool, from any thread. Never fails, never blocks but on the provider's lock.
///
/// # Safety
///
/// `page` is a page that the caller owns and gives up, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_page_put(page: *mut Page) {
    // SAFETY: the caller's promise.
    drop(unsafe { take(page) });
}

/// Puts `count` pages, of one pool or of several, from any thread. Places that hold NULL are skipped.
///
/// # Safety
///
/// `pages` is readable for `count` pointers, or NULL; each is a page that the caller owns and gives up, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_page_put_bulk(pages: *const *mut Page, count: usize) {
    // SAFETY: the caller's promise.
    unsafe { each_batch(pages, count, |batch| *batch = PageBatch::new()) };
}

/// Puts a page if that takes neither a lock nor the provider, as a signal handler needs it.
///
/// True: the page is gone. False, when the ring is full, the pool destroyed, or the page not one that is recycled: it is
/// still the caller's, who puts it later. False for NULL.
///
/// # Safety
///
/// As for `pp_page_put`; on false the page is not given up.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_page_try_put(page: *mut Page) -> bool {
    // SAFETY: the caller's promise.
    match unsafe { take(page) }.map(pp_core::Page::try_put) {
        Some(Ok(())) => true,
        Some(Err(page)) => {
            // The caller's again, under the pointer that it has.
            let _ = into_c(page);
            false
        }
        None => false,
    }
}
