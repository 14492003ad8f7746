//! Forks, and the second panic of an unwinding, in processes that can afford them: this test has no harness, because a fork
//! is only defined while the process has one thread.
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

#[cfg(not(all(unix, not(any(loom, shuttle)))))]
fn main() {}

#[cfg(all(unix, not(any(loom, shuttle))))]
mod common;

#[cfg(all(unix, not(any(loom, shuttle))))]
fn main() {
    forks::run();
}

#[cfg(all(unix, not(any(loom, shuttle))))]
mod forks {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::time::Duration;

    use pp_core::{DmaDirection, Home, PageBatch, PagePool, PoolState};

    use crate::common::{Depot, Shape, Window, check, fill, law, take};

    pub(super) fn run() {
        for (name, test) in [
            ("a_child_that_leaves_changes_nothing", a_child_that_leaves_changes_nothing as fn()),
            ("a_child_that_uses_its_copy_changes_nothing_of_the_parents", a_child_that_uses_its_copy),
            ("a_child_runs_the_hooks_of_what_it_drops", a_child_runs_the_hooks_of_what_it_drops),
            ("a_second_panic_of_one_unwinding_aborts", a_second_panic_of_one_unwinding_aborts),
        ] {
            test();
            println!("test {name} ... ok");
        }
    }

    fn home() -> Home<Depot> {
        Home::new(Depot::new(Shape::plain(4096, 16)))
    }

    /// How a child that does `work` and leaves by `_exit` ended: its wait status.
    fn in_child(work: impl FnOnce()) -> i32 {
        // SAFETY: this process has one thread, so the child may do what any process may.
        let child = unsafe { libc::fork() };
        if child == 0 {
            std::panic::set_hook(Box::new(|_| {}));
            let code = i32::from(catch_unwind(AssertUnwindSafe(work)).is_err());
            // SAFETY: ends the child without running anything of the parent's.
            unsafe { libc::_exit(code) };
        }
        assert!(child > 0, "no fork");
        let mut status = 0;
        // SAFETY: waits for the child made above.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        status
    }

    fn left_well(status: i32) -> bool {
        libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
    }

    /// What a child is meant to do: leave (or become another program), without dropping anything.
    fn a_child_that_leaves_changes_nothing() {
        let home = home();
        let mut pool = PagePool::builder(home.clone()).cache(8).refill(4).build().unwrap();
        let mut pages = take(&mut pool, 6);
        pages.iter_mut().zip(1..).for_each(|(page, tag)| fill(page, tag));
        assert!(left_well(in_child(|| {})));
        pages.iter().zip(1..).for_each(|(page, tag)| check(page, tag));
        law(&pool.stats(), 6, 0, 6);
        drop(pages);
        drop(pool);
        assert_eq!((home.out(), Home::owners(&home)), (0, 1));
    }

    /// Everything private is a copy: what a child does to its own harms nobody else.
    fn a_child_that_uses_its_copy() {
        let home = home();
        let builder = PagePool::builder(home.clone()).cache(8).refill(4).pool_size(4).returners(1, 4);
        let mut pool = builder.build().unwrap();
        let mut returner = pool.handle().returner().unwrap();
        let mut pages = take(&mut pool, 6);
        pages.iter_mut().zip(1..).for_each(|(page, tag)| fill(page, tag));
        let before = pool.stats();
        // By reference: what a closure owned, the parent would drop as well.
        let mut pool = Some(pool);
        let status = in_child(|| {
            let mut pool = pool.take().unwrap();
            let mut batch: PageBatch<8> = pool.alloc_batch();
            returner.put_batch(&mut batch);
            for mut page in std::mem::take(&mut pages) {
                fill(&mut page, 99);
                drop(page);
            }
            let mut shutdown = pool.shutdown();
            assert!(shutdown.wait_for(Duration::ZERO));
            assert_eq!((home.out(), shutdown.handle().state()), (0, PoolState::Closed));
        });
        assert!(left_well(status), "{status:#x}");
        pages.iter().zip(1..).for_each(|(page, tag)| check(page, tag));
        let pool = pool.unwrap();
        assert_eq!((pool.stats(), home.out()), (before, before.hold));
        pages.into_iter().for_each(|page| returner.put(page));
        drop(pool);
        assert_eq!((home.out(), Home::owners(&home)), (0, 1));
    }

    /// And why it must not: hooks and devices reach beyond the copy. Here a pipe hears of a page that the parent still has.
    fn a_child_runs_the_hooks_of_what_it_drops() {
        let mut ends = [0; 2];
        // SAFETY: two places for the two ends.
        assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
        let [reads, writes] = ends;
        let home = home();
        let window = Arc::new(Window::new(false));
        let builder =
            PagePool::builder(home.clone()).refill(1).pool_size(1).dma(window.clone(), DmaDirection::FromDevice);
        let builder = builder.page_out(move |_| {
            // SAFETY: one readable byte, to a pipe of ours.
            assert_eq!(unsafe { libc::write(writes, [7u8].as_ptr().cast(), 1) }, 1);
        });
        let mut pool = builder.build().unwrap();
        let pages = take(&mut pool, 3);
        let mut both = Some((pages, pool));
        assert!(left_well(in_child(|| {
            drop(both.take());
            assert_eq!(window.mapped(), 0);
        })));
        let mut heard = [0u8; 8];
        // SAFETY: eight writable bytes.
        let heard = unsafe { libc::read(reads, heard.as_mut_ptr().cast(), 8) };
        assert_eq!(heard, 3, "three pages left, in another process");
        assert_eq!((window.mapped(), window.unmaps()), (3, 0), "to the parent's device nothing has happened");
        let (pages, pool) = both.unwrap();
        assert_eq!((pages.len(), pool.stats().in_use(), home.out()), (3, 3, 3));
    }

    /// One panic of a destructor is survived; a second one while the first unwinds is not, as in any drop.
    fn a_second_panic_of_one_unwinding_aborts() {
        let leave = |times: usize| {
            in_child(|| {
                let builder = PagePool::builder(home()).cache(8).refill(8).pool_size(1);
                let calls = std::sync::atomic::AtomicUsize::new(0);
                let mut pool = builder
                    .page_out(move |_| {
                        let call = calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        assert!(call >= times, "a destructor that panics");
                    })
                    .build()
                    .unwrap();
                let batch: PageBatch<4> = pool.alloc_batch();
                assert!(catch_unwind(AssertUnwindSafe(|| drop(batch))).is_err());
                assert_eq!(pool.stats().recycle.ring_full, 3, "one found room in the ring, the others are out");
                std::mem::forget(pool);
            })
        };
        assert!(left_well(leave(1)), "one is survived");
        let status = leave(2);
        assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGABRT, "{status:#x}");
    }
}
