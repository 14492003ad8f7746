//! A thread with pages in its hands, driven by [`Step`]s: the one body behind the oracle and the threads.

use core::sync::atomic::Ordering;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use pp_core::{NodeId, NodePolicy, Page, PageBatch, PagePool, PoolHandle, Recycling, Returner, Shared};

use super::{Bytes, Model, Step, Verb, World, check, fill, is_zero, key};

const BATCH: usize = 16;

pub(crate) struct Held {
    page: Page,
    home: usize,
    tag: u64,
}

pub(crate) struct HeldShared {
    shared: Shared,
    home: usize,
    tag: u64,
}

/// What one hand gives the next.
pub(crate) enum Gift {
    Page(Held),
    Shared(HeldShared),
}

/// See the module. A hand without pools is a thread that only returns.
pub(crate) struct Hand {
    world: Arc<World>,
    pools: Vec<Option<PagePool>>,
    pages: Vec<Held>,
    shared: Vec<HeldShared>,
    returners: Vec<Vec<Option<Returner>>>,
    mail: Option<(Receiver<Gift>, Sender<Gift>)>,
    model: Option<Model>,
}

impl Hand {
    pub(crate) fn new(world: &Arc<World>, pools: Vec<PagePool>) -> Self {
        let claim = |handle: &PoolHandle| (0..world.setup.returners).map(|_| handle.returner()).collect();
        Hand {
            pools: pools.into_iter().map(Some).chain([None, None]).take(2).collect(),
            pages: Vec::new(),
            shared: Vec::new(),
            returners: world.handles.iter().map(claim).collect(),
            mail: None,
            model: None,
            world: world.clone(),
        }
    }

    /// Predicts every step from now on. For one hand that is alone.
    pub(crate) fn predicted(mut self) -> Self {
        self.model = Some(Model::new(&self.world.setup));
        self
    }

    /// Exchanges pages with other hands.
    pub(crate) fn with_mail(mut self, inbox: Receiver<Gift>, next: Sender<Gift>) -> Self {
        self.mail = Some((inbox, next));
        self
    }

    fn predict(&mut self, f: impl FnOnce(&mut Model)) {
        if let Some(model) = &mut self.model {
            f(model);
        }
    }

    fn receive(&mut self, pool: usize, mut page: Page) -> Held {
        let world = &self.world;
        let unit = key(page.descriptor());
        world.taken(unit);
        world.allocations[pool].fetch_add(1, Ordering::Relaxed);
        assert_eq!(page.len(), world.setup.shape.unit_bytes << world.setup.order);
        assert_eq!(page.dma_addr().is_some(), world.setup.dma.is_some(), "mapped while it is on the books");
        match self.model.as_mut().map(|model| model.handed_out(pool, unit, world.home.stay(unit))) {
            None | Some(Bytes::Anything) => {}
            Some(Bytes::Zero) => assert!(is_zero(&page), "the page shows what was in it before"),
            Some(Bytes::Tag(tag)) => check(&page, tag),
        }
        let tag = world.tags.fetch_add(1, Ordering::Relaxed);
        fill(&mut page, tag);
        Held { page, home: pool, tag }
    }

    /// Takes a page out of the hand, checked, to be put by the caller.
    fn give(&mut self, pick: usize) -> Option<(Held, usize, bool)> {
        if self.pages.is_empty() {
            return None;
        }
        let held = self.pages.swap_remove(pick % self.pages.len());
        check(&held.page, held.tag);
        let unit = key(held.page.descriptor());
        let reserve = held.page.descriptor().recycling() == Recycling::Never;
        if let Some(model) = &mut self.model {
            assert_eq!(held.page.is_detached(), model.is_stray(unit));
            model.giving(held.home, unit, self.world.home.stay(unit), held.tag);
        }
        assert_eq!(self.world.count(unit, -1), 0);
        Some((held, unit, reserve))
    }

    /// Several pages in one batch, with what the model wants to know of them.
    fn give_batch(&mut self, step: Step) -> (PageBatch<BATCH>, Vec<(usize, usize, bool)>) {
        let (mut batch, mut listed) = (PageBatch::new(), Vec::new());
        while batch.len() < step.count.min(BATCH)
            && let Some((held, unit, reserve)) = self.give(step.pick)
        {
            listed.push((held.home, unit, reserve));
            batch.push(held.page).expect("room");
        }
        (batch, listed)
    }

    fn give_shared(&mut self, pick: usize) -> Option<(HeldShared, usize)> {
        if self.shared.is_empty() {
            return None;
        }
        let held = self.shared.swap_remove(pick % self.shared.len());
        check(&held.shared, held.tag);
        let unit = key(held.shared.descriptor());
        Some((held, unit))
    }

