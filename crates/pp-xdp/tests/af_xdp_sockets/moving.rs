//! Forwarding moves packets: no copy, no allocation, the page that came in goes out.

use std::time::{Duration, Instant};

use pp_provider_buddy::Buddy;
use pp_xdp::af_xdp::{AttachMode, Buffers, Packets, QueueConfig, SendError, Umem, XskQueue};
use rustix::event::{Timespec, epoll};

use crate::heap::allocations;
use crate::net::namespace::in_bare_namespace;
use crate::scene::{self, Port, SOON, Setup, all_home, arrive, forward};
use crate::wire::{Wire, frame, lengths};

const MEMORY_BYTES: usize = 4 << 20;

/// Both ports on one UMEM.
fn ports(setup: &Setup) -> (Port, Port, Buddy) {
    let buddy = Buddy::anonymous(MEMORY_BYTES).unwrap();
    let umem = Umem::new(&buddy).unwrap();
    (Port::open("f0", &umem, &buddy, setup), Port::open("f1", &umem, &buddy, setup), buddy)
}

#[test]
fn a_page_that_came_in_goes_out() {
    in_bare_namespace(|| {
        scene::make(1500, 1);
        for attach in [AttachMode::Generic, AttachMode::Native] {
            let (mut f0, mut f1, buddy) = ports(&Setup { attach, ..Setup::default() });
            let (a, b) = (Wire::open("a0"), Wire::open("b0"));
            let (mut came, mut went) = (Vec::new(), Vec::new());
            for round in 0..40 {
                let numbers = round * 16..(round + 1) * 16;
                numbers.clone().for_each(|number| a.send(&frame(number, 100 + number as usize)));
                came.clear();
                went.clear();
                arrive(&b, numbers, || {
                    for packet in f0.queues[0].rx.receive(64) {
                        came.push(packet.data().unwrap().as_ptr().addr() - packet.headroom());
                        f1.queues[0].tx.send(packet).map_err(|refused| refused.reason).unwrap();
                    }
                    f1.queues[0].tx.flush().unwrap();
                    f1.queues[0].tx.complete(64, |page| went.push(page.as_ptr().addr()));
                    f0.queues[0].rx.refill(&mut f0.pool).unwrap()
                });
                while went.len() < came.len() {
                    f1.queues[0].tx.complete(64, |page| went.push(page.as_ptr().addr()));
                }
                came.sort_unstable();
                went.sort_unstable();
                assert_eq!((came.len(), &came), (16, &went));
            }
            assert_eq!(f1.queues[0].counters().copied_bytes.get(), 0);
            scene::close([f0, f1]);
            all_home(&buddy);
        }
    });
}

/// Nor does a packet of several chunks take more than the list of them.
#[test]
fn no_allocation_a_packet() {
    in_bare_namespace(|| {
        scene::make(9000, 1);
        for attach in [AttachMode::Generic, AttachMode::Native] {
            let config =
                QueueConfig { entries: 128, buffers: Buffers::Several, patience: SOON, ..QueueConfig::default() };
            let setup = Setup { attach, packets: Packets::SeveralBuffers, config, ..Setup::default() };
            let (mut f0, mut f1, buddy) = ports(&setup);
            let (a, b) = (Wire::open("a0"), Wire::open("b0"));
            let mut round = 0;
            let mut traffic = |len: fn(u32) -> usize| {
                let numbers = round * 16..(round + 1) * 16;
                round += 1;
                numbers.clone().for_each(|number| a.send(&frame(number, len(number))));
                let mut asked = 0;
                arrive(&b, numbers, || {
                    let (moved, allocations) = allocations(|| forward(&mut f0, &mut f1));
                    asked += allocations;
                    moved
                });
                asked
            };
            let [short, long]: [fn(u32) -> usize; 2] = [|number| 60 + number as usize % 1400, |_| 9000];
            for _warm in 0..20 {
                traffic(short);
            }
            let asked: Vec<_> = (0..20).map(|_| traffic(short)).collect();
            assert_eq!(asked, [0; 20]);
            let asked: Vec<_> = (0..20).map(|_| traffic(long)).collect();
            assert_eq!(asked, [16; 20], "one a packet");
            assert_eq!(f1.queues[0].counters().copied_bytes.get(), 0);
            scene::close([f0, f1]);
            all_home(&buddy);
        }
    });
}

