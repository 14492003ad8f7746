//! How queues end: whose pages they had comes home, and not before the kernel is through with them.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pp_core::{Page, PagePool};
use pp_xdp::af_xdp::{AttachMode, Filter, Interface, Packets, QueueConfig, RedirectProgram, XskQueue};

use crate::net::namespace::{in_bare_namespace, ip};
use crate::scene::{self, Port, SOON, Setup, all_home, forward, memory, soon};
use crate::tap::TapQueue;
use crate::wire::{Wire, frame};

/// Nobody waits for the first queue to be quiet. It has to be, for the second one to be opened, and its pages come back while that is open.
#[test]
fn opened_again_at_once() {
    in_bare_namespace(|| {
        scene::make(1500, 1);
        let ((buddy, umem), (other_buddy, other_umem)) = (memory(), memory());
        let interface = Interface::by_name("f0").unwrap();
        let config = QueueConfig { entries: 64, patience: SOON, ..QueueConfig::default() };
        let mut pools = [scene::pool(&buddy, "ours"), scene::pool(&other_buddy, "other")];
        let mut open = |turn: usize| {
            let umem = [&umem, &other_umem][turn / 2 % 2];
            XskQueue::open(umem, &mut pools[turn / 2 % 2], &interface, &config).unwrap()
        };
        let mut queue = open(0);
        for turn in 1..12 {
            drop(queue);
            queue = open(turn);
        }
        let in_use = |pools: &[PagePool]| pools.iter().map(|pool| pool.stats().in_use()).sum::<usize>();
        soon("only the last queue has pages", || in_use(&pools) == 64);
        queue.close().wait(SOON).expect("quiet soon");
        assert_eq!(in_use(&pools), 0);
        drop(pools);
        all_home(&buddy);
        all_home(&other_buddy);
    });
}

/// Packets come and go all the time, and what was home once is not written to by the kernel.
#[test]
fn closed_under_traffic() {
    in_bare_namespace(|| {
        scene::make(1500, 1);
        let (a, stop) = (Wire::open("a0"), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let _stops = Stop(&stop);
            scope.spawn(|| {
                let frame = frame(7, 1400);
                while !stop.load(Ordering::Relaxed) {
                    (0..16).for_each(|_| a.send(&frame));
                    std::thread::yield_now();
                }
            });
            for turn in 0..12 {
                let attach = [AttachMode::Generic, AttachMode::Native][turn % 2];
                let (buddy, umem) = memory();
                let setup = Setup { attach, ..Setup::default() };
                let (mut f0, mut f1) =
                    (Port::open("f0", &umem, &buddy, &setup), Port::open("f1", &umem, &buddy, &setup));
                soon("there is traffic", || {
                    forward(&mut f0, &mut f1);
                    f1.queues[0].counters().completed.get() > 300
                });
                // Without waiting, and without ending the redirection first.
                let closings = [&mut f0, &mut f1].map(|port| port.queues.remove(0).close());
                for closing in closings {
                    closing.wait(SOON).expect("quiet soon");
                }
                assert_eq!((f0.held(), f1.held()), (0, 0));
                let mut pages: Vec<Page> = core::iter::from_fn(|| f0.pool.alloc().ok()).collect();
                assert!(pages.len() > 900, "{}", pages.len());
                pages.iter_mut().for_each(|page| page.fill(0xa5));
                std::thread::sleep(Duration::from_millis(5));
                assert!(pages.iter().all(|page| page.iter().all(|byte| *byte == 0xa5)), "written to after it was home");
                drop(pages);
                scene::close([f0, f1]);
                all_home(&buddy);
            }
        });
    });
}

/// Says when it is dropped, be that by a panic, that others are to end.
struct Stop<'f>(&'f AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// By a descriptor that somebody else has, and by a forked child that has never heard of it.
#[test]
fn somebody_keeps_the_socket() {
    in_bare_namespace(|| {
        scene::make(1500, 1);
        for by_fork in [false, true] {
            let (buddy, umem) = memory();
            let mut f0 = Port::open("f0", &umem, &buddy, &Setup::default());
            let a = Wire::open("a0");
            let queue = f0.queues.pop().unwrap();
            let (kept, child) = if by_fork {
                // SAFETY: the child waits for its end and does nothing else.
                let child = unsafe { libc::fork() };
                if child == 0 {
                    loop {
                        // SAFETY: has no arguments.
                        unsafe { libc::pause() };
                    }
                }
                assert!(child > 0);
                (None, Some(child))
            } else {
                (Some(queue.as_fd().try_clone_to_owned().unwrap()), None)
            };
            let mut closing = queue.close().wait(Duration::from_millis(200)).expect_err("somebody has it still");
            assert_eq!((f0.held(), f0.pool.stats().in_use()), (64, 64));
            // The kernel goes on writing to chunks that are its own.
            (0..100).for_each(|number| a.send(&frame(number, 1000)));
            assert!(!closing.is_quiet());
            assert_eq!(f0.held(), 64);

            drop(kept);
            if let Some(child) = child {
                // SAFETY: the child is this test's, and has not been waited for.
                let gone =
                    unsafe { (libc::kill(child, libc::SIGKILL), libc::waitpid(child, core::ptr::null_mut(), 0)) };
                assert_eq!(gone, (0, child));
            }
            closing.wait(SOON).expect("quiet soon");
            assert_eq!((f0.held(), f0.pool.stats().in_use()), (0, 0));
            f0.close();
            all_home(&buddy);
        }
    });
}