    /// Does one thing; then, if predicted, checks everything.
    pub(crate) fn step(&mut self, step: Step) {
        while let Some(gift) = self.mail.as_ref().and_then(|(inbox, _)| inbox.try_recv().ok()) {
            self.unwrap(gift);
        }
        self.act(step);
        self.verify();
    }

    fn unwrap(&mut self, gift: Gift) {
        match gift {
            Gift::Page(held) => self.pages.push(held),
            Gift::Shared(held) => self.shared.push(held),
        }
    }

    fn act(&mut self, step: Step) {
        let Step { verb, pool: via, pick, count } = step;
        match verb {
            Verb::Alloc => self.alloc(via),
            Verb::AllocInto => self.alloc_into(step),
            Verb::BatchRound => self.batch_round(step),
            Verb::RecycleDirect => self.recycle_direct(via, pick),
            Verb::RecycleBatch => self.recycle_batch(step),
            Verb::Drop | Verb::HandlePut | Verb::PutSynced => {
                let Some((held, unit, reserve)) = self.give(pick) else { return };
                if let Some(model) = &mut self.model {
                    if matches!(verb, Verb::PutSynced) {
                        model.put_synced(held.home, unit, self.world.home.stay(unit), count * 300);
                    }
                    model.put(held.home, unit, reserve);
                }
                match verb {
                    Verb::PutSynced => held.page.put_synced(count * 300),
                    Verb::HandlePut => self.world.handles[via].put(held.page),
                    _ => drop(held.page),
                }
            }
            Verb::TryPut => self.try_put(pick),
            Verb::HandleBatch | Verb::DropBatch => {
                let (mut batch, listed) = self.give_batch(step);
                self.predict(|model| model.put_batch(&listed));
                if matches!(verb, Verb::HandleBatch) {
                    self.world.handles[via].put_batch(&mut batch);
                    assert!(batch.is_empty());
                }
            }
            Verb::ReturnerPut | Verb::ReturnerBatch => self.returner(step),
            Verb::ReturnerAgain => {
                if let Some(place) = self.returners[via].first_mut().filter(|place| place.is_some()) {
                    drop(place.take());
                    *place = self.world.handles[via].returner();
                }
            }
            Verb::Share | Verb::CloneShared | Verb::TryUnshare | Verb::Release | Verb::DropShared => {
                self.share(verb, pick)
            }
            Verb::Detach | Verb::Raw => self.detach_or_raw(verb, pick),
            Verb::Pass => self.pass(pick),
            Verb::Trim | Verb::UpdateNid | Verb::SetLimit | Verb::Close => self.manage(verb, via, count),
        }
    }

    fn alloc(&mut self, via: usize) {
        let free = self.world.home.free(self.world.setup.order);
        let Some(pool) = &mut self.pools[via] else { return };
        let outcome = pool.alloc();
        if let Some(model) = &mut self.model {
            let expected = model.alloc(via, free);
            assert_eq!(outcome.as_ref().map_or_else(|error| Err(*error), |_| Ok(())), expected);
            assert!(expected.is_ok() || pool.last_error() == expected.unwrap_err());
        }
        if let Ok(page) = outcome {
            let held = self.receive(via, page);
            self.pages.push(held);
        }
    }

    fn alloc_into(&mut self, step: Step) {
        let free = self.world.home.free(self.world.setup.order);
        if self.pools[step.pool].is_none() {
            return;
        }
        // A batch that already has something in it.
        let mut prefix = Vec::new();
        let mut batch = PageBatch::<BATCH>::new();
        while batch.len() < step.count.min(self.pages.len() + batch.len()) {
            let held = self.pages.swap_remove(step.pick % self.pages.len());
            prefix.push((held.home, held.tag));
            batch.push(held.page).expect("room");
        }
        let Some(pool) = &mut self.pools[step.pool] else { return };
        let got = pool.alloc_into(&mut batch);
        let expected = self.model.as_mut().map(|model| model.alloc_into(step.pool, BATCH - prefix.len(), free));
        assert_eq!(got, expected.unwrap_or(got));
        assert_eq!(batch.len(), prefix.len() + got);
        for _ in 0..got {
            let page = batch.pop().expect("a page");
            let held = self.receive(step.pool, page);
            self.pages.push(held);
        }
        for (home, tag) in prefix.into_iter().rev() {
            self.pages.push(Held { page: batch.pop().expect("a page"), home, tag });
        }
    }

