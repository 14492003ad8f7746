//! Descriptors that outlive the memory they describe.
//!
//! A pool may look at a descriptor after its unit went home, until the provider is dropped. So descriptors
//! are never freed before: they come in chunks that never move, and go round.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ptr::null_mut;

use pp_core::{Descriptor, NodeId};

/// Descriptors in the first chunk; each further one has twice as many as the one before.
const FIRST_CHUNK: usize = 64;

/// Where a descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    chunk: u32,
    index: u32,
}

/// Chunks of descriptors, and what each is used for. Grows, never shrinks.
#[derive(Debug, Default)]
pub(crate) struct Table {
    chunks: Vec<Chunk>,
    /// Descriptors without a unit. Its capacity is the number of all descriptors, so that a release allocates nothing.
    idle: Vec<Slot>,
}

#[derive(Debug)]
struct Chunk {
    descriptors: Box<[Descriptor]>,
    /// For each descriptor the order of its unit while it is out, `IDLE` otherwise. Not in the descriptor, because this
    /// decides how much is deallocated.
    orders: Box<[u8]>,
}

const IDLE: u8 = u8::MAX;

impl Table {
    /// A descriptor for a unit of `order` that goes out.
    pub(crate) fn take(&mut self, order: u8) -> &Descriptor {
        if self.idle.is_empty() {
            self.grow();
        }
        // `grow` has just added some if there were none.
        let slot = self.idle.pop().unwrap_or(Slot { chunk: 0, index: 0 });
        let chunk = &mut self.chunks[slot.chunk as usize];
        chunk.orders[slot.index as usize] = order;
        &chunk.descriptors[slot.index as usize]
    }

    /// The slot and order of a unit that is out; `None` if `descriptor` is not ours or has no unit.
    pub(crate) fn find(&self, descriptor: &Descriptor) -> Option<(Slot, u8)> {
        let address = core::ptr::from_ref(descriptor).addr();
        self.chunks.iter().enumerate().find_map(|(chunk, Chunk { descriptors, orders })| {
            let index = address.wrapping_sub(descriptors.as_ptr().addr()) / size_of::<Descriptor>();
            let order = *orders.get(index)?;
            (order != IDLE).then_some((Slot { chunk: chunk as u32, index: index as u32 }, order))
        })
    }

    /// The unit of `slot` is home.
    pub(crate) fn put(&mut self, slot: Slot) {
        self.chunks[slot.chunk as usize].orders[slot.index as usize] = IDLE;
        self.idle.push(slot);
    }

    /// The descriptors whose units are out, with their orders.
    pub(crate) fn out(&self) -> impl Iterator<Item = (&Descriptor, u8)> {
        self.chunks
            .iter()
            .flat_map(|chunk| chunk.descriptors.iter().zip(chunk.orders.iter().copied()))
            .filter(|(_, order)| *order != IDLE)
    }

    fn grow(&mut self) {
        let chunk = self.chunks.len() as u32;
        let len = FIRST_CHUNK << chunk;
        // Lengths and addresses are filled in when a unit goes out.
        let descriptors = (0..len).map(|_| Descriptor::new(null_mut(), 0, NodeId(0))).collect();
        let orders = (0..len).map(|_| IDLE).collect();
        self.chunks.push(Chunk { descriptors, orders });
        let all = self.chunks.iter().map(|chunk| chunk.orders.len()).sum::<usize>();
        self.idle.reserve_exact(all - self.idle.len());
        self.idle.extend((0..len as u32).rev().map(|index| Slot { chunk, index }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_stay_where_they_are_while_the_table_grows() {
        let mut table = Table::default();
        let first = core::ptr::from_ref(table.take(3));
        let all: Vec<_> = (0..500).map(|_| core::ptr::from_ref(table.take(0))).collect();
        assert_eq!(table.out().count(), 501);
        let (descriptor, order) = table.out().next().expect("one is out");
        assert_eq!((core::ptr::from_ref(descriptor), order), (first, 3));
        let unique: alloc::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(unique.len(), 500);
    }

    #[test]
    fn a_put_needs_no_memory_and_is_found_no_more() {
        let mut table = Table::default();
        for _ in 0..100 {
            table.take(1);
        }
        let capacity = table.idle.capacity();
        let slots: Vec<_> = table.out().filter_map(|(descriptor, _)| table.find(descriptor)).collect();
        assert_eq!(slots.len(), 100);
        for (slot, order) in slots {
            assert_eq!(order, 1);
            table.put(slot);
        }
        assert_eq!(table.idle.capacity(), capacity);
        assert_eq!(table.out().count(), 0);
        assert!(table.find(&table.chunks[0].descriptors[0]).is_none());
        assert!(table.find(&Descriptor::new(null_mut(), 0, NodeId(0))).is_none());
    }
}
