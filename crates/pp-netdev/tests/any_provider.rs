//! The driver, unchanged, on any provider: a source through a NIC, a poll loop and another NIC into a sink that checks
//! order and content, and afterwards every unit is home.
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "a crate of threads has std")]

mod common;

use common::{Checker, Generator, PAGE, pool_on, rings_of};
use pp_core::doc::Heap;
use pp_core::{Backing, Home, Host, MemoryProvider};
use pp_netdev::{Action, Faults, Forwarder, Verdict};
use pp_provider_buddy::Buddy;
use pp_provider_passthrough::PassThrough;

const UNITS: usize = 300;
const FRAMES: u64 = if cfg!(miri) { 60 } else { 10_000 };

/// Units that the provider has given out and not got back.
fn units_out<P: MemoryProvider>(provider: &Home<P>) -> usize {
    let described = provider.describe();
    described.total_units - described.free_units
}

/// Both bodies below, on the same provider.
fn drive<P: Backing<Access = Host>>(provider: impl Into<Home<P>>) {
    let provider = provider.into();
    assert_eq!(provider.geometry().unit_bytes, PAGE);
    forward(&provider);
    drop_odd(&provider);
    assert_eq!(Home::owners(&provider), 1, "a pool is still there");
}

/// The test body. It knows nothing of the provider but that its memory can be read.
fn forward<P: Backing<Access = Host>>(provider: &Home<P>) {
    for descriptors in [1, 2, 7, 64] {
        let (pool, window) = pool_on(provider, UNITS);
        let mut sink = Checker::default();
        let mut config = rings_of(descriptors);
        config.expected = FRAMES.try_into().ok();
        let forwarder = Forwarder::new(pool, window.clone(), Action::Forward, config);
        let report = forwarder.run(&mut Generator::new(FRAMES), &mut sink, |_| {}).unwrap();

        let traffic = report.traffic;
        assert_eq!((sink.frames, sink.finished), (FRAMES, true));
        assert_eq!((traffic.packets_in, traffic.packets_out, traffic.dropped), (FRAMES, FRAMES, 0));
        assert_eq!((traffic.bytes_in, traffic.bytes_out), (sink.bytes, sink.bytes));
        assert_eq!(report.faults, Faults::default());

        let pool = &report.pools[0];
        assert_eq!(pool.name, "rx0");
        assert!(pool.posted > 0 && pool.posted <= descriptors as usize);
        assert_eq!(pool.in_use, pool.posted, "a page was lost between the rings");
        assert_eq!(pool.stats.puts() as u64, FRAMES);
        assert_eq!(pool.stats.allocations() as u64, FRAMES + pool.posted as u64);
        let early = pool.provider_allocs_at_10_percent.unwrap();
        assert!(early > 0 && early <= pool.stats.hold && pool.stats.inflight() <= UNITS);

        assert_eq!(window.mapped(), 0, "a page is still mapped");
        assert_eq!(units_out(provider), 0, "a unit is not home");
    }
}

/// The same with a program that drops: those pages never leave the consumer's side.
fn drop_odd<P: Backing<Access = Host>>(provider: &Home<P>) {
    let (pool, window) = pool_on(provider, UNITS);
    let mut packet = 0u64;
    let program = move |_: &mut [u8]| {
        packet += 1;
        if packet.is_multiple_of(2) { Verdict::Drop } else { Verdict::Forward }
    };
    let mut sink = common::Collector::default();
    let forwarder = Forwarder::new(pool, window, program, rings_of(16));
    let report = forwarder.run(&mut Generator::new(FRAMES / 10), &mut sink, |_| {}).unwrap();
    assert_eq!(report.traffic.dropped, FRAMES / 20);
    assert_eq!(report.traffic.dropped_by_program, FRAMES / 20);
    assert_eq!(report.traffic.packets_out, FRAMES / 20);
    assert_eq!(report.pools[0].stats.puts() as u64, FRAMES / 10);
    let mut expected = Vec::new();
    for (position, (mark, bytes)) in sink.frames.iter().enumerate() {
        assert_eq!(*mark, 2 * position as u64);
        common::frame(*mark, &mut expected);
        assert_eq!(*bytes, expected);
    }
    assert_eq!(units_out(provider), 0);
}

#[test]
fn on_a_heap_region() {
    drive(Home::new(Heap::new(PAGE, UNITS)));
}

#[test]
fn on_single_allocations() {
    drive(PassThrough::with_sizes(PAGE, 0).unwrap());
}

#[test]
fn on_a_buddy_over_anonymous_memory() {
    drive(Buddy::anonymous(2 << 20).unwrap());
}
