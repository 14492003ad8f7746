//! Whose packets a queue gets: of a filter, of some queues, by a program of the user's; and what somebody else's is left.

use core::time::Duration;

use pp_xdp::af_xdp::{
    AttachMode, Attached, Bound, Buffers, Filter, Interface, Packets, ProgramError, QueueConfig, RedirectProgram,
    XskMap,
};

use crate::net::foreign;
use crate::net::namespace::{Shown, ifindex, in_bare_namespace, shown};
use crate::scene::{self, Port, SOON, Setup, all_home, arrive, forward, memory};
use crate::wire::{ETHERTYPE, OTHER_ETHERTYPE, Wire, frame, frame_of};
use crate::{PROCESSORS, on_processor};

const MODES: [(AttachMode, u32, Shown); 2] =
    [(AttachMode::Generic, foreign::SKB_MODE, Shown::Generic), (AttachMode::Native, foreign::DRV_MODE, Shown::Native)];

/// What the filter leaves alone goes up the stack of the interface.
#[test]
fn a_part_of_the_traffic() {
    in_bare_namespace(|| {
        scene::make(1500, 1);
        for (attach, ..) in MODES {
            let (buddy, umem) = memory();
            let setup = Setup { attach, filter: Filter::new().ethertype(ETHERTYPE), ..Setup::default() };
            let (mut f0, mut f1) = (Port::open("f0", &umem, &buddy, &setup), Port::open("f1", &umem, &buddy, &setup));
            let (a, b) = (Wire::open("a0"), Wire::open("b0"));
            let (passed, taken) = (Wire::of("f0", OTHER_ETHERTYPE), Wire::of("f0", ETHERTYPE));
            for burst in 0..10 {
                let numbers = burst * 16..(burst + 1) * 16;
                for number in numbers.clone() {
                    a.send(&frame(number, 200));
                    a.send(&frame_of(OTHER_ETHERTYPE, number, 300));
                }
                arrive(&b, numbers.clone(), || forward(&mut f0, &mut f1));
                arrive(&passed, numbers, || 0);
            }
            assert_eq!(taken.receive(), None);
            assert_eq!(f0.queues[0].counters().packets_in.get(), 160);
            f1.complete_all();
            scene::close([f0, f1]);
            all_home(&buddy);
        }
    });
}

/// The map has a socket for one of two queues.
#[test]
fn a_queue_without_a_socket() {
    in_bare_namespace(|| {
        if *PROCESSORS < 2 {
            return eprintln!("SKIPPED: a frame's queue is that of the processor, and there is one");
        }
        scene::make(1500, 2);
        let (buddy, umem) = memory();
        // Without native mode a veth has everything come in on its first queue.
        let setup = Setup { attach: AttachMode::Native, queues: 2, ..Setup::default() };
        let mut f0 = Port::open("f0", &umem, &buddy, &setup);
        f0.program.as_ref().unwrap().map().remove(1).unwrap();
        let (a, passed) = (Wire::open("a0"), Wire::open("f0"));
        for number in 0..40 {
            on_processor(number % 2);
            a.send(&frame(number, 200));
        }
        let mut up = 0;
        while passed.receive_within(Duration::from_millis(20)).is_some() {
            up += 1;
        }
        let [one, two] = [0, 1].map(|queue: usize| f0.queues[queue].rx.receive(64).count());
        assert_eq!((up, one, two), (20, 20, 0));
        f0.close();
        all_home(&buddy);
    });
}

#[test]
fn a_program_of_the_users_own() {
    in_bare_namespace(|| {
        scene::make(1500, 1);
        for (attach, flags, there) in MODES {
            let (buddy, umem) = memory();
            let setup = Setup { attach, ..Setup::default() };
            let mut f0 = Port::without_program("f0", &umem, &buddy, &setup);
            let mut f1 = Port::open("f1", &umem, &buddy, &setup);
            let (a, b) = (Wire::open("a0"), Wire::open("b0"));

            let map = foreign::socket_map(4);
            let link = foreign::link(&foreign::load_redirect(&map), ifindex("f0"), flags);
            let map = XskMap::from_fd(map).unwrap();
            assert_eq!((map.entries(), shown("f0")), (4, there));
            a.send(&frame(0, 60)); // there is no socket yet, and this program drops it then
            map.insert(0, &f0.queues[0]).unwrap();
            let numbers = 1..50;
            numbers.clone().for_each(|number| a.send(&frame(number, 60 + number as usize)));
            arrive(&b, numbers, || forward(&mut f0, &mut f1));
            assert_eq!(f0.queues[0].counters().packets_in.get(), 49);

            // The program stays when the queue goes.
            f1.complete_all();
            scene::close([f0, f1]);
            assert_eq!(shown("f0"), there);
            drop(link);
            assert_eq!(shown("f0"), Shown::Nowhere);
            all_home(&buddy);
        }
    });
}

