//! What a pool must do, in numbers: an oracle for one thread.
//!
//! It knows nothing of lanes, owner words or bags' positions. What it predicts exactly is every figure of the statistics,
//! whether an allocation succeeds and how it fails, every sync, and which bytes a page may show.

use std::collections::{HashMap, HashSet};

use pp_core::{AllocError, Stats, Zeroing};

use super::Setup;

/// The last that was known of a unit when it was put.
#[derive(Clone, Copy, Debug)]
struct Last {
    stay: usize,
    tag: u64,
    /// It went into the cache by the consumer's own hand, and so uncleared.
    direct: bool,
}

#[derive(Debug, Default)]
pub(crate) struct PoolModel {
    pub(crate) open: bool,
    pub(crate) stats: Stats,
    pops: usize,
    bags: Vec<usize>,
    next_bag: usize,
    batch_bag: usize,
    pub(crate) limit: Option<usize>,
    above: bool,
    /// Times the watermark hook must have run.
    pub(crate) crossings: usize,
    last: HashMap<usize, Last>,
    /// Lengths stored by `put_synced` for units that have not entered the cache since, with the stay they were for.
    pending: HashMap<usize, (usize, usize)>,
    /// Syncs that the current step must have made.
    syncs: usize,
}

/// Both pools of a world.
#[derive(Debug)]
pub(crate) struct Model {
    setup: Setup,
    pub(crate) pools: Vec<PoolModel>,
    /// Units off the books and not home.
    strays: HashSet<usize>,
}

impl PoolModel {
    fn in_ring(&self) -> usize {
        self.stats.in_ring - self.bags.iter().sum::<usize>() - self.batch_bag
    }

    fn leave(&mut self, pages: usize) {
        self.stats.released += pages;
    }

    /// A page goes into the cache by the consumer's hand.
    fn cached(&mut self, unit: usize, syncs: bool) {
        self.stats.recycle.cached += 1;
        self.stats.in_cache += 1;
        self.syncs += usize::from(syncs);
        if let Some(last) = self.last.get_mut(&unit) {
            last.direct = true;
        }
    }

    fn pop(&mut self, pages: usize) {
        self.pops += pages;
        self.stats.in_cache -= pages;
        let (slow, refill) = (self.stats.alloc.slow, self.stats.alloc.refill);
        self.stats.alloc.fast = self.pops - slow - refill;
    }
}

impl Model {
    pub(crate) fn new(setup: &Setup) -> Self {
        let pool =
            || PoolModel { open: true, bags: vec![0; setup.returners], limit: setup.limit, ..PoolModel::default() };
        Model { setup: setup.clone(), pools: (0..2).map(|_| pool()).collect(), strays: HashSet::new() }
    }

    fn syncs(&self) -> bool {
        matches!(self.setup.dma, Some(Some(_)))
    }

    /// One refill of an empty cache. `Ok(true)`: one page of high order past the cache.
    fn refill(&mut self, pool: usize, free: &mut usize) -> Result<bool, AllocError> {
        let outcome = self.refill_quietly(pool, free);
        let watermark = self.setup.watermark.unwrap_or(usize::MAX);
        let pool = &mut self.pools[pool];
        let above = pool.stats.outstanding() > watermark;
        pool.crossings += usize::from(above != pool.above);
        pool.above = above;
        outcome
    }

    fn refill_quietly(&mut self, pool: usize, free: &mut usize) -> Result<bool, AllocError> {
        let syncs = self.syncs();
        let Setup { refill: want, order, .. } = self.setup;
        let pool = &mut self.pools[pool];
        let mut taken = 0;
        for step in 0..pool.bags.len() {
            let count = pool.bags.len();
            let bag = &mut pool.bags[(pool.next_bag + step) % count];
            let some = (*bag).min(want - taken);
            *bag -= some;
            pool.stats.in_ring -= some;
            taken += some;
        }
        let from_batches = pool.batch_bag.min(want - taken);
        pool.batch_bag -= from_batches;
        pool.stats.in_ring -= from_batches;
        taken += from_batches;
        let from_ring = pool.in_ring().min(want - taken);
        pool.stats.in_ring -= from_ring;
        taken += from_ring;
        pool.next_bag += usize::from(!pool.bags.is_empty());
        pool.stats.in_cache += taken;
        if taken > 0 {
            pool.syncs += if syncs { taken } else { 0 };
            pool.stats.alloc.refill += 1;
            return Ok(false);
        }
        pool.stats.alloc.empty += 1;
        let room = pool.limit.unwrap_or(usize::MAX).saturating_sub(pool.stats.outstanding());
        if room == 0 {
            pool.stats.limit_hits += 1;
            return Err(AllocError::LimitReached);
        }
        pool.stats.provider_calls += 1;
        let got = room.min(*free).min(if order > 0 { 1 } else { want });
        if got == 0 {
            pool.stats.provider_failures += 1;
            return Err(AllocError::OutOfMemory);
        }
        *free -= got;
        pool.stats.hold += got;
        pool.syncs += if syncs { got } else { 0 };
        if order > 0 {
            pool.stats.alloc.slow_high_order += 1;
            return Ok(true);
        }
        pool.stats.in_cache += got;
        pool.stats.alloc.slow += 1;
        Ok(false)
    }

