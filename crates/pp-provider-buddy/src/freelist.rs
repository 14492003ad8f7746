//! Free lists, one an order, whose links lie in the descriptors of the free blocks.
//!
//! Kernel counterpart: `struct free_area` with its `free_list` through `page->buddy_list` (Linux 7.3,
//! `include/linux/mmzone.h`). Other than there, links are no more than hints: the words they lie in are public, so
//! each one is checked against the [`UnitMap`] before it is followed. Whoever scribbles on them can make the list
//! lose sight of blocks until a neighbour merges with them; no block can be handed out twice.

use pp_core::{Descriptor, Region};

use core::sync::atomic::Ordering::Relaxed;

use crate::ORDERS;
use crate::map::UnitMap;

/// No block.
const NIL: u32 = u32::MAX;

const NEXT: usize = 0;
const PREV: usize = 1;

/// The heads of the lists of one region.
#[derive(Debug)]
pub(crate) struct FreeLists {
    heads: [u32; ORDERS],
    blocks: [u32; ORDERS],
    /// Bit k is set while the list of order k has a head.
    some: u32,
}

impl FreeLists {
    pub(crate) fn new() -> Self {
        FreeLists { heads: [NIL; ORDERS], blocks: [0; ORDERS], some: 0 }
    }

    /// The smallest order from `order` up that has a free block.
    #[inline]
    pub(crate) fn smallest(&self, order: u8) -> Option<u8> {
        let fitting = self.some.checked_shr(u32::from(order)).unwrap_or(0);
        (fitting != 0).then(|| order + fitting.trailing_zeros() as u8)
    }

    /// How many free blocks there are of each order.
    pub(crate) fn blocks(&self) -> &[u32; ORDERS] {
        &self.blocks
    }

    /// Adds the block of `order` at `index`. Last in, first out: the block that was used last is the warm one.
    pub(crate) fn push(&mut self, region: &Region, map: &mut UnitMap, index: u32, order: u8) {
        let head = self.head(order);
        set(region, index, NEXT, head);
        set(region, index, PREV, NIL);
        if head != NIL {
            set(region, head, PREV, index);
        }
        map.set_free(index, order);
        self.count(order, 1);
        self.set_head(order, index);
    }

    /// Takes the first block of `order`; its place in the map is the caller's to fill.
    pub(crate) fn pop(&mut self, region: &Region, map: &mut UnitMap, order: u8) -> Option<u32> {
        let index = self.head(order);
        if !map.is_free(index, order) {
            return None;
        }
        self.unlink(region, map, index, order);
        Some(index)
    }

    /// Takes the free block of `order` at `index` out, wherever in its list it is.
    pub(crate) fn unlink(&mut self, region: &Region, map: &mut UnitMap, index: u32, order: u8) {
        let next = checked(region, map, index, NEXT, order);
        let prev = checked(region, map, index, PREV, order);
        if self.head(order) == index {
            self.set_head(order, next);
            if next != NIL {
                set(region, next, PREV, NIL);
            }
        } else {
            if prev != NIL {
                set(region, prev, NEXT, next);
            }
            if next != NIL {
                set(region, next, PREV, prev);
            }
        }
        map.set_body(index);
        self.count(order, u32::MAX);
    }

    fn head(&self, order: u8) -> u32 {
        self.heads.get(usize::from(order)).copied().unwrap_or(NIL)
    }

    /// Adds `more`, wrapping.
    fn count(&mut self, order: u8, more: u32) {
        if let Some(blocks) = self.blocks.get_mut(usize::from(order)) {
            *blocks = blocks.wrapping_add(more);
        }
    }

    fn set_head(&mut self, order: u8, index: u32) {
        if let Some(head) = self.heads.get_mut(usize::from(order)) {
            *head = index;
        }
        let bit = 1 << order;
        self.some = if index == NIL { self.some & !bit } else { self.some | bit };
    }
}

/// The link `which` of block `index`, or none if what it points to is no free block of `order`.
fn checked(region: &Region, map: &UnitMap, index: u32, which: usize, order: u8) -> u32 {
    let to = descriptor(region, index).map_or(NIL, |unit| unit.home_words()[which].load(Relaxed));
    // A block that points at itself would survive its own removal.
    if to != index && map.is_free(to, order) { to } else { NIL }
}

fn set(region: &Region, index: u32, which: usize, to: u32) {
    // Relaxed, as the load above: the zone's lock orders both.
    if let Some(unit) = descriptor(region, index) {
        unit.home_words()[which].store(to, Relaxed);
    }
}

fn descriptor(region: &Region, index: u32) -> Option<&Descriptor> {
    region.descriptor(index)
}