    /// A batch that a pool fills and that is given back, there or elsewhere, without its pages being taken out.
    fn batch_round(&mut self, step: Step) {
        let free = self.world.home.free(self.world.setup.order);
        let Some(pool) = &mut self.pools[step.pool] else { return };
        let mut batch = pool.alloc_batch::<BATCH>();
        if let Some(model) = &mut self.model {
            assert_eq!(batch.len(), model.alloc_into(step.pool, BATCH, free));
        }
        let mut listed = Vec::new();
        for page in batch.as_slice() {
            let unit = key(page.descriptor());
            self.world.taken(unit);
            self.world.allocations[step.pool].fetch_add(1, Ordering::Relaxed);
            if let Some(model) = &mut self.model {
                let stay = self.world.home.stay(unit);
                if let Bytes::Tag(tag) = model.handed_out(step.pool, unit, stay) {
                    check(page, tag);
                    model.giving(step.pool, unit, stay, tag);
                }
            }
            assert_eq!(self.world.count(unit, -1), 0);
            listed.push((step.pool, unit, page.descriptor().recycling() == Recycling::Never));
        }
        let to = step.pick % self.pools.len();
        match (step.count % 3, &mut self.pools[to], self.returners[to].first_mut()) {
            (0, Some(pool), _) => {
                self.model.iter_mut().for_each(|model| model.recycle_batch(to, &listed));
                pool.recycle_batch(&mut batch);
            }
            (1, _, Some(Some(returner))) => {
                self.model.iter_mut().for_each(|model| model.returner(to, 0, &listed));
                returner.put_batch(&mut batch);
            }
            _ => {
                self.predict(|model| model.put_batch(&listed));
                // By the batch's own end, which knows whose they are, and page by page.
                if step.count.is_multiple_of(2) { batch = PageBatch::new() } else { drop(batch.drain()) }
            }
        }
        assert!(batch.is_empty());
    }

    fn recycle_direct(&mut self, via: usize, pick: usize) {
        if self.pools[via].is_none() {
            return;
        }
        let Some((held, unit, reserve)) = self.give(pick) else { return };
        if let Some(model) = &mut self.model {
            model.recycle_direct(via, held.home, unit, reserve);
        }
        self.pools[via].as_mut().expect("looked above").recycle_direct(held.page);
    }

    fn recycle_batch(&mut self, step: Step) {
        if self.pools[step.pool].is_none() {
            return;
        }
        let (mut batch, listed) = self.give_batch(step);
        if let Some(model) = &mut self.model {
            model.recycle_batch(step.pool, &listed);
        }
        self.pools[step.pool].as_mut().expect("looked above").recycle_batch(&mut batch);
        assert!(batch.is_empty());
    }

    fn try_put(&mut self, pick: usize) {
        let Some((held, unit, reserve)) = self.give(pick) else { return };
        let expected = self.model.as_mut().map(|model| model.try_put(held.home, unit, reserve));
        match held.page.try_put() {
            Ok(()) => assert_ne!(expected, Some(false), "try_put took a page that has no place"),
            Err(page) => {
                assert_ne!(expected, Some(true), "try_put refused a page that has a place");
                check(&page, held.tag);
                self.world.taken(unit);
                self.pages.push(Held { page, ..held });
            }
        }
    }

    fn returner(&mut self, step: Step) {
        let places = self.returners[step.pool].len();
        if places == 0 || self.returners[step.pool][step.pick % places].is_none() {
            return;
        }
        let bag = step.pick % places;
        let step = if matches!(step.verb, Verb::ReturnerPut) { Step { count: 1, ..step } } else { step };
        let (mut batch, listed) = self.give_batch(step);
        if let Some(model) = &mut self.model {
            model.returner(step.pool, bag, &listed);
        }
        let returner = self.returners[step.pool][bag].as_mut().expect("looked above");
        match (step.verb, batch.len()) {
            (Verb::ReturnerPut, 1) => returner.put(batch.pop().expect("one page")),
            _ => returner.put_batch(&mut batch),
        }
        assert!(batch.is_empty());
    }

    fn share(&mut self, verb: Verb, pick: usize) {
        if matches!(verb, Verb::Share) {
            if !self.pages.is_empty() {
                let Held { page, home, tag } = self.pages.swap_remove(pick % self.pages.len());
                self.shared.push(HeldShared { shared: page.share(), home, tag });
            }
            return;
        }
        let Some((held, unit)) = self.give_shared(pick) else { return };
        let HeldShared { shared, home, tag } = held;
        let stay = self.world.home.stay(unit);
        let reserve = shared.descriptor().recycling() == Recycling::Never;
        match verb {
            Verb::CloneShared => {
                self.world.count(unit, 1);
                self.shared.push(HeldShared { shared: shared.clone(), home, tag });
                self.shared.push(HeldShared { shared, home, tag });
            }
            Verb::TryUnshare => {
                let handles = self.world.in_hands.lock().unwrap()[&unit];
                match shared.try_unshare() {
                    Ok(page) => {
                        assert!(self.model.is_none() || handles == 1, "unshared under others");
                        assert_eq!(self.world.count(unit, 0), 1, "unshared under others");
                        self.pages.push(Held { page, home, tag });
                    }
                    Err(shared) => {
                        assert!(self.model.is_none() || handles > 1, "not unshared, though alone");
                        self.shared.push(HeldShared { shared, home, tag });
                    }
                }
            }
            _ => {
                let left = self.world.count(unit, -1);
                if let Some(model) = &mut self.model {
                    if left == 0 {
                        model.giving(home, unit, stay, tag);
                        model.put(home, unit, reserve);
                    } else if matches!(verb, Verb::Release) {
                        model.release_shared(home, unit);
                    }
                }
                if matches!(verb, Verb::Release) { shared.release() } else { drop(shared) }
            }
        }
    }

