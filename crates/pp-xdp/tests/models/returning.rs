//! Frames that come back while what they came from goes.

use loom::thread;
use pp_core::{PagePart, PagePool};
use pp_xdp::{
    Buffer, FrameBulk, Memory, Order0Pages, Registry, RxqInfo, RxqParams, XdpFrame, XskBuffPool, return_frame,
};

use super::units::{Scene, tiny};

fn queue(registry: &Registry, memory: &impl Memory) -> RxqInfo {
    let mut rxq = RxqInfo::new();
    rxq.reg(RxqParams::new(1, 0)).unwrap();
    rxq.reg_mem_model(registry, memory.model()).unwrap();
    rxq
}

fn frame(rxq: &RxqInfo, buffer: impl Into<Buffer>) -> XdpFrame {
    rxq.prepare(buffer, 0, 64).unwrap().into_frame().unwrap()
}

/// A frame of two buffers, a page and a part, returns while its pool is dropped.
pub(crate) fn frame_against_pool_drop() -> &'static str {
    let (scene, home) = Scene::new(2);
    let mut pool = tiny(home, 2);
    let rxq = queue(&Registry::new(), &pool);
    let mut buff = rxq.prepare(pool.alloc().unwrap(), 0, 64).unwrap();
    buff.data_mut().unwrap()[0] = 1;
    buff.add_frag(PagePart::from(pool.alloc().unwrap()), 0, 64).unwrap();
    let frame = buff.into_frame().unwrap();
    drop(rxq);
    let returner = thread::spawn(move || return_frame(frame));
    let closer = thread::spawn(move || drop(pool));
    let actors = [("returner frees", returner.thread().id()), ("closer frees", closer.thread().id())];
    returner.join().unwrap();
    closer.join().unwrap();
    scene.freed_by(&actors)
}

/// A frame is returned through the registry while its queue is unregistered and its pool dropped: the driver's unloading.
pub(crate) fn frame_against_unregister() -> &'static str {
    let (scene, home) = Scene::new(1);
    let registry = Registry::new();
    let mut pool = tiny(home, 1);
    let mut rxq = queue(&registry, &pool);
    let frame = frame(&rxq, pool.alloc().unwrap());
    let returning = registry.clone();
    let returner = thread::spawn(move || match returning.return_frame(frame) {
        Ok(()) => "returned",
        Err(refused) => {
            assert_eq!(refused.buffer.len(), 64);
            drop(refused);
            "given back"
        }
    });
    let closer = thread::spawn(move || {
        rxq.unreg().unwrap();
        drop(pool);
    });
    let actors = [("returner frees", returner.thread().id()), ("closer frees", closer.thread().id())];
    let how = returner.join().unwrap();
    closer.join().unwrap();
    assert_eq!(registry.ids_in_use(), 0, "an id was lost");
    match (how, scene.freed_by(&actors)) {
        ("returned", "returner frees") => "returned, returner frees",
        ("returned", _) => "returned, closer frees",
        (_, "returner frees") => "given back, returner frees",
        _ => "given back, closer frees",
    }
}

/// A bulk of two pools' pages is flushed while both pools are dropped.
pub(crate) fn bulk_against_pools_drop() -> &'static str {
    let (scene, home) = Scene::new(2);
    let mut pools: [PagePool; 2] = [tiny(home.clone(), 1), tiny(home, 1)];
    let registry = Registry::new();
    let mut bulk = FrameBulk::new();
    for pool in &mut pools {
        let rxq = queue(&registry, pool);
        bulk.push(frame(&rxq, pool.alloc().unwrap()));
    }
    let flusher = thread::spawn(move || assert_eq!(bulk.flush(), 2));
    let closer = thread::spawn(move || drop(pools));
    let actors = [("flusher frees", flusher.thread().id()), ("closer frees", closer.thread().id())];
    flusher.join().unwrap();
    closer.join().unwrap();
    scene.freed_by(&actors)
}

/// A page of an allocator with a free list returns while that is dropped, and another page is still out: the one that came
/// back must not wait for the other.
pub(crate) fn order0_against_drop() -> &'static str {
    let (scene, home) = Scene::new(2);
    let mut pages = Order0Pages::new(home, 2).unwrap();
    let (one, two) = (pages.page().unwrap(), pages.page().unwrap());
    let returner = thread::spawn(move || drop(one));
    let closer = thread::spawn(move || drop(pages));
    let actors = [("returner sends it home", returner.thread().id()), ("closer sends it home", closer.thread().id())];
    returner.join().unwrap();
    closer.join().unwrap();
    assert_eq!(scene.out(), 1, "a page is stranded on the free list of nobody");
    let sent_by = scene.last_sent_by(&actors);
    let last = thread::spawn(move || drop(two));
    last.join().unwrap();
    scene.freed_by(&[]);
    sent_by
}

/// A chunk is written and returned; the pool, if it gets it again, reads and writes it.
pub(crate) fn chunk_against_alloc() -> &'static str {
    let (scene, home) = Scene::new(1);
    let mut pool = XskBuffPool::new(home, 2048, 1).unwrap();
    let mut chunk = pool.chunk().unwrap();
    let returner = thread::spawn(move || {
        chunk.bytes_mut()[0] = 7;
        drop(chunk);
    });
    let consumer = thread::spawn(move || match pool.chunk() {
        Ok(mut chunk) => {
            assert_eq!(chunk.bytes()[0], 7);
            chunk.bytes_mut()[0] = 8;
            "again"
        }
        Err(_) => "not yet",
    });
    returner.join().unwrap();
    let outcome = consumer.join().unwrap();
    scene.freed_by(&[]);
    outcome
}
