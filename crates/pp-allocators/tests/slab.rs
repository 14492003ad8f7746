//! The slab against an oracle, on threads, and at its ends.
#![cfg(not(loom))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use pp_allocators::{NoSlot, Slab, SlabBox};
use pp_core::doc::Heap;
use pp_core::{AllocError, Home, PagePool};
use proptest::collection::vec;
use proptest::prelude::*;

const UNITS: usize = 8;

/// A provider to look at, and a small pool on it.
fn pool() -> (Home<Heap>, PagePool) {
    let home = Home::new(Heap::new(4096, UNITS));
    let pool = PagePool::builder(home.clone()).cache(2).refill(1).pool_size(4).build().expect("a pool");
    (home, pool)
}

/// Counts how many there are, and knows whether it was overwritten.
struct Tracked {
    value: u64,
    check: [u64; 60],
    alive: Arc<AtomicUsize>,
}

impl Tracked {
    fn new(value: u64, alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::Relaxed);
        Tracked { value, check: [!value; 60], alive: alive.clone() }
    }

    fn verify(&self, value: u64) {
        assert_eq!(self.value, value);
        assert!(self.check.iter().all(|word| *word == !value), "the object was overwritten");
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.verify(self.value);
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u64),
    Drop(usize),
    DropElsewhere(usize),
    Take(usize),
    Write(usize, u64),
    Trim,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => any::<u64>().prop_map(Step::Insert),
        3 => any::<usize>().prop_map(Step::Drop),
        1 => any::<usize>().prop_map(Step::DropElsewhere),
        3 => any::<usize>().prop_map(Step::Take),
        1 => (any::<usize>(), any::<u64>()).prop_map(|(at, value)| Step::Write(at, value)),
        1 => Just(Step::Trim),
    ];
    vec(step, 1..if cfg!(miri) { 12 } else { 300 })
}

proptest! {
    #[test]
    fn slab_is_a_vec_of_boxes(steps in steps(), slab_goes_first in any::<bool>()) {
        let (home, pool) = pool();
        let mut slab = Some(Slab::<Tracked>::new(pool).expect("pages of 4 KiB"));
        let most = UNITS * slab.as_ref().unwrap().objects_per_page();
        let alive = Arc::new(AtomicUsize::new(0));
        // The oracle: what each object must say.
        let mut boxes: Vec<(u64, SlabBox<Tracked>)> = Vec::new();
        for step in steps {
            let slab = slab.as_mut().unwrap();
            let pick = |at: usize, boxes: &Vec<_>| (!boxes.is_empty()).then(|| at % boxes.len());
            match step {
                Step::Insert(value) => match slab.insert(Tracked::new(value, &alive)) {
                    Ok(object) => boxes.push((value, object)),
                    Err(full) => {
                        prop_assert_eq!(full.why, NoSlot::Pool(AllocError::OutOfMemory));
                        full.value.verify(value);
                        // Only for want of a free slot, wherever it lies.
                        prop_assert_eq!(boxes.len(), most);
                    }
                },
                Step::Drop(at) => if let Some(at) = pick(at, &boxes) {
                    boxes.swap_remove(at).1.verify_and_drop();
                },
                Step::DropElsewhere(at) => if let Some(at) = pick(at, &boxes) {
                    let (_, object) = boxes.swap_remove(at);
                    thread::spawn(move || object.verify_and_drop()).join().unwrap();
                },
                Step::Take(at) => if let Some(at) = pick(at, &boxes) {
                    let (value, object) = boxes.swap_remove(at);
                    slab.take(object).verify(value);
                },
                Step::Write(at, value) => if let Some(at) = pick(at, &boxes) {
                    let (old, object) = &mut boxes[at];
                    object.value = value;
                    object.check = [!value; 60];
                    *old = value;
                },
                Step::Trim => {
                    slab.trim();
                    // No page without an object is left, and no page is missing.
                    prop_assert!(slab.pages() <= boxes.len());
                    prop_assert!(slab.pages() * slab.objects_per_page() >= boxes.len());
                    prop_assert_eq!(home.free_units(), UNITS - slab.pages());
                }
            }
            prop_assert_eq!(alive.load(Ordering::Relaxed), boxes.len());
            boxes.iter().for_each(|(value, object)| object.verify(*value));
        }
        if slab_goes_first {
            slab = None;
        }
        boxes.iter().for_each(|(value, object)| object.verify(*value));
        drop(boxes);
        drop(slab);
        prop_assert_eq!(alive.load(Ordering::Relaxed), 0);
        prop_assert_eq!(home.free_units(), UNITS, "a page is not home");
    }
}

