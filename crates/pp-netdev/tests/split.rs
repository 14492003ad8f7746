//! Several packets to a page, a page a packet, and the change between the two while packets come.
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "a crate of threads has std")]

mod common;

use std::num::NonZeroU32;
use std::sync::Arc;

use common::{Checker, Collector, Generator, Listed, PAGE, frame, heap_pool, rings_of};
use pp_frag::FragError;
use pp_netdev::ring::{Bells, Completion, ring};
use pp_netdev::{Action, Bell, Buffers, ForwardError, Forwarder, NapiError, RefillError, RxQueue, Verdict};

const UNITS: usize = 512;
const FRAMES: u64 = if cfg!(miri) { 200 } else { 20_000 };

fn split(bytes: u32) -> Buffers {
    Buffers::Split(NonZeroU32::new(bytes).unwrap())
}

#[test]
fn split_pages_carry_every_frame_and_all_come_home() {
    for descriptors in [1, 2, 7, 64] {
        // The largest frame, two to a page, and a page each.
        for bytes in [1500, 2048, 4096] {
            let (provider, pool, window) = heap_pool(UNITS);
            let mut config = rings_of(descriptors);
            config.buffers = split(bytes);
            let mut sink = Checker::default();
            let forwarder = Forwarder::new(pool, window.clone(), Action::Forward, config);
            let report = forwarder.run(&mut Generator::new(FRAMES), &mut sink, |_| {}).unwrap();
            assert_eq!((sink.frames, sink.finished), (FRAMES, true), "{descriptors} descriptors of {bytes} bytes");
            assert_eq!((report.traffic.packets_out, report.traffic.dropped), (FRAMES, 0));
            assert_eq!((report.phases.len(), report.phases[0].buffers), (1, split(bytes)));
            assert_eq!(report.phases[0].packets, FRAMES);
            let pool = &report.pools[0];
            assert_eq!((pool.lost, window.mapped(), provider.free_units()), (0, 0, UNITS));
            assert!(pool.stats.puts() as u64 <= FRAMES, "no more pages than packets");
        }
    }
}

#[test]
fn the_buffers_change_while_packets_come_and_nothing_is_lost() {
    for (first, second) in [(split(2048), Buffers::Pages), (Buffers::Pages, split(1536)), (split(1500), split(2048))] {
        let (provider, pool, window) = heap_pool(UNITS);
        let mut config = rings_of(64);
        config.buffers = first;
        config.change_to = Some(second);
        config.expected = FRAMES.try_into().ok();
        let mut sink = Checker::default();
        let forwarder = Forwarder::new(pool, window.clone(), Action::Forward, config);
        let report = forwarder.run(&mut Generator::new(FRAMES), &mut sink, |_| {}).unwrap();
        assert_eq!((sink.frames, report.traffic.dropped), (FRAMES, 0));
        assert_eq!(report.phases.iter().map(|phase| phase.buffers).collect::<Vec<_>>(), [first, second]);
        let packets: Vec<u64> = report.phases.iter().map(|phase| phase.packets).collect();
        assert_eq!(packets.iter().sum::<u64>(), FRAMES);
        assert!(packets.iter().all(|packets| packets.abs_diff(FRAMES / 2) <= 256), "half and half: {packets:?}");
        assert!(report.phases.iter().all(|phase| phase.seconds > 0.0 && (1..=UNITS).contains(&phase.most_pages)));
        assert_eq!((report.pools[0].lost, window.mapped(), provider.free_units()), (0, 0, UNITS));
    }
}

#[test]
fn frames_beyond_the_fragment_are_length_errors_whatever_room_is_behind_it() {
    let (provider, pool, window) = heap_pool(UNITS);
    let mut config = rings_of(16);
    // Five to a page, of which the fifth has 384 bytes more: what fits it must not depend on chance.
    config.buffers = split(700);
    let frames = [60, 700, 701, 704, 900, 1500, 64].map(|len| vec![len as u8; len]);
    let mut source = Listed::new(frames.iter().cloned().cycle().take(700));
    let mut sink = Collector::default();
    let forwarder = Forwarder::new(pool, window, Action::Forward, config);
    let report = forwarder.run(&mut source, &mut sink, |_| {}).unwrap();
    assert_eq!((report.traffic.rx_length_errors, report.traffic.dropped), (400, 400));
    assert_eq!(sink.frames.len(), 300);
    assert!(sink.frames.iter().all(|(_, bytes)| bytes.len() <= 700));
    assert_eq!(provider.free_units(), UNITS);
}

