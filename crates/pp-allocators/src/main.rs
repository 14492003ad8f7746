//! Measures slab and arena beside the system's allocator, in the same run and in turns.
//!
//! | case | what happens, 64 at a time |
//! |---|---|
//! | `slab` | objects of 64 bytes are made and given back by one thread, last made first back |
//! | `slab cross` | the same, but another thread gives them back |
//! | `arena` | memory of 64 sizes from 1 to 1024 bytes is got and freed by one thread, in another order |
//! | `arena cross` | the same, but another thread frees it |
//!
//! How rounds, medians and ratios are made is pp-bench's own way of measuring, which is included here.

extern crate alloc;

#[path = "../../pp-bench/src/measure.rs"]
mod measure;
#[path = "../../pp-bench/src/quiet.rs"]
mod quiet;

use alloc::sync::Arc;
use core::alloc::{GlobalAlloc, Layout};
use core::hint::black_box;
use core::time::Duration;
use std::alloc::System;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use clap::Parser;
use pp_allocators::{Arena, Slab, SlabBox};
use pp_core::PagePool;
use pp_provider_buddy::Buddy;

use crate::measure::{Effort, Middle, Runner, measure, timed};
use crate::quiet::Watch;

/// Items in flight on one thread.
const BATCH: usize = 64;
/// Batches under way between two threads.
const LANES: usize = 4;

/// One cache line.
type Object = [u64; 8];

/// Measures slab and arena beside the system's allocator, in nanoseconds an item.
#[derive(Parser)]
struct Args {
    /// A few milliseconds a case: whether it runs, not how fast
    #[arg(long)]
    smoke: bool,
    /// Rounds of each contender
    #[arg(long, short, default_value_t = 101)]
    rounds: usize,
}

fn main() {
    let args = Args::parse();
    let effort = if args.smoke {
        Effort { rounds: 3, round: Duration::from_micros(200) }
    } else {
        Effort { rounds: args.rounds, round: Duration::from_millis(3) }
    };
    // Of the caller's processor; whatever the other threads are on, it is none in particular.
    let watch = Watch::new(&[], |_| false);
    println!("| case | contender | ns an item | quartiles | fastest | times the first |");
    println!("|---|---|---:|---:|---:|---:|");
    for (case, contenders) in
        [("slab", slab()), ("slab cross", slab_cross()), ("arena", arena()), ("arena cross", arena_cross())]
    {
        let (names, mut runners): (Vec<_>, Vec<_>) = contenders.into_iter().unzip();
        let (samples, rounds) = measure(&mut runners, effort, &watch);
        if rounds.disturbed > 0 {
            eprintln!("{case}: {rounds}");
        }
        for (line, (name, of_this)) in names.iter().zip(&samples).enumerate() {
            let case = if line == 0 { format!("`{case}`") } else { String::new() };
            let (Some(Middle { median, quartiles: (low, high), least }), Some(ratio)) =
                (Middle::of(of_this), Middle::of_ratios(of_this, &samples[0]))
            else {
                continue;
            };
            println!("| {case} | {name} | {median:.2} | {low:.2} - {high:.2} | {least:.2} | {:.2} |", ratio.median);
        }
    }
    println!("\nMedians of {} interleaved rounds, {}.", effort.rounds, std::env::consts::ARCH);
}

