//! Pages in parts: who is the last, and what the last one may rely on.

use pp_core::{Fragmented, PagePart, PagePool, defrag_all};

use super::thread;
use super::units::{Scene, tiny};

/// A page fragmented for `parts` parts, all of them cut, one byte each and one behind the other.
fn fragmented<const PARTS: usize>(pool: &mut PagePool) -> (Fragmented, [PagePart; PARTS]) {
    let mut page = pool.alloc().unwrap().fragment(PARTS + 1).unwrap();
    let parts = core::array::from_fn(|_| page.cut(1).unwrap());
    (page, parts)
}

/// Whether the consumer gets the page again, and if so writes all of it.
fn get_again(pool: &mut PagePool) -> &'static str {
    match pool.alloc() {
        Ok(mut page) => {
            page[0] = 1;
            pool.recycle_direct(page);
            "again"
        }
        Err(_) => "not yet",
    }
}

/// Two threads write and drop the last two parts; the consumer waits for the page, to write it.
///
/// The one at the page's beginning looks first whether it is the last; the other does not.
pub(crate) fn two_last_parts() -> &'static str {
    let (scene, home) = Scene::new(1);
    let mut pool = tiny(home, 1).build().unwrap();
    let (page, parts) = fragmented::<2>(&mut pool);
    assert!(page.defrag().is_none());
    let droppers = parts.map(|mut part| {
        thread::spawn(move || {
            part[0] = 1;
            drop(part);
        })
    });
    let consumer = thread::spawn(move || get_again(&mut pool));
    droppers.into_iter().for_each(|dropper| dropper.join().unwrap());
    let outcome = consumer.join().unwrap();
    scene.freed_by(&[]);
    outcome
}

/// The consumer gives the bias of its page back, and begins another, while a part is dropped elsewhere.
///
/// What `page_pool_alloc_frag` does with a page that has no room left (`page_pool_drain_frag`).
pub(crate) fn drain_against_drop() -> &'static str {
    let (scene, home) = Scene::new(1);
    let mut pool = tiny(home, 1).build().unwrap();
    let (page, [mut part]) = fragmented(&mut pool);
    let dropper = thread::spawn(move || {
        part[0] = 1;
        drop(part);
    });
    let consumer = thread::spawn(move || match page.defrag() {
        Some(mut page) => {
            page[0] = 1;
            pool.recycle_direct(page);
            "was the last"
        }
        None => get_again(&mut pool),
    });
    dropper.join().unwrap();
    let outcome = consumer.join().unwrap();
    scene.freed_by(&[]);
    outcome
}

/// A handle to a shared part is cloned, read and dropped while another is dropped; the consumer waits for the page.
///
/// Two kinds of references to one page were mixed up here in the kernel (1effe8ca4e34, 0646dc31ca88).
pub(crate) fn clone_against_drop() -> &'static str {
    let (scene, home) = Scene::new(1);
    let mut pool = tiny(home, 1).build().unwrap();
    let (page, [part]) = fragmented(&mut pool);
    drop(page);
    let one = part.share();
    let two = one.clone();
    let cloner = thread::spawn(move || {
        let again = one.clone();
        drop(one);
        let _ = again[0];
        drop(again);
    });
    let dropper = thread::spawn(move || {
        let _ = two[0];
        drop(two);
    });
    let consumer = thread::spawn(move || get_again(&mut pool));
    cloner.join().unwrap();
    dropper.join().unwrap();
    let outcome = consumer.join().unwrap();
    scene.freed_by(&[]);
    outcome
}

/// A part is cut in two and one half dropped elsewhere, while the other is dropped here; the consumer waits for the page.
pub(crate) fn split_against_drop() -> &'static str {
    let (scene, home) = Scene::new(1);
    let mut pool = tiny(home, 1).build().unwrap();
    let (page, [mut part, other]) = fragmented(&mut pool);
    drop(page);
    let splitter = thread::spawn(move || {
        let mut rest = part.split_off(0).unwrap();
        rest[0] = 1;
        drop(part);
        drop(rest);
    });
    let dropper = thread::spawn(move || drop(other));
    let consumer = thread::spawn(move || get_again(&mut pool));
    splitter.join().unwrap();
    dropper.join().unwrap();
    let outcome = consumer.join().unwrap();
    scene.freed_by(&[]);
    outcome
}

