//! A device behind the memory: its addresses, and its loss.

use alloc::format;
use alloc::vec::Vec;

use super::hand::{Held, Ledger, Writes, ask, release, release_bulk, take};
use super::provider::{drain, give_back};
use super::{Broken, Obligation};
use crate::provider::{Backing, ProvideError, Request};

/// Whether units come mapped; that their addresses are theirs alone is looked at wherever units are taken.
pub(super) fn comes_mapped<P: Backing>(provider: &P) -> Result<bool, Broken> {
    let mut ledger = Ledger::new(Writes::Nothing);
    let units = drain(provider, &mut ledger, 0, 64)?;
    let mapped = units.iter().any(Held::is_premapped);
    give_back(provider, &mut ledger, units)?;
    Ok(mapped)
}

/// Whether there is a device that can be lost.
pub(super) fn lost<P: Backing>(provider: &P, capacity: usize) -> Result<bool, Broken> {
    let (mut ledger, request) = (Ledger::new(Writes::Memory), Request::new(0, None));
    // One stays home: then only the loss is a reason to get none.
    let mut held = take(provider, &mut ledger, &request, capacity.saturating_sub(1).min(8))?;
    provider.device_lost();
    let (units, first) = ask(provider, &request, 2);
    if !units.is_empty() && first != Err(ProvideError::DeviceLost) {
        let units = ledger.enter(provider, &request, units)?;
        give_back(provider, &mut ledger, units)?;
        give_back(provider, &mut ledger, held)?;
        return Ok(false);
    }
    let said = |units: usize, answer: Result<(), ProvideError>, when: &str| {
        Obligation::DeviceLost.check(units == 0 && answer == Err(ProvideError::DeviceLost), || {
            format!("{when} a request brought {units} units and the answer {answer:?}")
        })
    };
    let still_lost = |when: &str| {
        let (units, answer) = ask(provider, &request, 2);
        said(units.len(), answer, when)
    };
    said(units.len(), first, "after the device was lost")?;
    // Not looked at once more on their way home: their memory may be gone.
    let bulk: Vec<_> = held.split_off(held.len() / 2).into_iter().map(Held::into_unit).collect();
    for unit in held {
        release(provider, unit.into_unit());
        still_lost("after a unit of the lost device came back")?;
    }
    release_bulk(provider, &bulk);
    still_lost("after several units of the lost device came back at once")?;
    provider.device_lost();
    still_lost("after the device was lost twice")?;
    Ok(true)
}
