//! The consumer: one thread at a time.

use core::ffi::{CStr, c_char};

use pp_core::{PageBatch, PagePool, Zeroing};

use crate::buddy::Buddy;
use crate::object;
use crate::page::{self, CHUNK, Page};
use crate::sized::{self, Grows};
use crate::stats::Stats;
use crate::status::{Failure, Status, guard};

/// A page pool, held by the one thread that allocates.
#[derive(Debug)]
pub struct Pool(pub(crate) PagePool);

/// What a pool will be. All zeros is a good one.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct PoolOptions {
    /// What tables call the pool, in UTF-8; copied. NULL for none.
    pub name: *const c_char,
    /// log2 of the buddy's units in one page.
    pub order: u8,
    /// Whether pages are cleared when they come from the provider and when another thread returned them.
    pub zeroing: bool,
    /// Slots in the ring through which other threads return pages, clamped to 16384. 0 means 1024.
    pub ring: usize,
    /// Pages in the consumer's cache, 4096 at most. 0 means 128.
    pub cache: usize,
    /// Pages fetched from the provider at a time, as many as the cache at most. 0 means half the cache, 64 at most.
    pub refill: usize,
    /// Pages out of the provider at most. 0 means no limit.
    pub limit: usize,
    /// How many returners there can be at a time, 64 at most.
    pub returners: usize,
    /// Pages that each returner has room for, 16384 at most. 0 means 1024.
    pub returner_room: usize,
}

// SAFETY: a pointer that may be null, a flag that may be false, and numbers.
unsafe impl Grows for PoolOptions {
    const NAME: &'static str = "options";
    const FIRST: usize = core::mem::offset_of!(Self, returner_room) + size_of::<usize>();
}

impl PoolOptions {
    fn build(&self, buddy: &Buddy) -> Result<PagePool, Failure> {
        let zeroing = if self.zeroing { Zeroing::OnCrossOwner } else { Zeroing::Never };
        let mut builder = PagePool::builder(&buddy.0).order(self.order).zeroing(zeroing).pool_size(self.ring);
        if !self.name.is_null() {
            // SAFETY: a C string, as `pp_pool_create` requires.
            let name = unsafe { CStr::from_ptr(self.name) }.to_str().map_err(|_| Failure::Name)?;
            builder = builder.name(name);
        }
        if self.cache > 0 {
            builder = builder.cache(self.cache);
        }
        if self.refill > 0 {
            builder = builder.refill(self.refill);
        }
        if self.limit > 0 {
            builder = builder.limit(self.limit);
        }
        if self.returners > 0 {
            let room = if self.returner_room == 0 { pp_core::DEFAULT_RING } else { self.returner_room };
            builder = builder.returners(self.returners, room);
        }
        builder.build().map_err(Failure::Build)
    }
}

const DEFAULTS: PoolOptions = PoolOptions {
    name: core::ptr::null(),
    order: 0,
    zeroing: false,
    ring: 0,
    cache: 0,
    refill: 0,
    limit: 0,
    returners: 0,
    returner_room: 0,
};

/// Makes a pool on `buddy`, which goes to `*pool`. `size` is `sizeof *options`; `options` may be NULL for all zeros. Several
/// pools may share a buddy.
///
/// Fails with `PP_STATUS_INVALID` for options out of range, and with `PP_STATUS_NO_MEMORY` without memory for the pool's tables.
///
/// # Safety
///
/// `buddy` is a buddy, `options` is readable for `size` bytes and the name in it readable, `pool` is writable, each or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_pool_create(
    buddy: *const Buddy,
    options: *const PoolOptions,
    size: usize,
    pool: *mut *mut Pool,
) -> Status {
    guard(|| {
        // SAFETY: alive if not NULL.
        let buddy = unsafe { buddy.as_ref() }.ok_or(Failure::Null("buddy"))?;
        // SAFETY: the caller's promise.
        let options = unsafe { sized::read(options, size) }?.unwrap_or(DEFAULTS);
        // SAFETY: the caller's promise.
        unsafe { object::create("pool", pool, || options.build(buddy).map(Pool)) }
    })
}

/// Ends a pool. Does not wait: pages that are out stay valid, and the last one to be put frees what is left.
///
/// # Safety
///
/// `pool` is from `pp_pool_create`, was not destroyed and no other thread is using it, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_pool_destroy(pool: *mut Pool) {
    // SAFETY: the caller's promise; calls on a pool do not overlap, as the header says.
    unsafe { object::destroy(pool) };
}

