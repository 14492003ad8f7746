//! The stress test: real threads, every word of every page checked at each hand-over, pools dropped under their pages.
//!
//! Two consumers make pool after pool, on a region that they share and on regions of their own; four threads check what they
//! are sent, hand it on, and return it in every way there is, some of it long after its pool has gone. Devices and hooks
//! pause at random, which is where the interesting schedules are. `PP_STRESS_SECONDS` says how long (2), `PP_STRESS_SEED`
//! which random numbers. Meant for the address sanitizer as well: `cargo xtask stress --asan`.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};
use std::{env, thread};

use pp_core::{
    Descriptor, Dma, DmaAddr, DmaDirection, DmaError, Home, Page, PageBatch, PagePool, PoolHandle, PoolState, Returner,
    Shared, Zeroing, doc,
};

const PAGE: usize = 4096;
const UNITS: usize = 512;
const CONSUMERS: usize = 2;
const HOLDERS: usize = 4;
const BATCH: usize = 8;
/// Pools that must have been dropped with pages out before the test may end.
const ORPHANED: usize = 100;

/// Small, fast and good enough: xorshift.
struct Random(u64);

impl Random {
    fn new(thread: usize) -> Self {
        let seed = env::var("PP_STRESS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x5eed_u64);
        Random(seed.wrapping_add(thread as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 16) as usize % end
    }
}

/// Now and then lets somebody else run, or wastes a moment.
fn pause() {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    match COUNT.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9) >> 7 & 63 {
        0..8 => thread::yield_now(),
        8..16 => (0..200).for_each(|_| std::hint::spin_loop()),
        16 => thread::sleep(Duration::from_micros(50)),
        _ => {}
    }
}

/// Writes every word of a page.
fn fill(page: &mut [u8], tag: u64) {
    for (index, word) in page.chunks_exact_mut(8).enumerate() {
        word.copy_from_slice(&(tag ^ index as u64).to_le_bytes());
    }
}

/// Checks every word.
#[track_caller]
fn check(page: &[u8], tag: u64) {
    for (index, word) in page.chunks_exact(8).enumerate() {
        assert_eq!(word, (tag ^ index as u64).to_le_bytes(), "somebody else wrote word {index} of this page");
    }
}

/// A device that takes its time and counts.
#[derive(Default)]
struct Slow {
    mapped: AtomicIsize,
}

// SAFETY: nothing is reached.
unsafe impl Dma for Slow {
    fn map(&self, unit: &Descriptor, _: DmaDirection) -> Result<DmaAddr, DmaError> {
        pause();
        self.mapped.fetch_add(1, Ordering::Relaxed);
        Ok(DmaAddr(unit.addr().addr() as u64))
    }

    fn unmap(&self, _: DmaAddr, unit_bytes: usize, _: DmaDirection) {
        pause();
        assert_eq!(unit_bytes, PAGE);
        assert!(self.mapped.fetch_sub(1, Ordering::Relaxed) > 0, "unmapped twice");
    }
}

/// What is handed over: pages with the tags that were written into them.
enum Parcel {
    Page(Page, u64, PoolHandle),
    /// Tags count up from the first page.
    Batch(PageBatch<BATCH>, u64, PoolHandle),
    Shared(Shared, u64),
}

/// One pool's end, to be looked at when all its pages are home.
struct Ended {
    handle: PoolHandle,
    allocations: usize,
    device: Arc<Slow>,
}

impl Ended {
    fn is_over(&self) -> bool {
        if self.handle.state() != PoolState::Closed {
            return false;
        }
        let stats = self.handle.stats();
        assert_eq!(
            (stats.allocations(), stats.in_use(), stats.hold),
            (self.allocations, 0, stats.released),
            "{stats:?}"
        );
        assert_eq!(stats.puts() + stats.detached, self.allocations, "{stats:?}");
        true
    }
}

struct Consumer<'a> {
    random: Random,
    shared_home: &'a Home<doc::Heap>,
    holders: Vec<SyncSender<Parcel>>,
    orphaned: &'a AtomicUsize,
    ended: Vec<Ended>,
    pools: usize,
}

