//! After the drop: who is still out, and when it is over.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use crate::access::{Access, Host};
use crate::handle::PoolHandle;

/// Watches a pool that was dropped.
///
/// A [`Future`] that is ready when the last page on the pool's books is home and provider share, DMA backend and hooks are gone (or handed to the
/// reaper). With feature `std` it can also [`wait`](Shutdown::wait). Dropping it stops the watching, nothing else.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "std")] {
/// # use pp_core::{Home, PagePool, doc::Heap};
/// # use std::time::Duration;
/// let mut pool = PagePool::builder(Home::new(Heap::new(4096, 8))).build().unwrap();
/// let page = pool.alloc().unwrap();
/// let mut shutdown = pool.shutdown();
/// assert_eq!(shutdown.outstanding(), 1);
/// assert!(!shutdown.wait_for(Duration::from_millis(1)));
/// std::thread::spawn(move || drop(page));
/// shutdown.wait();
/// # }
/// ```
///
/// ```
/// # use pp_core::{Home, PagePool, doc::Heap};
/// let pool = PagePool::builder(Home::new(Heap::new(4096, 8))).name("rx0").build().unwrap();
/// let shutdown = pool.shutdown();
/// assert!(shutdown.is_done()); // no page was out
/// println!("{}: {}", shutdown.handle().name(), shutdown.handle().stats());
/// ```
#[must_use = "a shutdown that nobody looks at is the same as dropping the pool"]
pub struct Shutdown<A: Access = Host> {
    handle: PoolHandle<A>,
}

impl<A: Access> Shutdown<A> {
    pub(crate) fn new(handle: PoolHandle<A>) -> Self {
        Shutdown { handle }
    }

    /// Pages that are still out.
    pub fn outstanding(&self) -> usize {
        self.handle.inflight()
    }

    /// Whether all is over.
    pub fn is_done(&self) -> bool {
        self.handle.block().completion.is_done()
    }

    /// A handle to the pool that was: its statistics, and with feature `leak-trace` who holds its pages.
    pub fn handle(&self) -> &PoolHandle<A> {
        &self.handle
    }
}

impl<A: Access> Future for Shutdown<A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // SAFETY: there is one `Shutdown` a pool, and `&mut` makes this its only poll.
        unsafe { self.handle.block().completion.poll(context.waker()) }
    }
}

#[cfg(feature = "std")]
mod waiting {
    use super::{Access, Context, Future, Pin, Poll, Shutdown};
    use alloc::sync::Arc;
    use alloc::task::Wake;
    use core::time::Duration;
    use std::thread::{self, Thread};
    use std::time::Instant;

    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    impl<A: Access> Shutdown<A> {
        /// Waits until the last page is home.
        pub fn wait(mut self) {
            self.park_until(None);
        }

        /// Waits for at most `timeout`. Whether all is over.
        pub fn wait_for(&mut self, timeout: Duration) -> bool {
            self.park_until(Instant::now().checked_add(timeout))
        }

        fn park_until(&mut self, deadline: Option<Instant>) -> bool {
            let waker = Arc::new(Unpark(thread::current())).into();
            let mut context = Context::from_waker(&waker);
            while Pin::new(&mut *self).poll(&mut context) == Poll::Pending {
                match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                    None => thread::park(),
                    Some(Duration::ZERO) => return self.is_done(),
                    Some(left) => thread::park_timeout(left),
                }
            }
            true
        }
    }
}

impl<A: Access> core::fmt::Debug for Shutdown<A> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Shutdown").field("outstanding", &self.outstanding()).field("done", &self.is_done()).finish()
    }
}
