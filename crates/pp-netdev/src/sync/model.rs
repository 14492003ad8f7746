//! What the checkers see in its place.

pub(crate) use super::engine::{Arc, Mutex, MutexGuard};

use std::sync::OnceLock;
use std::time::Duration;

use super::Canary;
use super::engine::Condvar;

/// Takes a lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

/// Where one thread sleeps until another wakes it.
///
/// A mutex and a condition variable that behave as `std` documents parking: a token that waits for the sleeper, and
/// whose taker sees what was done before it was given. loom's own parking wakes threads that wait for something else
/// (tokio-rs/loom#246).
#[derive(Debug)]
pub(crate) struct Parker {
    token: Mutex<bool>,
    given: Condvar,
    /// Whether there is a thread. Not the checker's: it decides only who writes the canary.
    registered: OnceLock<()>,
    /// Stands for the handle of the thread: written by the one that registers, read by those that wake it.
    thread: Canary,
}

impl Default for Parker {
    fn default() -> Self {
        Parker { token: Mutex::new(false), given: Condvar::new(), registered: OnceLock::new(), thread: Canary::new() }
    }
}

impl Parker {
    /// Makes the current thread the one that sleeps here, unless there is one.
    pub(crate) fn register(&self) {
        self.registered.get_or_init(|| self.thread.bury());
    }

    /// Sleeps until woken. There is no time in a model: a sleep that ends by itself has ended.
    pub(crate) fn park(&self, longest: Option<Duration>) {
        let mut token = self.token.lock().unwrap();
        while !*token && longest.is_none() {
            token = self.given.wait(token).unwrap();
        }
        *token = false;
    }

    /// Wakes the thread.
    pub(crate) fn unpark(&self) {
        self.thread.enter();
        *self.token.lock().unwrap() = true;
        self.given.notify_one();
    }
}
