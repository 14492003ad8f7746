//! Units that come and go: one by one, in bulk, and when there are none left.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use super::hand::{Ledger, Writes, ask, release_bulk, take};
use super::provider::{drain, give_back, most, recount, wishes};
use super::{Broken, Obligation};
use crate::descriptor::Descriptor;
use crate::dma::{Dma, DmaAddr, DmaDirection, DmaError};
use crate::home::Home;
use crate::pool::PagePool;
use crate::provider::{Backing, ProvideError, Request};

/// One out, one back, more often than there are units, of every node. In a part whose words are written, that is what may
/// break.
pub(super) fn one_by_one<P: Backing>(provider: &P, writes: Writes, order: u8, stock: usize) -> Result<(), Broken> {
    let words = writes == Writes::MemoryAndWords;
    let obligation = if words { Obligation::HomeWords } else { Obligation::Conservation };
    let rename = |broken: Broken| if words { obligation.broken(broken.what) } else { broken };
    let geometry = provider.geometry();
    let rounds = 3 * most(&geometry, order).min(stock) + usize::from(geometry.nodes) + 16;
    let mut ledger = Ledger::new(writes);
    for (round, node) in wishes(&geometry).cycle().take(rounds).enumerate() {
        let units = take(provider, &mut ledger, &Request::new(order, node), 1).map_err(rename)?;
        if units.is_empty() && round == 0 && order > 0 {
            return Ok(()); // It has no piece that large.
        }
        obligation.check(!units.is_empty(), || format!("after {round} units came and went there was none"))?;
        give_back(provider, &mut ledger, units).map_err(rename)?;
    }
    recount(provider, obligation, stock, &format!("units of order {order} came and went one by one")).map_err(rename)
}

pub(super) fn in_bulk<P: Backing>(provider: &P, order: u8, stock: usize) -> Result<(), Broken> {
    let mut ledger = Ledger::new(Writes::Memory);
    for run in [64, 1, 2, 100, 3] {
        let mut units = Vec::new();
        for unit in drain(provider, &mut ledger, order, 64)? {
            units.push(ledger.leave(provider, unit)?);
        }
        units.chunks(run).for_each(|run| release_bulk(provider, run));
    }
    release_bulk(provider, &[]);
    recount(provider, Obligation::Bulk, stock, &format!("units of order {order} were released many at a time"))
}

/// Asks for more than is left, again and again.
pub(super) fn running_dry<P: Backing>(provider: &P, order: u8, stock: usize) -> Result<(), Broken> {
    let geometry = provider.geometry();
    for room in [0, 2, 3, 5, 7, 64, 100] {
        let mut ledger = Ledger::new(Writes::Nothing);
        let held = drain(provider, &mut ledger, order, room)?;
        for node in wishes(&geometry).filter(|_| held.len() < most(&geometry, order)) {
            let request = Request::new(order, node);
            let (units, answer) = ask(provider, &request, room);
            let late = ledger.enter(provider, &request, units)?;
            Obligation::Failure.check(late.is_empty(), || "a provider that had run dry had units again".into())?;
            Obligation::Failure.check(answer != Err(ProvideError::DeviceLost), || {
                "a provider that had run dry said that its device was lost".into()
            })?;
        }
        give_back(provider, &mut ledger, held)?;
    }
    recount(provider, Obligation::Failure, stock, &format!("it ran out of units of order {order}"))
}

/// Fails at the call whose number was set.
#[derive(Debug, Default)]
struct FailsOnce(AtomicUsize);

// SAFETY: there is no device: nothing is reached.
unsafe impl Dma for FailsOnce {
    fn map(&self, unit: &Descriptor, _: DmaDirection) -> Result<DmaAddr, DmaError> {
        if self.0.fetch_sub(1, Ordering::Relaxed) == 1 {
            return Err(DmaError::Full);
        }
        // Aligned, as narrow words keep no page offset.
        Ok(DmaAddr((core::ptr::from_ref(unit).addr() as u64) << 11))
    }
    fn unmap(&self, _: DmaAddr, _: usize, _: DmaDirection) {}
}

/// Pools whose refills fail at every step, and which end with pages out.
pub(super) fn refills_that_fail<P: Backing>(home: &Home<P>, stock: usize) -> Result<(), Broken> {
    for step in 1..=20 {
        let device = Arc::new(FailsOnce(AtomicUsize::new(step)));
        let builder = PagePool::builder(home.clone()).cache(16).refill(8).pool_size(4);
        let mut pool = builder
            .dma(device, DmaDirection::FromDevice)
            .build()
            .map_err(|error| Obligation::Failure.broken(format!("no pool could be built on it: {error}")))?;
        let mut pages: Vec<_> = (0..20).filter_map(|_| pool.alloc().ok()).collect();
        pages.truncate(pages.len() / 2);
        pages.extend(pool.alloc());
        drop(pool);
        drop(pages);
        recount(&**home, Obligation::Failure, stock, &format!("mapping {step} of a pool's refills failed"))?;
    }
    Ok(())
}
