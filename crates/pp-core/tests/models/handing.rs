//! Pages from a returner to the consumer.

use pp_core::Page;

use super::thread;
use super::units::{Scene, tiny};

/// A returner writes a page and puts it; the consumer, if it gets the page again, reads it and writes it anew.
///
/// What `ptr_ring` promises of `__ptr_ring_produce` and `__ptr_ring_consume`: what was done to the page before it was
/// published has happened for whoever takes it.
pub(crate) fn one_page() -> &'static str {
    let (scene, home) = Scene::new(1);
    let mut pool = tiny(home, 1).build().unwrap();
    let mut page = pool.alloc().unwrap();
    let returner = thread::spawn(move || {
        page[0] = 7;
        drop(page);
    });
    let consumer = thread::spawn(move || match pool.alloc() {
        Ok(mut page) => {
            assert_eq!(page[0], 7);
            page[0] = 8;
            assert_eq!(pool.stats().recycle.ring, 1);
            pool.recycle_direct(page);
            "handed over"
        }
        Err(_) => "not yet",
    });
    returner.join().unwrap();
    let outcome = consumer.join().unwrap();
    scene.freed_by(&[]);
    outcome
}

/// Two returners and a refill meet in a ring of one slot: each page is handed out again once, goes home because the
/// ring was full, or lies in the ring at the end.
pub(crate) fn two_returners_one_slot() -> &'static str {
    let (scene, home) = Scene::new(2);
    let mut pool = tiny(home, 1).build().unwrap();
    let (mut one, mut two): (Page, Page) = (pool.alloc().unwrap(), pool.alloc().unwrap());
    let first = thread::spawn(move || {
        one[0] = 1;
        drop(one);
    });
    let second = thread::spawn(move || {
        two[0] = 2;
        drop(two);
    });
    let consumer = thread::spawn(move || {
        let mut got = [pool.alloc().ok(), pool.alloc().ok()];
        let bytes = got.each_mut().map(|page| page.as_mut().map_or(0, |page| core::mem::replace(&mut page[0], 9)));
        let again = got.iter().flatten().count();
        assert!(again < 2 || matches!(bytes, [1, 2] | [2, 1]), "not the two pages that were put: {bytes:?}");
        got.into_iter().flatten().for_each(|page| pool.recycle_direct(page));
        (again, pool)
    });
    first.join().unwrap();
    second.join().unwrap();
    let (again, pool) = consumer.join().unwrap();
    let recycle = pool.stats().recycle;
    assert_eq!(recycle.ring + recycle.ring_full, 2, "each of the two puts counts once");
    assert_eq!(pool.stats().in_use(), 0);
    drop(pool);
    scene.freed_by(&[]);
    match (again, recycle.ring_full) {
        (0, 0) => "none again",
        (1, 0) => "one again",
        (2, 0) => "both again",
        (0, _) => "none again, ring was full",
        (1, _) => "one again, ring was full",
        _ => "both again, ring was full",
    }
}

/// The same where a page lies in the ring already, and the returners find that out one after the other.
pub(crate) fn two_returners_one_slot_left() -> &'static str {
    let (scene, home) = Scene::new(3);
    let mut pool = tiny(home, 2).build().unwrap();
    let (one, two, parked) = (pool.alloc().unwrap(), pool.alloc().unwrap(), pool.alloc().unwrap());
    drop(parked);
    let first = thread::spawn(move || drop(one));
    let second = thread::spawn(move || drop(two));
    let consumer = thread::spawn(move || {
        let page = pool.alloc().expect("the parked page at least");
        pool.recycle_direct(page);
        pool
    });
    first.join().unwrap();
    second.join().unwrap();
    let pool = consumer.join().unwrap();
    let stats = pool.stats();
    assert_eq!((stats.recycle.ring + stats.recycle.ring_full, stats.in_use()), (3, 0), "each put counts once");
    drop(pool);
    scene.freed_by(&[]);
    ["none sent home", "one sent home", "two sent home"][stats.recycle.ring_full]
}
