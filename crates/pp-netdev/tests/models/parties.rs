//! The bodies: the three parties of a ring, and the two of a bell, on threads of their own.

use std::sync::Arc;

use pp_core::sync::{AtomicUsize, Ordering};
use pp_netdev::Bell;
use pp_netdev::ring::{Completion, DeviceEnd, Left};

use super::bench::{Bench, Memory, Size, all_home, check, work_on};
use super::thread;

/// A device that sleeps when there is nothing to do and leaves when the poster has. Returns how often it slept.
fn work_until_told(mut device: DeviceEnd, memory: &Memory, packets: u64) -> usize {
    let (mut done, mut waits) = (0, 0);
    loop {
        let left = device.poster_left();
        if work_on(&device, memory, done) {
            device.complete(Completion::Done, 8, done);
            device.interrupt();
            done += 1;
        } else if left == Some(Left::Complete) {
            assert_eq!(done, packets, "posted, and not there once the poster had left");
            device.finish();
            return waits;
        } else {
            waits += 1;
            device.wait();
        }
    }
}

/// How many packets were posted, worked on and taken back.
pub(crate) type Steps = (u64, u64, u64);

/// Three parties that look a few times each and never wait; what they leave in the ring goes home with it.
pub(crate) fn there_and_back(size: Size) -> Steps {
    let Bench { provider, pool, memory, mut buffers, ends: (mut poster, mut device, mut cleaner), .. } =
        Bench::new(size, size.packets);
    let posting = {
        let memory = memory.clone();
        thread::spawn(move || {
            let mut posted = 0;
            while let Some(buffer) = buffers.pop() {
                memory.write(buffer.dma_addr().unwrap(), posted);
                match poster.post(buffer, 8, posted) {
                    Ok(()) => posted += 1,
                    Err(full) => {
                        buffers.push(full.into_buffer());
                        break;
                    }
                }
            }
            (posted, buffers, poster)
        })
    };
    let working = {
        let memory = memory.clone();
        thread::spawn(move || {
            let mut done = 0;
            for _ in 0..size.packets {
                if work_on(&device, &memory, done) {
                    device.complete(Completion::Done, 8, done);
                    done += 1;
                }
            }
            (done, device)
        })
    };
    let cleaning = thread::spawn(move || {
        let mut taken = Vec::new();
        for _ in 0..size.packets {
            if let Some(completed) = cleaner.take() {
                check(&completed, taken.len() as u64, &memory);
                taken.push(completed.buffer);
            }
        }
        (taken, cleaner)
    });
    let (posted, left, poster) = posting.join().unwrap();
    let (done, device) = working.join().unwrap();
    let (taken, cleaner) = cleaning.join().unwrap();
    let steps = (posted, done, taken.len() as u64);
    drop((left, taken, poster, device, cleaner));
    all_home(&provider, pool);
    steps
}

/// Three parties that sleep until they are rung for, and get everything through. Returns how often each one slept.
pub(crate) fn rung_through(size: Size) -> [usize; 3] {
    let Bench { provider, pool, memory, mut buffers, bells, ends: (mut poster, device, mut cleaner) } =
        Bench::new(size, size.packets);
    let posting = {
        let (memory, [bell, ..]) = (memory.clone(), bells);
        thread::spawn(move || {
            let mut waits = 0;
            for mark in 0..size.packets {
                if !poster.has_room() {
                    waits += 1;
                    bell.wait(|| poster.has_room());
                }
                let buffer = buffers.pop().unwrap();
                memory.write(buffer.dma_addr().unwrap(), mark);
                poster.post(buffer, 8, mark).unwrap();
                poster.kick();
            }
            poster.finish();
            waits
        })
    };
    let working = {
        let memory = memory.clone();
        thread::spawn(move || work_until_told(device, &memory, size.packets))
    };
    let cleaning = thread::spawn(move || {
        let (mut taken, mut waits) = (Vec::new(), 0);
        while taken.len() < size.packets as usize {
            match cleaner.take() {
                Some(completed) => {
                    check(&completed, taken.len() as u64, &memory);
                    taken.push(completed.buffer);
                    cleaner.notify();
                }
                None => {
                    waits += 1;
                    cleaner.wait();
                }
            }
        }
        (waits, taken)
    });
    let (posting, working) = (posting.join().unwrap(), working.join().unwrap());
    let (cleaning, taken) = cleaning.join().unwrap();
    drop(taken);
    all_home(&provider, pool);
    [posting, working, cleaning]
}

