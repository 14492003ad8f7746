//! The same on real threads: every page arrives once, in order, unharmed, and comes home.
#![cfg(not(loom))]

use std::thread;

use mailbox::{Refused, mailbox};
use page_pool::{Buddy, PagePool, PoolState};

const PAGES: u64 = 100_000;

#[test]
fn pages_go_through_in_order() {
    let buddy = Buddy::anonymous(64 * 4096).unwrap();
    let mut pool = PagePool::builder(&buddy).pool_size(32).cache(16).refill(8).build().unwrap();
    let handle = pool.handle();
    let (mut sender, mut receiver) = mailbox::<8>();
    let first = thread::spawn(move || {
        let mut number = 0u64;
        while number < PAGES {
            let Ok(mut page) = pool.alloc() else {
                thread::yield_now();
                continue;
            };
            page[..8].copy_from_slice(&number.to_le_bytes());
            match sender.send(page) {
                Ok(()) => number += 1,
                Err(Refused::Full(page)) => {
                    pool.recycle_direct(page);
                    thread::yield_now();
                }
                Err(Refused::Closed(_)) => panic!("the receiver waits for all of them"),
            }
        }
    });
    let mut expected = 0u64;
    while expected < PAGES {
        let Some(page) = receiver.receive() else {
            thread::yield_now();
            continue;
        };
        assert_eq!(page[..8], expected.to_le_bytes());
        expected += 1;
    }
    first.join().unwrap();
    assert_eq!((handle.state(), handle.inflight(), buddy.free_units()), (PoolState::Closed, 0, 64));
}
