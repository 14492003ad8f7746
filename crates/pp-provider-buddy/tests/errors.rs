//! Impossible wishes, and what is said about them.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

mod common;

use common::*;
use pp_core::{NodeId, RegionMemory};
use pp_provider_buddy::{Buddy, BuddyError, MAX_ORDER};

fn refuse(unit_bytes: usize, max_order: u8, bytes: usize) -> BuddyError {
    let memory = Box::leak(vec![0; bytes].into_boxed_slice());
    Buddy::builder().unit_bytes(unit_bytes).max_order(max_order).static_memory(memory).build().unwrap_err()
}

#[test]
fn base_units_are_powers_of_two_from_2k_to_64k() {
    for unit_bytes in [0, 1, 1024, 2047, 3000, 4097, 1 << 17, 1 << 40, usize::MAX] {
        assert_eq!(refuse(unit_bytes, 10, 1 << 20), BuddyError::UnitSize { unit_bytes });
    }
    for shift in 11..=16 {
        // SAFETY: nobody else knows the memory.
        let builder =
            unsafe { Buddy::builder().unit_bytes(1 << shift).exclusive_memory(Heap::new(1 << 20, 1 << 16, 0)) };
        assert_eq!(builder.build().unwrap().total_units(), 1 << (20 - shift));
    }
}

#[test]
fn blocks_end_at_2_gib() {
    assert_eq!(refuse(4096, 20, 1 << 20), BuddyError::MaxOrder { max_order: 20, unit_bytes: 4096 });
    assert_eq!(refuse(2048, 21, 1 << 20), BuddyError::MaxOrder { max_order: 21, unit_bytes: 2048 });
    assert_eq!(refuse(65536, 255, 1 << 20), BuddyError::MaxOrder { max_order: 255, unit_bytes: 65536 });
    // SAFETY: nobody else knows the memory.
    let builder = unsafe {
        Buddy::builder().unit_bytes(2048).max_order(MAX_ORDER).exclusive_memory(Heap::new(1 << 20, 1 << 20, 0))
    };
    assert_eq!(builder.build().unwrap().free_blocks(9), 1);
}

#[test]
fn memory_that_holds_no_unit() {
    assert_eq!(refuse(4096, 10, 0), BuddyError::TooSmall { bytes: 0, unit_bytes: 4096 });
    assert_eq!(refuse(4096, 10, 4095), BuddyError::TooSmall { bytes: 4095, unit_bytes: 4096 });
    assert_eq!(Buddy::builder().build().unwrap_err(), BuddyError::NoMemory);
}

#[test]
fn memory_without_an_address_is_refused() {
    struct DeviceOnly;
    // SAFETY: null promises nothing.
    unsafe impl RegionMemory for DeviceOnly {
        fn base(&self) -> *mut u8 {
            core::ptr::null_mut()
        }
        fn bytes(&self) -> usize {
            1 << 20
        }
    }
    assert_eq!(Buddy::builder().memory(DeviceOnly).build().unwrap_err(), BuddyError::NoAddress);
    // SAFETY: nobody writes what has no address.
    let host = unsafe { Buddy::builder().exclusive_memory(DeviceOnly) };
    assert_eq!(host.build().unwrap_err(), BuddyError::NoAddress);
}

#[test]
fn a_ragged_end_stays_unused() {
    // SAFETY: nobody else knows the memory.
    let builder = unsafe { Buddy::builder().exclusive_memory(Heap::new(3 * 4096 + 100, 4096, 0)) };
    assert_eq!(builder.build().unwrap().total_units(), 3);
}

#[test]
#[cfg(all(feature = "std", target_os = "linux"))]
fn mapped_sizes() {
    for bytes in [0, 1, 4095] {
        assert_eq!(Buddy::anonymous(bytes).unwrap_err(), BuddyError::TooSmall { bytes, unit_bytes: 4096 });
        let memfd = Buddy::builder().memfd(bytes).build();
        assert_eq!(memfd.unwrap_err(), BuddyError::TooSmall { bytes, unit_bytes: 4096 });
        let exposed = Buddy::builder().exposed_memfd(bytes).build();
        assert_eq!(exposed.unwrap_err(), BuddyError::TooSmall { bytes, unit_bytes: 4096 });
    }
    for bytes in [usize::MAX, isize::MAX as usize + 1] {
        assert_eq!(Buddy::anonymous(bytes).unwrap_err(), BuddyError::TooLarge { bytes });
    }
    let bytes = isize::MAX as usize;
    assert_eq!(Buddy::anonymous(bytes).unwrap_err(), BuddyError::TooManyUnits { units: bytes / 4096 });
    // More than 47 bits of address space, in few enough units: the system's word.
    let error = Buddy::builder().unit_bytes(64 << 10).anonymous(100 << 40).build().unwrap_err();
    assert!(matches!(error, BuddyError::Os { call: "mmap", .. }), "{error:?}");
    assert_eq!(Buddy::anonymous(3 * 4096 + 1).unwrap().total_units(), 3);
}

