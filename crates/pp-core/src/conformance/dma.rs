//! The contract of [`Dma`], part by part.

use alloc::format;
use alloc::vec::Vec;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

use super::bench::{Bench, Mapped, overlap, reach};
use super::hand::Spans;
use super::{Broken, Obligation, Passed, part};
use crate::descriptor::Descriptor;
use crate::dma::{Dma, DmaAddr, DmaDirection, DmaRange};
use crate::provider::NodeId;

/// Mappings that the suite makes at most.
const MOST: usize = 256;
const UNIT_BYTES: usize = 4096;
/// Sizes of units that are out at once in one part, the largest first: a small device maps one of those if it can.
const SIZES: [usize; 3] = [64 << 10, 8 << 10, UNIT_BYTES];
const OF_EACH_SIZE: usize = 8;

/// Holds a DMA backend against its contract, as far as that shows without its device. `make` makes a fresh one each time,
/// which can map units of 4 KiB: 4 of them or more, and fewer than 256 if it is to be seen full. Units of 8 and 64 KiB it
/// may refuse.
///
/// # Errors
///
/// The first [`Broken`] promise.
///
/// # Examples
///
/// ```
/// # use pp_core::Identity;
/// let passed = pp_core::conformance::dma(|| Identity)?;
/// assert_eq!(passed.not_shown.len(), 3); // it is never full, and there is no device to look through
/// # Ok::<(), pp_core::conformance::Broken>(())
/// ```
pub fn dma<D: Dma>(make: impl Fn() -> D) -> Result<Passed, Broken> {
    let mut passed = suite(make, None::<fn(&D, DmaAddr, usize) -> Option<u8>>)?;
    passed
        .not_shown
        .push((Obligation::Reach, "only that addresses do not overlap: there is no device to look through"));
    passed.not_shown.push((Obligation::Unmap, "there is no device to look through"));
    Ok(passed)
}

/// The same with a device: `look` reads the byte at an offset from an address as the device sees it, and is `None` where the
/// device would fault. Pages are mapped in both directions for it.
///
/// # Errors
///
/// The first [`Broken`] promise.
///
/// # Examples
///
/// ```
/// use core::sync::atomic::{AtomicPtr, Ordering};
/// use pp_core::{Descriptor, Dma, DmaAddr, DmaDirection, DmaError};
///
/// /// A device that sees one page of 4 KiB at a time, at address 0.
/// #[derive(Default)]
/// struct OnePage(AtomicPtr<u8>);
///
/// // SAFETY: the device sees what `look` sees: the unit that is mapped, and nothing when none is.
/// unsafe impl Dma for OnePage {
///     fn map(&self, unit: &Descriptor, _: DmaDirection) -> Result<DmaAddr, DmaError> {
///         if unit.unit_bytes() > 4096 {
///             return Err(DmaError::Refused);
///         }
///         let (none, order) = (core::ptr::null_mut(), Ordering::AcqRel);
///         let place = self.0.compare_exchange(none, unit.addr(), order, Ordering::Relaxed);
///         place.map(|_| DmaAddr(0)).map_err(|_| DmaError::Full)
///     }
///     fn unmap(&self, _: DmaAddr, _: usize, _: DmaDirection) {
///         self.0.store(core::ptr::null_mut(), Ordering::Release);
///     }
/// }
///
/// impl OnePage {
///     fn look(&self, addr: DmaAddr, offset: usize) -> Option<u8> {
///         let page = self.0.load(Ordering::Acquire);
///         // SAFETY: inside the page, which is mapped; the suite unmaps it before it frees it.
///         (!page.is_null() && addr.0 == 0 && offset < 4096).then(|| unsafe { *page.add(offset) })
///     }
/// }
///
/// let passed = pp_core::conformance::dma_with_device(OnePage::default, OnePage::look)?;
/// assert_eq!((passed.capacity, passed.not_shown[0].1), (1, "it maps nothing larger than 4 KiB"));
/// # Ok::<(), pp_core::conformance::Broken>(())
/// ```
pub fn dma_with_device<D: Dma>(
    make: impl Fn() -> D,
    look: impl Fn(&D, DmaAddr, usize) -> Option<u8> + Send + 'static,
) -> Result<Passed, Broken> {
    suite(make, Some(look))
}

fn suite<D: Dma>(
    make: impl Fn() -> D,
    look: Option<impl Fn(&D, DmaAddr, usize) -> Option<u8> + Send + 'static>,
) -> Result<Passed, Broken> {
    let bench = || Bench::new(make(), &[UNIT_BYTES], MOST);
    let mut passed = Passed::default();
    let (it, mixed) = (bench()?, Bench::new(make(), &SIZES, OF_EACH_SIZE)?);
    let (capacity, largest) = part(Obligation::Reach, move || {
        let capacity = reach(&it, look.as_ref())?.len();
        Ok((capacity, reach(&mixed, look.as_ref())?.into_iter().max()))
    })?;
    passed.capacity = capacity;
    if largest <= Some(UNIT_BYTES) {
        passed.not_shown.push((Obligation::Reach, "it maps nothing larger than 4 KiB"));
    }
    let it = bench()?;
    part(Obligation::Conservation, move || one_by_one(&it, capacity))?;
    let it = bench()?;
    part(Obligation::Failure, move || full(&it, capacity))?;
    if capacity == MOST {
        passed.not_shown.push((Obligation::Failure, "it was never full"));
    }
    let it = bench()?;
    part(Obligation::Sync, move || syncs(&it))?;
    let it = bench()?;
    part(Obligation::AnyThread, move || threads(&it, capacity))?;
    Ok(passed)
}

