//! The provider: a buddy allocator over fresh or given memory.

use core::ffi::c_void;

use pp_provider_buddy::BuddyError;

use crate::object;
use crate::sized::{self, Grows};
use crate::status::{Failure, Status, guard};

/// Memory that pools draw on: a buddy allocator.
#[derive(Debug)]
pub struct Buddy(pub(crate) pp_provider_buddy::Buddy);

/// What a buddy will be. All zeros but `bytes` is a good one.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct BuddyOptions {
    /// How much memory.
    pub bytes: usize,
    /// Bytes in a unit, which is what a page of a pool of order 0 has: a power of two from 2048 to 65536. 0 means 4096.
    pub unit_bytes: usize,
    /// Units kept for when nothing else is left; pages from there are not recycled.
    pub reserve_units: usize,
    /// NULL for fresh, zeroed memory of the operating system (Linux). Otherwise `bytes` initialised bytes that the buddy
    /// takes over for the rest of the process: nobody else may touch or free them again. Units begin at multiples of their
    /// size; what lies before the first and behind the last is lost.
    pub memory: *mut c_void,
}

// SAFETY: numbers, and a pointer that may be null.
unsafe impl Grows for BuddyOptions {
    const NAME: &'static str = "options";
    const FIRST: usize = core::mem::offset_of!(Self, memory) + size_of::<usize>();
}

/// What a buddy has.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct BuddyInfo {
    /// Bytes in a unit.
    pub unit_bytes: usize,
    /// Units in all.
    pub total_units: usize,
    /// Of those, how many are free. Pools hold units in their caches: `pp_pool_trim` gives those back.
    pub free_units: usize,
}

// SAFETY: numbers.
unsafe impl Grows for BuddyInfo {
    const NAME: &'static str = "info";
    const FIRST: usize = core::mem::offset_of!(Self, free_units) + size_of::<usize>();
}

/// Makes a buddy, which goes to `*buddy`. `size` is `sizeof *options`.
///
/// Fails with `PP_STATUS_INVALID` for options out of range and memory too small for a unit, and with `PP_STATUS_SYSTEM` when
/// the operating system refuses the memory.
///
/// # Safety
///
/// `options` is readable for `size` bytes, `buddy` is writable, each or NULL; `options->memory` is as its comment says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_buddy_create(options: *const BuddyOptions, size: usize, buddy: *mut *mut Buddy) -> Status {
    guard(|| {
        // SAFETY: the caller's promise.
        let options = unsafe { sized::read(options, size) }?.ok_or(Failure::Null("options"))?;
        let make = || {
            let unit_bytes =
                if options.unit_bytes == 0 { pp_provider_buddy::DEFAULT_UNIT_BYTES } else { options.unit_bytes };
            let builder =
                pp_provider_buddy::Buddy::builder().unit_bytes(unit_bytes).reserve_units(options.reserve_units);
            let builder = if options.memory.is_null() {
                anonymous(builder, options.bytes)?
            } else if options.bytes > isize::MAX as usize {
                return Err(Failure::Buddy(BuddyError::TooLarge { bytes: options.bytes }));
            } else {
                // SAFETY: initialised, no more than can be, and the caller gave it away for ever.
                builder.static_memory(unsafe { core::slice::from_raw_parts_mut(options.memory.cast(), options.bytes) })
            };
            builder.build().map(Buddy).map_err(Failure::Buddy)
        };
        // SAFETY: the caller's promise.
        unsafe { object::create("buddy", buddy, make) }
    })
}

#[cfg(target_os = "linux")]
fn anonymous(
    builder: pp_provider_buddy::BuddyBuilder,
    bytes: usize,
) -> Result<pp_provider_buddy::BuddyBuilder, Failure> {
    Ok(builder.anonymous(bytes))
}

#[cfg(not(target_os = "linux"))]
fn anonymous(_: pp_provider_buddy::BuddyBuilder, _: usize) -> Result<pp_provider_buddy::BuddyBuilder, Failure> {
    Err(Failure::NoAnonymousMemory)
}

/// Gives the caller's share of the buddy up. Pools on it, and pages that are out, keep the memory.
///
/// # Safety
///
/// `buddy` is from `pp_buddy_create`, was not destroyed and no other thread is using it, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_buddy_destroy(buddy: *mut Buddy) {
    // SAFETY: the caller's promise; the header has it gone from here on, so nobody is using it.
    unsafe { object::destroy(buddy) };
}

/// Writes into `*info` what the buddy has now. `size` is `sizeof *info`.
///
/// # Safety
///
/// `buddy` is a buddy, `info` is writable for `size` bytes, each or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_buddy_get_info(buddy: *const Buddy, info: *mut BuddyInfo, size: usize) -> Status {
    guard(|| {
        // SAFETY: alive if not NULL.
        let Buddy(buddy) = unsafe { buddy.as_ref() }.ok_or(Failure::Null("buddy"))?;
        let now = BuddyInfo {
            unit_bytes: pp_core::MemoryProvider::geometry(&**buddy).unit_bytes,
            total_units: buddy.total_units(),
            free_units: buddy.free_units(),
        };
        // SAFETY: the caller's promise.
        unsafe { sized::write(info, size, &now) }
    })
}
