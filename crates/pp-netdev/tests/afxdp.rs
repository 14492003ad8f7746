//! Real packets between two interfaces, as root.

#![cfg(all(feature = "af-xdp", target_os = "linux"))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

#[path = "support/wire.rs"]
mod wire;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use pp_core::{DmaDirection, PagePool};
use pp_netdev::afxdp::{AfxdpForwarder, AfxdpSink, AfxdpSource, Directions, LinkError, PortError, Role};
use pp_netdev::{Action, DmaWindow, ForwardConfig, Forwarder, Frame, FrameSink, FrameSource, StopFlag};
use pp_provider_buddy::Buddy;
use pp_testbed::{Arp, Path, Ping, skip_without_rights};
use pp_xdp::af_xdp::{Attached, Buffers};

use wire::{Memories, as_it_is, check, forward, memory, port};

#[test]
fn pages_move_both_ways_and_come_home() {
    skip_without_rights!("ping");
    let path = Path::builder().arp(Arp::Asked).build().unwrap();
    let (config, both) = (ForwardConfig::default(), Directions::Both);
    let (report, replies) = forward(
        &path,
        Memories::Shared,
        both,
        as_it_is,
        config,
        |_| {},
        || path.ping(Ping::new().count(50).payload(1400)),
    );
    let report = report.unwrap();
    check(&report);
    assert_eq!(replies.unwrap().received, 50);
    assert!(report.run.traffic.packets_in >= 100 && report.run.traffic.dropped == 0);
    assert_eq!(report.copied_bytes, 0);
    let [from, to] = &*report.ports else { panic!("two ports") };
    assert_eq!((from.attached, to.attached), (Some(Attached::Native), Some(Attached::Native)));
    assert_eq!(from.total(|counters| counters.packets_in.get()), to.total(|counters| counters.packets_out.get()));
    assert!(from.queues[0].kernel.is_some_and(|kernel| kernel.rx_dropped == 0));
    // The interface is the ordinary stack's again, and both can be opened anew.
    path.bridge().unwrap();
    assert_eq!(path.ping(Ping::new().count(5)).unwrap().received, 5);
}

#[test]
fn between_two_memories_bytes_are_copied() {
    skip_without_rights!("ping");
    for mtu in [1500, 9000] {
        let path = Path::builder().mtu(mtu).build().unwrap();
        let (config, both) = (ForwardConfig::default(), Directions::Both);
        let (report, replies) = forward(
            &path,
            Memories::Separate,
            both,
            as_it_is,
            config,
            |_| {},
            || path.ping(Ping::new().count(20).payload(mtu - 28)),
        );
        let report = report.unwrap();
        check(&report);
        assert_eq!(replies.unwrap().received, 20);
        assert_eq!(report.copied_bytes, report.run.traffic.bytes_in, "each byte once");
        let several = report.ports[0].queues[0].modes.buffers == Buffers::Several;
        assert_eq!(several, mtu == 9000, "as long as the MTU asks for");
    }
}

#[test]
fn a_limit_is_exact_and_a_drop_sends_nothing() {
    skip_without_rights!();
    let path = Path::builder().build().unwrap();
    for (program, out) in [(Action::Forward, 1000), (Action::Drop, 0)] {
        let mut config = ForwardConfig::default();
        config.limit = NonZeroU64::new(1000);
        let sink = path.sink().unwrap();
        let one = Directions::One;
        let (report, ()) = forward(
            &path,
            Memories::Shared,
            one,
            |_| program,
            config,
            |_| {},
            || {
                path.generate(path.traffic().rate(20_000).count(2000)).unwrap().wait().unwrap();
            },
        );
        let report = report.unwrap();
        check(&report);
        let traffic = &report.run.traffic;
        assert_eq!((traffic.packets_in, traffic.packets_out, traffic.dropped), (1000, out, 1000 - out));
        assert_eq!(sink.counts().unwrap().packets, out);
        assert_eq!(report.ports[1].attached, None, "nothing is taken from a port that only sends");
    }
}

