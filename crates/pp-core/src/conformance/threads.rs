//! Several threads at once.

use alloc::vec::Vec;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

use super::hand::{Held, Ledger, Writes, ask, release, release_bulk};
use super::provider::recount;
use super::{Broken, Obligation};
use crate::provider::{Backing, Request};

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
