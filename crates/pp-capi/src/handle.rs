//! A pool seen from any thread.

use crate::object;
use crate::pool::Pool;
use crate::sized;
use crate::stats::Stats;
use crate::status::{Failure, Status, guard};

/// The side of a pool that any thread may use. Outlives the pool, and then says how it ended.
#[derive(Debug)]
pub struct Handle(pub(crate) pp_core::PoolHandle);

/// Where a pool is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub enum PoolState {
    /// It can allocate.
    Open = 0,
    /// It was destroyed, and pages of it are still out.
    Closing = 1,
    /// It was destroyed, and all its pages are home.
    Closed = 2,
}

/// Makes a handle to `pool`, which goes to `*handle`.
///
/// # Safety
///
/// `pool` is a pool that no other thread is using, `handle` is writable, each or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_handle_create(pool: *const Pool, handle: *mut *mut Handle) -> Status {
    guard(|| {
        // SAFETY: alive if not NULL.
        let Pool(pool) = unsafe { pool.as_ref() }.ok_or(Failure::Null("pool"))?;
        // SAFETY: the caller's promise.
        unsafe { object::create("handle", handle, || Ok(Handle(pool.handle()))) }
    })
}

/// Ends a handle; the pool does not notice.
///
/// # Safety
///
/// `handle` is from `pp_handle_create`, was not destroyed and no other thread is using it, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_handle_destroy(handle: *mut Handle) {
    // SAFETY: the caller's promise.
    unsafe { object::destroy(handle) };
}

/// Writes into `*stats` what happened in the pool so far. `size` is `sizeof *stats`.
///
/// # Safety
///
/// `handle` is a handle, `stats` is writable for `size` bytes, each or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_handle_stats(handle: *const Handle, stats: *mut Stats, size: usize) -> Status {
    guard(|| {
        // SAFETY: alive if not NULL.
        let Handle(handle) = unsafe { handle.as_ref() }.ok_or(Failure::Null("handle"))?;
        // SAFETY: the caller's promise.
        unsafe { sized::write(stats, size, &Stats::from(&handle.stats())) }
    })
}

/// Pages on the pool's books: in use, in its cache, in its ring; 0 for NULL.
///
/// # Safety
///
/// `handle` is a handle, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_handle_inflight(handle: *const Handle) -> usize {
    // SAFETY: alive if not NULL.
    unsafe { handle.as_ref() }.map_or(0, |Handle(handle)| handle.inflight())
}

/// Where the pool is in its life; `PP_POOL_STATE_CLOSED` for NULL.
///
/// # Safety
///
/// `handle` is a handle, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_handle_state(handle: *const Handle) -> PoolState {
    // SAFETY: alive if not NULL.
    match unsafe { handle.as_ref() }.map(|Handle(handle)| handle.state()) {
        Some(pp_core::PoolState::Open) => PoolState::Open,
        Some(pp_core::PoolState::Closing) => PoolState::Closing,
        Some(_) | None => PoolState::Closed,
    }
}

/// Sets the limit on pages out of the provider; 0 lifts it. Counts from the next refill; what is out stays out.
///
/// # Safety
///
/// `handle` is a handle, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_handle_set_limit(handle: *const Handle, pages: usize) -> Status {
    guard(|| {
        // SAFETY: alive if not NULL.
        let Handle(handle) = unsafe { handle.as_ref() }.ok_or(Failure::Null("handle"))?;
        handle.set_limit((pages > 0).then_some(pages));
        Ok(())
    })
}
