//! The free memory of one region: splitting and coalescing.
//!
//! Kernel counterparts: `__rmqueue_smallest`, `expand`, `__free_one_page` (Linux 7.3, `mm/page_alloc.c`). Blocks are
//! aligned to their size *as addresses*, wherever the region starts: a block's number is its index plus the
//! region's offset from a largest-block boundary, and its buddy's number differs in one bit.

use pp_core::Region;

use crate::freelist::FreeLists;
use crate::info::Pieces;
use crate::map::UnitMap;
use crate::{MAX_UNITS, ORDERS};

/// What is free in one region, in base units of that region.
#[derive(Debug)]
pub(crate) struct Area {
    map: UnitMap,
    lists: FreeLists,
    /// The free blocks of each order while everything is free.
    whole: [u32; ORDERS],
    /// What is added to an index so that alignment of the sum is alignment of the address.
    skew: u32,
    max_order: u8,
    free: u32,
}

impl Area {
    /// Everything in `region` free, in blocks as large as `max_order` and alignment allow.
    pub(crate) fn new(region: &Region, max_order: u8) -> Self {
        debug_assert!(region.units() as usize <= MAX_UNITS && usize::from(max_order) < ORDERS);
        let block_mask = (1usize << max_order) - 1;
        let skew = (region.base().addr() / region.unit_bytes()) & block_mask;
        let mut area = Area {
            map: UnitMap::new(region.units()),
            lists: FreeLists::new(),
            whole: [0; ORDERS],
            skew: skew as u32,
            max_order,
            free: region.units(),
        };
        area.fill(region, 0, region.units());
        area.whole = *area.lists.blocks();
        area.max_order = area.whole.iter().rposition(|blocks| *blocks > 0).unwrap_or(0) as u8;
        area
    }

    /// The order of the largest block that exists when everything is free.
    pub(crate) fn max_order(&self) -> u8 {
        self.max_order
    }

    /// Units that are free.
    pub(crate) fn free(&self) -> u32 {
        self.free
    }

    /// Units in all.
    pub(crate) fn units(&self) -> u32 {
        self.map.units()
    }

    /// How many free blocks there are of each order.
    pub(crate) fn blocks(&self) -> &[u32; ORDERS] {
        self.lists.blocks()
    }

    /// The figures behind the fragmentation index.
    pub(crate) fn pieces(&self) -> Pieces {
        Pieces::new(self.lists.blocks(), &self.whole)
    }

    /// Takes up to `want` blocks of `order` and tells `hand` where each begins. Returns how many.
    ///
    /// The smallest free blocks go first; a larger one is cut up once for all the units it serves, so that 64 single
    /// units out of fresh memory are one pop and at most `max_order` pushes of what is left, not 64 splits.
    pub(crate) fn take(&mut self, region: &Region, order: u8, want: usize, mut hand: impl FnMut(u32)) -> usize {
        let mut given = 0;
        while given < want {
            let Some(from) = self.lists.smallest(order) else { break };
            let Some(block) = self.lists.pop(region, &mut self.map, from) else { break };
            let whole = 1u32 << (from - order);
            let taken = u32::try_from(want - given).map_or(whole, |want| want.min(whole));
            for n in 0..taken {
                let index = block + (n << order);
                self.map.set_out(index, order);
                hand(index);
            }
            self.fill(region, block + (taken << order), block + (1 << from));
            self.free -= taken << order;
            given += taken as usize;
        }
        given
    }

    /// Takes back the block that begins at `index` and merges it with its buddies. Returns its order, by this area's
    /// own record; `None` if no block that is out begins there, and then nothing changes.
    pub(crate) fn put(&mut self, region: &Region, index: u32) -> Option<u8> {
        let released = self.map.out_order(index)?;
        self.map.set_body(index);
        self.free += 1 << released;
        let mut number = index + self.skew;
        let mut order = released;
        while order < self.max_order {
            let Some(buddy) = (number ^ (1 << order)).checked_sub(self.skew) else { break };
            if !self.map.is_free(buddy, order) {
                break;
            }
            self.lists.unlink(region, &mut self.map, buddy, order);
            number &= !(1 << order);
            order += 1;
        }
        self.lists.push(region, &mut self.map, number - self.skew, order);
        Some(released)
    }

    /// Makes free blocks of the units from `start` up to, not including, `end`: each the largest that alignment and
    /// length allow.
    fn fill(&mut self, region: &Region, start: u32, end: u32) {
        let mut index = start;
        while index < end {
            let aligned = (index + self.skew).trailing_zeros();
            let fitting = (end - index).checked_ilog2().unwrap_or(0);
            let order = aligned.min(fitting).min(u32::from(self.max_order)) as u8;
            self.lists.push(region, &mut self.map, index, order);
            index += 1 << order;
        }
    }
}