/// A receive queue's form: one thread posts and takes back, with one bell, against the device. Returns how often each of
/// the two slept.
pub(crate) fn driver_and_device(size: Size) -> [usize; 2] {
    let Bench { provider, pool, memory, mut buffers, ends: (mut poster, device, mut cleaner), .. } =
        Bench::new(size, u64::from(size.descriptors));
    let working = {
        let memory = memory.clone();
        thread::spawn(move || work_until_told(device, &memory, size.packets))
    };
    let driving = thread::spawn(move || {
        let (mut posted, mut taken, mut waits) = (0, 0, 0);
        while taken < size.packets {
            while posted < size.packets && poster.has_room() {
                let buffer = buffers.pop().unwrap();
                memory.write(buffer.dma_addr().unwrap(), posted);
                poster.post(buffer, 8, posted).unwrap();
                posted += 1;
            }
            poster.kick();
            match cleaner.take() {
                Some(completed) => {
                    check(&completed, taken, &memory);
                    buffers.push(completed.buffer);
                    taken += 1;
                }
                None => {
                    waits += 1;
                    cleaner.wait();
                }
            }
        }
        poster.finish();
        (waits, buffers)
    });
    let working = working.join().unwrap();
    let (driving, buffers) = driving.join().unwrap();
    drop(buffers);
    all_home(&provider, pool);
    [driving, working]
}

/// A transmit queue's form, its driver's half: one thread waits for the room that another makes. Returns how often it
/// slept.
pub(crate) fn room_is_made() -> usize {
    let size = Size { descriptors: 1, packets: 2 };
    let Bench { provider, pool, mut buffers, bells: [bell, ..], ends: (mut poster, mut device, mut cleaner), .. } =
        Bench::new(size, size.packets);
    poster.post(buffers.pop().unwrap(), 8, 0).unwrap();
    device.complete(Completion::Done, 8, 0);
    let posting = thread::spawn(move || {
        let waits = usize::from(!poster.has_room());
        bell.wait(|| poster.has_room());
        poster.post(buffers.pop().unwrap(), 8, 1).unwrap();
        waits
    });
    let cleaning = thread::spawn(move || {
        let completed = cleaner.take().unwrap();
        cleaner.notify();
        completed.buffer
    });
    let waits = posting.join().unwrap();
    drop((cleaning.join().unwrap(), device));
    all_home(&provider, pool);
    waits
}

/// The device completes as many packets, begins one more and leaves in the midst of it; the cleaner takes everything
/// back and sleeps when there is nothing. Returns what it took, in order, and how the device had left.
pub(crate) fn device_leaves(size: Size, completes: u64, how: Left) -> (Vec<Completion>, Option<Left>, usize) {
    let Bench { provider, pool, memory, buffers, ends: (mut poster, mut device, mut cleaner), .. } =
        Bench::new(size, size.packets);
    for (mark, buffer) in (0..).zip(buffers) {
        memory.write(buffer.dma_addr().unwrap(), mark);
        poster.post(buffer, 8, mark).unwrap();
    }
    poster.finish();
    let working = {
        let memory = memory.clone();
        thread::spawn(move || {
            for mark in 0..completes {
                assert!(work_on(&device, &memory, mark));
                device.complete(Completion::Done, 8, mark);
            }
            work_on(&device, &memory, completes);
            match how {
                Left::Complete => device.finish(),
                Left::Abandoned => drop(device),
            }
        })
    };
    let cleaning = thread::spawn(move || {
        let (mut taken, mut buffers, mut waits) = (Vec::new(), Vec::new(), 0);
        loop {
            let both_left = cleaner.poster_left().is_some() && cleaner.device_left().is_some();
            if let Some(completed) = cleaner.take().or_else(|| cleaner.take_abandoned()) {
                check(&completed, taken.len() as u64, &memory);
                taken.push(completed.completion);
                buffers.push(completed.buffer);
            } else if both_left {
                break;
            } else {
                waits += 1;
                cleaner.wait();
            }
        }
        let left = cleaner.device_left();
        cleaner.finish();
        (taken, left, waits, buffers)
    });
    working.join().unwrap();
    let (taken, left, waits, buffers) = cleaning.join().unwrap();
    drop(buffers);
    all_home(&provider, pool);
    (taken, left, waits)
}

