//! The contract of [`MemoryProvider`](crate::MemoryProvider) and [`Backing`], part by part.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

use super::hand::{self, Held, Ledger, Words, ask, release, release_bulk, take};
use super::{Broken, Dice, Obligation, Passed, part};
use crate::descriptor::Descriptor;
use crate::dma::{Dma, DmaAddr, DmaDirection, DmaError};
use crate::home::Home;
use crate::pool::PagePool;
use crate::provider::{Backing, Geometry, NodeId, ProvideError, Request};

/// Units that the suite takes at most, and bytes.
const MOST_UNITS: usize = 1024;
const MOST_BYTES: usize = 64 << 20;

fn most(geometry: &Geometry, order: u8) -> usize {
    (MOST_BYTES / (geometry.unit_bytes << order).max(1)).clamp(4, MOST_UNITS)
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
    part(Obligation::Conservation, on(fresh(), move |it| one_by_one(it, Words::Left, capacity)))?;
    part(Obligation::HomeWords, on(fresh(), move |it| one_by_one(it, Words::Scribbled, capacity)))?;
    part(Obligation::Failure, on(fresh(), move |it| running_dry(it, capacity)))?;
    if capacity >= most(&fresh().geometry(), 0) {
        passed.not_shown.push((Obligation::Failure, "it never ran dry"));
    }
    part(Obligation::Bulk, on(fresh(), move |it| in_bulk(it, capacity)))?;
    let home = fresh();
    part(Obligation::Failure, move || refills_that_fail(&home, capacity))?;
    part(Obligation::AnyThread, on(fresh(), move |it| threads(it, capacity)))?;
    part(Obligation::Description, on(fresh(), figures))?;
    if !part(Obligation::Premapped, on(fresh(), comes_mapped))? {
        passed.not_shown.push((Obligation::Premapped, "its units come unmapped"));
    }
    if !part(Obligation::DeviceLost, on(fresh(), lost))? {
        passed.not_shown.push((Obligation::DeviceLost, "there is no device behind it"));
    }
    Ok(passed)
}

/// A part that runs on a provider of its own.
fn on<P: Backing, R>(home: Home<P>, run: impl FnOnce(&P) -> R) -> impl FnOnce() -> R {
    move || run(&home)
}

