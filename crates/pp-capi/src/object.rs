//! Objects that C holds by pointer, from their `create` to their `destroy`.

use crate::status::Failure;

/// Makes an object and writes where it is into `*place`. When that is NULL nothing is made, and the failure calls it `name`.
///
/// # Safety
///
/// `place` is writable, or NULL.
pub(crate) unsafe fn create<T>(
    name: &'static str,
    place: *mut *mut T,
    make: impl FnOnce() -> Result<T, Failure>,
) -> Result<(), Failure> {
    if place.is_null() {
        return Err(Failure::Null(name));
    }
    let made = Box::new(make()?);
    // SAFETY: writable by the caller's promise, as it is not NULL.
    unsafe { place.write(Box::into_raw(made)) };
    Ok(())
}

/// Ends an object, unless it is NULL.
///
/// # Safety
///
/// `object` is from [`create`] with the same `T`, was not destroyed and nobody is using it, or NULL.
pub(crate) unsafe fn destroy<T>(object: *mut T) {
    if !object.is_null() {
        // SAFETY: `create` has it from `Box::into_raw`, and the caller promises that this is the only end of it.
        drop(unsafe { Box::from_raw(object) });
    }
}
