//! Interfaces that go, consumers that sleep, pages that are elsewhere: none is lost in any of it.

use std::time::{Duration, Instant};

use pp_core::AllocError;
use pp_xdp::af_xdp::{AttachMode, Bound, RefillError, SendError, WakeError};

use crate::net::namespace::{in_bare_namespace, ip};
use crate::scene::{self, Port, SOON, Setup, all_home, arrive, forward, memory, soon};
use crate::wire::{Wire, check, frame};

const MODES: [AttachMode; 2] = [AttachMode::Generic, AttachMode::Native];

#[test]
fn an_interface_that_is_deleted() {
    in_bare_namespace(|| {
        scene::make(1500, 1);
        for attach in MODES {
            let (buddy, umem) = memory();
            let setup = Setup { attach, ..Setup::default() };
            let (mut f0, mut f1) = (Port::open("f0", &umem, &buddy, &setup), Port::open("f1", &umem, &buddy, &setup));
            let (a, b) = (Wire::open("a0"), Wire::open("b0"));
            (0..20).for_each(|number| a.send(&frame(number, 500)));
            arrive(&b, 0..10, || {
                let packets: Vec<_> = f0.queues[0].rx.receive(10).map(|packet| packet.into_packet()).collect();
                packets.into_iter().for_each(|packet| f1.queues[0].tx.send(packet).map_err(drop).unwrap());
                f1.queues[0].tx.flush().unwrap();
                0
            });
            // Some received, some in rings, some sent and not completed.
            assert!(f0.queues[0].wait(Some(SOON)).unwrap());
            let kept: Vec<_> = f0.queues[0].rx.receive(3).map(|packet| packet.into_packet()).collect();
            for number in 0..3 {
                f0.queues[0].tx.send_bytes(&frame(number, 80), &mut f0.pool).unwrap();
            }
            ip("link del dev a0");

            let words = "the interface is gone; close the queue";
            assert_eq!(f0.queues[0].tx.flush(), Err(WakeError::Gone));
            assert_eq!(f0.queues[0].tx.flush().unwrap_err().to_string(), words);
            assert_eq!(f0.queues[0].rx.wake(), Err(WakeError::Gone));
            let begun = Instant::now();
            assert_eq!(f0.queues[0].wait(Some(SOON)), Err(WakeError::Gone));
            assert_eq!(f0.queues[0].wait(None), Err(WakeError::Gone));
            assert!(begun.elapsed() < SOON / 2);
            assert!(!f0.program.as_ref().unwrap().is_attached().unwrap());
            // What had come in is there still, and can leave by the other.
            let rest: Vec<_> = f0.queues[0].rx.receive(64).map(|packet| packet.into_packet()).collect();
            assert_eq!((kept.len(), rest.len()), (3, 7));
            for packet in kept.into_iter().chain(rest) {
                f1.queues[0].tx.send(packet).map_err(|refused| refused.reason).unwrap();
            }
            arrive(&b, 10..20, || {
                f1.queues[0].tx.flush().unwrap();
                f1.queues[0].tx.complete_into(&mut f0.pool)
            });
            assert_eq!(f0.pool.stats().in_use(), f0.held());
            assert!(f0.held() >= 3);

            // It is there again, and opened into the same memory before the dead queue is closed.
            ip("link add a0 type veth peer name f0");
            ip("link set a0 up");
            ip("link set f0 up");
            let mut again = Port::open("f0", &umem, &buddy, &setup);
            assert_eq!(again.queues[0].modes().bound, Bound::Copy);
            let a = Wire::open("a0");
            (20..40).for_each(|number| a.send(&frame(number, 500)));
            arrive(&b, 20..40, || forward(&mut again, &mut f1));
            // The other interface has come through all of it.
            (0..20).for_each(|number| b.send(&frame(number, 500)));
            arrive(&a, 0..20, || forward(&mut f1, &mut again));

            f0.close();
            f1.complete_all();
            again.complete_all();
            scene::close([again, f1]);
            all_home(&buddy);
        }
    });
}

/// The last one that knew the memory goes with its interface, and there is no other to share it with.
#[test]
fn every_interface_of_a_umem_is_deleted() {
    in_bare_namespace(|| {
        scene::make(1500, 1);
        let (buddy, umem) = memory();
        let setup = Setup::default();
        let f0 = Port::open("f0", &umem, &buddy, &setup);
        ip("link del dev a0");
        let mut f1 = Port::open("f1", &umem, &buddy, &setup);
        let b = Wire::open("b0");
        b.send(&frame(0, 60));
        assert!(f1.queues[0].wait(Some(SOON)).unwrap());
        assert_eq!(f1.queues[0].rx.receive(64).count(), 1);
        scene::close([f0, f1]);
        all_home(&buddy);
    });
}

