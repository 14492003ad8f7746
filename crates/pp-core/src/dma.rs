//! How a device reaches pages: mapping and syncing, and two backends that need no hardware.
//!
//! The pool maps a page when it enters and unmaps it when it leaves, never in between. Kernel counterparts:
//! `PP_FLAG_DMA_MAP`, `PP_FLAG_DMA_SYNC_DEV`, `page_pool_dma_map` (Linux 7.3, `net/core/page_pool.c`).

use crate::descriptor::Descriptor;
use crate::sync::Counter;

/// An address as the device sees it. See [`Dma`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DmaAddr(pub u64);

/// On machines whose words are narrower than DMA addresses, the address is kept without its page offset, as the
/// kernel does (`page_pool_set_dma_addr_netmem`).
const PACK_SHIFT: u32 = if usize::BITS < 64 { 11 } else { 0 };

impl DmaAddr {
    /// The address in one machine word, if it fits: see `PACK_SHIFT`.
    pub(crate) fn pack(self) -> Option<usize> {
        pack(self.0, PACK_SHIFT, usize::BITS).map(|word| word as usize)
    }

    pub(crate) fn unpack(word: usize) -> Self {
        DmaAddr((word as u64) << PACK_SHIFT)
    }
}

/// `address` without its lowest `shift` bits, if nothing is lost with them and the rest fits a word of `bits` bits.
fn pack(address: u64, shift: u32, bits: u32) -> Option<u64> {
    let word = address >> shift;
    (word << shift == address && word.checked_shr(bits).unwrap_or(0) == 0).then_some(word)
}

impl core::fmt::Display for DmaAddr {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// Who writes the memory, seen from the CPU. A pool maps for one of these two (kernel: `dma_dir`; to-device
/// only would make no sense for a receive pool and is refused there as here). See [`Dma`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DmaDirection {
    /// The device writes, the CPU reads.
    #[default]
    FromDevice,
    /// Both write: a page that is received into and transmitted from.
    Bidirectional,
}

/// Why a page could not be mapped. See [`Dma`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DmaError {
    /// The device's address space or mapping table is full.
    Full,
    /// Every address that the device's window can give out was given out; unmapping brings none back.
    Exhausted,
    /// The device is gone.
    DeviceLost,
    /// The device refuses this memory.
    Refused,
    /// The address does not fit what a descriptor can hold on this machine.
    AddressTooWide,
}

impl core::fmt::Display for DmaError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            DmaError::Full => "the device's mapping table is full; unmap something or use larger units",
            DmaError::Exhausted => "the window's addresses are used up; make a new window",
            DmaError::DeviceLost => "the device is gone; drop the pool",
            DmaError::Refused => "the device refuses this memory; use a provider whose memory it can reach",
            DmaError::AddressTooWide => "the DMA address does not fit a machine word here; keep the window lower",
        })
    }
}

impl core::error::Error for DmaError {}

/// The part of a page that a sync covers, in bytes from the page's start. See [`Dma`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DmaRange {
    /// First byte.
    pub offset: usize,
    /// How many.
    pub len: usize,
}