    fn detach_or_raw(&mut self, verb: Verb, pick: usize) {
        if self.pages.is_empty() {
            return;
        }
        let Held { page, home, tag } = self.pages.swap_remove(pick % self.pages.len());
        let unit = key(page.descriptor());
        let page = if matches!(verb, Verb::Detach) {
            if let Some(model) = &mut self.model {
                model.detach(home, unit);
            }
            let page = page.detach();
            assert!(page.is_detached() && page.dma_addr().is_none());
            page
        } else {
            let raw = page.into_raw();
            // SAFETY: it comes from `into_raw` just above, of a page of the same kind.
            unsafe { Page::from_raw(raw) }
        };
        check(&page, tag);
        assert_eq!(key(page.descriptor()), unit);
        self.pages.push(Held { page, home, tag });
    }

    fn pass(&mut self, pick: usize) {
        let Some((_, next)) = &self.mail else { return };
        let gift = if pick.is_multiple_of(3) && !self.shared.is_empty() {
            Gift::Shared(self.shared.swap_remove(pick % self.shared.len()))
        } else if !self.pages.is_empty() {
            Gift::Page(self.pages.swap_remove(pick % self.pages.len()))
        } else {
            return;
        };
        if let Err(refused) = next.send(gift) {
            self.unwrap(refused.0);
        }
    }

    fn manage(&mut self, verb: Verb, via: usize, count: usize) {
        let Some(pool) = &mut self.pools[via] else { return };
        let model = self.model.as_mut();
        match verb {
            Verb::Trim => {
                let gone = pool.trim(count);
                assert_eq!(gone, model.map_or(gone, |model| model.trim(via, count)), "trimmed");
            }
            Verb::UpdateNid => {
                pool.update_nid(NodePolicy::On(NodeId(count as u16 % 2)));
                self.predict(|model| model.update_nid(via));
            }
            Verb::SetLimit => {
                let limit = (!count.is_multiple_of(4)).then_some(count * 3);
                self.world.handles[via].set_limit(limit);
                self.predict(|model| model.pools[via].limit = limit);
            }
            _ => {
                self.pools[via] = None;
                self.predict(|model| model.close(via));
                // Another thread may be inside an unmap that it began before; alone, there is none.
                while self.model.is_none() && self.world.windows[via].mapped() > 0 {
                    std::thread::yield_now();
                }
                assert_eq!(self.world.windows[via].mapped(), 0, "mappings outlive the pool");
                self.world.windows[via].remove();
            }
        }
    }

    fn verify(&mut self) {
        let Some(model) = &mut self.model else { return };
        for pool in 0..2 {
            let (handle, window) = (&self.world.handles[pool], &self.world.windows[pool]);
            let stats = handle.stats();
            model.check_stats(pool, &stats);
            assert_eq!(stats.puts() + stats.detached + stats.in_use(), stats.allocations(), "every page is somewhere");
            assert_eq!(window.mapped(), stats.mapped);
            assert_eq!(self.world.crossings[pool].get(), model.pools[pool].crossings, "watermark calls");
            model.check_syncs(pool, &window.drain_for_device(), |unit| self.world.home.stay(unit));
            window.verify();
        }
        let outstanding: usize = self.world.handles.iter().map(|handle| handle.stats().outstanding()).sum();
        assert_eq!(outstanding << self.world.setup.order, self.world.home.out(), "units out of the provider");
    }

    /// Everything is dropped, in an order of the caller's choice.
    pub(crate) fn finish(mut self, pools_first: bool) {
        let pools = [0, 1].map(|pool| Step { verb: Verb::Close, pool, pick: 0, count: 0 });
        if pools_first {
            pools.into_iter().for_each(|step| self.step(step));
        }
        if let Some((inbox, next)) = self.mail.take() {
            drop(next);
            // Until the hand before us has let go of its end, so that nothing is dropped in the mail.
            inbox.into_iter().for_each(|gift| self.unwrap(gift));
        }
        while !self.pages.is_empty() {
            self.step(Step { verb: Verb::Drop, pool: 0, pick: 1, count: 1 });
        }
        while !self.shared.is_empty() {
            self.step(Step { verb: Verb::DropShared, pool: 0, pick: 1, count: 1 });
        }
        pools.into_iter().for_each(|step| self.step(step));
    }
}
