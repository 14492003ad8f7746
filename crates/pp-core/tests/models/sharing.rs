//! Pages with several holders, and pages that are on no pool's books.

use pp_core::{Host, PageView};

use super::thread;
use super::units::{Scene, tiny};

/// One holder reads and drops while the other asks for the page back to write it.
///
/// What a page reference count promises (`put_page`): the last reader's reads have happened for the writer.
pub(crate) fn drop_against_unshare() -> &'static str {
    let (scene, home) = Scene::new(1);
    let mut pool = tiny(home, 1).build().unwrap();
    let one = pool.alloc().unwrap().share();
    let two = one.clone();
    let reader = thread::spawn(move || {
        let again = one.clone();
        drop(one);
        let _ = again[0];
        drop(again);
    });
    let writer = thread::spawn(move || match two.try_unshare() {
        Ok(mut page) => {
            page[0] = 1;
            "got it back"
        }
        Err(_) => "still shared",
    });
    reader.join().unwrap();
    let outcome = writer.join().unwrap();
    drop(pool);
    scene.freed_by(&[]);
    outcome
}

/// Two holders read and drop; the consumer writes the page once it is back.
pub(crate) fn last_holder_against_refill() -> &'static str {
    let (scene, home) = Scene::new(1);
    let mut pool = tiny(home, 1).build().unwrap();
    let one = pool.alloc().unwrap().share();
    let holders = [one.clone(), one].map(|handle| {
        thread::spawn(move || {
            let _ = handle[0];
            drop(handle);
        })
    });
    let consumer = thread::spawn(move || match pool.alloc() {
        Ok(mut page) => {
            page[0] = 1;
            pool.recycle_direct(page);
            "again"
        }
        Err(_) => "not yet",
    });
    holders.into_iter().for_each(|holder| holder.join().unwrap());
    let outcome = consumer.join().unwrap();
    scene.freed_by(&[]);
    outcome
}

/// One holder releases, which takes the page off the books as long as the other holds it; the other drops; the pool ends.
///
/// The kernel's put of a page with an elevated reference count (`page_pool_return_page` in `__page_pool_put_page`).
pub(crate) fn release_against_drop_and_close() -> &'static str {
    let (scene, home) = Scene::new(1);
    let mut pool = tiny(home, 1).build().unwrap();
    let one = pool.alloc().unwrap().share();
    let two = one.clone();
    let dropper = thread::spawn(move || {
        let _ = one[0];
        drop(one);
    });
    let releaser = thread::spawn(move || two.release());
    let closer = thread::spawn(move || drop(pool));
    let actors = [
        ("dropper frees", dropper.thread().id()),
        ("releaser frees", releaser.thread().id()),
        ("closer frees", closer.thread().id()),
    ];
    dropper.join().unwrap();
    releaser.join().unwrap();
    closer.join().unwrap();
    scene.freed_by(&actors)
}

/// Two holders release at once: one of them takes the page off the books.
pub(crate) fn two_releases() -> &'static str {
    let (scene, home) = Scene::new(1);
    let mut pool = tiny(home, 1).build().unwrap();
    let one = pool.alloc().unwrap().share();
    let releasers = [one.clone(), one].map(|handle| thread::spawn(move || handle.release()));
    releasers.into_iter().for_each(|releaser| releaser.join().unwrap());
    assert_eq!(pool.stats().recycle.released_refcnt, 1, "one of the two takes the page off the books");
    assert_eq!((pool.stats().strays, pool.stats().in_use()), (0, 0));
    drop(pool);
    scene.freed_by(&[]);
    "left"
}

/// The same while the pool ends.
pub(crate) fn two_releases_against_close() -> &'static str {
    let (scene, home) = Scene::new(1);
    let mut pool = tiny(home, 1).build().unwrap();
    let one = pool.alloc().unwrap().share();
    let releasers = [one.clone(), one].map(|handle| thread::spawn(move || handle.release()));
    let closer = thread::spawn(move || drop(pool));
    let actors = [("closer frees", closer.thread().id())];
    releasers.into_iter().for_each(|releaser| releaser.join().unwrap());
    closer.join().unwrap();
    if scene.freed_by(&actors) == "closer frees" { "closer frees" } else { "a releaser frees" }
}

/// A detached page is dropped while its pool ends: whoever is last frees the provider, and not earlier.
pub(crate) fn detached_against_close() -> &'static str {
    let (scene, home) = Scene::new(1);
    let mut pool = tiny(home, 1).build().unwrap();
    let page = pool.alloc().unwrap().detach();
    let dropper = thread::spawn(move || drop(page));
    let closer = thread::spawn(move || drop(pool));
    let actors = [("dropper frees", dropper.thread().id()), ("closer frees", closer.thread().id())];
    dropper.join().unwrap();
    closer.join().unwrap();
    scene.freed_by(&actors)
}

/// A page is detached while its pool ends, and used and dropped afterwards.
pub(crate) fn detaching_against_close() -> &'static str {
    let (scene, home) = Scene::new(1);
    let mut pool = tiny(home, 1).build().unwrap();
    let page = pool.alloc().unwrap();
    let dropper = thread::spawn(move || {
        let mut page = page.detach();
        page[0] = 1;
    });
    let closer = thread::spawn(move || drop(pool));
    let actors = [("dropper frees", dropper.thread().id()), ("closer frees", closer.thread().id())];
    dropper.join().unwrap();
    closer.join().unwrap();
    scene.freed_by(&actors)
}

/// A holder releases a page of a pool with a page-out hook that would write it, while the other holder reads.
pub(crate) fn page_out_against_reader() -> &'static str {
    let (scene, home) = Scene::new(1);
    let clear = |mut page: PageView<'_, Host>| {
        if let Some(bytes) = page.bytes_mut() {
            bytes[0] = 0;
        }
    };
    let mut pool = tiny(home, 1).page_out(clear).build().unwrap();
    let one = pool.alloc().unwrap().share();
    let two = one.clone();
    let reader = thread::spawn(move || {
        let _ = one[0];
        drop(one);
    });
    let releaser = thread::spawn(move || two.release());
    reader.join().unwrap();
    releaser.join().unwrap();
    let left = pool.stats().recycle.released_refcnt;
    drop(pool);
    scene.freed_by(&[]);
    if left == 1 { "left" } else { "went round" }
}
