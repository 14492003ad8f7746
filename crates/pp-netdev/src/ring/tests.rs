use std::sync::Arc;
use std::thread;

use pp_core::doc::Heap;
use pp_core::{DmaDirection, Fragmented, Home, Host, PagePart, PagePool};

use super::*;
use crate::window::DmaWindow;

fn bells() -> Bells {
    let bell = || Arc::new(Bell::new());
    Bells { poster: bell(), device: bell(), cleaner: bell() }
}

fn len(descriptors: u32) -> NonZeroU32 {
    NonZeroU32::new(descriptors).unwrap()
}

fn mapped_pool(units: usize) -> PagePool<Host> {
    let window = DmaWindow::new(units, 4096).unwrap();
    let provider = Home::new(Heap::new(4096, units));
    PagePool::builder(provider).dma(window, DmaDirection::Bidirectional).build().unwrap()
}

#[test]
fn a_descriptor_carries_address_length_and_mark_there_and_back() {
    let mut pool = mapped_pool(4);
    let (mut poster, mut device, mut cleaner) = ring(len(2), bells());
    let page = pool.alloc().unwrap();
    let addr = page.dma_addr().unwrap();
    poster.post(page, 4096, 7).unwrap();
    assert_eq!(device.work(), Some(Work { addr, len: 4096, mark: 7 }));
    assert!(cleaner.take().is_none(), "the device has it");
    device.complete(Completion::Done, 60, 8);
    assert!(device.work().is_none());
    let completed = cleaner.take().unwrap();
    assert_eq!((completed.len, completed.mark, completed.completion), (60, 8, Completion::Done));
    assert_eq!(completed.buffer.dma_addr(), Some(addr));
    drop(completed.buffer);
    assert_eq!(pool.stats().in_use(), 0);
}

#[test]
fn a_full_ring_gives_the_page_back() {
    let mut pool = mapped_pool(4);
    let (mut poster, mut device, mut cleaner) = ring(len(2), bells());
    for _ in 0..2 {
        poster.post(pool.alloc().unwrap(), 1, 0).unwrap();
    }
    assert!(!poster.has_room());
    let Err(PostError::Full(page)) = poster.post(pool.alloc().unwrap(), 1, 0) else { panic!("there was no room") };
    // Done is not empty: the driver has yet to take it back.
    device.complete(Completion::Done, 1, 0);
    assert!(!poster.has_room());
    drop(cleaner.take());
    poster.post(page, 1, 0).unwrap();
}

#[test]
fn a_page_without_an_address_is_refused() {
    let mut pool = PagePool::builder(Home::new(Heap::new(4096, 2))).build().unwrap();
    let (mut poster, device, _cleaner) = ring(len(2), bells());
    let Err(PostError::NotMapped(_)) = poster.post(pool.alloc().unwrap(), 1, 0) else { panic!("it has no address") };
    assert!(device.work().is_none());
}

#[test]
fn a_length_beyond_the_page_is_refused() {
    let mut pool = mapped_pool(2);
    let (mut poster, device, _cleaner) = ring(len(2), bells());
    for too_long in [4097, u32::MAX] {
        let refused = poster.post(pool.alloc().unwrap(), too_long, 0);
        let Err(PostError::TooLong(page)) = refused else { panic!("{too_long} bytes of 4096 were posted") };
        drop(page);
    }
    assert!(device.work().is_none());
    poster.post(pool.alloc().unwrap(), 4096, 0).unwrap();
    assert_eq!(device.work().map(|work| work.len), Some(4096));
}

#[test]
fn parts_of_pages_are_posted_where_they_lie() {
    let mut pool = mapped_pool(2);
    let (mut poster, mut device, mut cleaner) = ring(len(4), bells());
    let page = pool.alloc().unwrap();
    let start = page.dma_addr().unwrap().0;
    let mut page = Fragmented::from(page);
    let parts = [page.cut(1000).unwrap(), page.cut(96).unwrap()];
    drop(page);
    for part in parts {
        let length = part.len() as u32;
        let part = match poster.post(part, length + 1, 0) {
            Err(PostError::TooLong(part)) => part,
            other => panic!("{other:?}: more than the part has"),
        };
        poster.post(part, length, 0).unwrap();
    }
    let addresses: Vec<_> = std::iter::from_fn(|| {
        let work = device.work()?;
        device.complete(Completion::Done, work.len, 0);
        Some((work.addr.0 - start, work.len))
    })
    .collect();
    assert_eq!(addresses, [(0, 1000), (1000, 96)]);
    for (offset, length) in [(0, 1000), (1000, 96)] {
        let Buffer::Part(part) = cleaner.take().unwrap().buffer else { panic!("a part comes back as a part") };
        assert_eq!((part.offset(), part.len()), (offset, length));
    }
    assert_eq!(pool.stats().in_use(), 0);
}