/// Takes a page, which goes to `*page`. Its bytes are what their last holder left unless the pool zeroes.
///
/// Fails with `PP_STATUS_NO_MEMORY` or `PP_STATUS_LIMIT_REACHED` when there is none now; pages in use will come back.
///
/// # Safety
///
/// `pool` is a pool that no other thread is using, `page` is writable, each or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_pool_alloc(pool: *mut Pool, page: *mut *mut Page) -> Status {
    guard(|| {
        // SAFETY: alive and the caller's alone, if not NULL.
        let Pool(pool) = unsafe { pool.as_mut() }.ok_or(Failure::Null("pool"))?;
        if page.is_null() {
            return Err(Failure::Null("page"));
        }
        let got = pool.alloc().map_err(Failure::Alloc)?;
        // SAFETY: writable, as it is not NULL.
        unsafe { page.write(page::into_c(got)) };
        Ok(())
    })
}

/// Takes `count` pages, which go to the first places of `pages`, and writes into `*allocated` how many it were.
///
/// All of them: `PP_STATUS_OK`. Fewer: why there are no more, and those that were got are the caller's all the same.
///
/// # Safety
///
/// `pool` is a pool that no other thread is using, `pages` is writable for `count` pointers, `allocated` is writable, each
/// or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_pool_alloc_bulk(
    pool: *mut Pool,
    pages: *mut *mut Page,
    count: usize,
    allocated: *mut usize,
) -> Status {
    guard(|| {
        // SAFETY: alive and the caller's alone, if not NULL.
        let Pool(pool) = unsafe { pool.as_mut() }.ok_or(Failure::Null("pool"))?;
        if pages.is_null() {
            return Err(Failure::Null("pages"));
        }
        // SAFETY: writable if not NULL.
        let allocated = unsafe { allocated.as_mut() }.ok_or(Failure::Null("allocated"))?;
        *allocated = 0;
        while *allocated < count {
            let before = *allocated;
            let mut place = |page| {
                // SAFETY: below `count`.
                unsafe { pages.add(*allocated).write(page::into_c(page)) };
                *allocated += 1;
            };
            if count - before >= CHUNK {
                pool.alloc_batch::<CHUNK>().for_each(place);
            } else {
                place(pool.alloc().map_err(Failure::Alloc)?);
            }
            if *allocated == before {
                return Err(Failure::Alloc(pool.last_error()));
            }
        }
        Ok(())
    })
}

/// Puts a page straight into the cache of `pool`: what its own thread does with a page that it is done with. A page of
/// another pool goes to its own; with NULL for the pool it is the same as `pp_page_put`.
///
/// # Safety
///
/// `pool` is a pool that no other thread is using, or NULL; `page` is a page that the caller owns and gives up, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_pool_recycle(pool: *mut Pool, page: *mut Page) {
    // SAFETY: the caller's promises.
    let (page, pool) = unsafe { (page::take(page), pool.as_mut()) };
    if let (Some(page), Some(Pool(pool))) = (page, pool) {
        pool.recycle_direct(page);
    }
}

/// Puts `count` pages straight into the cache of `pool`, as far as they fit. Places that hold NULL are skipped.
///
/// # Safety
///
/// `pool` is as for `pp_pool_recycle`, `pages` as for `pp_page_put_bulk`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_pool_recycle_bulk(pool: *mut Pool, pages: *const *mut Page, count: usize) {
    // SAFETY: alive and the caller's alone, if not NULL.
    let mut pool = unsafe { pool.as_mut() };
    let put = |batch: &mut PageBatch<CHUNK>| match &mut pool {
        Some(Pool(pool)) => pool.recycle_batch(batch),
        None => *batch = PageBatch::new(),
    };
    // SAFETY: the caller's promise.
    unsafe { page::each_batch(pages, count, put) };
}

/// Gives idle pages back to the buddy until at most `keep` are left, and returns how many went; 0 for NULL.
///
/// # Safety
///
/// `pool` is a pool that no other thread is using, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_pool_trim(pool: *mut Pool, keep: usize) -> usize {
    // SAFETY: alive and the caller's alone, if not NULL.
    unsafe { pool.as_mut() }.map_or(0, |Pool(pool)| pool.trim(keep))
}

/// Bytes in each page of the pool; 0 for NULL.
///
/// # Safety
///
/// `pool` is a pool that no other thread is using, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_pool_page_bytes(pool: *const Pool) -> usize {
    // SAFETY: alive if not NULL.
    unsafe { pool.as_ref() }.map_or(0, |Pool(pool)| pool.page_bytes())
}

/// Writes into `*stats` what happened so far. `size` is `sizeof *stats`. From other threads: `pp_handle_stats`.
///
/// # Safety
///
/// `pool` is a pool that no other thread is using, `stats` is writable for `size` bytes, each or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_pool_stats(pool: *const Pool, stats: *mut Stats, size: usize) -> Status {
    guard(|| {
        // SAFETY: alive if not NULL.
        let Pool(pool) = unsafe { pool.as_ref() }.ok_or(Failure::Null("pool"))?;
        // SAFETY: the caller's promise.
        unsafe { sized::write(stats, size, &Stats::from(&pool.stats())) }
    })
}