fn one_by_one<D: Dma>(bench: &Bench<D>, capacity: usize) -> Result<(), Broken> {
    for round in 0..4 * capacity {
        let direction = if round % 2 == 0 { DmaDirection::FromDevice } else { DmaDirection::Bidirectional };
        let unit = round % bench.units.len();
        let addr = bench.map(unit, direction).map_err(|error| {
            Obligation::Conservation.broken(format!("after {round} mappings came and went: {error}"))
        })?;
        bench.unmap((addr, unit), direction);
    }
    bench.recount(Obligation::Conservation, capacity, "many came and went one by one")
}

/// Maps more than goes, and what has no address.
fn full<D: Dma>(bench: &Bench<D>, capacity: usize) -> Result<(), Broken> {
    let direction = DmaDirection::FromDevice;
    let (mut mapped, error) = bench.map_all(direction)?;
    if error.is_some() && capacity < bench.units.len() {
        for _ in 0..3 {
            let more = bench.map(capacity, direction);
            Obligation::Failure.check(more.is_err(), || format!("a full device mapped one more, at {more:?}"))?;
        }
        if let Some((addr, unit)) = mapped.pop() {
            bench.unmap((addr, unit), direction);
            let again = bench.map(unit, direction).map_err(|error| {
                Obligation::Failure.broken(format!("a device that was full maps nothing after an unmap: {error}"))
            })?;
            mapped.push((again, unit));
        }
    }
    bench.unmap_all(mapped, direction);
    let nowhere = Descriptor::new(core::ptr::null_mut(), UNIT_BYTES as u32, NodeId(0));
    if let Ok(addr) = bench.dma.map(&nowhere, direction) {
        bench.dma.unmap(addr, UNIT_BYTES, direction);
    }
    bench.recount(Obligation::Failure, capacity, "it was full, and had to refuse")
}

fn syncs<D: Dma>(bench: &Bench<D>) -> Result<(), Broken> {
    let needs = bench.dma.needs_sync();
    for direction in [DmaDirection::FromDevice, DmaDirection::Bidirectional] {
        let addr = bench.map(0, direction).map_err(|error| Obligation::Sync.broken(format!("no mapping: {error}")))?;
        for (offset, len) in [(0, UNIT_BYTES), (0, 1), (UNIT_BYTES - 1, 1), (63, 66), (0, 0), (UNIT_BYTES, 0)] {
            let range = DmaRange { offset, len };
            bench.dma.sync_for_device(addr, range, direction);
            bench.dma.sync_for_cpu(addr, range, direction);
        }
        bench.unmap((addr, 0), direction);
    }
    let still = bench.dma.needs_sync();
    Obligation::Sync.check(needs == still, || format!("`needs_sync` was {needs} and is now {still}"))
}

/// One thread maps, as a pool's consumer does; three others unmap.
fn threads<D: Dma>(bench: &Bench<D>, capacity: usize) -> Result<(), Broken> {
    const ROUNDS: usize = 2000;
    let direction = DmaDirection::FromDevice;
    let spans = Mutex::new(Spans::default());
    let spans = || spans.lock().unwrap_or_else(PoisonError::into_inner);
    let (spans, dma) = (&spans, &bench.dma);
    thread::scope(|scope| {
        let (done, unmapped) = mpsc::channel::<usize>();
        let mut workers = Vec::new();
        for _ in 0..3 {
            let (sender, receiver) = mpsc::channel::<Mapped>();
            let done = done.clone();
            let worker = scope.spawn(move || {
                for (addr, unit) in receiver {
                    spans().remove(addr.0);
                    dma.unmap(addr, UNIT_BYTES, direction);
                    let _ = done.send(unit);
                }
            });
            workers.push((sender, worker));
        }
        let mut idle: Vec<usize> = (0..bench.units.len()).collect();
        let mut outcome = Ok(());
        for round in 0..ROUNDS {
            idle.extend(unmapped.try_iter());
            let Some(unit) = idle.pop() else {
                thread::yield_now();
                continue;
            };
            // A full table is normal here: the others have yet to come by.
            let Ok(addr) = bench.map(unit, direction) else {
                idle.push(unit);
                thread::yield_now();
                continue;
            };
            let added = spans().add(addr.0, UNIT_BYTES);
            if let Err((at, _)) = added {
                outcome = Err(Obligation::AnyThread.broken(overlap(addr, UNIT_BYTES, at).what));
                break;
            }
            if workers[round % workers.len()].0.send((addr, unit)).is_err() {
                break;
            }
        }
        for (sender, worker) in workers {
            drop(sender);
            if worker.join().is_err() {
                outcome = Err(Obligation::AnyThread.broken("`unmap` panicked on another thread"));
            }
        }
        outcome
    })?;
    bench.recount(Obligation::AnyThread, capacity, "others than the one who mapped them unmapped them")
}
