//! Boxes that may fail: `Box::new` aborts without memory, on whatever thread drops a page.

use alloc::alloc::alloc;
use alloc::boxed::Box;
use core::alloc::Layout;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

/// Room for one `T`, or `None` without memory.
pub(crate) fn room<T>() -> Option<Box<MaybeUninit<T>>> {
    const { assert!(size_of::<T>() > 0) };
    // SAFETY: not of size zero.
    let room = NonNull::new(unsafe { alloc(Layout::new::<T>()) })?;
    // SAFETY: fresh from the allocator with just that layout, and of contents nothing is said.
    Some(unsafe { Box::from_raw(room.cast::<MaybeUninit<T>>().as_ptr()) })
}
