//! Batches that borrow a bag. In models two pages are worth one: the first goes into the bag, the last into the ring.

use pp_core::{Page, PageBatch, PagePool};

use super::thread;
use super::units::{Scene, tiny};

/// A batch is dropped while the pool closes: its first page may come to lie in a closed bag, its last one is what keeps the bag alive until it is
/// given back.
pub(crate) fn against_close() -> &'static str {
    let (scene, home) = Scene::new(2);
    let mut pool = tiny(home, 1).batch_bags(1, 2).build().unwrap();
    let batch: PageBatch<2> = pool.alloc_batch();
    assert_eq!(batch.len(), 2);
    let dropper = thread::spawn(move || drop(batch));
    let closer = thread::spawn(move || drop(pool));
    let actors = [("dropper frees", dropper.thread().id()), ("closer frees", closer.thread().id())];
    dropper.join().unwrap();
    closer.join().unwrap();
    scene.freed_by(&actors)
}

/// Two batches, one bag and the close: each may find the bag open, closed, or the other's, and may come to claim what the other one left.
pub(crate) fn two_against_close() -> &'static str {
    let (scene, home) = Scene::new(4);
    let mut pool = tiny(home, 2).batch_bags(1, 2).build().unwrap();
    let batches: [_; 2] = core::array::from_fn(|_| PageBatch::from([pool.alloc().unwrap(), pool.alloc().unwrap()]));
    let [one, two] = batches.map(|batch| thread::spawn(move || drop(batch)));
    let closer = thread::spawn(move || drop(pool));
    let actors = [
        ("a dropper frees", one.thread().id()),
        ("a dropper frees", two.thread().id()),
        ("closer frees", closer.thread().id()),
    ];
    [one, two, closer].into_iter().for_each(|actor| actor.join().unwrap());
    scene.freed_by(&actors)
}

/// A batch is dropped while the consumer refills.
pub(crate) fn against_refill() -> &'static str {
    let (scene, home) = Scene::new(2);
    let mut pool = tiny(home, 1).batch_bags(1, 2).build().unwrap();
    let (mut one, mut two) = (pool.alloc().unwrap(), pool.alloc().unwrap());
    let dropper = thread::spawn(move || {
        (one[0], two[0]) = (1, 2);
        drop(PageBatch::from([one, two]));
    });
    let consumer = thread::spawn(move || count(&mut pool));
    dropper.join().unwrap();
    let got = consumer.join().unwrap();
    scene.freed_by(&[]);
    got
}

/// Two batches, and one bag with room for the first page of one: whoever finds it taken or full goes on to the ring.
pub(crate) fn two_and_one_bag() -> &'static str {
    let (scene, home) = Scene::new(4);
    let mut pool = tiny(home, 4).batch_bags(1, 2).build().unwrap();
    let batches: [_; 2] = core::array::from_fn(|_| PageBatch::from([pool.alloc().unwrap(), pool.alloc().unwrap()]));
    let droppers = batches.map(|batch| thread::spawn(move || drop(batch)));
    droppers.into_iter().for_each(|dropper| dropper.join().unwrap());
    let stats = pool.stats();
    assert_eq!((stats.in_ring, stats.recycle.ring_full), (4, 0), "{stats}");
    drop(pool);
    scene.freed_by(&[]);
    "all of them"
}

/// Allocates two pages while they come back, looks at them, and puts them straight back.
fn count(pool: &mut PagePool) -> &'static str {
    let got: [Option<Page>; 2] = core::array::from_fn(|_| {
        pool.alloc().ok().inspect(|page| assert_ne!(page[0], 0, "a page was taken before it was written"))
    });
    let found = got.iter().flatten().count();
    if let [Some(one), Some(two)] = &got {
        assert_ne!(one[0], two[0], "one page was handed out twice");
    }
    got.into_iter().flatten().for_each(|page| pool.recycle_direct(page));
    ["none", "one", "both"][found]
}