    /// `alloc`, with `free` units at the provider.
    pub(crate) fn alloc(&mut self, pool: usize, mut free: usize) -> Result<(), AllocError> {
        if self.pools[pool].stats.in_cache > 0 || !self.refill(pool, &mut free)? {
            self.pools[pool].pop(1);
        }
        Ok(())
    }

    /// `alloc_into` with room for `room`; says how many.
    pub(crate) fn alloc_into(&mut self, pool: usize, room: usize, mut free: usize) -> usize {
        let mut got = 0;
        loop {
            let some = self.pools[pool].stats.in_cache.min(room - got);
            self.pools[pool].pop(some);
            got += some;
            if got == room {
                return got;
            }
            match self.refill(pool, &mut free) {
                Ok(high_order) => got += usize::from(high_order),
                Err(_) => return got,
            }
        }
    }

    /// What the bytes of a page that was just handed out must be.
    pub(crate) fn handed_out(&mut self, pool: usize, unit: usize, stay: usize) -> Bytes {
        let last = self.pools[pool].last.remove(&unit).filter(|last| last.stay == stay);
        match (last, self.setup.zeroing) {
            (None, Zeroing::Never) => Bytes::Anything,
            (None, _) => Bytes::Zero,
            (Some(last), Zeroing::OnCrossOwner) if !last.direct => Bytes::Zero,
            (Some(last), _) => Bytes::Tag(last.tag),
        }
    }

    /// A page is about to be put by whatever verb.
    pub(crate) fn giving(&mut self, pool: usize, unit: usize, stay: usize, tag: u64) {
        self.pools[pool].last.insert(unit, Last { stay, tag, direct: false });
    }

    pub(crate) fn put_synced(&mut self, pool: usize, unit: usize, stay: usize, len: usize) {
        self.pools[pool].pending.insert(unit, (stay, len));
    }

    /// Whether a put of this page can go round.
    fn recyclable(&self, pool: usize, unit: usize, reserve: bool) -> bool {
        !reserve && !self.strays.contains(&unit) && self.pools[pool].open
    }

    /// The shared path.
    pub(crate) fn put(&mut self, home: usize, unit: usize, reserve: bool) {
        let pool = &mut self.pools[home];
        if self.strays.remove(&unit) {
            pool.stats.strays -= 1;
            return;
        }
        if !reserve && pool.open && pool.in_ring() < self.setup.pool_size {
            pool.stats.recycle.ring += 1;
            pool.stats.in_ring += 1;
            return;
        }
        *match (reserve, pool.open) {
            (true, _) => &mut pool.stats.recycle.released_refcnt,
            (false, true) => &mut pool.stats.recycle.ring_full,
            (false, false) => &mut pool.stats.recycle.released_closed,
        } += 1;
        pool.leave(1);
    }

    /// The shared path for several at once: home, unit, reserve.
    pub(crate) fn put_batch(&mut self, pages: &[(usize, usize, bool)]) {
        let kind = |page: &(usize, usize, bool)| (page.0, page.2, self.strays.contains(&page.1));
        let runs: Vec<_> = pages.chunk_by(|one, next| kind(one) == kind(next)).collect();
        for run in runs {
            let (home, unit, reserve) = run[0];
            let room = self.setup.batch_bag.map_or(0, usize::next_power_of_two);
            let mut into_bag = 0;
            // The last one never goes there, and neither a few nor room for a few are worth it.
            if run.len() >= 8 && self.recyclable(home, unit, reserve) {
                let pool = &mut self.pools[home];
                let free = room - pool.batch_bag;
                into_bag = if free < 7 { 0 } else { free.min(run.len() - 1) };
                pool.batch_bag += into_bag;
                pool.stats.in_ring += into_bag;
                pool.stats.recycle.ring += into_bag;
            }
            for (home, unit, reserve) in &run[into_bag..] {
                self.put(*home, *unit, *reserve);
            }
        }
    }

    /// Whether `try_put` takes the page, and the put if it does.
    pub(crate) fn try_put(&mut self, home: usize, unit: usize, reserve: bool) -> bool {
        let fits = self.recyclable(home, unit, reserve) && self.pools[home].in_ring() < self.setup.pool_size;
        if fits {
            self.put(home, unit, reserve);
        }
        fits
    }

