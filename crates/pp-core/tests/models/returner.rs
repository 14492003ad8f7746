//! Returners: one thread's own bag.

use pp_core::{Page, Returner};

use super::thread;
use super::units::{Scene, tiny};

/// A Returner with a page in its bag is never used again; its thread ends while the pool does. Either of the two empties the bag.
pub(crate) fn idle_against_close() -> &'static str {
    let (scene, home) = Scene::new(1);
    let mut pool = tiny(home, 1).returners(1, 1).build().unwrap();
    let mut returner = pool.handle().returner().unwrap();
    returner.put(pool.alloc().unwrap());
    let sleeper = thread::spawn(move || drop(returner));
    let closer = thread::spawn(move || drop(pool));
    let actors = [("returner frees", sleeper.thread().id()), ("closer frees", closer.thread().id())];
    sleeper.join().unwrap();
    closer.join().unwrap();
    scene.freed_by(&actors)
}

/// A Returner does `work` with so many pages, for all of which its bag has room, while the pool closes. All must be home while what it
/// returns still lives.
fn against_close<R: Send + 'static>(pages: usize, work: fn(Returner, Vec<Page>) -> R) -> &'static str {
    let (scene, home) = Scene::new(pages);
    let mut pool = tiny(home, 1).returners(1, pages).build().unwrap();
    let returner = pool.handle().returner().unwrap();
    let pages = (0..pages).map(|_| pool.alloc().unwrap()).collect();
    let worker = thread::spawn(move || work(returner, pages));
    let closer = thread::spawn(move || drop(pool));
    let actors = [("returner frees", worker.thread().id()), ("closer frees", closer.thread().id())];
    let sleeping = worker.join().unwrap();
    closer.join().unwrap();
    let outcome = scene.freed_by(&actors);
    drop(sleeping);
    outcome
}

fn put_each(mut returner: Returner, pages: Vec<Page>) -> Returner {
    pages.into_iter().for_each(|page| returner.put(page));
    returner
}

/// A Returner puts a page and ends.
pub(crate) fn publish_against_close() -> &'static str {
    against_close(1, |returner, pages| drop(put_each(returner, pages)))
}

/// The same, and the Returner is not used again, nor dropped, while the page must be home: whoever is last, closer or returner, sees the
/// other.
pub(crate) fn publish_against_close_then_sleep() -> &'static str {
    against_close(1, put_each)
}

/// Two pages, one publication each: closer and Returner may both be claiming what lies in the bag.
pub(crate) fn two_against_close() -> &'static str {
    against_close(2, |returner, pages| drop(put_each(returner, pages)))
}

/// Two pages in one publication, by a Returner that sleeps then.
pub(crate) fn two_together_against_close() -> &'static str {
    against_close(2, |mut returner, pages| {
        returner.put_all(pages);
        returner
    })
}

/// A Returner puts a page and goes, and another gets its bag and puts one, while the pool closes. The second one sleeps then, if there was one.
pub(crate) fn next_one_against_close() -> &'static str {
    let (scene, home) = Scene::new(2);
    let mut pool = tiny(home, 1).returners(1, 2).build().unwrap();
    let handle = pool.handle();
    let mut returner = handle.returner().unwrap();
    let (one, two) = (pool.alloc().unwrap(), pool.alloc().unwrap());
    let first = thread::spawn(move || returner.put(one));
    let second = thread::spawn(move || match handle.returner() {
        Some(mut returner) => {
            returner.put(two);
            (Some(returner), handle)
        }
        None => {
            drop(two);
            (None, handle)
        }
    });
    let closer = thread::spawn(move || drop(pool));
    let actors = [
        ("first frees", first.thread().id()),
        ("second frees", second.thread().id()),
        ("closer frees", closer.thread().id()),
    ];
    first.join().unwrap();
    let sleeping = second.join().unwrap();
    closer.join().unwrap();
    let outcome = scene.freed_by(&actors);
    drop(sleeping);
    outcome
}

/// A Returner with room for one brings two pages while the consumer refills: the second goes to the bag once the consumer
/// has taken the first out, and to the ring before.
pub(crate) fn publish_against_refill() -> &'static str {
    let (scene, home) = Scene::new(2);
    let mut pool = tiny(home, 2).returners(1, 1).build().unwrap();
    let mut returner = pool.handle().returner().unwrap();
    let (mut one, mut two) = (pool.alloc().unwrap(), pool.alloc().unwrap());
    let worker = thread::spawn(move || {
        one[0] = 1;
        returner.put(one);
        two[0] = 2;
        returner.put(two);
    });
    let consumer = thread::spawn(move || {
        let got = [0; 2].map(|_| {
            pool.alloc().ok().inspect(|page| assert_ne!(page[0], 0, "a page was taken before it was written"))
        });
        let (bytes, count) =
            (got.each_ref().map(|page| page.as_ref().map_or(0, |page| page[0])), got.iter().flatten().count());
        assert!(count < 2 || bytes[0] != bytes[1], "one page was handed out twice");
        got.into_iter().flatten().for_each(|page| pool.recycle_direct(page));
        count
    });
    worker.join().unwrap();
    let count = consumer.join().unwrap();
    scene.freed_by(&[]);
    ["none", "one", "both"][count]
}

/// A Returner is dropped and another thread gets its place, while the consumer refills: the new one goes on where the old
/// one stopped, and uses the only place again once the consumer has read it.
pub(crate) fn change_of_hands() -> &'static str {
    let (scene, home) = Scene::new(2);
    let mut pool = tiny(home, 1).returners(1, 1).build().unwrap();
    let handle = pool.handle();
    let mut returner = handle.returner().unwrap();
    let (one, two) = (pool.alloc().unwrap(), pool.alloc().unwrap());
    let first = thread::spawn(move || returner.put(one));
    // Each keeps what it holds: their ends are not what this is about.
    let second = thread::spawn(move || match handle.returner() {
        Some(mut returner) => {
            returner.put(two);
            Ok(returner)
        }
        None => Err((handle, two)),
    });
    let consumer = thread::spawn(move || (pool.alloc().ok(), pool));
    first.join().unwrap();
    let second = second.join().unwrap();
    let (got, pool) = consumer.join().unwrap();
    assert_eq!(pool.stats().in_use(), usize::from(got.is_some()) + usize::from(second.is_err()));
    let outcome = match (second.is_ok(), got.is_some()) {
        (true, true) => "handed on, one taken",
        (true, false) => "handed on",
        (false, true) => "not free yet, one taken",
        (false, false) => "not free yet",
    };
    drop((second, got, pool));
    scene.freed_by(&[]);
    outcome
}
