//! The contract of [`MemoryProvider`](crate::MemoryProvider) and [`Backing`]: all parts of it, and those about what a
//! provider has.

use alloc::format;
use alloc::vec::Vec;

use super::device::{comes_mapped, lost};
use super::hand::{Held, Ledger, Writes, ask, release, take};
use super::regions::pieces;
use super::threads::{hammer, threads};
use super::turnover::{in_bulk, one_by_one, refills_that_fail, running_dry};
use super::{Broken, Dice, Obligation, Passed, part};
use crate::home::Home;
use crate::provider::{Backing, Geometry, NodeId, Request};

/// Base units that the suite takes at most of each order, and bytes; and so many units however large they are.
const MOST_UNITS: usize = 1024;
const MOST_BYTES: usize = 64 << 20;
const AT_LEAST: usize = 4;

pub(super) fn most(geometry: &Geometry, order: u8) -> usize {
    (MOST_BYTES / (geometry.unit_bytes << order).max(1)).min(MOST_UNITS >> order).max(AT_LEAST)
}

/// Holds a provider against its contract. `make` makes a fresh one each time, of the same size.
///
/// Give it 16 to 1000 units, and as many orders and nodes as it can have.
///
/// # Errors
///
/// The first [`Broken`] promise.
///
/// # Examples
///
/// ```
/// # use pp_core::{Home, doc::Heap};
/// let passed = pp_core::conformance::provider(|| Home::new(Heap::new(4096, 64)))?;
/// assert_eq!(passed.capacity, 64);
/// # Ok::<(), pp_core::conformance::Broken>(())
/// ```
pub fn provider<P: Backing, H: Into<Home<P>>>(make: impl Fn() -> H) -> Result<Passed, Broken> {
    let fresh = || -> Home<P> { make().into() };
    let mut passed = Passed::default();

    part(Obligation::Bulk, on(fresh(), no_more_than_fit))?;
    part(Obligation::Order, on(fresh(), orders))?;
    let capacity = part(Obligation::Uniqueness, on(fresh(), everything_out))?;
    passed.capacity = capacity;
    let geometry = fresh().geometry();
    let orders = 0..=geometry.max_order;
    let stock = part(Obligation::Conservation, on(fresh(), stock))?;
    for writes in [Writes::Memory, Writes::MemoryAndWords] {
        let words = writes == Writes::MemoryAndWords;
        let obligation = if words { Obligation::HomeWords } else { Obligation::Conservation };
        for order in orders.clone() {
            part(obligation, on(fresh(), move |it| one_by_one(it, writes, order, stock)))?;
        }
    }
    for order in orders.clone() {
        part(Obligation::Failure, on(fresh(), move |it| running_dry(it, order, stock)))?;
    }
    if capacity >= most(&geometry, 0) {
        passed.not_shown.push((Obligation::Failure, "it never ran dry"));
    }
    for order in orders {
        part(Obligation::Bulk, on(fresh(), move |it| in_bulk(it, order, stock)))?;
    }
    part(
        Obligation::Conservation,
        on(fresh(), move |it| {
            everything_out(it)?;
            recount(it, Obligation::Conservation, stock, "units of all orders came and went at once")
        }),
    )?;
    let home = fresh();
    part(Obligation::Failure, move || refills_that_fail(&home, stock))?;
    part(Obligation::AnyThread, on(fresh(), move |it| hammer(it, stock)))?;
    part(Obligation::AnyThread, on(fresh(), move |it| threads(it, stock)))?;
    part(Obligation::Description, on(fresh(), figures))?;
    part(Obligation::Regions, on(fresh(), pieces))?;
    if !part(Obligation::Premapped, on(fresh(), comes_mapped))? {
        passed.not_shown.push((Obligation::Premapped, "its units come unmapped"));
    }
    if !part(Obligation::DeviceLost, on(fresh(), move |it| lost(it, capacity)))? {
        passed.not_shown.push((Obligation::DeviceLost, "there is no device behind it"));
    }
    Ok(passed)
}

/// A part that runs on a provider of its own.
fn on<P: Backing, R>(home: Home<P>, run: impl FnOnce(&P) -> R) -> impl FnOnce() -> R {
    move || run(&home)
}

/// The nodes to ask for: any, each that there is, and one that there is not.
pub(super) fn wishes(geometry: &Geometry) -> impl Iterator<Item = Option<NodeId>> + Clone + use<> {
    let there = (0..geometry.nodes).map(NodeId).map(Some);
    core::iter::once(None).chain(there).chain([Some(NodeId(u16::MAX))])
}

/// All units of `order` that there are, or as many as the suite takes.
pub(super) fn drain<P: Backing>(
    provider: &P,
    ledger: &mut Ledger,
    order: u8,
    room: usize,
) -> Result<Vec<Held>, Broken> {
    let (request, most) = (Request::new(order, None), most(&provider.geometry(), order));
    let mut held = Vec::new();
    while held.len() < most {
        let units = take(provider, ledger, &request, room.min(most - held.len()))?;
        if units.is_empty() {
            break;
        }
        held.extend(units);
    }
    Ok(held)
}

