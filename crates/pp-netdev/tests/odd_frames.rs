//! Frames of odd sizes, too few pages, and devices that cannot reach theirs.
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "a crate of threads has std")]

mod common;

use std::sync::Arc;

use common::{Checker, Collector, Generator, Listed, PAGE, heap_pool, rings_of};
use pp_core::doc::Heap;
use pp_core::{DmaDirection, Home, PagePool};
use pp_netdev::{Action, DmaWindow, Forwarder, OnNoBuffer, Traffic};

/// Runs `frames` through `action`; returns what happened and what came out.
fn run(frames: Vec<Vec<u8>>, action: Action) -> (Traffic, Vec<(u64, Vec<u8>)>) {
    let (provider, pool, window) = heap_pool(64);
    let mut sink = Collector::default();
    let forwarder = Forwarder::new(pool, window, action, rings_of(8));
    let report = forwarder.run(&mut Listed::new(frames), &mut sink, |_| {}).unwrap();
    assert_eq!(report.pools[0].in_use, report.pools[0].posted);
    assert_eq!(report.traffic.packets_in, report.traffic.packets_out + report.traffic.dropped);
    assert_eq!(provider.free_units(), 64);
    (report.traffic, sink.frames)
}

#[test]
fn a_frame_larger_than_a_page_is_counted_and_the_others_pass() {
    let sizes = [PAGE, PAGE + 1, 60, 3 * PAGE, PAGE - 1];
    let (traffic, out) = run(sizes.iter().map(|size| vec![7; *size]).collect(), Action::Forward);
    assert_eq!((traffic.rx_length_errors, traffic.dropped), (2, 2));
    let sizes: Vec<_> = out.iter().map(|(mark, bytes)| (*mark, bytes.len())).collect();
    assert_eq!(sizes, [(0, PAGE), (2, 60), (4, PAGE - 1)]);
}

#[test]
fn empty_and_short_frames_pass_unchanged() {
    let frames: Vec<_> = (0..20).map(|len| (0..len).collect::<Vec<u8>>()).collect();
    let (traffic, out) = run(frames.clone(), Action::Forward);
    assert_eq!(traffic.dropped, 0);
    assert_eq!(out.into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>(), frames);
}

#[test]
fn frames_without_addresses_are_dropped_by_swap_mac() {
    let frames: Vec<_> = (0..20).map(|len| (0..len).collect::<Vec<u8>>()).collect();
    let (traffic, out) = run(frames, Action::SwapMac);
    assert_eq!((traffic.dropped_by_program, traffic.dropped), (12, 12));
    assert_eq!(out[0], (12, vec![6, 7, 8, 9, 10, 11, 0, 1, 2, 3, 4, 5]));
    assert_eq!(out.len(), 8);
}

#[test]
fn a_page_shows_nothing_of_the_longer_frame_before() {
    // One page only, so that every frame meets the bytes of the one before.
    let provider = Home::new(Heap::new(PAGE, 1));
    let (pool, window) = common::pool_on(&provider, 1);
    let mut sink = Collector::default();
    let frames = vec![vec![1; 1000], vec![2; 10], vec![3; 100]];
    let forwarder = Forwarder::new(pool, window, Action::Forward, rings_of(1));
    forwarder.run(&mut Listed::new(frames.clone()), &mut sink, |_| {}).unwrap();
    assert_eq!(sink.frames.into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>(), frames);
}

#[test]
fn with_fewer_pages_than_descriptors_nothing_is_lost() {
    let frames = if cfg!(miri) { 50 } else { 5_000 };
    for units in [1, 2, 5] {
        let (provider, pool, window) = heap_pool(units);
        let mut sink = Checker::default();
        let forwarder = Forwarder::new(pool, window, Action::Forward, rings_of(16));
        let report = forwarder.run(&mut Generator::new(frames), &mut sink, |_| {}).unwrap();
        assert_eq!((sink.frames, report.traffic.dropped), (frames, 0));
        assert_eq!(report.pools[0].in_use, report.pools[0].posted);
        assert_eq!(provider.free_units(), units);
    }
}

#[test]
fn a_device_that_may_drop_counts_what_it_dropped() {
    let frames = if cfg!(miri) { 100 } else { 20_000 };
    let (provider, pool, window) = heap_pool(2);
    let mut config = rings_of(2);
    config.on_no_buffer = OnNoBuffer::Drop;
    let mut sink = Collector::default();
    let forwarder = Forwarder::new(pool, window, Action::Forward, config);
    let report = forwarder.run(&mut Generator::new(frames), &mut sink, |_| {}).unwrap();
    let Traffic { packets_in, packets_out, dropped, rx_missed, .. } = report.traffic;
    assert_eq!((packets_in, packets_out + dropped, dropped), (frames, frames, rx_missed));
    assert_eq!(sink.frames.len() as u64, packets_out);
    assert!(sink.frames.is_sorted_by_key(|(mark, _)| *mark));
    assert_eq!(provider.free_units(), 2);
}

#[test]
fn pages_mapped_one_way_fault_on_transmit_and_still_come_home() {
    let window = Arc::new(DmaWindow::new(64, PAGE).unwrap());
    let provider = Home::new(Heap::new(PAGE, 64));
    let pool = PagePool::builder(provider.clone()).dma(window.clone(), DmaDirection::FromDevice).build().unwrap();
    let mut sink = Collector::default();
    let forwarder = Forwarder::new(pool, window, Action::Forward, rings_of(8));
    let report = forwarder.run(&mut Generator::new(100), &mut sink, |_| {}).unwrap();
    assert_eq!((report.traffic.dma_faults, report.traffic.dropped, report.traffic.packets_out), (100, 100, 0));
    assert_eq!(report.faults.wrong_direction, 100);
    assert_eq!(report.faults.total(), 100);
    assert!(sink.frames.is_empty());
    assert_eq!(provider.free_units(), 64);
}

#[test]
fn pages_of_another_window_fault_on_receive() {
    let (provider, pool, _theirs) = heap_pool(64);
    let ours = Arc::new(DmaWindow::new(64, PAGE).unwrap());
    let forwarder = Forwarder::new(pool, ours, Action::Forward, rings_of(8));
    let report = forwarder.run(&mut Generator::new(100), &mut Collector::default(), |_| {}).unwrap();
    assert_eq!((report.traffic.dma_faults, report.traffic.packets_out), (100, 0));
    assert_eq!(report.faults.never_mapped, 100);
    assert_eq!(provider.free_units(), 64);
}
