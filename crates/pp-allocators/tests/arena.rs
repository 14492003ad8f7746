//! The arena against an oracle, on threads, and at its ends.
#![cfg(not(loom))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::Arc;
use std::thread;

use allocator_api2::alloc::Allocator;
use allocator_api2::boxed::Box as BoxIn;
use allocator_api2::vec::Vec as VecIn;
use pp_allocators::{Arena, NoSlot};
use pp_core::doc::Heap;
use pp_core::{AllocError, Home, PagePool};
use proptest::collection::vec;
use proptest::prelude::*;

const UNITS: usize = 16;
const LARGEST: usize = 4096 - 64;

fn arena() -> (Home<Heap>, Arena) {
    let home = Home::new(Heap::new(4096, UNITS));
    let pool = PagePool::builder(home.clone()).cache(2).refill(1).pool_size(4).build().expect("a pool");
    (home, Arena::new(pool).expect("pages of 4 KiB"))
}

/// Memory in use, and the byte that every place of it must hold.
struct Piece {
    memory: NonNull<u8>,
    layout: Layout,
    tag: u8,
}

// SAFETY: memory of an arena is tied to no thread.
unsafe impl Send for Piece {}

impl Piece {
    fn new(memory: *mut u8, layout: Layout, tag: u8) -> Option<Self> {
        let memory = NonNull::new(memory)?;
        assert_eq!(memory.addr().get() % layout.align(), 0, "{layout:?} is not aligned");
        // SAFETY: fresh from the arena, for this layout.
        unsafe { memory.write_bytes(tag, layout.size()) };
        Some(Piece { memory, layout, tag })
    }

    fn verify(&self, bytes: usize) {
        // SAFETY: ours, and written in full.
        let bytes = unsafe { core::slice::from_raw_parts(self.memory.as_ptr(), bytes) };
        // All of them but for Miri, which would take hours.
        let step = if cfg!(miri) { 97 } else { 1 };
        assert!(
            bytes.iter().step_by(step).all(|byte| *byte == self.tag),
            "{:?} was written by somebody else",
            self.layout
        );
    }

    fn free(self, arena: &Arena) {
        self.verify(self.layout.size());
        // SAFETY: from this arena with this layout, and given up.
        unsafe { arena.dealloc(self.memory.as_ptr(), self.layout) };
    }
}

#[derive(Clone, Debug)]
enum Step {
    Alloc(usize, u32),
    Free(usize),
    FreeElsewhere(usize),
    Realloc(usize, usize),
    Trim,
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![6 => 1..200usize, 2 => 200..2100usize, 1 => 2100..LARGEST + 10]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (size(), 0..8u32).prop_map(|(size, align)| Step::Alloc(size, align)),
        5 => any::<usize>().prop_map(Step::Free),
        1 => any::<usize>().prop_map(Step::FreeElsewhere),
        3 => (any::<usize>(), size()).prop_map(|(at, size)| Step::Realloc(at, size)),
        1 => Just(Step::Trim),
    ];
    vec(step, 1..if cfg!(miri) { 12 } else { 300 })
}

/// Whether the arena has to refuse whatever room it has.
fn refused(layout: Layout) -> bool {
    layout.size() > LARGEST || layout.align() > 64
}

