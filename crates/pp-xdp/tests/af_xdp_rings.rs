//! Queues on rings in memory, with the test as their kernel: random operations of both sides against an oracle.
#![cfg(all(feature = "af-xdp", target_os = "linux", not(any(loom, shuttle))))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

mod drive;

use core::time::Duration;
use std::collections::BTreeMap;
use std::time::Instant;

use drive::{STEP, WORLD, run};
use pp_core::doc::Heap;
use pp_core::{Home, PagePool};
use pp_xdp::af_xdp::Umem;
use pp_xdp::af_xdp::model::{self, ModelQueue};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn chunks_are_conserved_and_packets_intact(
        world in any::<[u8; WORLD]>(),
        steps in prop::collection::vec(any::<[u8; STEP]>(), 0..300),
    ) {
        run(&[&world[..], steps.as_flattened()].concat());
    }
}

/// Everything that can happen: each of it does, in one of these runs.
const ALL: [&str; 25] = [
    "astray",
    "bad_length",
    "broken_packets",
    "bytes_in",
    "bytes_out",
    "completed",
    "copied_bytes",
    "given",
    "not_given",
    "out_of_area",
    "packet of several chunks",
    "packets_in",
    "packets_out",
    "pages back at last",
    "received",
    "refill astray",
    "refill of other memory",
    "refill without pages",
    "send: full",
    "send: length",
    "send: no page",
    "send: other memory",
    "sent",
    "too many chunks",
    "wakes",
];

/// What the fuzzer found worth keeping.
fn corpus() -> impl Iterator<Item = Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/af_xdp");
    let files = std::fs::read_dir(folder).expect("the folder is committed");
    files.map(|file| std::fs::read(file.expect("a file").path()).expect("a file"))
}

#[test]
fn the_operations_come_to_everything_that_can_happen() {
    // Of one beginning, so that these are the same runs always.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    let (runs, steps) = if cfg!(miri) { (1, 20) } else { (60, 400) };
    let random = (0..runs).map(|_| (0..WORLD + steps * STEP).map(|_| byte()).collect());
    let corpus = corpus().take(if cfg!(miri) { 1 } else { usize::MAX });
    let mut seen = BTreeMap::new();
    for bytes in random.chain(corpus) {
        run(&bytes).into_iter().for_each(|(what, times)| *seen.entry(what).or_insert(0) += times);
    }
    println!("{seen:#?}");
    let seen: Vec<_> = seen.into_iter().filter(|(_, times)| *times > 0).map(|(what, _)| what).collect();
    assert!(seen == ALL || cfg!(miri), "{seen:?}");
}

#[test]
fn a_kernel_on_a_thread_of_its_own_gets_back_what_it_received() {
    let packets = if cfg!(miri) { 20 } else { 50_000u32 };
    let home = Home::new(Heap::new(4096, 16));
    let umem = Umem::new(home.clone()).unwrap();
    let mut pool = PagePool::builder(home.clone()).build().unwrap();
    let (mut queue, mut kernel) = model::queue(&umem, 4).unwrap();
    let kernel = std::thread::spawn(move || {
        let (mut received, mut sent) = (0u32, 0u32);
        while sent < packets {
            // Of two chunks now and then.
            let mut packet = received.to_le_bytes().repeat(if received % 7 == 0 { 1000 } else { 15 });
            packet[4] = 7;
            received += u32::from(received < packets && kernel.receive(&packet));
            while let Some(packet) = kernel.transmit() {
                assert_eq!((&packet[..4], packet[4], packet.len() > 60), (&sent.to_le_bytes()[..], 8, sent % 7 == 0));
                sent += 1;
            }
            std::thread::yield_now();
        }
        kernel
    });
    while !kernel.is_finished() {
        queue.tx.complete_into(&mut pool);
        let _ = queue.rx.refill(&mut pool);
        for mut buff in queue.rx.receive(4) {
            let data = buff.data_mut().expect("host memory");
            assert_eq!(data[4], 7);
            data[4] += 1;
            // What finds no room waits for the kernel, which is on its way.
            let mut packet = buff.into_packet();
            while let Err(full) = queue.tx.send(packet) {
                packet = full.buffer;
                queue.tx.flush().unwrap();
                queue.tx.complete_into(&mut pool);
                std::thread::yield_now();
            }
        }
        queue.tx.flush().unwrap();
        std::thread::yield_now();
    }
    let kernel = kernel.join().unwrap();
    assert_eq!(
        (queue.counters().packets_in.get(), queue.counters().packets_out.get()),
        (packets as usize, packets as usize)
    );
    assert_eq!(queue.counters().nonsense(), 0);
    let closing = queue.close();
    kernel.quiet();
    closing.wait(Duration::ZERO).unwrap();
    drop((pool, umem));
    assert_eq!(home.free_units(), 16);
}

#[test]
fn a_queue_that_is_dropped_ends_in_the_background() {
    let home = Home::new(Heap::new(4096, 32));
    let umem = Umem::new(home.clone()).unwrap();
    let mut pool = PagePool::builder(home.clone()).build().unwrap();
    let (mut queue, mut kernel) = model::queue(&umem, 16).unwrap();
    queue.rx.refill(&mut pool).unwrap();
    kernel.receive(&[1; 60]);
    let held: Vec<_> = queue.rx.receive(64).map(|buff| buff.into_packet()).collect();
    // One side after the other, on different threads.
    let ModelQueue { rx, tx, .. } = queue;
    std::thread::spawn(move || drop(tx)).join().unwrap();
    drop(rx);
    let handle = pool.handle();
    drop(pool);
    assert_eq!((umem.kernel_held(&handle), home.free_units()), (15, 16));
    drop(held);
    assert_eq!((umem.kernel_held(&handle), home.free_units()), (15, 17));
    kernel.quiet();
    let begun = Instant::now();
    while home.free_units() < 32 {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not end: {umem:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(umem.kernel_held(&handle), 0);
}

#[test]
fn waiting_for_a_queue_ends_when_it_is_quiet_and_not_before() {
    let home = Home::new(Heap::new(4096, 32));
    let umem = Umem::new(home.clone()).unwrap();
    let mut pool = PagePool::builder(home.clone()).build().unwrap();
    let (mut queue, kernel) = model::queue(&umem, 16).unwrap();
    queue.rx.refill(&mut pool).unwrap();
    let closing = queue.close().wait(Duration::from_millis(5)).expect_err("the kernel has it");
    assert_eq!(umem.kernel_held(&pool.handle()), 16);
    let kernel = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        kernel.quiet();
    });
    // As long as it takes.
    closing.wait(Duration::MAX).unwrap();
    assert_eq!((umem.kernel_held(&pool.handle()), pool.stats().in_use()), (0, 0));
    kernel.join().unwrap();
}