#[test]
fn small_buffers_do_not_stay_in_the_way_of_large_frames() {
    let (provider, pool, window) = heap_pool(UNITS);
    let mut config = rings_of(64);
    config.buffers = split(700);
    config.change_to = Some(Buffers::Pages);
    config.expected = 2000.try_into().ok();
    // Nothing fits a fragment from before the change to the end.
    let frames = (0..2000).map(|number| vec![7; if number < 900 { 60 } else { 3000 }]);
    let mut sink = Collector::default();
    let forwarder = Forwarder::new(pool, window, Action::Forward, config);
    let report = forwarder.run(&mut Listed::new(frames), &mut sink, |_| {}).unwrap();
    let large = sink.frames.iter().filter(|(_, bytes)| bytes.len() == 3000).count();
    // Those before the change, and as many as the ring had fragments then.
    assert!(large >= 1000 - 64 - 64, "{large} of 1000 large frames in the second half: {:?}", report.traffic);
    assert_eq!((report.phases.len(), report.pools[0].lost, provider.free_units()), (2, 0, UNITS));
}

#[test]
fn dropped_fragments_go_straight_back() {
    let (provider, pool, window) = heap_pool(UNITS);
    let mut config = rings_of(16);
    config.buffers = split(2048);
    let mut packet = 0u64;
    let program = move |_: &mut [u8]| {
        packet += 1;
        if packet.is_multiple_of(3) { Verdict::Forward } else { Verdict::Drop }
    };
    let mut sink = Collector::default();
    let forwarder = Forwarder::new(pool, window, program, config);
    let report = forwarder.run(&mut Generator::new(FRAMES), &mut sink, |_| {}).unwrap();
    assert_eq!(report.traffic.packets_out, FRAMES / 3);
    let mut expected = Vec::new();
    for (position, (mark, bytes)) in sink.frames.iter().enumerate() {
        assert_eq!(*mark, 3 * position as u64 + 2);
        frame(*mark, &mut expected);
        assert_eq!(*bytes, expected);
    }
    assert_eq!((report.pools[0].lost, provider.free_units()), (0, UNITS));
}

#[test]
fn fragments_larger_than_a_page_end_the_run_with_a_reason() {
    let (provider, pool, window) = heap_pool(UNITS);
    let mut config = rings_of(16);
    config.buffers = split(PAGE as u32 + 1);
    let forwarder = Forwarder::new(pool, window, Action::Forward, config);
    let error = forwarder.run(&mut Generator::new(10), &mut Checker::default(), |_| {}).unwrap_err();
    let ForwardError::Driver(NapiError::Refill(RefillError::Split(FragError::TooLarge { size, page_bytes }))) = error
    else {
        panic!("{error}")
    };
    assert_eq!((size, page_bytes, provider.free_units()), (PAGE + 1, PAGE, UNITS));
}

#[test]
fn a_ring_of_fragments_takes_the_pages_it_needs_and_no_more() {
    for (buffers, pages) in [(Buffers::Pages, 64), (split(2048), 32), (split(1000), 16), (split(300), 6)] {
        let (_provider, pool, _window) = heap_pool(UNITS);
        let bell = Arc::new(Bell::new());
        let bells = Bells { poster: bell.clone(), device: bell.clone(), cleaner: bell };
        let (poster, mut device, cleaner) = ring(NonZeroU32::new(64).unwrap(), bells);
        let mut rx = RxQueue::new(pool, poster, cleaner);
        rx.set_buffers(buffers);
        rx.refill().unwrap();
        assert_eq!((rx.posted(), rx.pool().stats().in_use()), (64, pages), "{buffers:?}");
        // The device could not use any of them.
        (0..64).for_each(|_| device.complete(Completion::Failed, 0, 0));
        assert!(rx.receive().is_none());
        assert_eq!(rx.pool().stats().in_use(), usize::from(buffers != Buffers::Pages), "the page that is being split");
        rx.set_buffers(Buffers::Pages);
        assert_eq!(rx.pool().stats().in_use(), 0, "no longer");
        drop(device);
        assert_eq!(rx.close().stats().in_use(), 0);
    }
}