/// The device begins what it finds at its first look and leaves, while the page is still being posted, and perhaps
/// taken back.
pub(crate) fn device_leaves_early() -> &'static str {
    let size = Size { descriptors: 1, packets: 1 };
    let Bench { provider, pool, memory, mut buffers, ends: (mut poster, device, mut cleaner), .. } =
        Bench::new(size, size.packets);
    let posting = {
        let memory = memory.clone();
        thread::spawn(move || {
            let buffer = buffers.pop().unwrap();
            memory.write(buffer.dma_addr().unwrap(), 0);
            poster.post(buffer, 8, 0).unwrap();
        })
    };
    let working = {
        let memory = memory.clone();
        thread::spawn(move || work_on(&device, &memory, 0))
    };
    let cleaning = thread::spawn(move || {
        let taken = cleaner.take().or_else(|| cleaner.take_abandoned());
        taken.map(|completed| {
            check(&completed, 0, &memory);
            completed.buffer
        })
    });
    posting.join().unwrap();
    let begun = working.join().unwrap();
    let taken = cleaning.join().unwrap();
    let what = match (begun, taken.is_some()) {
        (false, false) => "neither",
        (true, false) => "begun",
        (false, true) => "taken back",
        (true, true) => "begun and taken back",
    };
    drop(taken);
    all_home(&provider, pool);
    what
}

/// All three ends are dropped, each on its thread, while pages are in the ring. Returns how many were taken out before.
pub(crate) fn ends_drop(size: Size) -> usize {
    let Bench { provider, pool, memory, buffers, ends: (mut poster, mut device, mut cleaner), .. } =
        Bench::new(size, size.packets);
    for (mark, buffer) in buffers.into_iter().enumerate() {
        memory.write(buffer.dma_addr().unwrap(), mark as u64);
        poster.post(buffer, 8, mark as u64).unwrap();
    }
    let posting = thread::spawn(move || drop(poster));
    let working = {
        let memory = memory.clone();
        thread::spawn(move || {
            if work_on(&device, &memory, 0) {
                device.complete(Completion::Done, 8, 0);
            }
        })
    };
    let cleaning = thread::spawn(move || {
        let taken = cleaner.take();
        taken.map(|completed| {
            check(&completed, 0, &memory);
            completed.buffer
        })
    });
    posting.join().unwrap();
    working.join().unwrap();
    let taken = cleaning.join().unwrap();
    let count = usize::from(taken.is_some());
    drop(taken);
    all_home(&provider, pool);
    count
}

/// `ringers` publish and ring once each; one thread waits for all of them. Returns how often it looked.
pub(crate) fn bell(ringers: usize) -> usize {
    let shared = Arc::new((Bell::new(), [(); 4].map(|()| AtomicUsize::new(0))));
    let ringing: Vec<_> = (0..ringers)
        .map(|me| {
            let shared = shared.clone();
            thread::spawn(move || {
                let (bell, flags) = &*shared;
                flags[me].store(1, Ordering::Release);
                bell.ring();
            })
        })
        .collect();
    let waiting = thread::spawn(move || {
        let (bell, flags) = &*shared;
        let mut looks = 0;
        bell.wait(|| {
            looks += 1;
            flags[..ringers].iter().all(|flag| flag.load(Ordering::Acquire) == 1)
        });
        looks
    });
    ringing.into_iter().for_each(|handle| handle.join().unwrap());
    waiting.join().unwrap()
}