#[test]
fn the_first_error_is_the_one_that_is_told() {
    let memory = || Box::leak(vec![0; 1 << 16].into_boxed_slice());
    let builder = Buddy::builder().unit_bytes(1).static_memory(memory()).unit_bytes(4096).max_order(99);
    let error = builder.static_memory(memory()).build().unwrap_err();
    assert_eq!(error, BuddyError::UnitSize { unit_bytes: 1 });
}

#[test]
fn every_text_says_what_happened_to_what_and_what_to_do() {
    let texts = [
        (
            BuddyError::UnitSize { unit_bytes: 3000 },
            "a base unit of 3000 bytes is not possible; use a power of two from 2048 to 65536",
        ),
        (
            BuddyError::MaxOrder { max_order: 21, unit_bytes: 2048 },
            "order 21 above units of 2048 bytes is not possible; stay at or under order 20 and 2147483648 bytes a block",
        ),
        (
            BuddyError::TooSmall { bytes: 7, unit_bytes: 4096 },
            "7 bytes hold no aligned unit of 4096 bytes; give more memory or a smaller unit",
        ),
        (
            BuddyError::TooLarge { bytes: usize::MAX },
            "18446744073709551615 bytes are more than the address space can hold; ask for less",
        ),
        (
            BuddyError::TooManyUnits { units: 1 << 32 },
            "4294967296 base units are more than one buddy can number; use a larger unit or several buddies",
        ),
        (
            BuddyError::Reserve { reserve_units: 9, units: 8 },
            "a reserve of 9 base units leaves nothing of the region's 8; make it smaller",
        ),
        (BuddyError::NoMemory, "the buddy has no memory; add a region to the builder before calling build"),
        (
            BuddyError::NoAddress,
            "the memory has no address that the CPU can reach; map it before adding it to the builder",
        ),
        (
            BuddyError::NoSuchNode { node: NodeId(9) },
            "node 9 does not exist or is not open to this process; ask for one of \
             /sys/devices/system/node/has_memory that its cpuset allows",
        ),
        (
            BuddyError::NotSealed,
            "the file can be shortened under the pages; make it by memfd_create with MFD_ALLOW_SEALING \
             and add F_SEAL_SHRINK by fcntl before handing it over",
        ),
        (
            BuddyError::NotWritable,
            "the file cannot be mapped for writing; hand over a descriptor that is open for reading and writing, \
             of a file without F_SEAL_WRITE and F_SEAL_FUTURE_WRITE",
        ),
        (
            BuddyError::FileRange { offset: 8, bytes: 9, file_bytes: 10 },
            "9 bytes at offset 8 are not inside the file of 10 bytes; ask for less or lengthen the file first",
        ),
        (
            BuddyError::FileAlign { offset: 8, bytes: 9, page_bytes: 4096 },
            "9 bytes at offset 8 do not fit a file made of pages of 4096 bytes; make both a multiple of that",
        ),
        (
            BuddyError::NoFile { region: 2 },
            "region 2 cannot be shared because it has no file; make it by memfd, exposed_memfd or fd",
        ),
    ];
    for (error, text) in texts {
        assert_eq!(error.to_string(), text);
    }
    // Advice on memory where memory is what is missing, and nowhere else.
    let advice = [
        ("12", BuddyError::Os { call: "mmap", code: 12 }, "; ask for less, or raise the limit (ulimit -v for memory)"),
        ("1", BuddyError::Os { call: "mmap", code: 1 }, "; its manual page says what that asks for"),
    ];
    for (number, error, advice) in advice {
        let os = error.to_string();
        assert!(os.starts_with("mmap failed") && os.contains(number) && os.ends_with(advice), "{os}");
    }
}
