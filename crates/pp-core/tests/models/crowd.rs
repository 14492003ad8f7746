//! Everybody at once, at sizes that only samples can reach.

use pp_core::{DmaDirection, Page, PageBatch, PagePool, Returner};
use shuttle::sync::mpsc;

use super::thread;
use super::units::Scene;

const WORKERS: usize = 4;
const ROUNDS: usize = 6;

/// The consumer hands pages to workers, who give them back in every way there is, and drops the pool while they do.
pub(crate) fn pool_with_dma() -> &'static str {
    let (scene, home) = Scene::new(5);
    let build = |pages| PagePool::builder(home.clone()).pool_size(pages).cache(2).refill(2);
    let mut pool = build(2).dma(scene.port(), DmaDirection::FromDevice).returners(2, 2).build().unwrap();
    let mut other = build(1).dma(scene.port(), DmaDirection::FromDevice).build().unwrap();
    drop(home);
    let handle = pool.handle();
    let (senders, workers): (Vec<_>, Vec<_>) = (0..WORKERS)
        .map(|index| {
            let (sender, pages) = mpsc::channel();
            let returner = handle.returner();
            (sender, thread::spawn(move || work(index, pages, returner)))
        })
        .unzip();
    let consumer = thread::spawn(move || {
        for round in 0..ROUNDS {
            for sender in &senders {
                let Ok(mut page) = pool.alloc() else { continue };
                page[0] = round as u8;
                if round % 3 == 2 {
                    pool.recycle_direct(page);
                } else {
                    sender.send(page).expect("the worker runs until we are gone");
                }
            }
        }
        drop(pool);
    });
    // A neighbour on the same units, so that what the first pool loses is mapped again at once.
    let neighbour = thread::spawn(move || {
        for _ in 0..ROUNDS {
            if let Ok(page) = other.alloc() {
                assert!(page.dma_addr().is_some(), "a page of a pool with DMA is mapped");
                drop(page);
            }
        }
    });
    let watcher = thread::spawn(move || {
        for _ in 0..ROUNDS {
            let stats = handle.stats();
            assert!(stats.in_cache <= 2 && stats.in_ring <= 2 + 2 * 2 + 2, "{stats}");
            let _ = (handle.inflight(), handle.state());
        }
    });
    let sleeping: Vec<_> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
    [consumer, neighbour, watcher].into_iter().for_each(|actor| actor.join().unwrap());
    // While the Returners live, which do nothing any more.
    scene.freed_by(&[]);
    drop(sleeping);
    "all home"
}

/// Gives the Returner back, asleep.
fn work(index: usize, pages: mpsc::Receiver<Page>, mut returner: Option<Returner>) -> Option<Returner> {
    let mut kept = Vec::new();
    for (turn, page) in pages.into_iter().enumerate() {
        match (index + turn) % 6 {
            0 => drop(page),
            1 => kept.extend(page.try_put().err()),
            2 => {
                let one = page.share();
                let two = one.clone();
                let other = thread::spawn(move || two.release());
                one.release();
                other.join().unwrap();
            }
            3 => drop(page.detach()),
            4 => match &mut returner {
                Some(returner) => returner.put(page),
                None => drop(page),
            },
            _ => {
                let one = page.share();
                let two = one.clone();
                let other = thread::spawn(move || drop(two));
                match one.try_unshare() {
                    Ok(page) => kept.push(page),
                    Err(shared) => drop(shared),
                }
                other.join().unwrap();
            }
        }
        if turn % 2 == 1 {
            // Two are enough for a batch that borrows a bag.
            let mut batch = PageBatch::<8>::new();
            kept.drain(..).for_each(|page| batch.push(page).expect("room"));
        }
    }
    returner
}

/// A ring under more returners than it has room for, and a consumer that takes while they publish.
pub(crate) fn full_ring() -> &'static str {
    let (scene, home) = Scene::new(8);
    let mut pool = PagePool::builder(home).pool_size(3).cache(4).refill(2).build().unwrap();
    let mut batches: Vec<Vec<Page>> = (0..WORKERS).map(|_| Vec::new()).collect();
    for at in 0..8 {
        batches[at % WORKERS].push(pool.alloc().unwrap());
    }
    let returners: Vec<_> = batches.into_iter().map(|pages| thread::spawn(move || drop(pages))).collect();
    let consumer = thread::spawn(move || {
        let mut held = Vec::new();
        for _ in 0..ROUNDS {
            held.extend(pool.alloc().ok());
            if held.len() == 3 {
                held.drain(..).for_each(|page| pool.recycle_direct(page));
            }
        }
        (held, pool)
    });
    returners.into_iter().for_each(|returner| returner.join().unwrap());
    let (held, pool) = consumer.join().unwrap();
    let stats = pool.stats();
    assert_eq!(stats.in_use(), held.len(), "a page was lost: {stats}");
    drop((pool, held));
    scene.freed_by(&[]);
    "all home"
}