/// Gives all back, one by one.
pub(super) fn give_back<P: Backing>(provider: &P, ledger: &mut Ledger, held: Vec<Held>) -> Result<(), Broken> {
    for unit in held {
        release(provider, ledger.leave(provider, unit)?);
    }
    Ok(())
}

fn base_units(held: &[Held]) -> usize {
    held.iter().map(|unit| 1 << unit.descriptor().order()).sum()
}

/// Everything is home: how many base units can be had, the largest units first. So neither a unit that was cut into
/// small ones for good nor one that was joined makes a difference.
fn stock<P: Backing>(provider: &P) -> Result<usize, Broken> {
    let (mut ledger, mut held) = (Ledger::new(Writes::Nothing), Vec::new());
    for order in (0..=provider.geometry().max_order).rev() {
        held.extend(drain(provider, &mut ledger, order, 1)?);
    }
    let found = base_units(&held);
    give_back(provider, &mut ledger, held)?;
    Ok(found)
}

/// Counts what can be had. Anything but `expected` is `obligation` broken.
pub(super) fn recount<P: Backing>(
    provider: &P,
    obligation: Obligation,
    expected: usize,
    after: &str,
) -> Result<(), Broken> {
    let found = stock(provider)?;
    obligation.check(found == expected, || format!("of {expected} base units {found} could be had again after {after}"))
}

/// A unit too many panics in the sink.
fn no_more_than_fit<P: Backing>(provider: &P) -> Result<(), Broken> {
    for room in 0..4 {
        let (units, _) = ask(provider, &Request::new(0, None), room);
        units.into_iter().for_each(|unit| release(provider, unit));
    }
    Ok(())
}

fn orders<P: Backing>(provider: &P) -> Result<(), Broken> {
    let geometry = provider.geometry();
    let Geometry { unit_bytes, max_order, nodes } = geometry;
    Obligation::Order.check(unit_bytes.is_power_of_two() && nodes > 0, || format!("{geometry:?} is no geometry"))?;
    let fits = u32::from(max_order) < u32::BITS && (unit_bytes as u64) << max_order <= 1 << 31;
    Obligation::Order.check(fits, || format!("{geometry:?} has units of over 2 GiB"))?;
    let mut ledger = Ledger::new(Writes::Nothing);
    for order in 0..=max_order {
        let units = take(provider, &mut ledger, &Request::new(order, None), 2)?;
        let some = !units.is_empty();
        Obligation::Order.check(order > 0 || some, || "not one unit could be had".into())?;
        // Home again before the next request: there may be no more of them.
        give_back(provider, &mut ledger, units)?;
        // Nodes are wishes: one that it has not, or that is empty, is no reason to fail.
        for node in wishes(&geometry).flatten() {
            let there = take(provider, &mut ledger, &Request::new(order, Some(node)), 1)?;
            Obligation::Order.check(!some || !there.is_empty(), || {
                format!("there are units of order {order}, and none for a request that prefers {node}")
            })?;
            give_back(provider, &mut ledger, there)?;
        }
        let now = provider.geometry();
        Obligation::Order.check(now == geometry, || format!("the geometry was {geometry:?} and is now {now:?}"))?;
    }
    Ok(())
}

/// Takes all there is, of all orders, and turns it over in an order that nobody planned for. How many units of order 0
/// there were.
fn everything_out<P: Backing>(provider: &P) -> Result<usize, Broken> {
    let (mut ledger, mut dice) = (Ledger::new(Writes::Memory), Dice(0x9e37_79b9));
    let mut held = drain(provider, &mut ledger, 0, 1)?;
    let capacity = held.len();
    let geometry = provider.geometry();
    let (orders, most) = (usize::from(geometry.max_order) + 1, 2 * most(&geometry, 0));
    for _ in 0..3 {
        for _ in 0..held.len().div_ceil(2) {
            let unit = held.swap_remove(dice.roll(held.len()));
            give_back(provider, &mut ledger, alloc::vec![unit])?;
        }
        for _ in 0..capacity / 2 {
            let order = dice.roll(orders) as u8;
            let room = (1 + dice.roll(3)).min(most.saturating_sub(base_units(&held)) >> order);
            held.extend(take(provider, &mut ledger, &Request::new(order, None), room)?);
        }
    }
    give_back(provider, &mut ledger, held)?;
    Ok(capacity)
}

/// Its figures with everything home and with everything of each order out. The total may grow meanwhile: some get their
/// memory when they are first asked for it.
fn figures<P: Backing>(provider: &P) -> Result<(), Broken> {
    let mut ledger = Ledger::new(Writes::Nothing);
    let out = |out: usize| {
        let said = provider.describe();
        let used = said.total_units.checked_sub(said.free_units);
        Obligation::Description.check(used == Some(out) && !said.name.is_empty(), || {
            format!("{out} base units are out, and it says {said:?}")
        })
    };
    out(0)?;
    for order in 0..=provider.geometry().max_order {
        let held = drain(provider, &mut ledger, order, 5)?;
        out(base_units(&held))?;
        give_back(provider, &mut ledger, held)?;
        out(0)?;
    }
    Ok(())
}