impl Consumer<'_> {
    fn builder(&mut self, device: &Arc<Slow>) -> pp_core::PoolBuilder {
        let random = &mut self.random;
        let home = if random.below(3) == 0 { Home::new(doc::Heap::new(PAGE, 128)) } else { self.shared_home.clone() };
        let cache = 1 + random.below(24);
        let mut builder = PagePool::builder(home).cache(cache).refill(1 + random.below(cache));
        builder = builder.pool_size([1, 3, 16, 64, 256][random.below(5)]).returners(HOLDERS, 1 << random.below(6));
        builder = builder.zeroing([Zeroing::Never, Zeroing::OnEntry, Zeroing::OnCrossOwner][random.below(3)]);
        if random.below(3) == 0 {
            builder = builder.limit(8 + random.below(100));
        }
        if random.below(2) == 0 {
            builder = builder.dma(device.clone(), DmaDirection::FromDevice);
        }
        if random.below(2) == 0 {
            builder = builder.page_out(|_| pause());
        }
        builder
    }

    /// One pool, from its making to its drop under the pages that are out.
    fn one_pool(&mut self) {
        let device = Arc::new(Slow::default());
        let mut pool = self.builder(&device).build().expect("a pool");
        let handle = pool.handle();
        let (mut allocations, mut tag) = (0, self.random.next());
        let mut kept = Vec::new();
        for _ in 0..self.random.below(60) {
            tag = tag.wrapping_add(0x1_0000);
            let to = self.random.below(HOLDERS);
            if self.random.below(2) == 0 {
                let mut got: PageBatch<BATCH> = pool.alloc_batch();
                allocations += got.len();
                let mut batch = PageBatch::new();
                for (index, mut page) in got.by_ref().enumerate() {
                    fill(&mut page, tag + index as u64);
                    batch.push(page).expect("room for what it held");
                }
                match self.random.below(8) {
                    0 => pool.recycle_batch(&mut batch),
                    // Full, or gone: then they are dropped here.
                    _ => drop(self.holders[to].try_send(Parcel::Batch(batch, tag, handle.clone()))),
                }
            } else if let Ok(mut page) = pool.alloc() {
                allocations += 1;
                fill(&mut page, tag);
                match self.random.below(6) {
                    0 => pool.recycle_direct(page),
                    1 => kept.push((page, tag)),
                    _ => drop(self.holders[to].try_send(Parcel::Page(page, tag, handle.clone()))),
                }
            }
            if self.random.below(40) == 0 {
                pool.trim(self.random.below(8));
            }
        }
        for (page, tag) in kept {
            check(&page, tag);
            let to = self.random.below(HOLDERS);
            drop(self.holders[to].try_send(Parcel::Page(page, tag, handle.clone())));
        }
        drop(pool);
        self.pools += 1;
        self.orphaned.fetch_add(usize::from(handle.state() == PoolState::Closing), Ordering::Relaxed);
        self.ended.push(Ended { handle, allocations, device });
        if self.ended.len() > 64 {
            self.ended.retain(|ended| !ended.is_over());
        }
    }
}

/// A thread that holds pages for a while and returns them somehow.
struct Holder {
    random: Random,
    inbox: Receiver<Parcel>,
    others: Vec<SyncSender<Parcel>>,
    returners: VecDeque<(usize, Returner)>,
    kept: VecDeque<(Page, u64)>,
    kept_shared: VecDeque<(Shared, u64)>,
    checked: usize,
}

impl Holder {
    fn run(mut self, over: &AtomicBool) -> usize {
        loop {
            match self.inbox.recv_timeout(Duration::from_millis(1)) {
                Ok(parcel) => self.open(parcel),
                Err(RecvTimeoutError::Timeout) if !over.load(Ordering::Relaxed) => self.let_go(2),
                Err(_) => break,
            }
        }
        self.let_go(0);
        self.checked
    }

    fn open(&mut self, parcel: Parcel) {
        match parcel {
            Parcel::Page(page, tag, handle) => self.page(page, tag, &handle),
            Parcel::Shared(shared, tag) => self.shared(shared, tag),
            Parcel::Batch(mut batch, tag, handle) => match self.random.below(4) {
                0 => {
                    let mut last = tag + batch.len() as u64;
                    for page in batch {
                        last -= 1;
                        self.page(page, last, &handle);
                    }
                }
                way => {
                    self.recheck(&mut batch, tag);
                    match way {
                        1 => handle.put_batch(&mut batch),
                        2 => drop(batch),
                        _ => self.return_through_bag(&handle, &mut batch),
                    }
                }
            },
        }
    }

    /// Looks at every page of a batch, and writes into it.
    fn recheck(&mut self, batch: &mut PageBatch<BATCH>, tag: u64) {
        let mut again = PageBatch::<BATCH>::new();
        for index in (0..batch.len()).rev() {
            let mut page = batch.pop().expect("as many as it says");
            check(&page, tag + index as u64);
            self.checked += 1;
            page.fill(0xee);
            again.push(page).expect("room");
        }
        core::mem::swap(batch, &mut again);
    }

