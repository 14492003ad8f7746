//! Every interleaving, within a bound, of giving slots back against the slab's own doings.
//!
//! `cargo xtask loom` runs this. Each test that passes has one that runs the same body with a defect and must fail.
#![cfg(all(loom, feature = "loom"))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

mod once;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::{Arc, Mutex};

use loom::thread;
use once::Once;
use pp_allocators::slots::HEAD_BYTES;
use pp_allocators::{Slab, SlabBox};
use pp_core::sync::{Canary, Mutant};
use pp_core::{Home, PagePool};

const PAGE: usize = 1024;
/// Two objects fit a page, whatever loom's types take of it.
const ROOM: usize = (PAGE - HEAD_BYTES) / 2 - 16;
type Small = Slab<Object, PAGE>;

/// What loom watches in place of a slot's bytes: one canary for each address.
#[derive(Clone, Default)]
struct Cells(Arc<Mutex<BTreeMap<usize, Arc<Canary>>>>);

impl Cells {
    /// Somebody uses the slot at `address`.
    fn touch(&self, address: usize) {
        let cell = self.0.lock().unwrap().entry(address).or_insert_with(|| Arc::new(Canary::new())).clone();
        cell.bury();
    }
}

/// Touches its slot when it goes.
struct Object {
    cells: Cells,
    _room: [u8; ROOM],
}

impl Drop for Object {
    fn drop(&mut self) {
        self.cells.touch(core::ptr::from_ref(self).addr());
    }
}

struct Scene {
    slab: Small,
    units: Arc<once::Count>,
    cells: Cells,
    /// The threads on which pages left the pool.
    left: Arc<Mutex<Vec<thread::ThreadId>>>,
}

impl Scene {
    fn new(units: usize) -> Self {
        let (provider, count) = Once::new(PAGE, units);
        let left = Arc::new(Mutex::new(Vec::new()));
        let note = left.clone();
        let pool = PagePool::builder(Home::new(provider)).cache(1).refill(1).pool_size(1);
        let pool = pool.page_out(move |_| note.lock().unwrap().push(thread::current().id())).build().unwrap();
        let slab = Small::new(pool).unwrap();
        assert_eq!(slab.objects_per_page(), 2);
        Scene { slab, units: count, cells: Cells::default(), left }
    }

    fn insert(&mut self) -> Option<SlabBox<Object, PAGE>> {
        let object = Object { cells: self.cells.clone(), _room: [0; ROOM] };
        match self.slab.insert(object) {
            Ok(object) => {
                self.cells.touch(core::ptr::from_ref(&*object).addr());
                Some(object)
            }
            Err(full) => {
                // It never lay in a slot.
                core::mem::forget(full.value);
                None
            }
        }
    }
}

/// Two threads give both slots of the only page back while the owner looks for one.
fn returns_against_insert() -> &'static str {
    let mut scene = Scene::new(1);
    let (one, two) = (scene.insert().unwrap(), scene.insert().unwrap());
    let first = thread::spawn(move || drop(one));
    let second = thread::spawn(move || drop(two));
    let owner = thread::spawn(move || {
        let got = [scene.insert(), scene.insert()];
        let count = got.iter().flatten().count();
        assert!(
            got.iter().flatten().map(|object| core::ptr::from_ref(&**object).addr()).collect::<BTreeSet<_>>().len()
                == count
        );
        drop(got);
        (scene, count)
    });
    first.join().unwrap();
    second.join().unwrap();
    let (scene, count) = owner.join().unwrap();
    let units = scene.units.clone();
    drop(scene);
    assert_eq!((units.out(), units.handed_out()), (0, 1), "the page is not home");
    ["none", "one", "both"][count]
}