trait VerifyAndDrop {
    fn verify_and_drop(self);
}

impl VerifyAndDrop for SlabBox<Tracked> {
    fn verify_and_drop(self) {
        self.verify(self.value);
    }
}

#[test]
fn three_threads_drop_what_one_inserts() {
    let (home, pool) = pool();
    let alive = Arc::new(AtomicUsize::new(0));
    let rounds = if cfg!(miri) { 40 } else { 30_000 };
    let mut slab = Slab::<Tracked>::new(pool).unwrap();
    let (senders, threads): (Vec<_>, Vec<_>) = (0..3)
        .map(|_| {
            let (sender, boxes) = mpsc::sync_channel::<SlabBox<Tracked>>(8);
            (sender, thread::spawn(move || boxes.into_iter().for_each(SlabBox::verify_and_drop)))
        })
        .unzip();
    let mut kept = Vec::new();
    for round in 0..rounds {
        match slab.insert(Tracked::new(round, &alive)) {
            Ok(object) if round % 5 == 4 => drop(slab.take(object)),
            Ok(object) if round + 10 > rounds => kept.push(object),
            Ok(object) => senders[round as usize % 3].send(object).unwrap(),
            Err(full) => drop(full.value),
        }
    }
    // The slab goes while they still have objects.
    drop(slab);
    drop(senders);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(alive.load(Ordering::Relaxed), kept.len());
    drop(kept);
    assert_eq!((alive.load(Ordering::Relaxed), home.free_units()), (0, UNITS));
}

