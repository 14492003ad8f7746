//! The stress test of fragments: real threads, every byte checked at each hand-over, pools dropped under their fragments.
//!
//! A consumer makes pool after pool and changes between split pages and a page a packet; three threads check what they are
//! sent, cut it, join it, share it, hand it on, and drop it, some of it long after its pool has gone. `PP_STRESS_SECONDS` says how
//! long (2). Meant for the address sanitizer as well: `cargo xtask stress --asan`.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};
use std::{env, thread};

use pp_core::doc::Heap;
use pp_core::{Home, Page, PagePool, PoolState};
use pp_frag::{Frag, FragCache, SharedFrag, drop_all};

const UNITS: usize = 128;
const HOLDERS: usize = 3;
/// Pools that must have been dropped with fragments out before the test may end.
const ORPHANED: usize = 20;

/// Small, fast and good enough: xorshift.
struct Random(u64);

impl Random {
    fn next(&mut self) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize
    }
}

/// What goes from thread to thread, and the byte that all of it was filled with.
enum Packet {
    Page(Page, u8),
    Frag(Frag, u8),
    Shared(SharedFrag, u8),
}

impl Packet {
    #[track_caller]
    fn check(&self) {
        let (bytes, filled): (&[u8], u8) = match self {
            Packet::Page(page, filled) => (page, *filled),
            Packet::Frag(frag, filled) => (frag, *filled),
            Packet::Shared(shared, filled) => (shared, *filled),
        };
        assert!(bytes.iter().all(|byte| *byte == filled), "somebody else wrote this packet");
    }
}

/// Checks what comes, does something with it, and lets go of it.
fn hold(packets: Receiver<Packet>, next: SyncSender<Packet>, seed: u64) {
    let mut random = Random(seed);
    let mut kept: Vec<Packet> = Vec::new();
    for packet in packets {
        packet.check();
        match packet {
            Packet::Frag(mut frag, filled) => match random.next() % 8 {
                0 => {
                    let at = random.next() % (frag.len() + 1);
                    let rest = frag.split_off(at).unwrap();
                    kept.push(Packet::Frag(rest, filled));
                }
                1 => {
                    let at = random.next() % (frag.len() + 1);
                    let rest = frag.split_off(at).unwrap();
                    frag.coalesce(rest).unwrap();
                    Packet::Frag(frag, filled).check();
                }
                2 => {
                    let shared = frag.share();
                    kept.push(Packet::Shared(shared.clone(), filled));
                    send(&next, Packet::Shared(shared, filled));
                }
                3 => {
                    let filled = filled.wrapping_add(1);
                    frag.fill(filled);
                    send(&next, Packet::Frag(frag, filled));
                }
                4 => kept.push(Packet::Frag(frag, filled)),
                _ => drop(frag),
            },
            Packet::Shared(shared, filled) if random.next().is_multiple_of(2) => {
                let slice = shared.slice(shared.len() / 3, shared.len() / 3).unwrap();
                kept.push(Packet::Shared(slice, filled));
            }
            other => drop(other),
        }
        if kept.len() > 48 {
            kept.iter().for_each(Packet::check);
            let (frags, others): (Vec<_>, Vec<_>) =
                kept.drain(..).partition(|packet| matches!(packet, Packet::Frag(..)));
            drop_all(frags.into_iter().filter_map(|packet| match packet {
                Packet::Frag(frag, _) => Some(frag),
                _ => None,
            }));
            drop(others);
        }
    }
    kept.iter().for_each(Packet::check);
}

/// A holder that is busy gets nothing: nobody waits for the next in the chain.
fn send(to: &SyncSender<Packet>, packet: Packet) {
    match to.try_send(packet) {
        Ok(()) => {}
        Err(TrySendError::Full(packet) | TrySendError::Disconnected(packet)) => packet.check(),
    }
}

/// One pool's life: what it hands out, and whether fragments were out when it ended.
fn one_life(home: &Home<Heap>, to: &[SyncSender<Packet>], random: &mut Random) -> bool {
    let builder = PagePool::builder(home.clone()).cache(8).refill(4).pool_size(16);
    let mut pool = builder.build().unwrap();
    let mut cache = FragCache::new();
    for number in 0..2000 {
        let filled = number as u8;
        let packet = if number / 250 % 2 == 0 {
            cache.alloc(&mut pool, 1 + random.next() % 1500).map(|mut frag| {
                frag.fill(filled);
                Packet::Frag(frag, filled)
            })
        } else {
            pool.alloc().map_err(Into::into).map(|mut page| {
                page.fill(filled);
                Packet::Page(page, filled)
            })
        };
        match packet {
            Ok(Packet::Frag(frag, _)) if number % 5 == 0 => cache.recycle(&mut pool, frag),
            Ok(packet) => to[random.next() % HOLDERS].send(packet).unwrap(),
            Err(_) => thread::yield_now(),
        }
    }
    drop(cache);
    let handle = pool.handle();
    drop(pool);
    handle.state() == PoolState::Closing
}

#[test]
fn fragments_survive_contention() {
    let seconds = env::var("PP_STRESS_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    let end = Instant::now() + Duration::from_secs(seconds);
    let home = Home::new(Heap::new(2048, UNITS));
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..HOLDERS).map(|_| sync_channel::<Packet>(32)).unzip();
    let holders: Vec<_> = receivers
        .into_iter()
        .enumerate()
        .map(|(at, packets)| {
            // The last one hands on to nobody.
            let next = senders.get(at + 1).cloned().unwrap_or_else(|| sync_channel(1).0);
            thread::spawn(move || hold(packets, next, 77 + at as u64))
        })
        .collect();
    let mut random = Random(0x5eed);
    let (mut lives, mut orphaned) = (0, 0);
    while Instant::now() < end || orphaned < ORPHANED {
        orphaned += usize::from(one_life(&home, &senders, &mut random));
        lives += 1;
    }
    drop(senders);
    holders.into_iter().for_each(|holder| holder.join().unwrap());
    println!("{lives} pools, {orphaned} of them dropped with fragments out");
    assert_eq!(home.free_units(), UNITS, "a page was lost");
}