/// Two threads give the last two slots back while the slab goes: one of the three sends the page home.
fn returns_against_drop() -> &'static str {
    let mut scene = Scene::new(1);
    let (one, two) = (scene.insert().unwrap(), scene.insert().unwrap());
    let (units, left) = (scene.units.clone(), scene.left.clone());
    let first = thread::spawn(move || drop(one));
    let second = thread::spawn(move || drop(two));
    let owner = thread::spawn(move || drop(scene));
    let names = [(first.thread().id(), "first"), (second.thread().id(), "second"), (owner.thread().id(), "owner")];
    first.join().unwrap();
    second.join().unwrap();
    owner.join().unwrap();
    assert_eq!(units.out(), 0, "the page is not home");
    let left = left.lock().unwrap();
    assert_eq!(left.len(), 1, "the page left {} times", left.len());
    names.iter().find(|(id, _)| *id == left[0]).expect("one of the three").1
}

/// Runs `body` in every execution within the bound, and counts what they came to.
fn explore(body: fn() -> &'static str) -> BTreeMap<&'static str, usize> {
    let mut model = loom::model::Builder::new(); // reads LOOM_MAX_PREEMPTIONS
    model.preemption_bound = model.preemption_bound.or(Some(3));
    model.max_branches = model.max_branches.max(20_000);
    let seen = Arc::new(Mutex::new(BTreeMap::new()));
    let outcomes = seen.clone();
    model.check(move || {
        let outcome = body();
        *outcomes.lock().unwrap().entry(outcome).or_default() += 1;
    });
    seen.lock().unwrap().clone()
}

fn must_pass(name: &str, body: fn() -> &'static str, expected: &[&'static str]) {
    let outcomes = explore(body);
    println!("{name}: {outcomes:?}");
    assert_eq!(outcomes.into_keys().collect::<BTreeSet<_>>(), expected.iter().copied().collect());
}

/// Says to a child of this program which defect to run its one test with.
const DEFECT: &str = "PP_SLOTS_DEFECT";
/// What the child exits with when the model failed, as it must.
const FOUND: i32 = 77;

/// Runs the model once for each defect, in a process of its own: what unwinds past a failed model aborts.
fn must_fail(test: &str, body: fn() -> &'static str, defects: &[&'static str]) {
    if let Ok(wanted) = std::env::var(DEFECT) {
        let defect = defects.iter().find(|defect| **defect == wanted).expect("one of this test's");
        std::panic::set_hook(Box::new(|info| {
            println!("found: {}", info.payload_as_str().unwrap_or_default().lines().next().unwrap_or_default());
            std::process::exit(FOUND);
        }));
        Mutant::Named(defect).run(|| explore(body));
        return;
    }
    for defect in defects {
        let mut child = Command::new(std::env::current_exe().expect("this program has a path"));
        child.args([test, "--exact", "--nocapture", "--test-threads=1"]).env(DEFECT, defect);
        let output = child.output().expect("this program runs once more");
        let text = String::from_utf8_lossy(&output.stdout);
        let said = text.split("found: ").nth(1).and_then(|rest| rest.lines().next()).unwrap_or("it crashed");
        println!("{test}: {defect}: {said}");
        // Death by a signal finds it as well.
        assert!(output.status.code().is_none_or(|code| code == FOUND), "{test}: {defect} survived");
    }
}

#[test]
fn loom_slots_returns_against_insert() {
    must_pass("loom_slots_returns_against_insert", returns_against_insert, &["none", "one", "both"]);
}

#[test]
fn loom_slots_returns_against_insert_mutants() {
    let defects = ["relaxed give back", "relaxed collect"];
    must_fail("loom_slots_returns_against_insert_mutants", returns_against_insert, &defects);
}

#[test]
fn loom_slots_returns_against_drop() {
    must_pass("loom_slots_returns_against_drop", returns_against_drop, &["first", "second", "owner"]);
}

#[test]
fn loom_slots_returns_against_drop_mutants() {
    let defects = [
        "relaxed give back",
        "no fence",
        "relaxed orphan",
        "relaxed last look",
        "orphan all",
        "touch after giving back",
    ];
    must_fail("loom_slots_returns_against_drop_mutants", returns_against_drop, &defects);
}