proptest! {
    #[test]
    fn arena_is_a_heap(steps in steps(), arena_goes_first in any::<bool>()) {
        let (home, arena) = arena();
        let arena = Arc::new(arena);
        let mut pieces: Vec<Piece> = Vec::new();
        for (tag, step) in (0..).zip(steps) {
            let tag = tag as u8 | 1;
            let pick = |at: usize| (!pieces.is_empty()).then(|| at % pieces.len());
            match step {
                Step::Alloc(size, align) => {
                    let layout = Layout::from_size_align(size, 1 << align).unwrap();
                    // SAFETY: not of size zero.
                    let piece = Piece::new(unsafe { arena.alloc(layout) }, layout, tag);
                    prop_assert!(piece.is_none() || !refused(layout));
                    // There is none only where the pool has given everything it has.
                    prop_assert!(piece.is_some() || refused(layout) || arena.pages() == UNITS);
                    pieces.extend(piece);
                }
                Step::Free(at) => if let Some(at) = pick(at) {
                    pieces.swap_remove(at).free(&arena);
                },
                Step::FreeElsewhere(at) => if let Some(at) = pick(at) {
                    let (piece, arena) = (pieces.swap_remove(at), arena.clone());
                    thread::spawn(move || piece.free(&arena)).join().unwrap();
                },
                Step::Realloc(at, size) => if let Some(at) = pick(at) {
                    let piece = &mut pieces[at];
                    // SAFETY: from this arena with this layout; the new size is not zero.
                    let moved = unsafe { arena.realloc(piece.memory.as_ptr(), piece.layout, size) };
                    if let Some(moved) = NonNull::new(moved) {
                        let new = Layout::from_size_align(size, piece.layout.align()).unwrap();
                        let kept = piece.layout.size().min(size);
                        *piece = Piece { memory: moved, layout: new, tag: piece.tag };
                        piece.verify(kept);
                        *piece = Piece::new(moved.as_ptr(), new, tag).unwrap();
                    }
                },
                Step::Trim => {
                    arena.trim();
                    prop_assert_eq!(home.free_units(), UNITS - arena.pages());
                    prop_assert!(arena.pages() <= pieces.len());
                }
            }
            pieces.iter().for_each(|piece| piece.verify(piece.layout.size()));
        }
        if arena_goes_first {
            drop(arena);
            for piece in pieces {
                piece.verify(piece.layout.size());
                // Freed through any arena of the same page size: the page knows whose it is.
                let (_, other) = self::arena();
                piece.free(&other);
            }
        } else {
            pieces.into_iter().for_each(|piece| piece.free(&arena));
            arena.trim();
            prop_assert_eq!(arena.pages(), 0);
            drop(arena);
        }
        prop_assert_eq!(home.free_units(), UNITS, "a page is not home");
    }
}

#[test]
fn threads_allocate_and_free_each_others_memory() {
    let (home, arena) = arena();
    let rounds = if cfg!(miri) { 30 } else { 20_000 };
    thread::scope(|scope| {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..3).map(|_| std::sync::mpsc::sync_channel::<Piece>(4)).unzip();
        for (number, pieces) in receivers.into_iter().enumerate() {
            let (next, arena) = (senders[(number + 1) % 3].clone(), &arena);
            scope.spawn(move || {
                for round in 0..rounds {
                    let layout = Layout::from_size_align(1 + (round * 37 + number * 101) % 1500, 8).unwrap();
                    // SAFETY: not of size zero.
                    if let Some(piece) = Piece::new(unsafe { arena.alloc(layout) }, layout, round as u8)
                        && let Err(back) = next.try_send(piece)
                    {
                        match back {
                            std::sync::mpsc::TrySendError::Full(piece)
                            | std::sync::mpsc::TrySendError::Disconnected(piece) => piece.free(arena),
                        }
                    }
                    pieces.try_iter().for_each(|piece| piece.free(arena));
                }
                drop(next);
                pieces.into_iter().for_each(|piece| piece.free(arena));
            });
        }
        drop(senders);
    });
    arena.trim();
    assert_eq!((arena.pages(), home.free_units()), (0, UNITS));
}

#[test]
fn collections_live_in_it_and_a_full_arena_is_nobody_elses_affair() {
    let (home, arena) = arena();
    {
        let mut lines: VecIn<VecIn<u8, &Arena>, &Arena> = VecIn::new_in(&arena);
        let text = b"a line of a subsystem's own";
        let refused = loop {
            let mut line = VecIn::new_in(&arena);
            if line.try_reserve_exact(text.len()).is_err() || lines.try_reserve(1).is_err() {
                break lines.len();
            }
            line.extend_from_slice(text);
            lines.push(line);
        };
        assert!(refused > 50 && lines.iter().all(|line| &line[..] == text), "{refused} lines");
        assert_eq!(home.free_units() + arena.pages() + arena.stats().in_cache + arena.stats().in_ring, UNITS);
        // The system's allocator has plenty.
        assert_eq!(vec![0u8; 1 << 20].len(), 1 << 20);
        let boxed = BoxIn::try_new_in((), &arena).expect("nothing needs no memory");
        drop(boxed);
        drop(lines);
        assert_eq!(*BoxIn::new_in(7, &arena), 7);
    }
    arena.trim();
    assert_eq!(home.free_units(), UNITS);
}

