//! How a call ended, and where a panic ends.

use core::cell::Cell;
use core::ffi::{CStr, c_char};
use core::fmt;
use core::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use pp_core::{AllocError, BuildError};
use pp_provider_buddy::BuddyError;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub enum Status {
    /// It did what it says.
    Ok = 0,
    /// A pointer that must not be NULL was.
    Null = 1,
    /// An option is out of its range.
    Invalid = 2,
    /// There is no memory: the provider has no free unit, or the heap is used up.
    NoMemory = 3,
    /// The pool has as many pages out of its provider as its limit allows.
    LimitReached = 4,
    /// The memory behind the provider is gone.
    DeviceLost = 5,
    /// No returner is free: all are taken, or the pool was made without.
    NoReturner = 6,
    /// The operating system refused.
    System = 7,
    /// A bug inside the library; the object it happened to must not be used any more.
    Panic = 8,
}

/// Why a call failed, with everything its message needs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Failure {
    Null(&'static str),
    Name,
    #[cfg(not(target_os = "linux"))]
    NoAnonymousMemory,
    Buddy(BuddyError),
    Build(BuildError),
    Alloc(AllocError),
    NoReturner,
    /// A struct smaller than it ever was.
    Size {
        what: &'static str,
        size: usize,
        least: usize,
    },
    /// Something behind the fields that we know.
    Unknown(&'static str),
    Panic,
}

impl Failure {
    fn status(self) -> Status {
        match self {
            Failure::Null(_) => Status::Null,
            Failure::Name | Failure::Size { .. } | Failure::Unknown(_) => Status::Invalid,
            #[cfg(not(target_os = "linux"))]
            Failure::NoAnonymousMemory => Status::Invalid,
            Failure::Buddy(BuddyError::Os { .. }) => Status::System,
            Failure::Buddy(_) => Status::Invalid,
            Failure::Build(BuildError::OutOfMemory) => Status::NoMemory,
            Failure::Build(_) => Status::Invalid,
            Failure::Alloc(AllocError::LimitReached) => Status::LimitReached,
            Failure::Alloc(AllocError::DeviceLost) => Status::DeviceLost,
            // Pools made here have no device that could refuse a page.
            Failure::Alloc(_) => Status::NoMemory,
            Failure::NoReturner => Status::NoReturner,
            Failure::Panic => Status::Panic,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Null(what) => write!(f, "{what} is NULL; pass the object that the call is about"),
            Failure::Name => f.write_str("the pool's name is not UTF-8; use another"),
            #[cfg(not(target_os = "linux"))]
            Failure::NoAnonymousMemory => f.write_str("there is no anonymous memory on this system; pass memory"),
            Failure::Buddy(error) => error.fmt(f),
            Failure::Build(error) => error.fmt(f),
            Failure::Alloc(error) => error.fmt(f),
            Failure::NoReturner => {
                f.write_str("the pool has no free returner; destroy one of it, or ask for more when creating the pool")
            }
            Failure::Size { what, size, least } => {
                write!(f, "{what} cannot have {size} bytes, it never had fewer than {least}; pass its sizeof")
            }
            Failure::Unknown(what) => {
                write!(
                    f,
                    "{what} asks for more than this version of the library knows; leave that zero, or use a newer one"
                )
            }
            Failure::Panic => f.write_str("a bug in the page pool; do not use the object again, and report it"),
        }
    }
}

std::thread_local! {
    /// The last failure of this thread; kept as it is and put into words only when somebody asks.
    static LAST: Cell<Option<Failure>> = const { Cell::new(None) };
}

/// Runs the body of a call: notes a failure for [`pp_last_error`], and lets no panic out.
#[inline(always)]
pub(crate) fn guard(body: impl FnOnce() -> Result<(), Failure>) -> Status {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => Status::Ok,
        Ok(Err(failure)) => note(failure),
        Err(payload) => {
            // Its drop is somebody else's code and might panic again.
            core::mem::forget(payload);
            note(Failure::Panic)
        }
    }
}

#[cold]
fn note(failure: Failure) -> Status {
    LAST.set(Some(failure));
    failure.status()
}

/// What a status means, in one line. Static text, never NULL; a number that is no status has a text too.
#[unsafe(no_mangle)]
pub extern "C" fn pp_status_text(status: i32) -> *const c_char {
    const TEXTS: [&CStr; 9] = [
        c"done",
        c"a pointer that must not be NULL was NULL",
        c"an option is out of its range",
        c"no memory: the provider has no free unit, or the heap is used up",
        c"the pool holds as many pages as its limit allows",
        c"the memory behind the provider is gone",
        c"no returner is free",
        c"the operating system refused",
        c"a bug in the page pool",
    ];
    let text = usize::try_from(status).ok().and_then(|at| TEXTS.get(at));
    text.copied().unwrap_or(c"not a status of the page pool").as_ptr()
}

/// Says in words what the last failing call of this thread ran into, and what to do about it.
///
/// Writes at most `size` bytes into `text`, the closing NUL included, and returns the length of the whole text, as snprintf()
/// does; 0 when no call of this thread has failed. `text` may be NULL when `size` is 0. A success does not reset it.
///
/// # Safety
///
/// `text` is valid for writes of `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_last_error(text: *mut c_char, size: usize) -> usize {
    let mut out = Bounded { text: text.cast(), room: if text.is_null() { 0 } else { size.saturating_sub(1) }, len: 0 };
    if let Some(failure) = LAST.get() {
        // Cannot fail: `Bounded` never does.
        let _ = fmt::Write::write_fmt(&mut out, format_args!("{failure}"));
    }
    if size > 0 && !text.is_null() {
        // SAFETY: at most `size - 1`.
        unsafe { text.add(out.len.min(size - 1)).write(0) };
    }
    out.len
}

/// Takes what fits and counts the rest.
struct Bounded {
    text: *mut u8,
    room: usize,
    len: usize,
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let fits = part.len().min(self.room.saturating_sub(self.len));
        if fits > 0 {
            // SAFETY: `len + fits` is at most the room, which is less than what `text` is valid for.
            unsafe { core::ptr::copy_nonoverlapping(part.as_ptr(), self.text.add(self.len), fits) };
        }
        self.len += part.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_status() {
        assert_eq!(guard(|| panic!("on purpose")), Status::Panic);
        assert_eq!(guard(|| Ok(())), Status::Ok);
        // SAFETY: no room is claimed.
        assert_eq!(unsafe { pp_last_error(core::ptr::null_mut(), 0) }, Failure::Panic.to_string().len());
    }

    #[test]
    fn every_status_has_a_text_of_its_own() {
        // SAFETY: static C strings.
        let text = |status: i32| unsafe { CStr::from_ptr(pp_status_text(status)) };
        let texts: std::collections::HashSet<_> = (-1..=Status::Panic as i32).map(text).collect();
        assert_eq!(texts.len(), 10, "{texts:?}");
        assert_eq!(text(Status::Panic as i32 + 1), text(-1));
    }
}
