//! The only way a software device reaches memory: a table from DMA address to unit.
//!
//! A real device sees memory through an IOMMU. [`DmaWindow`] plays that part for devices that are threads: its
//! [`Dma`] implementation fills the table when a page enters a pool and empties it when the page leaves, and every
//! access of the device is looked up, checked and copied under it. Addresses it hands out are no CPU addresses, and
//! none is handed out twice, so a device that holds on to an address too long faults instead of writing into whatever
//! lies there now.
//!
//! One window is one DMA domain. A page is mapped in one domain at a time, so a receiving and a transmitting NIC that
//! pass pages on without copying share one window, as two PCI functions in one IOMMU group do.
//!
//! # Ordering
//!
//! Each entry has a lock, held for the length of one copy. `unmap` takes it to empty the entry, so once `unmap` has
//! returned, no copy into or out of the unit is under way and none can start. One lock an entry rather than one a
//! window: two devices, or a device and an unmapping thread, meet only over the same page.

mod address;
mod fault;

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use pp_core::{Descriptor, Dma, DmaAddr, DmaDirection, DmaError};
use thiserror::Error;

use crate::sync::lock_std;
use address::{Layout, Parts, WINDOWS};
pub use fault::{DmaFault, FaultKind, Faults};

/// Why a window could not be made. See [`DmaWindow`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WindowError {
    /// The table or its units are empty or too large for an address.
    #[error("a window over {units} units of {unit_bytes} bytes does not fit its addresses; use fewer or smaller units")]
    Shape {
        /// Entries asked for.
        units: usize,
        /// Bytes in the largest unit.
        unit_bytes: usize,
    },
    /// Every window number of this process was used.
    #[error(
        "this process has made {WINDOWS} windows, and their numbers are never reused; share windows between devices"
    )]
    TooMany,
}

/// A unit as the device may reach it.
#[derive(Clone, Copy, Debug)]
struct Mapping {
    base: *mut u8,
    len: usize,
    direction: DmaDirection,
}

/// One entry of the table.
#[derive(Debug, Default)]
struct Entry {
    /// How often the entry was mapped and unmapped again: part of the address that is valid now.
    generation: u64,
    mapping: Option<Mapping>,
}

// SAFETY: the pointer in `mapping` is used for raw copies only, under the lock around the entry; the memory it points
// to is a provider's, which is `Send + Sync`.
unsafe impl Send for Entry {}

/// The table through which devices reach pages.
///
/// # How long it lives
///
/// An address is never given out twice, by none of the 1024 windows that a process can make (16 where words are narrower
/// than 64 bits). So a window can make only so many mappings: 2^53 (2^38) divided by the bytes of its largest unit,
/// rounded up to a power of two; a little over half of that at worst, where the number of units is no power of two. Of
/// 4 KiB that is 2^41, which a million mappings a second use up in 25 days. A pool that recycles maps a page once, so
/// only one whose pages all go home to be mapped again comes near.
///
/// Once an entry is worn out and the others are in use, mapping fails with [`DmaError::Exhausted`]: make a new window.
///
/// # Examples
///
/// ```
/// use pp_core::{Descriptor, Dma, DmaDirection, NodeId};
/// use pp_netdev::{DmaWindow, FaultKind};
///
/// let window = DmaWindow::new(1, 4096)?;
/// let mut memory = [0u8; 4096];
/// let unit = Descriptor::new(memory.as_mut_ptr(), 4096, NodeId(0));
///
/// let addr = window.map(&unit, DmaDirection::FromDevice)?; // the pool does this
/// // SAFETY: `memory` is alive, and nobody has a reference to it during the call.
/// unsafe { window.write(addr, 0, b"frame")? };             // the device does this
/// window.unmap(addr, 4096, DmaDirection::FromDevice);
///
/// // SAFETY: as above.
/// let late = unsafe { window.write(addr, 0, b"late") }.unwrap_err();
/// assert_eq!(late.kind, FaultKind::Unmapped);
/// assert_eq!(&memory[..5], b"frame");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Under a pool, and what it counts:
///
/// ```
/// use pp_core::{DmaAddr, DmaDirection, Home, PagePool, doc::Heap};
/// use pp_netdev::{DmaWindow, WindowError};
/// use std::sync::Arc;
///
/// let window = Arc::new(DmaWindow::new(64, 4096)?);
/// let pool = PagePool::builder(Home::new(Heap::new(4096, 64))).cache(8).refill(8);
/// let mut pool = pool.dma(window.clone(), DmaDirection::Bidirectional).build()?;
/// let mut page = pool.alloc()?;
/// assert_eq!(window.mapped(), 8);
/// assert!(window.reaches(page.dma_addr().expect("mapped"), 4096));
///
/// page[..5].copy_from_slice(b"frame");
/// let (addr, raw) = (page.dma_addr().expect("mapped"), page.into_raw());
/// let mut fifo = [0; 5];
/// // SAFETY: the page is out, and nobody writes it.
/// unsafe { window.read(addr, 0, &mut fifo)? };
/// assert_eq!(&fifo, b"frame");
/// // SAFETY: from `into_raw`, once.
/// drop(unsafe { pp_core::Page::<pp_core::Host>::from_raw(raw) });
///
/// // SAFETY: nothing is mapped there.
/// assert!(unsafe { window.read(DmaAddr(1), 0, &mut fifo) }.is_err());
/// assert_eq!((window.faults().never_mapped, window.faults().total()), (1, 1));
/// assert!(matches!(DmaWindow::new(0, 4096), Err(WindowError::Shape { units: 0, .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct DmaWindow {
    layout: Layout,
    entries: Box<[Mutex<Entry>]>,
    free: Mutex<Free>,
    faults: fault::FaultCounters,
}

