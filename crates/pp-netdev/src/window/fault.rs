//! What a window refuses, and how often it did.

use pp_core::DmaAddr;
use pp_core::sync::Counter;
use thiserror::Error;

/// Why a device's access did not happen. Nothing was copied.
///
/// Kernel counterpart: what an IOMMU reports through `report_iommu_fault` (Linux 7.3, `drivers/iommu/iommu.c`).
///
/// See [`DmaWindow`](crate::DmaWindow).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("device access to {addr} (+{offset}, {len} bytes) refused: {kind}")]
pub struct DmaFault {
    /// What was wrong.
    pub kind: FaultKind,
    /// The address the device used.
    pub addr: DmaAddr,
    /// The offset it added.
    pub offset: usize,
    /// How many bytes it wanted.
    pub len: usize,
}

/// The ways in which an access can be wrong.
///
/// See [`DmaWindow`](crate::DmaWindow).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum FaultKind {
    /// The address was never given out by this window.
    #[error("nothing was ever mapped there; give the device an address from Page::dma_addr of a pool on this window")]
    NeverMapped,
    /// The address was good once and has been unmapped.
    #[error("the unit was unmapped; its pool was dropped or let the page go while the device still had it")]
    Unmapped,
    /// The unit is mapped for the other direction.
    #[error("the unit is mapped from-device only; build the pool with DmaDirection::Bidirectional")]
    WrongDirection,
    /// Some byte of the access lies outside the unit.
    #[error("it reaches beyond the end of the unit; the descriptor's length is larger than the page")]
    OutOfBounds,
}

/// How often each kind of fault happened on a window.
///
/// See [`DmaWindow`](crate::DmaWindow).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Faults {
    /// [`FaultKind::NeverMapped`].
    pub never_mapped: usize,
    /// [`FaultKind::Unmapped`].
    pub unmapped: usize,
    /// [`FaultKind::WrongDirection`].
    pub wrong_direction: usize,
    /// [`FaultKind::OutOfBounds`].
    pub out_of_bounds: usize,
    /// Calls of `unmap` with an address under which nothing was mapped: a bug of whoever called it, not of the device.
    pub stray_unmaps: usize,
}

impl Faults {
    /// All of them together.
    pub fn total(&self) -> usize {
        self.never_mapped + self.unmapped + self.wrong_direction + self.out_of_bounds + self.stray_unmaps
    }
}

/// The counters behind [`Faults`]. Faults are rare, so these are shared by all devices on the window.
#[derive(Debug, Default)]
pub(super) struct FaultCounters {
    never_mapped: Counter,
    unmapped: Counter,
    wrong_direction: Counter,
    out_of_bounds: Counter,
    stray_unmaps: Counter,
}

impl FaultCounters {
    pub(super) fn count(&self, kind: FaultKind) {
        let counter = match kind {
            FaultKind::NeverMapped => &self.never_mapped,
            FaultKind::Unmapped => &self.unmapped,
            FaultKind::WrongDirection => &self.wrong_direction,
            FaultKind::OutOfBounds => &self.out_of_bounds,
        };
        counter.add_shared(1);
    }

    pub(super) fn count_stray_unmap(&self) {
        self.stray_unmaps.add_shared(1);
    }

    pub(super) fn read(&self) -> Faults {
        Faults {
            never_mapped: self.never_mapped.get(),
            unmapped: self.unmapped.get(),
            wrong_direction: self.wrong_direction.get(),
            out_of_bounds: self.out_of_bounds.get(),
            stray_unmaps: self.stray_unmaps.get(),
        }
    }
}