#[test]
fn a_place_is_free_again_also_when_the_drop_panics() {
    struct Bomb(#[allow(dead_code, reason = "takes room")] [u8; 3000]);
    impl Drop for Bomb {
        fn drop(&mut self) {
            // A panic that says nothing.
            resume_unwind(Box::new("on purpose"));
        }
    }
    let (home, pool) = pool();
    let mut slab = Slab::<Bomb>::new(pool).unwrap();
    assert_eq!(slab.objects_per_page(), 1);
    for _ in 0..2 * UNITS {
        let object = slab.insert(Bomb([0; 3000])).ok().expect("a place");
        catch_unwind(AssertUnwindSafe(|| drop(object))).unwrap_err();
    }
    drop(slab);
    assert_eq!(home.free_units(), UNITS);
}

#[test]
fn a_slab_that_goes_leaves_no_page_behind_when_a_hook_panics() {
    let home = Home::new(Heap::new(4096, UNITS));
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    // No room in the ring for more than one, so that pages leave while the slab goes; the first of them panics.
    let pool = PagePool::builder(home.clone()).cache(1).refill(1).pool_size(1).page_out(move |_| {
        if count.fetch_add(1, Ordering::Relaxed) == 0 {
            resume_unwind(Box::new("on purpose"));
        }
    });
    let mut slab = Slab::<[u8; 4000]>::new(pool.build().unwrap()).unwrap();
    let boxes: Vec<_> = (0..UNITS).map(|_| slab.insert([0; 4000]).unwrap()).collect();
    drop(boxes); // the places are back, the pages are still the slab's
    assert_eq!((slab.pages(), home.free_units()), (UNITS, 0));
    catch_unwind(AssertUnwindSafe(|| drop(slab))).unwrap_err();
    assert_eq!((calls.load(Ordering::Relaxed), home.free_units()), (UNITS, UNITS));
}

#[test]
fn objects_of_every_shape_are_aligned_and_apart() {
    fn check<T: Copy + PartialEq + core::fmt::Debug>(make: impl Fn(u8) -> T) {
        let (home, pool) = pool();
        let mut slab = Slab::<T>::new(pool).unwrap();
        let count = (slab.objects_per_page() * 2 + 1).min(u8::MAX.into()) as u8;
        let boxes: Vec<_> = (0..count).map(|n| slab.insert(make(n)).expect("a place")).collect();
        for (n, object) in boxes.iter().enumerate() {
            assert_eq!(**object, make(n as u8));
            assert!(core::ptr::from_ref(&**object).is_aligned());
        }
        drop((slab, boxes));
        assert_eq!(home.free_units(), UNITS);
    }
    #[derive(Clone, Copy, Debug, PartialEq)]
    #[repr(align(64))]
    struct Line([u8; 65]);
    check(|_| ());
    check(|n| n);
    check(|n| [u64::from(n); 5]);
    check(|n| Line([n; 65]));
    check(|n| [n; 4032]);
}

#[test]
fn a_box_finds_its_own_slab() {
    let (home, pool_of_one) = pool();
    let other = PagePool::builder(home.clone()).cache(2).refill(1).build().unwrap();
    let mut one = Slab::<u64>::new(pool_of_one).unwrap();
    let mut two = Slab::<u64>::new(other).unwrap();
    let object = one.insert(7).unwrap();
    assert_eq!(two.take(object), 7);
    assert_eq!((one.trim(), two.trim(), two.pages()), (1, 0, 0));
    drop((one, two));
    assert_eq!(home.free_units(), UNITS);
}

#[test]
fn pages_go_back_without_a_trace_of_head_and_objects() {
    /// Seven of its bytes are padding, which no write initialises: Miri sees who reads those.
    struct Padded(#[allow(dead_code, reason = "to be written")] u8, #[allow(dead_code, reason = "as above")] u64);
    let check = |way: &str, go: fn(Slab<Padded>, SlabBox<Padded>)| {
        let home = Home::new(Heap::new(4096, 1));
        let mut slab = Slab::new(PagePool::builder(home.clone()).build().unwrap()).unwrap();
        let object = slab.insert(Padded(1, 2)).ok().unwrap();
        go(slab, object);
        let page = PagePool::builder(home).build().unwrap().alloc().expect("the page is back");
        assert!(page.iter().all(|byte| *byte == 0), "{way}");
    };
    check("by a trim", |mut slab, object| {
        drop(object);
        assert_eq!(slab.trim(), 1);
    });
    check("with the slab", |slab, object| drop((object, slab)));
    check("by the last box", |slab, object| drop((slab, object)));
}

#[test]
#[cfg_attr(miri, ignore = "it leaks on purpose")]
fn a_forgotten_object_keeps_its_page_and_no_other() {
    let (home, pool) = pool();
    let mut slab = Slab::<[u8; 2000]>::new(pool).unwrap();
    let mut boxes: Vec<_> = (0..6).map(|n| slab.insert([n; 2000]).unwrap()).collect();
    core::mem::forget(boxes.remove(2));
    drop((slab, boxes));
    assert_eq!(home.free_units(), UNITS - 1);
}

#[test]
fn other_page_sizes_are_refused_at_the_start() {
    let pool = PagePool::builder(Home::new(Heap::new(8192, 2))).build().unwrap();
    let error = Slab::<u64>::new(pool).unwrap_err();
    assert_eq!(error, NoSlot::PageSize { page_bytes: 8192, wanted: 4096 });
    let pool = PagePool::builder(Home::new(Heap::new(8192, 2))).build().unwrap();
    assert!(Slab::<u64, 8192>::new(pool).unwrap().insert(1).is_ok());
}

#[test]
fn boxes_are_as_send_and_sync_as_what_they_hold() {
    use core::cell::Cell;
    use static_assertions::{assert_impl_all, assert_not_impl_any};
    assert_impl_all!(SlabBox<u8>: Send, Sync);
    assert_impl_all!(Slab<Cell<u8>>: Send);
    assert_not_impl_any!(Slab<u8>: Sync, Clone);
    assert_impl_all!(SlabBox<Cell<u8>>: Send);
    assert_not_impl_any!(SlabBox<Cell<u8>>: Sync, Clone);
    assert_not_impl_any!(SlabBox<std::rc::Rc<u8>>: Send, Sync);
    assert_eq!(size_of::<Option<SlabBox<[u8; 100]>>>(), size_of::<usize>());
}