/// A device's view of memory.
///
/// `map` and the syncs run on the pool's consumer. `unmap` runs on whatever thread a page leaves the pool on, once per
/// `map`, and never after the pool was dropped, except for one that had begun before. A unit is home, or in another pool,
/// only after its `unmap` returned: whoever drops a page while the closing consumer unmaps it waits for that.
///
/// The module `conformance` (a feature) checks an implementation.
///
/// # Safety
///
/// After `map` returned an address and until `unmap` is called with it, the device reaches the whole unit under it
/// and nothing else through it; after `unmap` returned, it reaches the unit no more. A panic in any of them
/// is a bug.
///
/// # Examples
///
/// ```
/// # use pp_core::{Home, PagePool, doc::Heap};
/// use pp_core::{Descriptor, Dma, DmaAddr, DmaDirection, DmaError, DmaRange};
///
/// /// A coherent device that sees memory from this address on, and no further than it is wide.
/// struct Window { base: usize, bytes: u64 }
///
/// // SAFETY: the device reaches its window whether or not a unit is mapped; what it does there is a matter of who is given
/// // an address, which is `map`'s to say.
/// unsafe impl Dma for Window {
///     fn map(&self, unit: &Descriptor, _: DmaDirection) -> Result<DmaAddr, DmaError> {
///         let offset = unit.addr().addr().checked_sub(self.base).ok_or(DmaError::Refused)? as u64;
///         if offset + unit.unit_bytes() as u64 <= self.bytes { Ok(DmaAddr(offset)) } else { Err(DmaError::Refused) }
///     }
///     fn unmap(&self, _: DmaAddr, _unit_bytes: usize, _: DmaDirection) {}
///     fn sync_for_device(&self, _: DmaAddr, _: DmaRange, _: DmaDirection) {} // where caches have to be written back
///     fn sync_for_cpu(&self, _: DmaAddr, _: DmaRange, _: DmaDirection) {} // and here to be invalidated
///     fn needs_sync(&self) -> bool {
///         false
///     }
/// }
///
/// let window = Window { base: 0, bytes: u64::MAX }; // all of it
/// let mut pool = PagePool::builder(Home::new(Heap::new(4096, 8))).dma(window, DmaDirection::FromDevice).build()?;
/// assert!(pool.alloc()?.dma_addr().is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub unsafe trait Dma: Send + Sync + 'static {
    /// Makes the whole unit visible to the device.
    ///
    /// # Errors
    ///
    /// [`DmaError`]; the unit then goes back to its provider.
    fn map(&self, unit: &Descriptor, direction: DmaDirection) -> Result<DmaAddr, DmaError>;

    /// Ends what `map` began. `unit_bytes` is the length that was mapped.
    fn unmap(&self, addr: DmaAddr, unit_bytes: usize, direction: DmaDirection);

    /// The CPU is done with `range`; the device may write it.
    fn sync_for_device(&self, addr: DmaAddr, range: DmaRange, direction: DmaDirection) {
        let _ = (addr, range, direction);
    }

    /// The device is done with `range`; the CPU may read it. The driver's job, before it reads.
    fn sync_for_cpu(&self, addr: DmaAddr, range: DmaRange, direction: DmaDirection) {
        let _ = (addr, range, direction);
    }

    /// Whether the syncs do anything: false for coherent devices, whose pools then skip them.
    fn needs_sync(&self) -> bool {
        true
    }
}

/// The device sees what the CPU sees: no mapping, no syncing. Units without a CPU address are refused.
/// See [`Counting`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Identity;

// SAFETY: nothing is mapped; the device that uses these addresses sees all memory at its CPU addresses anyway.
unsafe impl Dma for Identity {
    fn map(&self, unit: &Descriptor, _: DmaDirection) -> Result<DmaAddr, DmaError> {
        if unit.addr().is_null() { Err(DmaError::Refused) } else { Ok(DmaAddr(unit.addr().addr() as u64)) }
    }

    fn unmap(&self, _: DmaAddr, _: usize, _: DmaDirection) {}

    fn needs_sync(&self) -> bool {
        false
    }
}

/// Counts the calls and bytes that go to the backend it wraps; keep it behind an `Arc` to read them.
///
/// It says that it needs syncs whether or not the inner one does, because counting them is the point.
///
/// # Examples
///
/// ```
/// # use pp_core::{Home, PagePool, doc::Heap};
/// use std::sync::Arc;
/// use pp_core::{Counting, DmaDirection, Identity};
///
/// let device = Arc::new(Counting::new(Identity));
/// let pool = PagePool::builder(Home::new(Heap::new(4096, 8))).cache(4).refill(4);
/// let mut pool = pool.dma(device.clone(), DmaDirection::FromDevice).dma_sync(0, 1500).build()?;
/// let page = pool.alloc()?;
/// pool.recycle_direct_synced(page, 60); // the device wrote no more than that
/// drop(pool);
/// let counts = device.counts();
/// assert_eq!((counts.maps, counts.unmaps, counts.synced_bytes), (4, 4, 4 * 1500 + 60));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Counting<D = Identity> {
    inner: D,
    maps: Counter,
    unmaps: Counter,
    syncs_for_device: Counter,
    syncs_for_cpu: Counter,
    synced_bytes: Counter,
}

