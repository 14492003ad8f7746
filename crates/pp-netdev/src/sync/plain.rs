//! The real thing.

pub(crate) use std::sync::{Arc, Mutex, MutexGuard};

pub(crate) use super::lock_std as lock;

use std::sync::OnceLock;
use std::thread::Thread;
use std::time::Duration;

/// Where one thread sleeps until another wakes it: `std`'s parking, for a thread that is found out later.
#[derive(Debug, Default)]
pub(crate) struct Parker {
    thread: OnceLock<Thread>,
}

impl Parker {
    /// Makes the current thread the one that sleeps here, unless there is one.
    #[inline]
    pub(crate) fn register(&self) {
        let thread = self.thread.get_or_init(std::thread::current);
        debug_assert_eq!(thread.id(), std::thread::current().id(), "a bell is one thread's to wait on");
    }

    /// Sleeps until woken, or `longest`. A wake-up that came before counts.
    pub(crate) fn park(&self, longest: Option<Duration>) {
        match longest {
            Some(longest) => std::thread::park_timeout(longest),
            None => std::thread::park(),
        }
    }

    /// Wakes the thread, if there is one.
    pub(crate) fn unpark(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}