/// The entries that can be mapped.
#[derive(Debug)]
struct Free {
    /// Those without a mapping, the one that was emptied longest ago first, which spreads the generations.
    entries: VecDeque<u32>,
    /// How many never will be again, because their generations are used up.
    worn: usize,
}

impl DmaWindow {
    /// A window with room for `units` mapped units of up to `max_unit_bytes` each.
    ///
    /// # Errors
    ///
    /// [`WindowError`] if the two do not fit an address, or the process has made too many windows.
    pub fn new(units: usize, max_unit_bytes: usize) -> Result<Self, WindowError> {
        /// The number of the next window: counts up to `WINDOWS` and a little beyond, never down.
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        // A shape that is refused must not use a number up.
        Layout::new(0, units, max_unit_bytes)?;
        // Relaxed: the number only has to be unique.
        let window = NEXT
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| (next < WINDOWS).then_some(next + 1))
            .map_err(|_| WindowError::TooMany)?;
        Ok(DmaWindow {
            layout: Layout::new(window, units, max_unit_bytes)?,
            entries: (0..units).map(|_| Mutex::default()).collect(),
            free: Mutex::new(Free { entries: (0..units as u32).collect(), worn: 0 }),
            faults: fault::FaultCounters::default(),
        })
    }

    /// The device writes `bytes` at `addr + offset`.
    ///
    /// # Errors
    ///
    /// [`DmaFault`], counted; nothing was written then.
    ///
    /// # Safety
    ///
    /// If the address is mapped here, the memory of the unit that `map` was given is still valid, and its driver has
    /// given these bytes of it to the device: no reference to them exists, and no other device reads or writes them, until
    /// the device hands them back.
    pub unsafe fn write(&self, addr: DmaAddr, offset: usize, bytes: &[u8]) -> Result<(), DmaFault> {
        self.access(addr, offset, bytes.len(), |mapping, at| {
            // SAFETY: (1) `access` checked that `at + bytes.len()` lies in the mapping; (2) the memory of the
            // unit that was mapped is valid, by the caller's promise, and stays so, because whoever ends that unmaps it
            // first, which waits for the entry's lock; (3) nobody else uses the bytes, by the caller's promise.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), mapping.base.add(at), bytes.len()) };
            Ok(())
        })
    }

    /// The device reads `into.len()` bytes at `addr + offset`.
    ///
    /// # Errors
    ///
    /// [`DmaFault`], counted; `into` is untouched then.
    ///
    /// # Safety
    ///
    /// If the address is mapped here, the memory of the unit that `map` was given is still valid, and its driver has
    /// given these bytes of it to the device: nobody writes them until the device hands them back.
    pub unsafe fn read(&self, addr: DmaAddr, offset: usize, into: &mut [u8]) -> Result<(), DmaFault> {
        self.access(addr, offset, into.len(), |mapping, at| {
            if mapping.direction != DmaDirection::Bidirectional {
                return Err(FaultKind::WrongDirection);
            }
            // SAFETY: (1), (2) and (3) as in `write`; what nobody may do here is write the bytes.
            unsafe { std::ptr::copy_nonoverlapping(mapping.base.add(at), into.as_mut_ptr(), into.len()) };
            Ok(())
        })
    }

    /// Whether the device can reach `len` bytes at `addr` now. To ask is no fault.
    pub fn reaches(&self, addr: DmaAddr, len: usize) -> bool {
        self.look_up(addr, 0, len, |_, _| Ok(())).is_ok()
    }

    /// How often accesses were refused so far, by kind.
    pub fn faults(&self) -> Faults {
        self.faults.read()
    }

    /// How many units are mapped now.
    pub fn mapped(&self) -> usize {
        self.entries.iter().filter(|entry| lock_std(entry).mapping.is_some()).count()
    }

    /// Looks the address up and runs `copy` on the mapping, with the offset of the first byte, under the entry's lock.
    /// Counts what was refused.
    fn access(
        &self,
        addr: DmaAddr,
        offset: usize,
        len: usize,
        copy: impl FnOnce(&Mapping, usize) -> Result<(), FaultKind>,
    ) -> Result<(), DmaFault> {
        self.look_up(addr, offset, len, copy).map_err(|kind| {
            self.faults.count(kind);
            DmaFault { kind, addr, offset, len }
        })
    }

    /// The same, and counts nothing.
    fn look_up(
        &self,
        addr: DmaAddr,
        offset: usize,
        len: usize,
        copy: impl FnOnce(&Mapping, usize) -> Result<(), FaultKind>,
    ) -> Result<(), FaultKind> {
        let parts = self.layout.split(addr).ok_or(FaultKind::NeverMapped)?;
        let entry = lock_std(self.entries.get(parts.slot).ok_or(FaultKind::NeverMapped)?);
        let mapping = entry.at(parts)?;
        let at = parts.within.checked_add(offset).ok_or(FaultKind::OutOfBounds)?;
        match at.checked_add(len) {
            Some(end) if end <= mapping.len => copy(mapping, at),
            _ => Err(FaultKind::OutOfBounds),
        }
    }
}

