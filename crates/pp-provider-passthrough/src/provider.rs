//! The provider: the global allocator behind pp-core's contract.

#![allow(unsafe_code, reason = "the global allocator, and pp-core's provider contract, are unsafe")]

use alloc::alloc::{alloc_zeroed, dealloc};
use core::alloc::Layout;
use core::ptr::{NonNull, null_mut};

use pp_core::lock::{Locked, RawLock};
use pp_core::sync::Counter;
use pp_core::{
    Backing, Description, Geometry, Host, MemoryProvider, ProvideError, Recycling, Request, Unit, UnitDrain, UnitSink,
};

use crate::table::Table;

/// How many units are allocated or freed between two acquisitions of the lock: a refill.
const AT_ONCE: usize = 64;

/// What a [`PassThrough`](crate::PassThrough) is a handle of. See [`PassThrough`](crate::PassThrough).
#[derive(Debug)]
pub struct PassThroughProvider<L: RawLock> {
    table: Locked<L, Table>,
    geometry: Geometry,
    /// Releases of units that are not ours or not out.
    strays: Counter,
}

impl<L: RawLock> PassThroughProvider<L> {
    /// The caller has checked both: a power of two, and at most 2 GiB in the largest unit.
    pub(crate) fn new(unit_bytes: usize, max_order: u8) -> Self {
        PassThroughProvider {
            table: Locked::new(Table::default()),
            geometry: Geometry { unit_bytes, max_order, nodes: 1 },
            strays: Counter::new(0),
        }
    }

    pub(crate) fn units_out(&self) -> usize {
        self.table.with(|table| table.units_out())
    }

    pub(crate) fn strays(&self) -> usize {
        self.strays.get()
    }

    /// A unit is aligned to its size, as from a page allocator. `None` for an order there is not.
    fn layout(&self, order: u8) -> Option<Layout> {
        let bytes = self.geometry.unit_bytes.checked_shl(u32::from(order))?;
        if order > self.geometry.max_order {
            return None;
        }
        Layout::from_size_align(bytes, bytes).ok()
    }

    /// Takes up to `AT_ONCE` units back.
    fn release_some(&self, units: impl Iterator<Item = Unit>) {
        let mut memory = [(null_mut(), 0); AT_ONCE];
        let mut count = 0;
        self.table.with(|table| {
            for unit in units {
                let descriptor = unit.descriptor();
                let Some((slot, order)) = table.find(descriptor) else {
                    // Not ours, or not out: nothing of ours changes, and a release must not panic.
                    self.strays.add_shared(1);
                    continue;
                };
                memory[count] = (descriptor.addr(), order);
                count += 1;
                // SAFETY: the unit is home again and the table's lock is held, so we alone decide about it; null for
                // no bytes promises nothing.
                unsafe { descriptor.reshape(null_mut(), 0, 0, Recycling::Never) };
                unit.consume();
                table.put(slot);
            }
        });
        for (address, order) in memory.into_iter().take(count) {
            // SAFETY: `address` was in a descriptor that the table had as out with this order, so it came from
            // `alloc_zeroed` with this layout; the table has forgotten it, so this happens once.
            unsafe { self.free(address, order) };
        }
    }

    /// # Safety
    ///
    /// `address` came from `alloc_zeroed` with the layout of `order`, is used by nobody, and is freed once.
    unsafe fn free(&self, address: *mut u8, order: u8) {
        if let Some(layout) = self.layout(order) {
            // SAFETY: the caller's promise.
            unsafe { dealloc(address, layout) };
        }
    }
}

// SAFETY:
// 1. Uniqueness: each unit is a live allocation of its own, with a descriptor that the table had idle.
// 2. Stability: memory is freed when its unit comes home, or when the provider is dropped; chunks of descriptors
//    never move and are dropped with the table.
// 3. Conservation: a released unit's memory and descriptor both go back to where they came from.
// 4. Any thread: the table is reached under its lock only; a release allocates nothing and does not panic, as all
//    indices come from `Table::find`.
// 5. Order: the layout is `request.order`'s, and `geometry` is a constant.
unsafe impl<L: RawLock> MemoryProvider for PassThroughProvider<L> {
    fn alloc_bulk(&self, request: &Request, units: &mut UnitSink<'_>) -> Result<(), ProvideError> {
        let layout = self.layout(request.order).ok_or(ProvideError::OutOfMemory)?;
        while units.room() > 0 {
            // The allocator may be slow, so it runs outside the lock.
            let mut memory = [null_mut(); AT_ONCE];
            let want = units.room().min(AT_ONCE);
            let mut got = 0;
            while got < want {
                // SAFETY: the layout is not empty: a unit has 64 bytes at least.
                let Some(address) = NonNull::new(unsafe { alloc_zeroed(layout) }) else { break };
                memory[got] = address.as_ptr();
                got += 1;
            }
            let mut out = 0;
            self.table.with(|table| {
                for address in &memory[..got] {
                    let Some(descriptor) = table.take(request.order) else { break };
                    // SAFETY:
                    // 1. The descriptor was idle, so its unit is home and no other `Unit` for it exists; chunks are
                    //    dropped with the provider.
                    // 2. The address is a live, zeroed allocation of that many bytes, known to nobody else; 2 GiB
                    //    at most, so the length fits.
                    let unit = unsafe {
                        descriptor.reshape(*address, layout.size() as u32, request.order, Recycling::Never);
                        Unit::new(descriptor)
                    };
                    units.push(unit);
                    out += 1;
                }
            });
            for address in &memory[out..got] {
                // SAFETY: allocated above with this layout, and without a descriptor nobody has heard of it.
                unsafe { self.free(*address, request.order) };
            }
            if out < want {
                break;
            }
        }
        if units.is_empty() && units.room() > 0 { Err(ProvideError::OutOfMemory) } else { Ok(()) }
    }

    fn release(&self, unit: Unit) {
        self.release_some(core::iter::once(unit));
    }

    fn release_bulk(&self, mut units: UnitDrain<'_>) {
        while units.len() > 0 {
            self.release_some(units.by_ref().take(AT_ONCE));
        }
    }

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// It owns nothing but what is out: `total_units` is that, and nothing is ever free.
    fn describe(&self) -> Description {
        Description::new("passthrough", self.units_out(), 0)
    }
}

// SAFETY: zeroed memory of the global allocator, known to nobody but the holder of the unit.
unsafe impl<L: RawLock> Backing for PassThroughProvider<L> {
    type Access = Host;
}

impl<L: RawLock> Drop for PassThroughProvider<L> {
    /// Frees what was lost outside: nobody may touch a unit once its provider is gone.
    fn drop(&mut self) {
        self.table.with(|table| {
            for (descriptor, order) in table.out() {
                // SAFETY: out with this order, so allocated with its layout; nobody uses it any more (pools and pages
                // keep the provider alive), and the table is dropped next.
                unsafe { self.free(descriptor.addr(), order) };
            }
        });
    }
}
