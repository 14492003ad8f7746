//! For a thread that returns much.

use crate::handle::Handle;
use crate::object;
use crate::page::{self, Page};
use crate::status::{Failure, Status, guard};

/// A bag of its own for one thread that returns much: cheaper than `pp_page_put`.
#[derive(Debug)]
pub struct Returner(pp_core::Returner);

/// Takes one of the pool's returners, which goes to `*returner`.
///
/// Fails with `PP_STATUS_NO_RETURNER` when all are taken, or the pool was made without.
///
/// # Safety
///
/// `handle` is a handle, `returner` is writable, each or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_returner_create(handle: *const Handle, returner: *mut *mut Returner) -> Status {
    guard(|| {
        // SAFETY: alive if not NULL.
        let Handle(handle) = unsafe { handle.as_ref() }.ok_or(Failure::Null("handle"))?;
        // SAFETY: the caller's promise.
        unsafe { object::create("returner", returner, || handle.returner().map(Returner).ok_or(Failure::NoReturner)) }
    })
}

/// Frees the returner for another thread; pages that lie in it stay for the pool.
///
/// # Safety
///
/// `returner` is from `pp_returner_create`, was not destroyed and no other thread is using it, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_returner_destroy(returner: *mut Returner) {
    // SAFETY: the caller's promise.
    unsafe { object::destroy(returner) };
}

/// Puts a page. A page of another pool goes to its own; with NULL for the returner it is the same as `pp_page_put`.
///
/// # Safety
///
/// `returner` is a returner that no other thread is using, or NULL; `page` is a page that the caller owns and gives up, or
/// NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_returner_put(returner: *mut Returner, page: *mut Page) {
    // SAFETY: the caller's promises.
    let (page, returner) = unsafe { (page::take(page), returner.as_mut()) };
    if let (Some(page), Some(Returner(returner))) = (page, returner) {
        returner.put(page);
    }
}

/// Puts `count` pages. Places that hold NULL are skipped.
///
/// # Safety
///
/// `returner` is as for `pp_returner_put`, `pages` as for `pp_page_put_bulk`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_returner_put_bulk(returner: *mut Returner, pages: *const *mut Page, count: usize) {
    // SAFETY: alive and the caller's alone, if not NULL.
    let mut returner = unsafe { returner.as_mut() };
    let put = |batch: &mut pp_core::PageBatch<{ page::CHUNK }>| match &mut returner {
        Some(Returner(returner)) => returner.put_batch(batch),
        None => *batch = pp_core::PageBatch::new(),
    };
    // SAFETY: the caller's promise.
    unsafe { page::each_batch(pages, count, put) };
}