impl Free {
    /// The next entry to map.
    fn take(&mut self) -> Result<u32, DmaError> {
        // Entries wear evenly, so where one is worn the others are about to be: better an error now than a table that
        // shrinks until nothing is left to wait for.
        let none = if self.worn > 0 { DmaError::Exhausted } else { DmaError::Full };
        self.entries.pop_front().ok_or(none)
    }
}

impl Entry {
    /// The mapping that an address of this entry means.
    fn at(&self, parts: Parts) -> Result<&Mapping, FaultKind> {
        match &self.mapping {
            Some(mapping) if parts.generation == self.generation => Ok(mapping),
            _ if parts.generation < self.generation => Err(FaultKind::Unmapped),
            _ => Err(FaultKind::NeverMapped),
        }
    }
}

// SAFETY: (1) `map` makes the whole unit and nothing else reachable under the address: `access` bounds every copy by
// the mapping's length; (2) `unmap` takes the entry's lock, under which alone copies happen, and empties the entry, and
// the generation keeps the address from ever meaning another unit; (3) a poisoned lock is entered anyway, so
// neither panics.
unsafe impl Dma for DmaWindow {
    fn map(&self, unit: &Descriptor, direction: DmaDirection) -> Result<DmaAddr, DmaError> {
        if unit.addr().is_null() || unit.unit_bytes() > self.layout.span() {
            return Err(DmaError::Refused);
        }
        let slot = lock_std(&self.free).take()?;
        let mut entry = lock_std(&self.entries[slot as usize]);
        entry.mapping = Some(Mapping { base: unit.addr(), len: unit.unit_bytes(), direction });
        Ok(self.layout.join(Parts { generation: entry.generation, slot: slot as usize, within: 0 }))
    }

    fn unmap(&self, addr: DmaAddr, _: usize, _: DmaDirection) {
        let Some((parts, entry)) =
            self.layout.split(addr).and_then(|parts| Some((parts, self.entries.get(parts.slot)?)))
        else {
            return self.faults.count_stray_unmap();
        };
        let mut entry = lock_std(entry);
        if entry.at(parts).is_err() {
            return self.faults.count_stray_unmap();
        }
        entry.mapping = None;
        entry.generation += 1;
        // An entry whose generations are used up is never mapped again, so that its addresses stay unique.
        let worn_out = entry.generation == self.layout.generations();
        drop(entry);
        let mut free = lock_std(&self.free);
        if worn_out {
            free.worn += 1;
        } else {
            free.entries.push_back(parts.slot as u32);
        }
    }

    /// Never: devices on a window are threads of this process and see its memory as the CPU does.
    fn needs_sync(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests;
