//! Queues that this process has given up and that may not be quiet yet.
//!
//! That a queue is quiet is found out by binding it, which fails as well while a successor has it. Of a successor in this process it
//! is known that all who had the queue before are through: otherwise it could not have been bound.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::sys;

/// A queue of an interface, in whatever network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueId {
    /// `None` if the kernel does not say, which it does since 5.14: such a queue is like no other.
    namespace: Option<u64>,
    ifindex: u32,
    queue: u32,
}

/// A queue that was given up. Whoever waits for it keeps this.
#[derive(Debug)]
pub(crate) struct GivenUp {
    id: QueueId,
    /// | state | meaning |
    /// |---|---|
    /// | false | nothing is known |
    /// | true | a successor was bound, so nobody has the queue from before |
    quiet: AtomicBool,
}

static GIVEN_UP: Mutex<Vec<Weak<GivenUp>>> = Mutex::new(Vec::new());

impl QueueId {
    /// A queue of the namespace that the socket is of.
    pub(crate) fn new(socket: impl AsFd, ifindex: u32, queue: u32) -> Self {
        QueueId { namespace: sys::namespace(socket).ok(), ifindex, queue }
    }

    /// Whether it is known to be the same queue.
    pub(crate) fn is(self, other: QueueId) -> bool {
        self.namespace.is_some() && self == other
    }
}

impl GivenUp {
    /// To be called before the queue's socket is closed, so that no successor can be bound unnoticed.
    pub(crate) fn new(id: QueueId) -> Arc<Self> {
        let queue = Arc::new(GivenUp { id, quiet: AtomicBool::new(false) });
        let mut all = lock();
        all.retain(|queue| queue.strong_count() > 0);
        all.push(Arc::downgrade(&queue));
        queue
    }

    /// Whether a successor was bound.
    pub(crate) fn is_quiet(&self) -> bool {
        // Acquire: pairs with the Release in `succeeded`; the kernel was through before it let the successor in.
        self.quiet.load(Ordering::Acquire)
    }
}

/// A socket was bound to the queue. Nobody but that socket can have it between the binding and this call, so what is in the list had
/// it before.
pub(crate) fn succeeded(id: QueueId) {
    for queue in lock().iter().filter_map(Weak::upgrade).filter(|queue| queue.id.is(id)) {
        // Release: pairs with the Acquire in `is_quiet`.
        queue.quiet.store(true, Ordering::Release);
    }
}

fn lock() -> MutexGuard<'static, Vec<Weak<GivenUp>>> {
    GIVEN_UP.lock().unwrap_or_else(PoisonError::into_inner)
}
