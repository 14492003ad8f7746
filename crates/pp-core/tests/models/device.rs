//! The end of DMA mappings.

use std::sync::Arc;

use pp_core::{Backing, DmaDirection, Home, Host, PagePool};

use super::thread;
use super::units::{Scene, tiny};

fn mapped<P: Backing<Access = Host>>(scene: &Arc<Scene>, home: Home<P>) -> PagePool {
    tiny(home, 1).dma(scene.port(), DmaDirection::FromDevice).build().unwrap()
}

/// A pool with DMA is dropped, which unmaps what is still out, while a late returner brings that very page.
///
/// The kernel kept no list of what a pool had mapped, so a page that came back after the device was gone was unmapped through
/// freed memory (24ef02f934ee). Here both sides may unmap, so exactly one must, and the unit may not be home before.
pub(crate) fn scrub_against_late_return() -> &'static str {
    let (scene, home) = Scene::new(1);
    let mut pool = mapped(&scene, home);
    let page = pool.alloc().unwrap();
    let dropper = thread::spawn(move || drop(page));
    let closer = thread::spawn(move || drop(pool));
    let actors = [("dropper frees", dropper.thread().id()), ("closer frees", closer.thread().id())];
    dropper.join().unwrap();
    closer.join().unwrap();
    scene.freed_by(&actors)
}

/// The same while a second pool on the region waits for the unit, to map it for itself: the first pool, however late,
/// may not end that mapping, and the second may not get the unit while the first one's mapping lives.
pub(crate) fn scrub_against_second_pool() -> &'static str {
    let (scene, home) = Scene::new(1);
    let mut first = mapped(&scene, home.clone());
    let mut second = mapped(&scene, home);
    let page = first.alloc().unwrap();
    let dropper = thread::spawn(move || drop(page));
    let closer = thread::spawn(move || drop(first));
    let in_second = scene.clone();
    let taker = thread::spawn(move || match second.alloc() {
        Ok(mut page) => {
            page[0] = 1;
            (Some(page), second)
        }
        Err(_) => (None, second),
    });
    dropper.join().unwrap();
    closer.join().unwrap();
    let (page, second) = taker.join().unwrap();
    let outcome = match &page {
        Some(page) => {
            assert!(in_second.device.reaches(page.descriptor()), "the first pool ended the second one's mapping");
            "the second pool has it"
        }
        None => "not yet",
    };
    drop((page, second));
    scene.freed_by(&[]);
    outcome
}

/// A page leaves the pool on some thread while the consumer maps another and tidies its list of mapped units for that:
/// once a unit is home, the words that it shares with the pool are the provider's free-list links.
pub(crate) fn tidying_against_leaving() -> &'static str {
    let (scene, home) = Scene::new(2);
    let mut pool = mapped(&scene, home);
    // Four entries, the last one valid: as many as the list takes before it must grow.
    for _ in 0..3 {
        drop(pool.alloc().unwrap().detach());
    }
    let page = pool.alloc().unwrap();
    let leaver = thread::spawn(move || drop(page.detach()));
    let consumer = thread::spawn(move || drop((pool.alloc().unwrap(), pool)));
    let actors = [("leaver frees", leaver.thread().id()), ("consumer frees", consumer.thread().id())];
    leaver.join().unwrap();
    consumer.join().unwrap();
    scene.freed_by(&actors)
}
