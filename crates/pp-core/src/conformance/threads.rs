//! Several threads at once.

use alloc::vec::Vec;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Instant;

use super::hand::{Held, Ledger, Writes, ask, release, release_bulk};
use super::provider::recount;
use super::{Broken, Dice, Obligation};
use crate::descriptor::Descriptor;
use crate::provider::{Backing, Request, UnitSink};

/// Calls that overlap as closely as can be: no ledger, no lock, no byte of memory between them. A count in the
/// descriptor, which nobody else has while the unit is out, shows one that is out twice. For a time, not for a number of
/// rounds: what a race needs is luck, and a quick provider needs more rounds for it than a slow one.
pub(super) fn hammer<P: Backing>(provider: &P, stock: usize) -> Result<(), Broken> {
    const LASTING: Duration = Duration::from_millis(200);
    const LOOK_AT_CLOCK: usize = 64;
    const HOLDS: usize = 12;
    let orders = usize::from(provider.geometry().max_order) + 1;
    let found = AtomicBool::new(false);
    let begin = Instant::now();
    let work = &|seed: u64| {
        let (mut dice, mut held) = (Dice(seed), Vec::with_capacity(HOLDS));
        let mut places = [MaybeUninit::<NonNull<Descriptor>>::uninit(); 3];
        for round in 0.. {
            if round % LOOK_AT_CLOCK == 0 && (found.load(Ordering::Relaxed) || begin.elapsed() > LASTING) {
                break;
            }
            // Each thread holds now more, now fewer: one that was interrupted in the middle of a call shall not find
            // everything as it was, even where there is one processor.
            if dice.roll(HOLDS) < held.len() {
                give_up(provider, held.drain(held.len().saturating_sub(3)..));
                continue;
            }
            // Mostly the smallest, which are the quickest.
            let order = if round % 8 == 7 { dice.roll(orders) as u8 } else { 0 };
            let mut sink = UnitSink::new(&mut places);
            let _ = provider.alloc_bulk(&Request::new(order, None), &mut sink);
            let len = sink.len();
            for place in &places[..len] {
                // SAFETY: the sink has filled that many, and what was handed out is readable.
                let unit = unsafe { place.assume_init().as_ref() };
                if unit.refs.fetch_add(1, Ordering::Relaxed) != 0 {
                    found.store(true, Ordering::Relaxed);
                }
                held.push(unit);
            }
        }
        give_up(provider, held.into_iter());
    };
    thread::scope(|scope| {
        let workers = [1, 2, 3, 4].map(|seed| scope.spawn(move || work(seed)));
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| panicked()))
    })?;
    let found = found.into_inner();
    Obligation::AnyThread.check(!found, || "one of four threads was handed a unit that another one had".into())?;
    recount(provider, Obligation::AnyThread, stock, "four threads took and gave back as fast as they could")
        .map_err(|broken| Obligation::AnyThread.broken(broken.what))
}

fn give_up<'a, P: Backing>(provider: &P, units: impl Iterator<Item = &'a Descriptor>) {
    for unit in units {
        unit.refs.fetch_sub(1, Ordering::Relaxed);
        release(provider, NonNull::from(unit));
    }
}

fn panicked() -> Broken {
    Obligation::AnyThread.broken("a call panicked on one of four threads")
}

/// Two threads take, two others give back.
pub(super) fn threads<P: Backing>(provider: &P, stock: usize) -> Result<(), Broken> {
    const ROUNDS: usize = 400;
    let ledger = Mutex::new(Ledger::new(Writes::Memory));
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
                        units.into_iter().for_each(|unit| release(provider, unit));
                    }
                }
                Ok(())
            }));
        }
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| Err(panicked())))
    });
    outcome.map_err(|broken: Broken| Obligation::AnyThread.broken(broken.what))?;
    recount(provider, Obligation::AnyThread, stock, "others than those who took them gave them back")
}