    pub(crate) fn recycle_direct(&mut self, via: usize, home: usize, unit: usize, reserve: bool) {
        let ours = via == home && self.recyclable(home, unit, reserve);
        let syncs = self.syncs();
        let pool = &mut self.pools[home];
        if ours && pool.stats.in_cache < self.setup.cache {
            return pool.cached(unit, syncs);
        }
        pool.stats.recycle.cache_full += usize::from(ours);
        self.put(home, unit, reserve);
    }

    /// `recycle_batch` of pages in the order they were pushed: home, unit, reserve.
    pub(crate) fn recycle_batch(&mut self, via: usize, pages: &[(usize, usize, bool)]) {
        let mut rest = pages.len();
        while rest > 0 && self.pools[via].stats.in_cache < self.setup.cache {
            rest -= 1;
            let (home, unit, reserve) = pages[rest];
            self.recycle_direct(via, home, unit, reserve);
        }
        let ours = |page: &&(usize, usize, bool)| page.0 == via && self.recyclable(via, page.1, page.2);
        let full = pages[..rest].iter().filter(ours).count();
        self.pools[via].stats.recycle.cache_full += full;
        self.put_batch(&pages[..rest]);
    }

    /// A Returner of `via` is given pages.
    pub(crate) fn returner(&mut self, via: usize, bag: usize, pages: &[(usize, usize, bool)]) {
        let capacity = self.setup.bag.next_power_of_two();
        for (home, unit, reserve) in pages {
            if *home == via && self.recyclable(via, *unit, *reserve) && self.pools[via].bags[bag] < capacity {
                let pool = &mut self.pools[via];
                pool.bags[bag] += 1;
                pool.stats.in_ring += 1;
                pool.stats.recycle.ring += 1;
            } else {
                self.put(*home, *unit, *reserve);
            }
        }
    }

    /// `Shared::release` while others hold the page too.
    pub(crate) fn release_shared(&mut self, home: usize, unit: usize) {
        if self.strays.insert(unit) {
            self.pools[home].stats.recycle.released_refcnt += 1;
            self.off_the_books(home);
        }
    }

    pub(crate) fn detach(&mut self, home: usize, unit: usize) {
        if self.strays.insert(unit) {
            self.pools[home].stats.detached += 1;
            self.off_the_books(home);
        }
    }

    fn off_the_books(&mut self, home: usize) {
        self.pools[home].stats.strays += 1;
        self.pools[home].leave(1);
    }

    pub(crate) fn is_stray(&self, unit: usize) -> bool {
        self.strays.contains(&unit)
    }

    /// `trim`; says how many go.
    pub(crate) fn trim(&mut self, pool: usize, keep: usize) -> usize {
        let pool = &mut self.pools[pool];
        let excess = (pool.stats.in_cache + pool.stats.in_ring).saturating_sub(keep);
        let from_ring = pool.in_ring().min(excess);
        let mut rest = excess - from_ring;
        for bag in pool.bags.iter_mut().chain([&mut pool.batch_bag]) {
            let some = (*bag).min(rest);
            *bag -= some;
            rest -= some;
        }
        pool.stats.in_ring -= excess - rest;
        pool.stats.in_cache -= rest;
        pool.leave(excess);
        excess
    }

    pub(crate) fn update_nid(&mut self, pool: usize) {
        let cached = core::mem::take(&mut self.pools[pool].stats.in_cache);
        self.pools[pool].leave(cached);
    }

    pub(crate) fn close(&mut self, pool: usize) {
        self.trim(pool, 0);
        self.pools[pool].open = false;
    }

    /// Checks the syncs that a step made: descriptor, offset, length.
    pub(crate) fn check_syncs(&mut self, pool: usize, log: &[(usize, usize, usize)], stay: impl Fn(usize) -> usize) {
        let pool = &mut self.pools[pool];
        assert_eq!(log.len(), core::mem::take(&mut pool.syncs), "syncs for the device");
        let Some(Some((offset, max_len))) = self.setup.dma else { return };
        for (unit, at, len) in log {
            let asked = pool.pending.remove(unit).filter(|(of, _)| *of == stay(*unit));
            // Clearing writes all of a page, so all of it must reach the device.
            let cleared = self.setup.zeroing == Zeroing::OnCrossOwner;
            let asked = asked.filter(|_| !cleared).map_or(max_len, |(_, len)| len.min(max_len));
            assert_eq!((*at, *len), (offset, asked), "the range of a sync");
        }
    }

    /// Checks every figure.
    pub(crate) fn check_stats(&self, pool: usize, stats: &Stats) {
        let model = &self.pools[pool];
        let mut expected = model.stats;
        if self.setup.dma.is_some() {
            expected.mapped = if model.open { expected.inflight() } else { 0 };
        }
        assert_eq!(*stats, expected, "pool {pool}, model on the right");
    }
}

/// What may be in a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bytes {
    Anything,
    Zero,
    Tag(u64),
}