/// Somebody who can make and end items.
type Contender = (&'static str, Runner);

fn named(name: &'static str, run: impl FnMut(usize) + 'static) -> Contender {
    (name, timed(run))
}

fn pool() -> PagePool {
    let buddy = Buddy::anonymous(16 << 20).expect("16 MiB");
    PagePool::builder(buddy).build().expect("memory for a small pool")
}

// === objects ===

fn slab() -> Vec<Contender> {
    let (mut one, mut other) = (new_slab(), new_slab());
    vec![
        named("slab, taken back by its owner", move |items| {
            let mut held = Vec::with_capacity(BATCH);
            for _ in 0..items / BATCH {
                held.extend((0..BATCH).map(|n| insert(&mut one, n)));
                while let Some(object) = black_box(&mut held).pop() {
                    black_box(one.take(object));
                }
            }
        }),
        named("slab, dropped", move |items| {
            let mut held = Vec::with_capacity(BATCH);
            for _ in 0..items / BATCH {
                held.extend((0..BATCH).map(|n| insert(&mut other, n)));
                while let Some(object) = black_box(&mut held).pop() {
                    drop(object);
                }
            }
        }),
        named("system, `Box`", move |items| {
            let mut held = Vec::with_capacity(BATCH);
            for _ in 0..items / BATCH {
                held.extend((0..BATCH).map(|n| Box::new([n as u64; 8])));
                while let Some(object) = black_box(&mut held).pop() {
                    drop(object);
                }
            }
        }),
    ]
}

fn slab_cross() -> Vec<Contender> {
    let mut slab = new_slab();
    vec![
        cross("slab", move |n| insert(&mut slab, n), drop::<SlabBox<Object>>),
        cross("system, `Box`", |n| Box::new([n as u64; 8]), drop::<Box<Object>>),
    ]
}

fn new_slab() -> Slab<Object> {
    Slab::new(pool()).expect("pages of 4 KiB")
}

fn insert(slab: &mut Slab<Object>, n: usize) -> SlabBox<Object> {
    match slab.insert([n as u64; 8]) {
        Ok(object) => object,
        Err(full) => panic!("{}", full.why),
    }
}

// === memory of many sizes ===

/// Sizes from 1 to 1024 bytes in no order, small ones more often.
fn layout(n: usize) -> Layout {
    let mixed = n.wrapping_mul(0x9e37_79b9) >> 7;
    let octave = 1 << (3 + mixed % 8);
    Layout::from_size_align((mixed >> 3) % octave + 1, 8).expect("small")
}

/// Memory on its way to whoever frees it.
struct Piece(*mut u8, usize);

// SAFETY: memory of the system's allocator or an arena, tied to no thread.
unsafe impl Send for Piece {}

fn get(from: &impl GlobalAlloc, n: usize) -> Piece {
    // SAFETY: not of size zero.
    let memory = unsafe { from.alloc(layout(n)) };
    assert!(!memory.is_null(), "there is memory for 64 pieces");
    // SAFETY: at least one byte, ours.
    unsafe { memory.write(n as u8) };
    Piece(memory, n)
}

fn free(to: &impl GlobalAlloc, Piece(memory, n): Piece) {
    // SAFETY: from the same allocator with the same layout, once.
    unsafe { to.dealloc(memory, layout(n)) };
}

/// Frees in another order than it got.
fn mixed(heap: impl GlobalAlloc, items: usize) {
    let mut held = Vec::with_capacity(BATCH);
    for _ in 0..items / BATCH {
        held.extend((0..BATCH).map(|n| get(&heap, n)));
        let held = black_box(&mut held);
        while !held.is_empty() {
            free(&heap, held.swap_remove(held.len() / 2));
        }
    }
}

fn arena() -> Vec<Contender> {
    let arena = new_arena();
    vec![named("arena", move |items| mixed_in(&arena, items)), named("system", move |items| mixed(System, items))]
}

/// [`mixed`] by reference, which is no `GlobalAlloc`.
fn mixed_in(arena: &Arena, items: usize) {
    struct By<'a>(&'a Arena);
    // SAFETY: the arena's own promises.
    unsafe impl GlobalAlloc for By<'_> {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            // SAFETY: the caller's promise.
            unsafe { self.0.alloc(layout) }
        }
        unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
            // SAFETY: the caller's promise.
            unsafe { self.0.dealloc(memory, layout) }
        }
    }
    mixed(By(arena), items);
}

fn arena_cross() -> Vec<Contender> {
    let arena = Arc::new(new_arena());
    let other = arena.clone();
    vec![
        cross("arena", move |n| get(&*arena, n), move |piece| free(&*other, piece)),
        cross("system", |n| get(&System, n), |piece| free(&System, piece)),
    ]
}

fn new_arena() -> Arena {
    Arena::new(pool()).expect("pages of 4 KiB")
}

// === two threads ===

/// Makes items here and ends them on a thread of its own, 64 in one message; the empty messages come back.
fn cross<T: Send + 'static>(
    name: &'static str,
    mut make: impl FnMut(usize) -> T + 'static,
    mut end: impl FnMut(T) + Send + 'static,
) -> Contender {
    let (to_other, full): (SyncSender<Vec<T>>, Receiver<Vec<T>>) = mpsc::sync_channel(LANES);
    let (to_us, empty) = mpsc::sync_channel(LANES);
    for _ in 0..LANES {
        to_us.send(Vec::with_capacity(BATCH)).expect("both ends are here");
    }
    thread::spawn(move || {
        for mut batch in full {
            batch.drain(..).for_each(&mut end);
            // Where nobody wants the empty ones any more, it is over.
            let _ = to_us.send(batch);
        }
    });
    named(name, move |items| {
        for _ in 0..items / BATCH {
            let mut batch = empty.recv().expect("the other thread goes after us");
            batch.extend((0..BATCH).map(&mut make));
            to_other.send(batch).expect("the other thread goes after us");
        }
    })
}