    fn return_through_bag(&mut self, handle: &PoolHandle, batch: &mut PageBatch<BATCH>) {
        if !self.returners.iter().any(|(id, _)| *id == handle.id()) {
            // A place may be somebody else's at the moment.
            self.returners.extend(handle.returner().map(|returner| (handle.id(), returner)));
        }
        // Whichever is at hand: what is another pool's finds its own way.
        let at = self.returners.iter().position(|(id, _)| *id == handle.id()).unwrap_or(0);
        if let Some((_, returner)) = self.returners.get_mut(at) {
            match self.random.below(2) {
                0 => returner.put_batch(batch),
                _ => batch.for_each(|page| returner.put(page)),
            }
        }
        if self.returners.len() > 4 {
            self.returners.pop_front();
        }
    }

    fn page(&mut self, mut page: Page, tag: u64, handle: &PoolHandle) {
        check(&page, tag);
        self.checked += 1;
        let tag = !tag;
        fill(&mut page, tag);
        match self.random.below(9) {
            0 => drop(page),
            1 => drop(page.try_put().map_err(drop)),
            2 => page.put_synced(100),
            3 => self.kept.push_back((page.detach(), tag)),
            4 | 5 => self.kept.push_back((page, tag)),
            6 => {
                let shared = page.share();
                for _ in 0..self.random.below(4) {
                    let to = self.random.below(HOLDERS);
                    drop(self.others[to].try_send(Parcel::Shared(shared.clone(), tag)));
                }
                self.shared(shared, tag);
            }
            7 => {
                let to = self.random.below(HOLDERS);
                drop(self.others[to].try_send(Parcel::Page(page, tag, handle.clone())));
            }
            _ => {
                let raw = page.into_raw();
                // SAFETY: from `into_raw` just above, taken back once, and nobody wrote it.
                self.kept.push_front((unsafe { Page::from_raw(raw) }, tag));
            }
        }
        self.let_go(48);
    }

    fn shared(&mut self, shared: Shared, tag: u64) {
        check(&shared, tag);
        match self.random.below(4) {
            0 => shared.release(),
            1 => match shared.try_unshare() {
                Ok(page) => self.kept.push_back((page, tag)),
                Err(shared) => self.kept_shared.push_back((shared, tag)),
            },
            2 => self.kept_shared.push_back((shared, tag)),
            _ => drop(shared),
        }
    }

    /// Returns what was kept longest, until at most so many are left.
    fn let_go(&mut self, most: usize) {
        while self.kept.len() > most {
            let (page, tag) = self.kept.pop_front().expect("more than that");
            check(&page, tag);
            drop(page);
        }
        while self.kept_shared.len() > most {
            let (shared, tag) = self.kept_shared.pop_front().expect("more than that");
            check(&shared, tag);
            if self.random.below(2) == 0 { shared.release() } else { drop(shared) }
        }
    }
}