#[test]
fn between_umems_a_packet_is_copied_once() {
    in_bare_namespace(|| {
        scene::make(1500, 1);
        let buddies = [Buddy::anonymous(MEMORY_BYTES).unwrap(), Buddy::anonymous(MEMORY_BYTES).unwrap()];
        let open = |name, buddy| Port::open(name, &Umem::new(buddy).unwrap(), buddy, &Setup::default());
        let (mut f0, mut f1) = (open("f0", &buddies[0]), open("f1", &buddies[1]));
        let (a, b) = (Wire::open("a0"), Wire::open("b0"));

        a.send(&frame(0, 700));
        assert!(f0.queues[0].wait(Some(SOON)).unwrap());
        let packet = f0.queues[0].rx.receive(1).next().unwrap();
        let refused = f1.queues[0].tx.send(packet).unwrap_err();
        assert_eq!(refused.reason, SendError::NotInUmem);
        assert_eq!(refused.reason.to_string(), "the packet is not in the queue's UMEM; copy it");
        f1.queues[0].tx.send_copy(refused.buffer, &mut f1.pool).map_err(|refused| refused.reason).unwrap();
        arrive(&b, 0..1, || forward(&mut f0, &mut f1));
        assert_eq!(f1.queues[0].counters().copied_bytes.get(), 700);

        let numbers = 1..200;
        for (number, len) in numbers.clone().zip(lengths(1500)) {
            a.send(&frame(number, len));
            if number % 10 == 9 {
                forward(&mut f0, &mut f1);
            }
        }
        arrive(&b, numbers, || forward(&mut f0, &mut f1));
        f1.complete_all();
        let counters = f1.queues[0].counters();
        assert_eq!(counters.copied_bytes.get(), 700 + lengths(1500).take(199).sum::<usize>());
        assert_eq!(counters.bytes_out.get(), counters.copied_bytes.get());
        scene::close([f0, f1]);
        buddies.iter().for_each(all_home);
    });
}

/// By the queue itself, and by its descriptor in somebody else's loop.
#[test]
fn waiting_for_packets() {
    in_bare_namespace(|| {
        scene::make(1500, 1);
        let (mut f0, mut f1, buddy) = ports(&Setup::default());
        let a = Wire::open("a0");
        let limit = Duration::from_millis(50);
        let begun = Instant::now();
        assert!(!f0.queues[0].wait(Some(limit)).unwrap());
        assert!(begun.elapsed() >= limit);

        let poller = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        for (port, name) in [(&f0, 0), (&f1, 1)] {
            epoll::add(&poller, &port.queues[0], epoll::EventData::new_u64(name), epoll::EventFlags::IN).unwrap();
        }
        let ready = |limit: Duration| {
            let mut events = Vec::with_capacity(4);
            let limit = Timespec::try_from(limit).unwrap();
            epoll::wait(&poller, rustix::buffer::spare_capacity(&mut events), Some(&limit)).unwrap();
            events.iter().map(|event| event.data.u64()).collect::<Vec<_>>()
        };
        assert_eq!(ready(limit), [0_u64; 0]);
        a.send(&frame(0, 60));
        assert_eq!(ready(SOON), [0]);
        assert!(f0.queues[0].wait(None).unwrap());
        assert_eq!(forward(&mut f0, &mut f1), 1);
        assert_eq!(ready(Duration::ZERO), [0_u64; 0]);
        drop(poller);
        f1.complete_all();
        scene::close([f0, f1]);
        all_home(&buddy);
    });
}

/// One thread receives and another sends; the queues are nobody's as a whole.
#[test]
fn sides_on_threads_of_their_own() {
    in_bare_namespace(|| {
        scene::make(1500, 1);
        let (f0, f1, buddy) = ports(&Setup::default());
        let (a, b) = (Wire::open("a0"), Wire::open("b0"));
        let Port { umem, pool: mut pool0, queues, program: program0 } = f0;
        let XskQueue { rx: mut from, tx: idle, .. } = queues.into_iter().next().unwrap();
        let Port { pool: pool1, queues, program: program1, .. } = f1;
        let XskQueue { tx: mut to, rx: other_idle, .. } = queues.into_iter().next().unwrap();
        let handles = [pool0.handle(), pool1.handle()];

        let count: u32 = 2000;
        let (packets, sending) = std::sync::mpsc::sync_channel::<pp_xdp::Packet>(64);
        let sender = std::thread::spawn(move || {
            for packet in sending {
                let mut packet = Some(packet);
                while let Some(again) = packet.take() {
                    packet = to.send(again).err().map(|refused| refused.buffer);
                    to.flush().unwrap();
                    to.complete(64, drop);
                }
            }
            while to.has_unsent() {
                to.flush().unwrap();
            }
        });
        let mut sent = 0;
        arrive(&b, 0..count, || {
            for number in sent..count.min(sent + 8) {
                a.send(&frame(number, 60 + number as usize % 1000));
            }
            sent = count.min(sent + 8);
            from.receive(64).for_each(|packet| packets.send(packet.into_packet()).unwrap());
            // Its pages come back through the other thread, so there may be none for a moment.
            from.refill(&mut pool0).unwrap_or(0)
        });
        drop(packets);
        sender.join().unwrap();
        drop((from, idle, other_idle, program0, program1));
        let patience = Instant::now() + SOON;
        while handles.iter().any(|pool| umem.kernel_held(pool) > 0) {
            assert!(Instant::now() < patience, "still held");
            std::thread::sleep(Duration::from_millis(1));
        }
        drop((pool0, pool1));
        all_home(&buddy);
    });
}