/// It is left alone; sending needs no program, and receiving waits until it has gone.
#[test]
fn somebody_elses_program() {
    in_bare_namespace(|| {
        scene::make(1500, 1);
        for (attach, flags, there) in MODES {
            let (buddy, umem) = memory();
            let setup = Setup { attach, ..Setup::default() };
            let theirs = foreign::attach_by_link(ifindex("f0"), flags);
            let mut f0 = Port::without_program("f0", &umem, &buddy, &setup);
            let mut f1 = Port::open("f1", &umem, &buddy, &setup);
            let (a, b, passed) = (Wire::open("a0"), Wire::open("b0"), Wire::open("f0"));

            let index = Interface::by_name("f0").unwrap().index();
            let error = RedirectProgram::attach(index, attach, &Filter::new(), Packets::Whole, 1).unwrap_err();
            assert!(matches!(error, ProgramError::OtherProgram { .. }), "{error:?}");
            assert_eq!(
                error.to_string(),
                "f0 has another XDP program, or is part of a device that has, or has a device on top (macvlan, vlan, vxlan) that \
                 has; `ip link show` shows it. End the process that attached it, or detach it by `ip link set dev f0 xdp off`, and by `xdpgeneric off` where it is shown as \
                 xdpgeneric"
            );
            assert_eq!(shown("f0"), there);
            a.send(&frame(0, 60));
            arrive(&passed, 0..1, || 0);
            (0..20).for_each(|number| b.send(&frame(number, 500)));
            arrive(&a, 0..20, || forward(&mut f1, &mut f0));

            drop(theirs);
            f0.attach("f0", &setup);
            (0..20).for_each(|number| a.send(&frame(number, 500)));
            arrive(&b, 0..20, || forward(&mut f0, &mut f1));
            assert_eq!(f0.queues[0].counters().packets_in.get(), 20);
            f0.complete_all();
            f1.complete_all();
            scene::close([f0, f1]);
            all_home(&buddy);
        }
    });
}

/// A socket leaves the map when it is closed, and its place takes the next one.
#[test]
fn one_queue_after_the_other() {
    in_bare_namespace(|| {
        scene::make(1500, 1);
        let (buddy, umem) = memory();
        let setup = Setup::default();
        let mut f1 = Port::open("f1", &umem, &buddy, &setup);
        let (a, b) = (Wire::open("a0"), Wire::open("b0"));
        let mut kept = None;
        for turn in 0..5 {
            let mut f0 = Port::without_program("f0", &umem, &buddy, &setup);
            match &kept {
                None => f0.attach("f0", &setup),
                Some(program) => RedirectProgram::map(program).insert(0, &f0.queues[0]).unwrap(),
            }
            let numbers = turn * 20..(turn + 1) * 20;
            numbers.clone().for_each(|number| a.send(&frame(number, 500)));
            arrive(&b, numbers, || forward(&mut f0, &mut f1));
            kept = kept.or(f0.program.take());
            f0.close();
            assert_eq!(RedirectProgram::is_attached(kept.as_ref().unwrap()).ok(), Some(true));
        }
        let passed = Wire::open("f0");
        a.send(&frame(0, 60));
        assert_eq!(passed.receive_within(SOON), Some(0));
        f1.complete_all();
        f1.close();
        all_home(&buddy);
    });
}

/// Asked for the best, it says what it got and why; what is too long for it is counted.
#[test]
fn less_than_the_best() {
    in_bare_namespace(|| {
        scene::make(9000, 1);
        let (buddy, umem) = memory();
        let (mut f0, mut f1) =
            (Port::open("f0", &umem, &buddy, &Setup::default()), Port::open("f1", &umem, &buddy, &Setup::default()));
        for port in [&f0, &f1] {
            let program = port.program.as_ref().unwrap();
            assert_eq!((program.attached(), port.queues[0].modes().bound), (Attached::Generic, Bound::Copy));
        }
        assert_eq!(
            f0.program.as_ref().unwrap().native_refusal().unwrap().to_string(),
            "packets on f0 may be longer than one buffer of its driver; take packets of several, set a lower MTU (`ip link set \
             dev f0 mtu 1500`) or use generic mode"
        );
        let (a, b) = (Wire::open("a0"), Wire::open("b0"));
        let longest = umem.packet_bytes() as usize;
        for (number, len) in (0..).zip([60, longest + 1, longest, 9000, 1514]) {
            a.send(&frame(number, len));
        }
        arrive(&b, [0, 2, 4], || forward(&mut f0, &mut f1));
        assert_eq!((f0.statistics().rx_dropped, f0.queues[0].counters().packets_in.get()), (2, 3));
        f1.complete_all();
        scene::close([f0, f1]);
        all_home(&buddy);
    });
}

/// From a port that takes long packets to one that does not.
#[test]
fn a_packet_that_is_too_long_for_the_other_port() {
    in_bare_namespace(|| {
        scene::make(9000, 1);
        let ((buddy, umem), (other_buddy, other_umem)) = (memory(), memory());
        let config = QueueConfig { entries: 64, buffers: Buffers::Several, patience: SOON, ..QueueConfig::default() };
        let long = Setup { packets: Packets::SeveralBuffers, config, ..Setup::default() };
        let mut f0 = Port::open("f0", &umem, &buddy, &long);
        assert_eq!(f0.program.as_ref().unwrap().attached(), Attached::Native);
        let mut f1 = Port::open("f1", &other_umem, &other_buddy, &Setup::default());
        let (a, b) = (Wire::open("a0"), Wire::open("b0"));
        a.send(&frame(0, 9000));
        a.send(&frame(1, 4000));
        let mut refused = 0;
        arrive(&b, 1..2, || {
            for packet in f0.queues[0].rx.receive(64) {
                let Err(error) = f1.queues[0].tx.send_copy(packet, &mut f1.pool) else { continue };
                assert_eq!(
                    error.reason.to_string(),
                    "the packet is in several chunks, and the queue sends packets of one; open it for several"
                );
                refused += 1;
            }
            f1.queues[0].tx.flush().unwrap();
            refused
        });
        assert_eq!((refused, f1.queues[0].counters().copied_bytes.get()), (1, 4000));
        assert_eq!(f0.pool.stats().in_use(), f0.held());
        f1.complete_all();
        scene::close([f0, f1]);
        all_home(&buddy);
        all_home(&other_buddy);
    });
}