#[test]
fn nothing_is_lost_and_no_page_is_in_two_hands() {
    let seconds = env::var("PP_STRESS_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(2);
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let home = Home::new(doc::Heap::new(PAGE, UNITS));
    let (orphaned, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (senders, inboxes): (Vec<_>, Vec<_>) = (0..HOLDERS).map(|_| sync_channel(64)).unzip();
    let (ended, checked) = thread::scope(|scope| {
        let holders: Vec<_> = inboxes
            .into_iter()
            .enumerate()
            .map(|(index, inbox)| {
                let holder = Holder {
                    random: Random::new(100 + index),
                    inbox,
                    others: senders.clone(),
                    returners: VecDeque::new(),
                    kept: VecDeque::new(),
                    kept_shared: VecDeque::new(),
                    checked: 0,
                };
                scope.spawn(|| holder.run(&over))
            })
            .collect();
        let consumers: Vec<_> = (0..CONSUMERS)
            .map(|index| {
                let mut consumer = Consumer {
                    random: Random::new(index),
                    shared_home: &home,
                    holders: senders.clone(),
                    orphaned: &orphaned,
                    ended: Vec::new(),
                    pools: 0,
                };
                let orphaned = &orphaned;
                scope.spawn(move || {
                    while Instant::now() < deadline || orphaned.load(Ordering::Relaxed) < ORPHANED {
                        consumer.one_pool();
                    }
                    (consumer.ended, consumer.pools)
                })
            })
            .collect();
        let ended: Vec<_> = consumers.into_iter().map(|thread| thread.join().expect("a consumer")).collect();
        over.store(true, Ordering::Relaxed);
        let checked: usize = holders.into_iter().map(|thread| thread.join().expect("a holder")).sum();
        (ended, checked)
    });
    drop(senders);
    let pools: usize = ended.iter().map(|(_, pools)| pools).sum();
    for ended in ended.iter().flat_map(|(ended, _)| ended) {
        assert!(ended.is_over(), "a page never came home: {:?}", ended.handle);
        assert_eq!(ended.device.mapped.load(Ordering::Relaxed), 0, "a mapping is left");
        assert_eq!(Arc::strong_count(&ended.device), 1, "a pool was not torn down");
    }
    assert_eq!((home.free_units(), Home::owners(&home)), (UNITS, 1), "a unit never came home");
    let orphaned = orphaned.into_inner();
    println!("{pools} pools, {orphaned} of them dropped with pages out, {checked} pages checked on the way");
    assert!(orphaned >= ORPHANED && checked > 1000);
}

fn wait_for(word: &AtomicUsize, round: usize) {
    for turn in 1usize.. {
        if word.load(Ordering::SeqCst) >= round {
            break;
        }
        if turn.is_multiple_of(1024) { thread::yield_now() } else { std::hint::spin_loop() }
    }
}

/// A batch in a borrowed bag while the pool closes, on two processors: all its pages must be home.
#[test]
fn a_batch_that_is_put_while_its_pool_closes_strands_nothing() {
    const ROUNDS: usize = if cfg!(miri) { 10 } else { 20_000 };
    // So many that putting them in takes as long as closing.
    const PAGES: usize = if cfg!(miri) { 16 } else { 512 };
    let go = AtomicUsize::new(0);
    let (to_worker, jobs) = std::sync::mpsc::channel::<PageBatch<PAGES>>();
    let (to_main, done) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        let go = &go;
        scope.spawn(move || {
            for (round, batch) in (1..).zip(jobs) {
                wait_for(go, round);
                drop(batch);
                to_main.send(()).unwrap();
            }
        });
        let provider = Home::new(doc::Heap::new(64, PAGES));
        for round in 1..=ROUNDS {
            let builder =
                PagePool::builder(provider.clone()).pool_size(1).cache(PAGES).refill(PAGES).batch_bags(1, PAGES);
            let mut pool = builder.build().unwrap();
            let handle = pool.handle();
            to_worker.send(pool.alloc_batch()).unwrap();
            go.store(round, Ordering::SeqCst);
            (0..round % 128).for_each(|_| std::hint::spin_loop());
            drop(pool);
            done.recv().unwrap();
            assert_eq!(handle.state(), PoolState::Closed, "round {round}: {}", handle.stats());
        }
        drop(to_worker);
    });
}

/// A Returner's put while the pool closes, on two processors, and the Returner is neither used again nor dropped: the page must be home all
/// the same. With the fence that the system imposes, where it does; `sync/asymmetric.rs` tests both, and the models.
#[test]
fn a_returner_that_sleeps_after_its_last_put_strands_nothing() {
    const ROUNDS: usize = if cfg!(miri) { 10 } else { 20_000 };
    let (ready, go) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (to_worker, jobs) = std::sync::mpsc::channel::<(Returner, [Page; 2])>();
    let (to_main, done) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            for (round, (mut returner, [first, last])) in (1..).zip(jobs) {
                // Once before, so that the producer has the closer's word in its cache, and the consumer the producer's.
                returner.put(first);
                ready.store(round, Ordering::SeqCst);
                wait_for(&go, round);
                (0..round % 128).for_each(|_| std::hint::spin_loop());
                returner.put(last);
                to_main.send(returner).unwrap();
            }
        });
        let provider = Home::new(doc::Heap::new(4096, 2));
        for round in 1..=ROUNDS {
            let mut pool = PagePool::builder(provider.clone()).pool_size(1).cache(1).returners(1, 2).build().unwrap();
            let handle = pool.handle();
            let pages = [pool.alloc().unwrap(), pool.alloc().unwrap()];
            to_worker.send((handle.returner().unwrap(), pages)).unwrap();
            wait_for(&ready, round);
            drop(pool.alloc().unwrap().detach());
            go.store(round, Ordering::SeqCst);
            drop(pool);
            let asleep = done.recv().unwrap();
            assert_eq!(
                handle.state(),
                PoolState::Closed,
                "round {round}: a page lies in the bag of a Returner that sleeps"
            );
            drop(asleep);
        }
        drop(to_worker);
    });
}