#[test]
fn a_part_without_bytes_is_refused() {
    let mut pool = mapped_pool(2);
    let (mut poster, device, _cleaner) = ring(len(2), bells());
    let mut part = PagePart::from(pool.alloc().unwrap());
    let end = part.split_off(4096).unwrap();
    let Err(error @ PostError::Empty(_)) = poster.post(end, 0, 0) else { panic!("nothing was posted") };
    assert!(error.into_buffer().is_empty() && device.work().is_none());
}

#[test]
fn completing_nothing_changes_nothing() {
    let mut pool = mapped_pool(2);
    let (mut poster, mut device, mut cleaner) = ring(len(2), bells());
    device.complete(Completion::Done, 1, 1);
    assert!(cleaner.take().is_none());
    poster.post(pool.alloc().unwrap(), 5, 5).unwrap();
    assert_eq!(device.work().map(|work| work.len), Some(5));
}

#[test]
fn posted_pages_can_be_taken_back_only_once_the_device_has_left() {
    let mut pool = mapped_pool(4);
    let (mut poster, mut device, mut cleaner) = ring(len(4), bells());
    for mark in 0..3 {
        poster.post(pool.alloc().unwrap(), 1, mark).unwrap();
    }
    device.complete(Completion::Done, 1, 0);
    assert!(cleaner.take_abandoned().is_none());
    drop(device);
    assert_eq!(cleaner.device_left(), Some(Left::Abandoned));
    assert!(cleaner.take_abandoned().is_none(), "a completed one comes first");
    assert_eq!(cleaner.take().unwrap().mark, 0);
    let abandoned: Vec<_> = std::iter::from_fn(|| cleaner.take_abandoned()).collect();
    assert_eq!(abandoned.iter().map(|page| page.mark).collect::<Vec<_>>(), [1, 2]);
    assert!(abandoned.iter().all(|page| page.completion == Completion::Failed));
}

#[test]
fn each_end_sees_how_the_others_left() {
    let (poster, device, cleaner) = ring(len(2), bells());
    assert_eq!((device.poster_left(), poster.device_left(), poster.cleaner_left()), (None, None, None));
    cleaner.finish();
    assert_eq!(poster.cleaner_left(), Some(Left::Complete));
    poster.finish();
    assert_eq!(device.poster_left(), Some(Left::Complete));
    let (poster, device, cleaner) = ring(len(2), bells());
    drop(poster);
    assert_eq!((device.poster_left(), cleaner.poster_left()), (Some(Left::Abandoned), Some(Left::Abandoned)));
}

#[test]
fn pages_left_in_a_ring_go_home_with_its_last_end() {
    let mut pool = mapped_pool(4);
    let (mut poster, mut device, cleaner) = ring(len(4), bells());
    for _ in 0..3 {
        poster.post(pool.alloc().unwrap(), 1, 0).unwrap();
    }
    device.complete(Completion::Done, 1, 0);
    drop((poster, cleaner));
    assert_eq!(pool.stats().in_use(), 3);
    drop(device);
    assert_eq!(pool.stats().in_use(), 0);
}

/// The three parties on three threads, with as few descriptors as possible: marks arrive in order, bytes whole.
#[test]
fn three_threads_keep_order_and_bytes() {
    let packets = if cfg!(miri) { 50 } else { 20_000 };
    let window = Arc::new(DmaWindow::new(16, 4096).unwrap());
    let provider = Home::new(Heap::new(4096, 16));
    let builder = PagePool::builder(provider.clone()).dma(Arc::clone(&window), DmaDirection::Bidirectional);
    let mut pool = builder.build().unwrap();
    let bells = bells();
    let bell = Arc::clone(&bells.poster);
    let (mut poster, mut device, mut cleaner) = ring(len(3), bells);
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut seen = 0u64;
            let mut bytes = [0; 8];
            loop {
                while let Some(work) = device.work() {
                    // SAFETY: the descriptor is ours, so nobody writes the page.
                    unsafe { window.read(work.addr, 0, &mut bytes) }.unwrap();
                    assert_eq!((work.mark, u64::from_ne_bytes(bytes)), (seen, seen));
                    // SAFETY: as above, and nobody reads it either.
                    unsafe { window.write(work.addr, 0, &(!seen).to_ne_bytes()) }.unwrap();
                    device.complete(Completion::Done, 8, work.mark);
                    device.interrupt();
                    seen += 1;
                }
                if seen == packets {
                    return device.finish();
                }
                device.wait();
            }
        });
        scope.spawn(move || {
            for expected in 0..packets {
                let mut completed = loop {
                    match cleaner.take() {
                        Some(completed) => break completed,
                        None => cleaner.wait(),
                    }
                };
                assert_eq!(completed.mark, expected);
                assert_eq!(completed.buffer.bytes_mut()[..8], (!expected).to_ne_bytes());
                drop(completed);
                cleaner.notify();
            }
        });
        for mark in 0..packets {
            bell.wait(|| poster.has_room());
            let mut page = pool.alloc().unwrap();
            page[..8].copy_from_slice(&mark.to_ne_bytes());
            poster.post(page, 8, mark).unwrap();
            poster.kick();
        }
    });
    assert_eq!(pool.stats().in_use(), 0);
    drop(pool);
    assert_eq!(provider.free_units(), 16);
}