#[test]
fn an_interface_that_moves_to_another_namespace() {
    in_bare_namespace(|| {
        scene::make(1500, 1);
        let (buddy, umem) = memory();
        let (f0, mut f1) =
            (Port::open("f0", &umem, &buddy, &Setup::default()), Port::open("f1", &umem, &buddy, &Setup::default()));
        let (thread, other) = std::sync::mpsc::channel();
        let (until_the_end, end) = std::sync::mpsc::channel::<()>();
        let elsewhere = std::thread::spawn(move || {
            in_bare_namespace(move || {
                // SAFETY: has no arguments.
                thread.send(unsafe { libc::gettid() }).unwrap();
                let _ended = end.recv();
            });
        });
        ip(&format!("link set dev f1 netns {}", other.recv().unwrap()));
        f1.queues[0].tx.send_bytes(&frame(0, 60), &mut f1.pool).unwrap();
        assert_eq!(f1.queues[0].tx.flush(), Err(WakeError::Gone));
        scene::close([f0, f1]);
        all_home(&buddy);
        drop(until_the_end);
        elsewhere.join().unwrap();
    });
}

#[test]
fn down_and_up_under_traffic() {
    in_bare_namespace(|| {
        scene::make(1500, 1);
        for attach in MODES {
            let (buddy, umem) = memory();
            let setup = Setup { attach, ..Setup::default() };
            let (mut f0, mut f1) = (Port::open("f0", &umem, &buddy, &setup), Port::open("f1", &umem, &buddy, &setup));
            let (a, b) = (Wire::open("a0"), Wire::open("b0"));
            let traffic = |f0: &mut Port, f1: &mut Port| {
                (0..30).for_each(|number| a.send(&frame(number, 500)));
                arrive(&b, 0..30, || forward(f0, f1));
            };
            traffic(&mut f0, &mut f1);

            // Sending, to an interface that is down.
            ip("link set f1 down");
            (0..10).for_each(|number| a.send(&frame(number, 500)));
            soon("all came in", || {
                for packet in f0.queues[0].rx.receive(64) {
                    f1.queues[0].tx.send(packet).map_err(|refused| refused.reason).unwrap();
                }
                f0.queues[0].counters().packets_in.get() == 40
            });
            assert_eq!(f1.queues[0].tx.flush(), Err(WakeError::Down));
            assert_eq!(
                f1.queues[0].tx.flush().unwrap_err().to_string(),
                "the interface is down; bring it up (ip link set IFACE up), or wait until somebody does"
            );
            assert!(f1.queues[0].tx.has_unsent());
            assert!(!f1.queues[0].wait(Some(Duration::from_millis(20))).unwrap());
            ip("link set f1 up");
            arrive(&b, 0..10, || forward(&mut f0, &mut f1));

            // Receiving, from one that goes down and comes up while packets come.
            for _ in 0..5 {
                (0..10).for_each(|_| send_and_forget(&a));
                ip("link set f0 down");
                (0..10).for_each(|_| send_and_forget(&a));
                ip("link set f0 up");
                (0..10).for_each(|_| send_and_forget(&a));
                forward(&mut f0, &mut f1);
            }
            // Some came through, some did not; none of that is left behind.
            let mut idle = 0;
            while idle < 20 {
                std::thread::sleep(Duration::from_millis(1));
                idle = if forward(&mut f0, &mut f1) == 0 && b.receive().is_none() { idle + 1 } else { 0 };
            }
            traffic(&mut f0, &mut f1);
            f1.complete_all();
            assert_eq!(f0.pool.stats().in_use(), f0.held());
            assert_eq!(f0.held(), 64);
            assert_eq!((f0.queues[0].counters().nonsense(), f1.queues[0].counters().nonsense()), (0, 0));
            scene::close([f0, f1]);
            all_home(&buddy);
        }
    });
}

/// A frame that the far end may not take.
fn send_and_forget(wire: &Wire) {
    let _ = wire.try_send(&frame(0, 500));
}

