//! `RUSTFLAGS="--cfg loom" cargo test --features loom`
#![cfg(all(loom, feature = "loom"))]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::{Arc, Mutex};

use loom::thread;
use mailbox::mailbox;
use page_pool::sync::Mutant;
use page_pool::{Buddy, PagePool, PoolState};

/// The first stage writes two pages and sends them through a mailbox of one place; the second looks for them twice, reads and
/// puts them, and goes. Whatever happens, both pages are home at the end, and the pool is closed.
fn two_stages() -> String {
    let buddy = Buddy::anonymous(2 * 4096).unwrap();
    // As small as can be: the fewer places, the fewer executions.
    let mut pool = PagePool::builder(&buddy).pool_size(1).cache(1).refill(1).build().unwrap();
    let handle = pool.handle();
    let (mut sender, mut receiver) = mailbox::<1>();

    let first = thread::spawn(move || {
        let mut sent = 0;
        for number in 1..=2 {
            let mut page = pool.alloc().expect("there are two");
            page[0] = number;
            sent += usize::from(sender.send(page).is_ok());
        }
        sent
    });
    let second = thread::spawn(move || {
        let pages: Vec<_> = (0..2).filter_map(|_| receiver.receive()).collect();
        let numbers: Vec<u8> = pages.iter().map(|page| page[0]).collect();
        assert!(numbers.is_sorted(), "the mailbox changed the order");
        numbers.len()
    });
    let sent = first.join().unwrap();
    let received = second.join().unwrap();

    assert_eq!((handle.inflight(), handle.state()), (0, PoolState::Closed), "a page was lost");
    assert_eq!(buddy.free_units(), 2);
    format!("sent {sent}, received {received}")
}

/// Runs `two_stages` in every execution within the bound, and counts what they came to.
fn explore() -> BTreeMap<String, usize> {
    let mut model = loom::model::Builder::new(); // reads LOOM_MAX_PREEMPTIONS
    model.preemption_bound = model.preemption_bound.or(Some(2));
    let seen = Arc::new(Mutex::new(BTreeMap::new()));
    let outcomes = seen.clone();
    model.check(move || *outcomes.lock().unwrap().entry(two_stages()).or_default() += 1);
    seen.lock().unwrap().clone()
}

#[test]
fn loom_two_stages() {
    let outcomes = explore();
    println!("{outcomes:?}");
    let expected = [
        "sent 0, received 0", // the receiver went first
        "sent 1, received 0", // it went with a page in the mailbox
        "sent 1, received 1",
        "sent 2, received 1", // the same with the second
        "sent 2, received 2",
    ];
    assert_eq!(outcomes.keys().map(String::as_str).collect::<BTreeSet<_>>(), BTreeSet::from(expected));
}

/// Says to a child of this program which defect to run with.
const DEFECT: &str = "MAILBOX_DEFECT";
/// What the child exits with when the model failed, as it must.
const FOUND: i32 = 77;

/// A model that passes proves something only if it fails once the thing it checks is broken. Each defect runs in a process of its
/// own, which ends where the model fails: unwinding any further would end in an abort.
#[test]
fn loom_two_stages_finds_defects() {
    let defects = ["relaxed send", "relaxed receive", "close without closing"];
    if let Ok(wanted) = std::env::var(DEFECT) {
        let defect = defects.into_iter().find(|defect| *defect == wanted).expect("one of the above");
        std::panic::set_hook(Box::new(|info| {
            println!("found: {}", info.payload_as_str().unwrap_or_default().lines().next().unwrap_or_default());
            std::process::exit(FOUND);
        }));
        Mutant::Named(defect).run(explore);
        return;
    }
    for defect in defects {
        let mut child = Command::new(std::env::current_exe().expect("this program has a path"));
        child.args(["loom_two_stages_finds_defects", "--exact", "--nocapture"]).env(DEFECT, defect);
        let output = child.output().expect("this program runs once more");
        let text = String::from_utf8_lossy(&output.stdout);
        let said = text.split("found: ").nth(1).and_then(|rest| rest.lines().next());
        println!("{defect}: {}", said.unwrap_or("it crashed"));
        assert_eq!(output.status.code(), Some(FOUND), "{defect} went unnoticed");
    }
}
