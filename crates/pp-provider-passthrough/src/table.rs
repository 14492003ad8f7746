//! Descriptors that outlive the memory they describe.
//!
//! A pool may look at a descriptor after its unit went home, until the provider is dropped. So descriptors
//! are never freed before: they come in chunks that never move, and go round.

use alloc::collections::TryReserveError;
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
    /// Base units in all units that are out.
    units_out: usize,
}

#[derive(Debug)]
struct Chunk {
    /// Filled when the chunk is made and never again, so they do not move.
    descriptors: Vec<Descriptor>,
    /// For each descriptor the order of its unit while it is out, `IDLE` otherwise. Not in the descriptor, because this
    /// decides how much is deallocated.
    orders: Vec<u8>,
}

const IDLE: u8 = u8::MAX;

impl Table {
    /// A descriptor for a unit of `order` that goes out; `None` if there is no memory for more of them.
    pub(crate) fn take(&mut self, order: u8) -> Option<&Descriptor> {
        if self.idle.is_empty() {
            self.grow().ok()?;
        }
        let slot = self.idle.pop()?;
        self.units_out += 1 << order;
        let chunk = &mut self.chunks[slot.chunk as usize];
        chunk.orders[slot.index as usize] = order;
        Some(&chunk.descriptors[slot.index as usize])
    }

    /// Base units in all units that are out.
    pub(crate) fn units_out(&self) -> usize {
        self.units_out
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

    /// The unit of `slot`, which is out, is home.
    pub(crate) fn put(&mut self, slot: Slot) {
        let order = core::mem::replace(&mut self.chunks[slot.chunk as usize].orders[slot.index as usize], IDLE);
        self.units_out -= 1 << order;
        self.idle.push(slot);
    }

    /// The descriptors whose units are out, with their orders.
    pub(crate) fn out(&self) -> impl Iterator<Item = (&Descriptor, u8)> {
        self.chunks
            .iter()
            .flat_map(|chunk| chunk.descriptors.iter().zip(chunk.orders.iter().copied()))
            .filter(|(_, order)| *order != IDLE)
    }

    /// One more chunk, or nothing has changed.
    fn grow(&mut self) -> Result<(), TryReserveError> {
        let chunk = self.chunks.len() as u32;
        let len = FIRST_CHUNK << chunk;
        let all = len + self.chunks.iter().map(|chunk| chunk.orders.len()).sum::<usize>();
        let (mut descriptors, mut orders) = (Vec::new(), Vec::new());
        descriptors.try_reserve_exact(len)?;
        orders.try_reserve_exact(len)?;
        self.chunks.try_reserve(1)?;
        self.idle.try_reserve_exact(all - self.idle.len())?;
        // From here on everything fits. Lengths and addresses are filled in when a unit goes out.
        descriptors.extend((0..len).map(|_| Descriptor::new(null_mut(), 0, NodeId(0))));
        orders.resize(len, IDLE);
        self.chunks.push(Chunk { descriptors, orders });
        self.idle.extend((0..len as u32).rev().map(|index| Slot { chunk, index }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_stay_where_they_are_while_the_table_grows() {
        let mut table = Table::default();
        let first = core::ptr::from_ref(table.take(3).expect("memory"));
        let all: Vec<_> = (0..500).map(|_| core::ptr::from_ref(table.take(0).expect("memory"))).collect();
        assert_eq!((table.out().count(), table.units_out()), (501, 8 + 500));
        let (descriptor, order) = table.out().next().expect("one is out");
        assert_eq!((core::ptr::from_ref(descriptor), order), (first, 3));
        let unique: alloc::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(unique.len(), 500);
    }

    #[test]
    fn a_put_needs_no_memory_and_is_found_no_more() {
        let mut table = Table::default();
        for _ in 0..100 {
            table.take(1).expect("memory");
        }
        let capacity = table.idle.capacity();
        let slots: Vec<_> = table.out().filter_map(|(descriptor, _)| table.find(descriptor)).collect();
        assert_eq!(slots.len(), 100);
        for (slot, order) in slots {
            assert_eq!(order, 1);
            table.put(slot);
        }
        assert_eq!(table.idle.capacity(), capacity);
        assert_eq!((table.out().count(), table.units_out()), (0, 0));
        assert!(table.find(&table.chunks[0].descriptors[0]).is_none());
        assert!(table.find(&Descriptor::new(null_mut(), 0, NodeId(0))).is_none());
    }
}