/// What a [`Counting`] backend saw. See [`Counting`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DmaCounts {
    /// Calls of `map` that succeeded.
    pub maps: usize,
    /// Calls of `unmap`.
    pub unmaps: usize,
    /// Calls of `sync_for_device`.
    pub syncs_for_device: usize,
    /// Calls of `sync_for_cpu`.
    pub syncs_for_cpu: usize,
    /// Bytes of both kinds of sync.
    pub synced_bytes: usize,
}

impl<D> Counting<D> {
    /// Counts in front of `inner`.
    pub fn new(inner: D) -> Self {
        Counting {
            inner,
            maps: Counter::new(0),
            unmaps: Counter::new(0),
            syncs_for_device: Counter::new(0),
            syncs_for_cpu: Counter::new(0),
            synced_bytes: Counter::new(0),
        }
    }

    /// The counts so far.
    pub fn counts(&self) -> DmaCounts {
        DmaCounts {
            maps: self.maps.get(),
            unmaps: self.unmaps.get(),
            syncs_for_device: self.syncs_for_device.get(),
            syncs_for_cpu: self.syncs_for_cpu.get(),
            synced_bytes: self.synced_bytes.get(),
        }
    }
}

// SAFETY: every call is passed on; the promises are the inner backend's.
unsafe impl<D: Dma> Dma for Counting<D> {
    fn map(&self, unit: &Descriptor, direction: DmaDirection) -> Result<DmaAddr, DmaError> {
        let addr = self.inner.map(unit, direction)?;
        self.maps.add_shared(1);
        Ok(addr)
    }

    fn unmap(&self, addr: DmaAddr, unit_bytes: usize, direction: DmaDirection) {
        self.inner.unmap(addr, unit_bytes, direction);
        self.unmaps.add_shared(1);
    }

    fn sync_for_device(&self, addr: DmaAddr, range: DmaRange, direction: DmaDirection) {
        self.inner.sync_for_device(addr, range, direction);
        self.syncs_for_device.add_shared(1);
        self.synced_bytes.add_shared(range.len);
    }

    fn sync_for_cpu(&self, addr: DmaAddr, range: DmaRange, direction: DmaDirection) {
        self.inner.sync_for_cpu(addr, range, direction);
        self.syncs_for_cpu.add_shared(1);
        self.synced_bytes.add_shared(range.len);
    }
}

// SAFETY: every call is passed on.
unsafe impl<D: Dma + ?Sized> Dma for alloc::sync::Arc<D> {
    fn map(&self, unit: &Descriptor, direction: DmaDirection) -> Result<DmaAddr, DmaError> {
        (**self).map(unit, direction)
    }
    fn unmap(&self, addr: DmaAddr, unit_bytes: usize, direction: DmaDirection) {
        (**self).unmap(addr, unit_bytes, direction);
    }
    fn sync_for_device(&self, addr: DmaAddr, range: DmaRange, direction: DmaDirection) {
        (**self).sync_for_device(addr, range, direction);
    }
    fn sync_for_cpu(&self, addr: DmaAddr, range: DmaRange, direction: DmaDirection) {
        (**self).sync_for_cpu(addr, range, direction);
    }
    fn needs_sync(&self) -> bool {
        (**self).needs_sync()
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_back_from_its_word() {
        for addr in [0, 64, 0x7fff_ffff_f000, u64::MAX] {
            assert!(usize::BITS < 64 || DmaAddr(addr).pack().map(DmaAddr::unpack) == Some(DmaAddr(addr)));
        }
    }

    /// What machines with 32-bit words do, tried on any.
    #[test]
    fn a_32_bit_word_holds_43_bits_of_aligned_address_and_refuses_the_rest() {
        for bit in 0..64 {
            let word = pack(1 << bit, 11, 32);
            assert_eq!(word, (11..43).contains(&bit).then(|| 1 << (bit - 11)), "bit {bit}");
        }
        assert_eq!(pack(u64::from(u32::MAX) << 11, 11, 32), Some(u64::from(u32::MAX)));
        assert_eq!(pack((1 << 43) - 1, 11, 32), None, "not even what looks right in the upper bits");
    }
}
