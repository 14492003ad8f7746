//! What all hands share, and what they can be told to do.

use core::sync::atomic::{AtomicU64, AtomicUsize};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use pp_core::sync::Counter;
use pp_core::{DmaDirection, Home, PagePool, PoolHandle, Zeroing};

use super::{Depot, Shape, Window};

/// What the two pools of a world are like.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) shape: Shape,
    pub(crate) order: u8,
    pub(crate) pool_size: usize,
    pub(crate) cache: usize,
    pub(crate) refill: usize,
    pub(crate) limit: Option<usize>,
    pub(crate) watermark: Option<usize>,
    pub(crate) returners: usize,
    pub(crate) bag: usize,
    /// Room for batches, if there is a bag for them.
    pub(crate) batch_bag: Option<usize>,
    pub(crate) zeroing: Zeroing,
    /// A device; with a range, one that needs syncs.
    pub(crate) dma: Option<Option<(usize, usize)>>,
}

/// What all hands share: one provider, two pools on it.
pub(crate) struct World {
    pub(crate) setup: Setup,
    pub(crate) home: Home<Depot>,
    pub(crate) handles: Vec<PoolHandle>,
    pub(crate) windows: Vec<Arc<Window>>,
    pub(crate) allocations: [AtomicUsize; 2],
    pub(crate) crossings: [Arc<Counter>; 2],
    /// Units in somebody's hands, and by how many handles.
    pub(crate) in_hands: Mutex<HashMap<usize, usize>>,
    pub(crate) tags: AtomicU64,
}

impl World {
    pub(crate) fn new(setup: &Setup) -> (Arc<Self>, Vec<PagePool>) {
        let home = Home::new(Depot::new(setup.shape));
        let windows: Vec<_> = (0..2).map(|_| Arc::new(Window::new(matches!(setup.dma, Some(Some(_)))))).collect();
        let crossings: [Arc<Counter>; 2] = Default::default();
        let pool = |index: usize| {
            let mut builder = PagePool::builder(home.clone()).name("oracle").order(setup.order);
            builder = builder.pool_size(setup.pool_size).cache(setup.cache).refill(setup.refill);
            builder = builder.zeroing(setup.zeroing);
            if let Some(limit) = setup.limit {
                builder = builder.limit(limit);
            }
            if let Some(watermark) = setup.watermark {
                let count = crossings[index].clone();
                builder = builder.watermark(watermark, move |_| count.add_shared(1));
            }
            if setup.returners > 0 {
                builder = builder.returners(setup.returners, setup.bag);
            }
            builder = builder.batch_bags(usize::from(setup.batch_bag.is_some()), setup.batch_bag.unwrap_or(0));
            if let Some(sync) = setup.dma {
                builder = builder.dma(windows[index].clone(), DmaDirection::FromDevice);
                if let Some((offset, len)) = sync {
                    builder = builder.dma_sync(offset, len);
                }
            }
            builder.build().expect("a pool")
        };
        let pools: Vec<_> = (0..2).map(pool).collect();
        let handles = pools.iter().map(PagePool::handle).collect();
        let allocations = Default::default();
        let (in_hands, tags) = (Mutex::default(), AtomicU64::new(1));
        (
            Arc::new(World { setup: setup.clone(), home, handles, windows, allocations, crossings, in_hands, tags }),
            pools,
        )
    }

    pub(crate) fn taken(&self, unit: usize) {
        let before = self.in_hands.lock().unwrap().insert(unit, 1);
        assert_eq!(before, None, "a page in two hands");
    }

    /// One handle more or less; how many there are then.
    pub(crate) fn count(&self, unit: usize, change: isize) -> usize {
        let mut in_hands = self.in_hands.lock().unwrap();
        let count = in_hands.get_mut(&unit).expect("a page in a hand");
        *count = count.checked_add_signed(change).expect("a handle");
        let left = *count;
        if left == 0 {
            in_hands.remove(&unit);
        }
        left
    }
}

/// One operation: a verb, the pool it is asked of, and what it picks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) verb: Verb,
    pub(crate) pool: usize,
    pub(crate) pick: usize,
    pub(crate) count: usize,
}

/// Every verb of the crate that moves a page.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verb {
    Alloc,
    AllocInto,
    BatchRound,
    RecycleDirect,
    RecycleBatch,
    Drop,
    PutSynced,
    TryPut,
    HandlePut,
    HandleBatch,
    DropBatch,
    ReturnerPut,
    ReturnerBatch,
    ReturnerAgain,
    Share,
    CloneShared,
    TryUnshare,
    Release,
    DropShared,
    Detach,
    Raw,
    Trim,
    UpdateNid,
    SetLimit,
    Pass,
    Close,
}