/// The consumer takes back a part that another took a second reference from, and begins its page anew while that one is dropped.
///
/// What rejoins is counted by adding to the bias, although the reference was made in the word.
pub(crate) fn rejoin_against_drop() -> &'static str {
    let (scene, home) = Scene::new(1);
    let mut pool = tiny(home, 1).build().unwrap();
    let mut page = Fragmented::from(pool.alloc().unwrap());
    let mut part = page.cut(2).unwrap();
    let mut other = part.split_off(1).unwrap();
    let dropper = thread::spawn(move || {
        other[0] = 1;
        drop(other);
    });
    let consumer = thread::spawn(move || {
        part[0] = 1;
        page.rejoin(part).unwrap();
        renew_or_get_again(&mut pool, page)
    });
    dropper.join().unwrap();
    let outcome = consumer.join().unwrap();
    scene.freed_by(&[]);
    outcome
}

/// A handle to a shared part is cloned and dropped while the consumer asks whether it can begin the page anew.
pub(crate) fn clone_against_renewal() -> &'static str {
    let (scene, home) = Scene::new(1);
    let mut pool = tiny(home, 1).build().unwrap();
    let (page, [part]) = fragmented(&mut pool);
    let shared = part.share();
    let cloner = thread::spawn(move || {
        let again = shared.clone();
        drop(shared);
        let _ = again[0];
        drop(again);
    });
    let consumer = thread::spawn(move || renew_or_get_again(&mut pool, page));
    cloner.join().unwrap();
    let outcome = consumer.join().unwrap();
    scene.freed_by(&[]);
    outcome
}

/// One thread drops two parts at once, another the third; the consumer waits for the page.
pub(crate) fn run_against_drop() -> &'static str {
    let (scene, home) = Scene::new(1);
    let mut pool = tiny(home, 1).build().unwrap();
    let (page, [mut one, two, mut three]) = fragmented(&mut pool);
    drop(page);
    let many = thread::spawn(move || {
        one[0] = 1;
        defrag_all([one, two], drop);
    });
    let single = thread::spawn(move || {
        three[0] = 1;
        drop(three);
    });
    let consumer = thread::spawn(move || get_again(&mut pool));
    many.join().unwrap();
    single.join().unwrap();
    let outcome = consumer.join().unwrap();
    scene.freed_by(&[]);
    outcome
}

/// The page begun anew in place and written, or given up and waited for.
fn renew_or_get_again(pool: &mut PagePool, page: Fragmented) -> &'static str {
    match pool.renew(page) {
        Some(mut page) => {
            let mut part = page.cut(64).unwrap();
            part[0] = 1;
            "in place"
        }
        None => get_again(pool),
    }
}

/// The consumer begins its page anew in place, if it is whole again, while the part of it that is out is dropped late.
///
/// Done without looking, the late drop makes the new count wrong, and the page is lost: that is how the defect shows.
pub(crate) fn renew_against_late_drop() -> &'static str {
    let (scene, home) = Scene::new(1);
    let mut pool = tiny(home, 1).build().unwrap();
    let (page, [mut part]) = fragmented(&mut pool);
    let dropper = thread::spawn(move || {
        part[0] = 1;
        drop(part);
    });
    let consumer = thread::spawn(move || renew_or_get_again(&mut pool, page));
    dropper.join().unwrap();
    let outcome = consumer.join().unwrap();
    scene.freed_by(&[]);
    outcome
}

/// The same with a page on no pool's books, begun anew by its holder.
pub(crate) fn renew_detached_against_late_drop() -> &'static str {
    let (scene, home) = Scene::new(1);
    let mut pool = tiny(home, 1).build().unwrap();
    let mut page = Fragmented::from(pool.alloc().unwrap().detach());
    let mut part = page.cut(64).unwrap();
    drop(pool);
    let dropper = thread::spawn(move || {
        part[0] = 1;
        drop(part);
    });
    let holder = thread::spawn(move || {
        if page.renew_detached() {
            page.cut(64).unwrap()[0] = 1;
            "in place"
        } else {
            "not yet"
        }
    });
    dropper.join().unwrap();
    let outcome = holder.join().unwrap();
    scene.freed_by(&[]);
    outcome
}

/// The last part is dropped while the pool, and the page it was cut from, are.
pub(crate) fn last_part_against_close() -> &'static str {
    let (scene, home) = Scene::new(1);
    let mut pool = tiny(home, 1).build().unwrap();
    let (page, [mut part]) = fragmented(&mut pool);
    let dropper = thread::spawn(move || {
        part[0] = 1;
        drop(part);
    });
    let closer = thread::spawn(move || drop((page, pool)));
    let actors = [("dropper frees", dropper.thread().id()), ("closer frees", closer.thread().id())];
    dropper.join().unwrap();
    closer.join().unwrap();
    scene.freed_by(&actors)
}