/// All units of `order` that there are, or as many as the suite takes.
fn drain<P: Backing>(provider: &P, ledger: &mut Ledger, order: u8, room: usize) -> Result<Vec<Held>, Broken> {
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
fn give_back<P: Backing>(provider: &P, ledger: &mut Ledger, held: Vec<Held>) -> Result<(), Broken> {
    for unit in held {
        release(provider, ledger.leave(provider, unit)?);
    }
    Ok(())
}

/// Everything is home: counts what can be had, and gives it back. Fewer than `expected` is `obligation` broken.
fn recount<P: Backing>(provider: &P, obligation: Obligation, expected: usize, after: &str) -> Result<(), Broken> {
    let mut ledger = Ledger::new(Words::Left);
    let held = drain(provider, &mut ledger, 0, 1)?;
    let found = held.len();
    give_back(provider, &mut ledger, held)?;
    obligation.check(found == expected, || format!("of {expected} units {found} could be had again after {after}"))
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
    let mut ledger = Ledger::new(Words::Left);
    for order in 0..=max_order {
        let units = take(provider, &mut ledger, &Request::new(order, None), 2)?;
        Obligation::Order.check(order > 0 || !units.is_empty(), || "not one unit could be had".into())?;
        // Nodes are wishes: one that it has not is no reason to fail.
        for node in [0, u16::MAX].map(NodeId) {
            let there = take(provider, &mut ledger, &Request::new(order, Some(node)), 1)?;
            Obligation::Order.check(units.is_empty() || !there.is_empty() || order > 0, || {
                format!("there are units, and none for a request that prefers {node}")
            })?;
            give_back(provider, &mut ledger, there)?;
        }
        let now = provider.geometry();
        Obligation::Order.check(now == geometry, || format!("the geometry was {geometry:?} and is now {now:?}"))?;
        give_back(provider, &mut ledger, units)?;
    }
    Ok(())
}

/// Takes all there is, of all orders, and turns it over in an order that nobody planned for.
fn everything_out<P: Backing>(provider: &P) -> Result<usize, Broken> {
    let (mut ledger, mut dice) = (Ledger::new(Words::Left), Dice(0x9e37_79b9));
    let mut held = drain(provider, &mut ledger, 0, 1)?;
    let capacity = held.len();
    let orders = usize::from(provider.geometry().max_order) + 1;
    for _ in 0..3 {
        for _ in 0..held.len().div_ceil(2) {
            let unit = held.swap_remove(dice.roll(held.len()));
            give_back(provider, &mut ledger, alloc::vec![unit])?;
        }
        for _ in 0..capacity / 2 {
            let order = dice.roll(orders) as u8;
            if held.len() < most(&provider.geometry(), order) {
                held.extend(take(provider, &mut ledger, &Request::new(order, None), 1 + dice.roll(3))?);
            }
        }
    }
    give_back(provider, &mut ledger, held)?;
    Ok(capacity)
}

/// One out, one back, more often than there are units. In a part whose words are scribbled on, that is what may break.
fn one_by_one<P: Backing>(provider: &P, words: Words, capacity: usize) -> Result<(), Broken> {
    let obligation = if words == Words::Left { Obligation::Conservation } else { Obligation::HomeWords };
    let mut ledger = Ledger::new(words);
    let request = Request::new(0, None);
    let rename = |broken: Broken| if words == Words::Left { broken } else { obligation.broken(broken.what) };
    for round in 0..3 * capacity + 64 {
        let units = take(provider, &mut ledger, &request, 1).map_err(rename)?;
        obligation.check(!units.is_empty(), || format!("after {round} units came and went there was none"))?;
        give_back(provider, &mut ledger, units).map_err(rename)?;
    }
    recount(provider, obligation, capacity, "many came and went one by one").map_err(rename)
}

fn in_bulk<P: Backing>(provider: &P, capacity: usize) -> Result<(), Broken> {
    let mut ledger = Ledger::new(Words::Left);
    for run in [64, 1, 2, 100, 3] {
        let mut units = Vec::new();
        for unit in drain(provider, &mut ledger, 0, 64)? {
            units.push(ledger.leave(provider, unit)?);
        }
        units.chunks(run).for_each(|run| release_bulk(provider, run));
        recount(provider, Obligation::Bulk, capacity, &format!("they were released {run} at a time"))?;
    }
    release_bulk(provider, &[]);
    Ok(())
}

/// Asks for more than is left, again and again.
fn running_dry<P: Backing>(provider: &P, capacity: usize) -> Result<(), Broken> {
    let request = Request::new(0, None);
    for room in [2, 3, 5, 7, 64, 100] {
        let mut ledger = Ledger::new(Words::Left);
        let held = drain(provider, &mut ledger, 0, room)?;
        if held.len() < most(&provider.geometry(), 0) {
            for _ in 0..3 {
                let (units, answer) = ask(provider, &request, room);
                let late = ledger.enter(provider, &request, units)?;
                Obligation::Failure.check(late.is_empty(), || "a provider that had run dry had units again".into())?;
                Obligation::Failure.check(answer != Err(ProvideError::DeviceLost), || {
                    "a provider that had run dry said that its device was lost".into()
                })?;
            }
        }
        give_back(provider, &mut ledger, held)?;
        recount(provider, Obligation::Failure, capacity, &format!("it ran dry with room for {room}"))?;
    }
    Ok(())
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
fn refills_that_fail<P: Backing>(home: &Home<P>, capacity: usize) -> Result<(), Broken> {
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
        recount(&**home, Obligation::Failure, capacity, &format!("mapping {step} of a pool's refills failed"))?;
    }
    Ok(())
}

/// Two threads take, two others give back.
fn threads<P: Backing>(provider: &P, capacity: usize) -> Result<(), Broken> {
    const ROUNDS: usize = 400;
    let ledger = Mutex::new(Ledger::new(Words::Left));
    let ledger = || ledger.lock().unwrap_or_else(PoisonError::into_inner);
    let outcome = thread::scope(|scope| {
        let mut workers = Vec::new();
        for _ in 0..2 {
            let (sender, receiver) = mpsc::channel::<Vec<Held>>();
            workers.push(scope.spawn(move || {
                let request = Request::new(0, None);
                for round in 0..ROUNDS {
                    let (units, _) = ask(provider, &request, 1 + round % 9);
                    let units = ledger().enter(provider, &request, units)?;
                    if units.is_empty() {
                        thread::yield_now();
                    } else if sender.send(units).is_err() {
                        break;
                    }
                }
                Ok(())
            }));
            workers.push(scope.spawn(move || {
                for (round, held) in receiver.into_iter().enumerate() {
                    let mut units = Vec::new();
                    for unit in held {
                        units.push(ledger().leave(provider, unit)?);
                    }
                    if round % 2 == 0 {
                        release_bulk(provider, &units);
                    } else {
                        units.into_iter().for_each(|unit| hand::release(provider, unit));
                    }
                }
                Ok(())
            }));
        }
        let panicked = || Obligation::AnyThread.broken("a call panicked on one of four threads");
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| Err(panicked())))
    });
    outcome.map_err(|broken: Broken| Obligation::AnyThread.broken(broken.what))?;
    recount(provider, Obligation::AnyThread, capacity, "others than those who took them gave them back")
}

