//! Those who watch a pool end.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use pp_core::{PoolHandle, PoolState};

use super::thread;
use super::units::{Scene, tiny};

/// A handle reads the statistics while the last page comes home and the pool ends under it.
pub(crate) fn statistics_against_last_page() -> &'static str {
    watched(|handle, _| {
        let stats = handle.stats();
        assert!(stats.hold == 1 && stats.released <= 1 && stats.strays == 0, "{stats:?}");
        if stats.inflight() == 0 { "none out" } else { "one out" }
    })
}

/// A handle asks for the state meanwhile, and is the last to let go of the block.
pub(crate) fn state_against_last_page() -> &'static str {
    watched(|handle, scene| match handle.state() {
        PoolState::Open => "open",
        PoolState::Closing => "closing",
        _ => {
            assert!(scene.all_home(), "closed, and a page is out");
            "closed"
        }
    })
}

/// A handle asks how many pages are out meanwhile: it may hear of one that is home, and must hear of one that is not.
pub(crate) fn inflight_against_last_page() -> &'static str {
    watched(|handle, scene| match handle.inflight() {
        0 => {
            assert!(scene.all_home(), "none in flight, and a page is out");
            "none"
        }
        _ => "one",
    })
}

/// A handle reads the statistics while a Returner's page goes through its bag: it lies there once or not at all.
pub(crate) fn statistics_against_returner() -> &'static str {
    let (scene, home) = Scene::new(1);
    let mut pool = tiny(home, 1).returners(1, 4).build().unwrap();
    let mut returner = pool.handle().returner().unwrap();
    let page = pool.alloc().unwrap();
    let handle = pool.handle();
    // Each keeps what it holds: their ends are not what this is about.
    let worker = thread::spawn(move || {
        returner.put(page);
        returner
    });
    let consumer = thread::spawn(move || {
        let page = pool.alloc();
        page.into_iter().for_each(|page| pool.recycle_direct(page));
        pool
    });
    let watcher = thread::spawn(move || (handle.stats().in_ring, handle));
    drop((worker.join().unwrap(), consumer.join().unwrap()));
    let (in_ring, _) = watcher.join().unwrap();
    scene.freed_by(&[]);
    match in_ring {
        0 => "not in the bag",
        1 => "in the bag",
        more => panic!("one page, and {more} of it in the bag"),
    }
}

fn watched(look: fn(&PoolHandle, &Scene) -> &'static str) -> &'static str {
    let (scene, home) = Scene::new(1);
    let mut pool = tiny(home, 1).build().unwrap();
    let page = pool.alloc().unwrap();
    let handle = pool.handle();
    let dropper = thread::spawn(move || drop(page));
    let closer = thread::spawn(move || drop(pool));
    let in_watcher = scene.clone();
    let watcher = thread::spawn(move || look(&handle, &in_watcher));
    dropper.join().unwrap();
    closer.join().unwrap();
    let outcome = watcher.join().unwrap();
    scene.freed_by(&[]);
    outcome
}

/// Looks, when it is woken, whether the pool is really over.
struct Alarm {
    scene: Arc<Scene>,
    woken: AtomicUsize,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        assert!(self.scene.is_over(), "woken before the provider was gone");
        self.scene.provider_gone.enter();
        self.woken.fetch_add(1, Ordering::Relaxed);
    }
}

/// A waiter asks twice, with two wakers, while the last page of a closed pool comes home. It learns the end by an answer
/// or by a wake of the waker it gave last, and by then everything behind the pool is gone.
///
/// The kernel has no such event: it polls once a second (`page_pool_release_retry`).
pub(crate) fn waiter_against_last_page() -> &'static str {
    let (scene, home) = Scene::new(1);
    let mut pool = tiny(home, 1).build().unwrap();
    let page = pool.alloc().unwrap();
    let mut shutdown = pool.shutdown();
    let dropper = thread::spawn(move || drop(page));
    let in_waiter = scene.clone();
    let waiter = thread::spawn(move || {
        let alarms = [0; 2].map(|_| Arc::new(Alarm { scene: in_waiter.clone(), woken: AtomicUsize::new(0) }));
        let mut pending = 0;
        for alarm in &alarms {
            let waker = Waker::from(alarm.clone());
            match Pin::new(&mut shutdown).poll(&mut Context::from_waker(&waker)) {
                Poll::Pending => pending += 1,
                Poll::Ready(()) => {
                    assert!(in_waiter.is_over(), "ready before the provider was gone");
                    in_waiter.provider_gone.enter();
                    break;
                }
            }
        }
        (shutdown, alarms, pending)
    });
    dropper.join().unwrap();
    let (shutdown, alarms, pending) = waiter.join().unwrap();
    assert!(shutdown.is_done());
    scene.freed_by(&[]);
    let woken = alarms.each_ref().map(|alarm| alarm.woken.load(Ordering::Relaxed));
    match (pending, woken) {
        (0, [0, 0]) => "ready at once",
        (1, [0, 0]) => "ready at the second look",
        (1, [1, 0]) => "woken, then ready",
        (2, [0, 1]) => "woken",
        other => panic!("a wake was lost or given twice: {other:?}"),
    }
}