#[test]
fn refusals_say_why() {
    let (_home, arena) = arena();
    let layout = |size, align| Layout::from_size_align(size, align).unwrap();
    assert_eq!(arena.allocate(layout(LARGEST + 1, 1)), Err(None));
    assert_eq!(arena.allocate(layout(8, 128)), Err(None));
    let pages: Vec<_> = (0..UNITS).map(|_| arena.allocate(layout(LARGEST, 1)).unwrap()).collect();
    assert_eq!(arena.allocate(layout(1, 1)), Err(Some(NoSlot::Pool(AllocError::OutOfMemory))));
    for page in pages {
        // SAFETY: from this arena with this layout.
        unsafe { Allocator::deallocate(&&arena, page, layout(LARGEST, 1)) };
    }
    // Empty pages of one class serve another.
    let byte = arena.allocate(layout(1, 1)).unwrap();
    // SAFETY: as above.
    unsafe { Allocator::deallocate(&&arena, byte, layout(1, 1)) };
}

#[test]
fn pages_go_back_without_a_trace_of_what_was_in_them() {
    let (home, arena) = arena();
    let memory = arena.allocate(Layout::new::<u64>()).unwrap();
    // SAFETY: from this arena with this layout.
    unsafe {
        memory.cast::<[u8; 2]>().write([1, 2]);
        arena.dealloc(memory.as_ptr(), Layout::new::<u64>());
    }
    drop(arena);
    let mut pool = PagePool::builder(home).build().unwrap();
    let pages = core::iter::from_fn(|| pool.alloc().ok()).collect::<Vec<_>>();
    assert!(pages.len() == UNITS && pages.iter().all(|page| page.iter().all(|byte| *byte == 0)));
}

/// A global allocator must not unwind, and the hooks of its pool are the user's code.
#[test]
#[cfg_attr(miri, ignore = "starts a process")]
fn a_hook_that_panics_ends_the_process_and_not_the_allocation() {
    const NAME: &str = "a_hook_that_panics_ends_the_process_and_not_the_allocation";
    if std::env::var_os("PP_ARENA_ABORTS").is_none() {
        let mut child = Command::new(std::env::current_exe().expect("this program has a path"));
        let output =
            child.args([NAME, "--exact", "--nocapture"]).env("PP_ARENA_ABORTS", "1").output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("a hook of the arena's pool panicked"), "{output:?}");
        return;
    }
    let pool = PagePool::builder(Home::new(Heap::new(4096, 1))).page_in(|_| panic!("a hook")).build().unwrap();
    let arena: Arena = Arena::new(pool).unwrap();
    // SAFETY: not of size zero.
    let allocate = AssertUnwindSafe(|| unsafe { arena.alloc(Layout::new::<u64>()) });
    println!("it came back: {:?}", catch_unwind(allocate).is_err());
}

#[test]
fn growing_within_a_class_moves_nothing() {
    let (_home, arena) = arena();
    let layout = Layout::from_size_align(33, 1).unwrap();
    // SAFETY: sizes are not zero, memory is this arena's and its layout the last one.
    unsafe {
        let memory = arena.alloc(layout);
        memory.write(9);
        assert_eq!(arena.realloc(memory, layout, 48), memory);
        let moved = arena.realloc(memory, Layout::from_size_align(48, 1).unwrap(), 49);
        assert!(moved != memory && moved.read() == 9);
        arena.dealloc(moved, Layout::from_size_align(49, 1).unwrap());
    }
}
