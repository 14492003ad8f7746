//! The memory goes with its last owner. Alone in its process, so that nobody else takes the addresses meanwhile.
#![cfg(all(feature = "std", target_os = "linux", not(any(loom, shuttle))))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

mod common;

use std::sync::mpsc;

use common::*;
use pp_core::{Home, MemoryProvider, Reaper};
use pp_provider_buddy::Buddy;

fn mapped(base: *mut u8) -> bool {
    std::fs::read_to_string("/proc/self/maps").unwrap().lines().any(|line| {
        let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        let address = |text| usize::from_str_radix(text, 16).unwrap();
        (address(start)..address(end)).contains(&base.addr())
    })
}

#[test]
fn the_last_owner_unmaps_and_nobody_before() {
    const BYTES: usize = 64 << 20; // so large that the allocator's own mappings do not fit in between
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let open = descriptors();
    let buddy = Buddy::builder().anonymous(BYTES).memfd(BYTES).build().unwrap();
    let bases = [0, 1].map(|at| buddy.regions()[at].base());
    assert!(bases.iter().all(|base| mapped(*base) && base.addr().is_multiple_of(4 << 20)));
    assert_eq!(descriptors(), open + 1, "the memfd");
    assert_eq!(buddy.free_blocks(10), 32, "aligned to the largest block, so nothing is cut off");
    let clone = buddy.clone();
    let home: Home<_> = (&buddy).into();
    let unit = alloc(&*buddy, 0, 1).remove(0);
    drop(buddy);
    clone.release(unit);
    drop(clone);
    assert!(bases.iter().all(|base| mapped(*base)));
    drop(home);
    assert!(!bases.iter().any(|base| mapped(*base)));
    assert_eq!(descriptors(), open, "the memfd is closed");

    // With a reaper the last owner only passes the work on.
    let (to_reaper, remains) = mpsc::channel();
    let reaper = Reaper::new(move |dead| to_reaper.send(dead).unwrap());
    let buddy = Buddy::builder().reaper(reaper).anonymous(BYTES).build().unwrap();
    let base = buddy.regions()[0].base();
    drop(buddy);
    assert!(mapped(base));
    drop(remains.recv().unwrap());
    assert!(!mapped(base));
}
