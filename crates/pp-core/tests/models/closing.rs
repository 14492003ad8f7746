//! The last pages against the end of the pool.

use pp_core::{Host, Page, PageBatch, PageView};

use super::thread;
use super::units::{Scene, tiny};

/// A page comes back while the pool is dropped: into the ring before the seal, or turned away by it.
///
/// The kernel freed a pool under the returner that still held the ring's lock (fixed by 271683bb2cf3).
pub(crate) fn last_page() -> &'static str {
    let (scene, home) = Scene::new(1);
    let mut pool = tiny(home, 1).build().unwrap();
    let page = pool.alloc().unwrap();
    let dropper = thread::spawn(move || drop(page));
    let closer = thread::spawn(move || drop(pool));
    let actors = [("dropper frees", dropper.thread().id()), ("closer frees", closer.thread().id())];
    dropper.join().unwrap();
    closer.join().unwrap();
    scene.freed_by(&actors)
}

/// A page is written, and comes back while the pool is dropped; the pool's page-out hook writes it once more, on whatever
/// thread takes it out.
pub(crate) fn last_page_written() -> &'static str {
    let (scene, home) = Scene::new(1);
    let scrub = |mut page: PageView<'_, Host>| page.bytes_mut().expect("a page that nobody shares")[0] = 0;
    let mut pool = tiny(home, 1).page_out(scrub).build().unwrap();
    let mut page = pool.alloc().unwrap();
    let dropper = thread::spawn(move || {
        page[0] = 1;
        drop(page);
    });
    let closer = thread::spawn(move || drop(pool));
    let actors = [("dropper frees", dropper.thread().id()), ("closer frees", closer.thread().id())];
    dropper.join().unwrap();
    closer.join().unwrap();
    scene.freed_by(&actors)
}

/// The same for two pages that come back in one batch (kernel bdea4980182e).
pub(crate) fn last_batch() -> &'static str {
    let (scene, home) = Scene::new(2);
    let mut pool = tiny(home, 2).build().unwrap();
    let mut batch: PageBatch<2> = pool.alloc_batch();
    assert_eq!(batch.len(), 2);
    let dropper = thread::spawn(move || drop(core::mem::take(&mut batch)));
    let closer = thread::spawn(move || drop(pool));
    let actors = [("dropper frees", dropper.thread().id()), ("closer frees", closer.thread().id())];
    dropper.join().unwrap();
    closer.join().unwrap();
    scene.freed_by(&actors)
}

/// Two returners publish while the consumer seals: no page may stay behind in a slot that nobody looks at again.
pub(crate) fn seal_against_publish() -> &'static str {
    let (scene, home) = Scene::new(2);
    let mut pool = tiny(home, 2).build().unwrap();
    let (one, two) = (pool.alloc().unwrap(), pool.alloc().unwrap());
    let first = thread::spawn(move || drop(one));
    let second = thread::spawn(move || drop(two));
    let closer = thread::spawn(move || drop(pool));
    let actors = [
        ("a dropper frees", first.thread().id()),
        ("a dropper frees", second.thread().id()),
        ("closer frees", closer.thread().id()),
    ];
    first.join().unwrap();
    second.join().unwrap();
    closer.join().unwrap();
    scene.freed_by(&actors)
}

/// Two threads bring the last two pages of a pool that is closed: exactly one of them ends it.
pub(crate) fn two_last_pages() -> &'static str {
    let (scene, home) = Scene::new(2);
    let mut pool = tiny(home, 2).build().unwrap();
    let (one, two): (Page, Page) = (pool.alloc().unwrap(), pool.alloc().unwrap());
    drop(pool);
    let first = thread::spawn(move || drop(one));
    let second = thread::spawn(move || drop(two));
    let actors = [("first frees", first.thread().id()), ("second frees", second.thread().id())];
    first.join().unwrap();
    second.join().unwrap();
    scene.freed_by(&actors)
}

/// A page is offered to the ring only, from where no provider's lock may be taken, while the pool is dropped.
pub(crate) fn try_put() -> &'static str {
    let (scene, home) = Scene::new(1);
    let mut pool = tiny(home, 1).build().unwrap();
    let page = pool.alloc().unwrap();
    let returner = thread::spawn(move || page.try_put().is_ok());
    let closer = thread::spawn(move || drop(pool));
    let accepted = returner.join().unwrap();
    closer.join().unwrap();
    scene.freed_by(&[]);
    if accepted { "accepted" } else { "given back" }
}