/// A child that runs its parent's destructors closes what it has itself, and no more.
#[test]
fn a_forked_child_that_drops_the_queue() {
    in_bare_namespace(|| {
        scene::make(1500, 1);
        let (buddy, umem) = memory();
        let mut pool = scene::pool(&buddy, "f0");
        let interface = Interface::by_name("f0").unwrap();
        let config = QueueConfig { entries: 64, patience: SOON, ..QueueConfig::default() };
        let queue = XskQueue::open(&umem, &mut pool, &interface, &config).unwrap();
        // SAFETY: the child drops the queue, which allocates nothing, and waits for its end.
        let child = unsafe { libc::fork() };
        if child == 0 {
            drop(queue);
            loop {
                // SAFETY: has no arguments.
                unsafe { libc::pause() };
            }
        }
        std::thread::sleep(Duration::from_millis(200));
        queue.close().wait(SOON).expect("the child has nothing of it any more");
        assert_eq!(pool.stats().in_use(), 0);
        XskQueue::open(&umem, &mut pool, &interface, &config).unwrap().close().wait(SOON).expect("quiet soon");
        // SAFETY: the child is this test's, and has not been waited for.
        let gone = unsafe { (libc::kill(child, libc::SIGKILL), libc::waitpid(child, core::ptr::null_mut(), 0)) };
        assert_eq!(gone, (0, child));
        drop(pool);
        all_home(&buddy);
    });
}

/// The interface has fewer queues for a while. Its sockets stay what they are, and so does what the kernel may write.
#[test]
fn a_queue_that_is_taken_away_is_not_quiet() {
    in_bare_namespace(|| {
        let (Some(_first), Some(mut second)) = (TapQueue::open("tap0"), TapQueue::open("tap0")) else {
            return eprintln!("SKIPPED: there is no /dev/net/tun");
        };
        ip("link set tap0 up");
        let (buddy, umem) = memory();
        let mut pool = scene::pool(&buddy, "tap0");
        let interface = Interface::by_name("tap0").unwrap();
        let config = QueueConfig { queue: 1, entries: 64, patience: SOON, ..QueueConfig::default() };
        let queue = XskQueue::open(&umem, &mut pool, &interface, &config).unwrap();
        let program =
            RedirectProgram::attach(interface.index(), AttachMode::Generic, &Filter::new(), Packets::Whole, 2).unwrap();
        program.map().insert(1, &queue).unwrap();
        let kept = queue.as_fd().try_clone_to_owned().unwrap();
        let mut closing = queue.close();
        second.detach();
        assert!(!closing.is_quiet());
        second.attach();
        let mut pages: Vec<Page> = core::iter::from_fn(|| pool.alloc().ok()).collect();
        pages.iter_mut().for_each(|page| page.fill(0xa5));
        (0..10).for_each(|number| second.send(&frame(number, 1000)));
        std::thread::sleep(Duration::from_millis(20));
        assert!(
            pages.iter().all(|page| page.iter().all(|byte| *byte == 0xa5)),
            "the kernel writes to what is the user's"
        );
        drop((pages, kept));
        closing.wait(SOON).expect("quiet soon");
        drop(pool);
        all_home(&buddy);
    });
}

/// Whatever is dropped first.
#[test]
fn any_order_of_the_end() {
    in_bare_namespace(|| {
        scene::make(1500, 1);
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]] {
            let (buddy, umem) = memory();
            let Port { umem: its, pool, mut queues, program } = Port::open("f0", &umem, &buddy, &Setup::default());
            let a = Wire::open("a0");
            (0..10).for_each(|number| a.send(&frame(number, 1000)));
            let packets: Vec<_> = queues[0].rx.receive(5).map(|packet| packet.into_packet()).collect();
            drop((its, umem));
            let mut parts = [
                Some(Box::new(pool) as Box<dyn core::any::Any>),
                Some(Box::new(queues)),
                Some(Box::new(program)),
                Some(Box::new(packets)),
            ];
            order.into_iter().for_each(|part: usize| drop(parts[part].take()));
            soon("all pages are home", || buddy.free_units() == buddy.total_units());
            all_home(&buddy);
        }
    });
}