/// For seconds nobody looks at the rings, and packets come all the time.
#[test]
fn a_consumer_that_sleeps() {
    in_bare_namespace(|| {
        scene::make(1500, 1);
        for attach in MODES {
            let (buddy, umem) = memory();
            let setup = Setup { attach, ..Setup::default() };
            let (mut f0, mut f1) = (Port::open("f0", &umem, &buddy, &setup), Port::open("f1", &umem, &buddy, &setup));
            let (a, b) = (Wire::open("a0"), Wire::open("b0"));
            let (begun, mut sent) = (Instant::now(), 0);
            while begun.elapsed() < Duration::from_secs(2) {
                for _ in 0..8 {
                    a.send(&frame(sent, 60 + sent as usize % 1400));
                    sent += 1;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            let lost = |port: &Port| {
                let statistics = port.statistics();
                assert_eq!((statistics.rx_invalid_descs, statistics.tx_invalid_descs), (0, 0));
                // As often as a chunk was missing.
                assert!(statistics.rx_fill_ring_empty > 0, "{statistics:?}");
                statistics.rx_dropped + statistics.rx_ring_full
            };
            soon("all are counted", || lost(&f0) + 64 == u64::from(sent));
            assert_eq!((f0.held(), f0.pool.stats().in_use()), (64, 64));

            // It goes on with the 64 first ones, and nothing is lost from there on.
            arrive(&b, 0..64, || forward(&mut f0, &mut f1));
            for burst in 0..20 {
                let numbers = sent + burst * 16..sent + (burst + 1) * 16;
                numbers.clone().for_each(|number| a.send(&frame(number, 1000)));
                arrive(&b, numbers, || forward(&mut f0, &mut f1));
            }
            assert_eq!(lost(&f0) + 64, u64::from(sent));
            f1.complete_all();
            assert_eq!((f0.held(), f0.pool.stats().in_use()), (64, 64));
            scene::close([f0, f1]);
            all_home(&buddy);
        }
    });
}

/// Nobody takes completions: the rings fill up, say so, and go on where they stopped.
#[test]
fn a_sender_that_does_not_look() {
    in_bare_namespace(|| {
        scene::make(1500, 1);
        let (buddy, umem) = memory();
        let mut f1 = Port::open("f1", &umem, &buddy, &Setup::default());
        let b = Wire::open("b0");
        let (mut numbers, mut refused) = (0, 0);
        while refused < 50 {
            match f1.queues[0].tx.send_bytes(&frame(numbers, 300), &mut f1.pool) {
                Ok(()) => numbers += 1,
                Err(error) => {
                    assert_eq!(error, SendError::Full);
                    assert_eq!(
                        error.to_string(),
                        "the transmit ring is full; flush it and try again, or drop the packet"
                    );
                    refused += 1;
                }
            }
            f1.queues[0].tx.flush().unwrap();
        }
        // As many are completed as that ring holds, and as many wait in the other.
        assert_eq!(numbers, 128);
        assert_eq!((f1.held(), f1.pool.stats().in_use()), (64 + 128, 64 + 128));
        assert!(f1.queues[0].tx.has_unsent());
        arrive(&b, 0..numbers, || {
            let completed = f1.queues[0].tx.complete_into(&mut f1.pool);
            f1.queues[0].tx.flush().unwrap();
            completed
        });
        f1.complete_all();
        f1.close();
        all_home(&buddy);
    });
}

/// The other end is: packets are thrown away, and their pages come back.
#[test]
fn a_far_end_that_is_down() {
    in_bare_namespace(|| {
        scene::make(1500, 1);
        for attach in MODES {
            let (buddy, umem) = memory();
            let setup = Setup { attach, ..Setup::default() };
            let (mut f0, mut f1) = (Port::open("f0", &umem, &buddy, &setup), Port::open("f1", &umem, &buddy, &setup));
            let (a, b) = (Wire::open("a0"), Wire::open("b0"));
            ip("link set b0 down");
            for burst in 0..10 {
                (0..30).for_each(|number| a.send(&frame(burst * 30 + number, 500)));
                soon("all are sent", || {
                    forward(&mut f0, &mut f1);
                    f1.queues[0].counters().packets_out.get() == (burst + 1) as usize * 30
                });
            }
            f1.complete_all();
            assert!(!f1.queues[0].tx.has_unsent());
            ip("link set b0 up");
            soon("nothing is under way", || b.receive().is_none());
            (0..30).for_each(|number| a.send(&frame(number, 500)));
            arrive(&b, 0..30, || forward(&mut f0, &mut f1));
            f1.complete_all();
            scene::close([f0, f1]);
            all_home(&buddy);
        }
    });
}

/// All pages are somewhere else when the queue is opened.
#[test]
fn a_queue_without_pages() {
    in_bare_namespace(|| {
        scene::make(1500, 1);
        let (buddy, umem) = memory();
        let mut hoarder = scene::pool(&buddy, "hoarder");
        let mut hoard: Vec<_> = core::iter::from_fn(|| hoarder.alloc().ok()).collect();
        assert_eq!(hoard.len(), buddy.total_units());
        let mut f0 = Port::open("f0", &umem, &buddy, &Setup::default());
        assert_eq!((f0.held(), f0.pool.stats().in_use()), (0, 0));
        let error = f0.queues[0].rx.refill(&mut f0.pool).unwrap_err();
        assert_eq!(error, RefillError::Alloc(AllocError::OutOfMemory));

        let a = Wire::open("a0");
        (0..20).for_each(|number| a.send(&frame(number, 500)));
        soon("all are dropped", || f0.statistics().rx_dropped == 20);
        assert!(f0.statistics().rx_fill_ring_empty >= 20);
        // A few come free, then enough.
        drop(hoard.split_off(hoard.len() - 5));
        hoarder.trim(0);
        soon("five are given", || f0.queues[0].rx.refill(&mut f0.pool).is_err() && f0.held() == 5);
        (20..30).for_each(|number| a.send(&frame(number, 500)));
        soon("five came in", || f0.statistics().rx_dropped == 25);
        let numbers: Vec<_> = f0.queues[0].rx.receive(64).map(|packet| check(packet.data().unwrap())).collect();
        assert_eq!(numbers, [20, 21, 22, 23, 24]);
        drop((hoard, hoarder));
        soon("the ring is full", || f0.queues[0].rx.refill(&mut f0.pool).is_ok() && f0.held() == 64);
        (30..60).for_each(|number| a.send(&frame(number, 500)));
        soon("all came in", || f0.queues[0].rx.receive(64).count() > 0);
        f0.close();
        all_home(&buddy);
    });
}
