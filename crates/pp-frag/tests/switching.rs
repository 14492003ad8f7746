//! A consumer that changes between a page a packet and split pages while pages of both kinds are out.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

mod common;

use std::sync::mpsc;
use std::thread;

use common::nothing_is_out;
use pp_core::doc::Heap;
use pp_core::{Home, Page, PagePool};
use pp_frag::{Frag, FragCache};

/// A packet in either kind of buffer, and what it was filled with.
enum Packet {
    Page(Page, u8),
    Frag(Frag, u8),
}

fn check(packet: Packet) {
    let (bytes, filled): (&[u8], u8) = match &packet {
        Packet::Page(page, filled) => (page, *filled),
        Packet::Frag(frag, filled) => (frag, *filled),
    };
    assert!(bytes.iter().all(|byte| *byte == filled), "a packet that somebody else wrote");
}

#[test]
fn modes_change_under_traffic_and_everything_comes_home() {
    const PACKETS: usize = 60_000;
    let home = Home::new(Heap::new(2048, 256));
    let builder = PagePool::builder(home.clone()).cache(16).refill(8).pool_size(32);
    let mut pool = builder.build().unwrap();
    let mut cache = FragCache::new();
    let (senders, droppers): (Vec<_>, Vec<_>) = (0..2)
        .map(|_| {
            let (sender, receiver) = mpsc::sync_channel::<Packet>(32);
            (sender, thread::spawn(move || receiver.into_iter().for_each(check)))
        })
        .unzip();
    // Kept back, so that buffers of one mode are out all through the other.
    let mut late = Vec::new();
    let mut modes = [0; 2];
    for number in 0..PACKETS {
        let split = number / 1000 % 2 == 0;
        let filled = number as u8;
        let packet = if split {
            cache.alloc(&mut pool, 1 + number % 900).map(|mut frag| {
                frag.fill(filled);
                Packet::Frag(frag, filled)
            })
        } else {
            pool.alloc().map_err(Into::into).map(|mut page| {
                page.fill(filled);
                Packet::Page(page, filled)
            })
        };
        let Ok(packet) = packet else {
            // All pages are with the others: wait as a driver does.
            late.clear();
            thread::yield_now();
            continue;
        };
        modes[usize::from(split)] += 1;
        match number % 7 {
            0 if late.len() < 32 => late.push(packet),
            1 => match packet {
                Packet::Page(page, _) => pool.recycle_direct(page),
                Packet::Frag(frag, _) => cache.recycle(&mut pool, frag),
            },
            _ => senders[number % 2].send(packet).unwrap(),
        }
    }
    drop(senders);
    droppers.into_iter().for_each(|dropper| dropper.join().unwrap());
    assert!(modes.iter().all(|packets| *packets > PACKETS / 10), "both modes had traffic: {modes:?}");
    late.into_iter().for_each(check);
    drop(cache);
    nothing_is_out(&pool);
    drop(pool);
    assert_eq!(home.free_units(), 256);
}