fn figures<P: Backing>(provider: &P) -> Result<(), Broken> {
    let mut ledger = Ledger::new(Words::Left);
    let before = provider.describe();
    let total = |what: &crate::provider::Description| (what.total_units, what.free_units);
    let held = drain(provider, &mut ledger, 0, 5)?;
    let during = provider.describe();
    Obligation::Description.check(during.free_units <= during.total_units && !during.name.is_empty(), || {
        format!("with {} units out it says {during:?}", held.len())
    })?;
    Obligation::Description.check(during.total_units >= held.len(), || {
        format!("{} units are out, and it says that it has {}", held.len(), during.total_units)
    })?;
    Obligation::Description.check(during.total_units - during.free_units == held.len(), || {
        format!(
            "{} units are out, and it says that {} of {} are free",
            held.len(),
            during.free_units,
            during.total_units
        )
    })?;
    give_back(provider, &mut ledger, held)?;
    let after = provider.describe();
    Obligation::Description
        .check(total(&before) == total(&after), || format!("all is home again; it said {before:?}, it says {after:?}"))
}

/// Whether units come mapped; that their addresses are theirs alone is looked at wherever units are taken.
fn comes_mapped<P: Backing>(provider: &P) -> Result<bool, Broken> {
    let mut ledger = Ledger::new(Words::Left);
    let units = drain(provider, &mut ledger, 0, 64)?;
    let mapped = units.iter().any(Held::is_premapped);
    give_back(provider, &mut ledger, units)?;
    Ok(mapped)
}

/// Whether there is a device that can be lost.
fn lost<P: Backing>(provider: &P) -> Result<bool, Broken> {
    let (mut ledger, request) = (Ledger::new(Words::Left), Request::new(0, None));
    let held = take(provider, &mut ledger, &request, 4)?;
    provider.device_lost();
    let (units, first) = ask(provider, &request, 2);
    if !units.is_empty() && first.is_ok() {
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
    said(units.len(), first, "after the device was lost")?;
    for unit in held {
        // Not looked at once more: its memory may be gone.
        release(provider, unit.into_unit());
        let (units, answer) = ask(provider, &request, 2);
        said(units.len(), answer, "after a unit of the lost device came back")?;
    }
    provider.device_lost();
    let (units, answer) = ask(provider, &request, 2);
    said(units.len(), answer, "after the device was lost twice")?;
    Ok(true)
}