#[test]
fn an_interface_that_is_deleted_ends_the_run_with_its_name() {
    skip_without_rights!();
    for gone in [Path::IN, Path::OUT] {
        let path = Path::builder().build().unwrap();
        let before = Instant::now();
        let (config, one) = (ForwardConfig::default(), Directions::One);
        let (report, ()) = forward(
            &path,
            Memories::Shared,
            one,
            as_it_is,
            config,
            |_| {},
            || {
                path.forwarder().run(&["ip", "link", "delete", gone]).unwrap();
                // Without the flag, which is set after this.
                thread::sleep(Duration::from_millis(500));
            },
        );
        let error = report.unwrap_err();
        let gone = LinkError::Gone { interface: gone.to_owned() };
        assert!(error.to_string().starts_with(&gone.to_string()), "{error}");
        assert!(before.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn an_interface_that_was_down_is_used_again() {
    skip_without_rights!("ping");
    let path = Path::builder().build().unwrap();
    let mut config = ForwardConfig::default();
    config.observe_every = Duration::from_millis(10);
    let (seen, sees) = std::sync::mpsc::channel();
    let observer = move |progress: &pp_netdev::afxdp::AfxdpProgress| {
        // Who has ended does not listen.
        let _ = seen.send(progress.ports[1].is_down());
    };
    let until = |down: bool| {
        let end = Instant::now() + Duration::from_secs(10);
        while sees.recv_timeout(Duration::from_secs(10)).unwrap() != down {
            assert!(Instant::now() < end, "never {}", if down { "down" } else { "up" });
        }
    };
    let link = |state| path.forwarder().run(&["ip", "link", "set", Path::OUT, state]).unwrap();
    let both = Directions::Both;
    let (report, replies) = forward(&path, Memories::Shared, both, as_it_is, config, observer, || {
        link("down");
        until(true);
        link("up");
        until(false);
        // The other end of the pair takes up to a second to notice.
        let end = Instant::now() + Duration::from_secs(10);
        while path.ping(Ping::new().count(1)).is_err() {
            assert!(Instant::now() < end, "never reached again");
        }
        path.ping(Ping::new().count(10))
    });
    check(&report.unwrap());
    assert_eq!(replies.unwrap().received, 10);
}

/// From one interface through the software NIC out of another: each frame is copied at both.
#[test]
fn a_source_and_a_sink_serve_the_software_nic() {
    skip_without_rights!();
    const FRAMES: u64 = 2000;
    let path = Path::builder().build().unwrap();
    let sink = path.sink().unwrap();
    let stop = StopFlag::new();
    let mut config = ForwardConfig::default();
    config.stop = stop.clone();
    config.limit = NonZeroU64::new(FRAMES);
    let (opened, open) = std::sync::mpsc::channel();
    let run = move || {
        let memory = memory();
        let mut source = AfxdpSource::new(port("f0", &memory, 1, Role::Receives, Buffers::One)).unwrap();
        let mut sink = AfxdpSink::new(port("f1", &memory, 1, Role::Sends, Buffers::One)).unwrap();
        let window = Arc::new(DmaWindow::new(2048, 4096).unwrap());
        let pool = PagePool::builder(Buddy::anonymous(2048 * 4096).unwrap())
            .dma(Arc::clone(&window), DmaDirection::Bidirectional)
            .build()
            .unwrap();
        opened.send(()).unwrap();
        let report = Forwarder::new(pool, window, Action::Forward, config).run(&mut source, &mut sink, |_| {}).unwrap();
        (report, source.close(), sink.close())
    };
    let (report, from, to) = thread::scope(|scope| {
        let forwarder = scope.spawn(|| path.forwarder().enter(run).unwrap());
        open.recv().unwrap();
        path.generate(path.traffic().size(1000).rate(20_000).count(FRAMES).numbered()).unwrap().wait().unwrap();
        thread::sleep(Duration::from_secs(1));
        // In case that some were lost on the way to the port.
        stop.set();
        forwarder.join().unwrap()
    });
    let counts = sink.counts().unwrap();
    assert_eq!((counts.packets, counts.misplaced), (report.traffic.packets_out, 0));
    assert_eq!((report.traffic.packets_in, report.traffic.packets_out), (FRAMES, FRAMES));
    for port in [&from, &to] {
        assert_eq!(port.copied_bytes, 1000 * FRAMES);
        assert_eq!((port.pool.lost, port.pool.in_use, port.is_quiet), (0, port.pool.kernel_held, true));
    }
}

#[test]
fn a_source_that_waits_ends_with_the_flag_and_a_sink_says_what_it_can_t_send() {
    skip_without_rights!();
    let path = Path::builder().build().unwrap();
    let ends = move || {
        let memory = memory();
        let mut source = AfxdpSource::new(port("f0", &memory, 1, Role::Receives, Buffers::One)).unwrap();
        let stop = StopFlag::new();
        source.stop_by(&stop);
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(100));
                stop.set();
            });
            assert_eq!(source.next_frame().unwrap(), None);
        });
        let mut sink = AfxdpSink::new(port("f1", &memory, 1, Role::Sends, Buffers::One)).unwrap();
        let error = sink.send_frame(Frame { bytes: &[0; 5000], mark: 0 }).unwrap_err();
        assert!(error.to_string().starts_with("a packet of 5000 bytes does not go out of `f1`"), "{error}");
        assert!(source.close().is_quiet && sink.close().is_quiet);
    };
    path.forwarder().enter(ends).unwrap();
}

#[test]
fn ports_of_different_queues_do_not_fit_each_other() {
    skip_without_rights!();
    let path = Path::builder().queues(2).build().unwrap();
    let refused = move || {
        let memory = memory();
        let from = port("f0", &memory, 2, Role::Receives, Buffers::One);
        assert!(matches!(AfxdpSource::new(from).unwrap_err(), PortError::OneQueue { queues: 2, .. }));
        let from = port("f0", &memory, 2, Role::Receives, Buffers::One);
        let to = port("f1", &memory, 1, Role::Sends, Buffers::One);
        let error = AfxdpForwarder::new(from, to, Directions::One, as_it_is, ForwardConfig::default()).unwrap_err();
        assert_eq!(error.to_string(), "`afxdp:f0` has 2 queues and `afxdp:f1` 1; open as many of both");
    };
    path.forwarder().enter(refused).unwrap();
}
