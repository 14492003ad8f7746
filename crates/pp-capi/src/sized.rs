//! Structs that grow: the caller says how large its own is, and so may be older or newer than the library.
//!
//! Kernel counterpart: `copy_struct_from_user`, `copy_struct_to_user` (Linux 7.3).

use core::mem::MaybeUninit;

use crate::status::Failure;

/// A struct of the header. Fields are only added, at its end, and never into padding.
///
/// # Safety
///
/// All zeros are a value of it, and `FIRST` is at most its size.
pub(crate) unsafe trait Grows: Copy {
    /// What the header calls it when it is passed.
    const NAME: &'static str;
    /// Bytes it had in the first version of the library.
    const FIRST: usize;
}

/// How many of the caller's `size` bytes we know.
fn known<T: Grows>(size: usize) -> Result<usize, Failure> {
    if size < T::FIRST {
        return Err(Failure::Size { what: T::NAME, size, least: T::FIRST });
    }
    Ok(size.min(size_of::<T>()))
}

/// What the caller asks for; what its struct does not have yet is zero. `None` for NULL.
///
/// # Safety
///
/// `from` is readable for `size` bytes, the fields in them are valid, or it is NULL.
pub(crate) unsafe fn read<T: Grows>(from: *const T, size: usize) -> Result<Option<T>, Failure> {
    if from.is_null() {
        return Ok(None);
    }
    let known = known::<T>(size)?;
    // SAFETY: `known` is at most `size`, for which the caller's promise holds.
    let unknown = unsafe { core::slice::from_raw_parts(from.cast::<u8>().add(known), size - known) };
    if unknown.iter().any(|byte| *byte != 0) {
        return Err(Failure::Unknown(T::NAME));
    }
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: (1) `known` is at most either size, and the caller's struct is not ours. (2) Each field is one of the caller's, which
    // is valid, or zero, which `Grows` promises to be.
    unsafe {
        value.as_mut_ptr().cast::<u8>().copy_from_nonoverlapping(from.cast(), known);
        Ok(Some(value.assume_init()))
    }
}

/// Hands figures to the caller: as many as it has room for, and zeros for those that only it knows.
///
/// # Safety
///
/// `to` is writable for `size` bytes, or NULL.
pub(crate) unsafe fn write<T: Grows>(to: *mut T, size: usize, value: &T) -> Result<(), Failure> {
    if to.is_null() {
        return Err(Failure::Null(T::NAME));
    }
    let known = known::<T>(size)?;
    let bytes = to.cast::<u8>();
    // SAFETY: `known` is at most either size, and the caller's struct is not ours.
    unsafe {
        bytes.copy_from_nonoverlapping(core::ptr::from_ref(value).cast(), known);
        bytes.add(known).write_bytes(0, size - known);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A struct that had one field, and has two now.
    #[derive(Clone, Copy, Debug, PartialEq)]
    #[repr(C)]
    struct Grown {
        old: usize,
        new: usize,
    }

    // SAFETY: two numbers.
    unsafe impl Grows for Grown {
        const NAME: &'static str = "grown";
        const FIRST: usize = size_of::<usize>();
    }

    const ONE: usize = size_of::<usize>();

    #[test]
    fn callers_of_other_versions_are_understood() {
        let options = [1_usize, 2, 0, 9];
        // SAFETY: at most four words.
        let read = |words: usize| unsafe { read::<Grown>(options.as_ptr().cast(), words * ONE) };
        assert_eq!(read(1).ok(), Some(Some(Grown { old: 1, new: 0 })));
        assert_eq!(read(2).ok(), Some(Some(Grown { old: 1, new: 2 })));
        assert_eq!(read(3).ok(), Some(Some(Grown { old: 1, new: 2 })));
        assert!(matches!(read(4), Err(Failure::Unknown("grown"))));
        assert!(matches!(read(0), Err(Failure::Size { size: 0, least: ONE, .. })));
    }

    #[test]
    fn nothing_is_written_beyond_what_the_caller_has() {
        let written = |words: usize| {
            let mut figures = [7_usize; 4];
            // SAFETY: at most four words.
            let written = unsafe { write(figures.as_mut_ptr().cast(), words * ONE, &Grown { old: 1, new: 2 }) };
            written.is_ok().then_some(figures)
        };
        assert_eq!(written(0), None);
        assert_eq!(written(1), Some([1, 7, 7, 7]));
        assert_eq!(written(2), Some([1, 2, 7, 7]));
        assert_eq!(written(3), Some([1, 2, 0, 7]));
    }
}
