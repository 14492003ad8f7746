//! The ring without a pool: who gets in, who comes out.

use alloc::vec::Vec;

use super::{Refused, Ring, Step};

/// One lane and several, even and not.
const SIZES: &[usize] = if cfg!(miri) { &[1, 3, 130] } else { &[1, 2, 3, 64, 100, 128, 500, 1024] };

fn publish(ring: &Ring, value: usize) -> Result<(), Refused> {
    // SAFETY: a reference is valid.
    unsafe { Ring::publish(ring, value) }
}

fn publish_all(ring: &Ring, values: core::ops::Range<usize>) -> Result<(), (usize, Refused)> {
    // SAFETY: as above.
    unsafe { Ring::publish_all(ring, values.map(|value| value * 8)) }
}

fn drain(ring: &Ring) -> Vec<usize> {
    let (mut reader, mut values) = (ring.reader(), Vec::new());
    let mut accept = |value| {
        values.push(value / 8);
        Step::More
    };
    while ring.take(&mut reader, 50, &mut accept) + ring.sweep(&mut reader, 50, &mut accept) > 0 {}
    values.sort();
    values
}

#[test]
fn one_producer_fills_every_slot_of_every_lane() {
    for &size in SIZES {
        let ring = Ring::new(size).unwrap();
        for round in 0..3 {
            let values: Vec<usize> = (1..).take_while(|value| publish(&ring, value * 8).is_ok()).collect();
            assert_eq!((values.len(), ring.len()), (size, size), "size {size}, round {round}");
            assert_eq!(drain(&ring), values);
        }
    }
}

#[test]
fn a_cursor_that_was_set_back_makes_no_ring_seem_full() {
    for size in [2, 10, 100, 127, 128, 1024] {
        let ring = Ring::new(size).unwrap();
        let taken = size / 10;
        for value in 1..=taken {
            publish(&ring, value * 8).unwrap();
        }
        // What a producer does that was stopped between its look and its note.
        ring.lanes.iter().for_each(|lane| lane.0.leave(lane.0.start.min(size - 1)));
        for value in taken + 1..=size / 2 {
            assert_eq!(publish(&ring, value * 8), Ok(()), "size {size}, {} slots free", size - value + 1);
        }
        assert_eq!(drain(&ring).len(), size / 2);
    }
}

#[test]
fn a_batch_that_does_not_fit_says_how_much_did() {
    for &size in SIZES {
        let ring = Ring::new(size).unwrap();
        for round in 0..3 {
            let first = size / 3;
            assert_eq!(publish_all(&ring, 1..1 + first), Ok(()));
            assert_eq!(publish_all(&ring, 1 + first..1 + size * 2), Err((size - first, Refused::Full)), "{size}");
            assert_eq!(drain(&ring), (1..=size).collect::<Vec<_>>(), "size {size}, round {round}");
        }
        ring.seal(|_| ());
        assert_eq!(publish_all(&ring, 1..3), Err((0, Refused::Sealed)));
        assert_eq!(publish(&ring, 8), Err(Refused::Sealed));
    }
}

#[test]
fn what_many_publish_arrives_once() {
    const EACH: usize = if cfg!(miri) { 40 } else { 20_000 };
    let ring = Ring::new(if cfg!(miri) { 20 } else { 200 }).unwrap();
    let mut values = Vec::new();
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let ring = &ring;
            scope.spawn(move || {
                let (mut next, end) = (1 + thread * EACH, 1 + (thread + 1) * EACH);
                while next < end {
                    match publish_all(ring, next..end.min(next + 1 + next % 20)) {
                        Ok(()) => next = end.min(next + 1 + next % 20),
                        Err((published, _)) => next += published,
                    }
                    std::thread::yield_now();
                }
            });
        }
        let mut reader = ring.reader();
        while values.len() < 3 * EACH {
            let mut accept = |value| {
                values.push(value / 8);
                Step::More
            };
            if ring.take(&mut reader, 64, &mut accept) == 0 {
                ring.sweep(&mut reader, 64, &mut accept);
                std::thread::yield_now();
            }
        }
    });
    values.sort();
    assert_eq!(values, (1..=3 * EACH).collect::<Vec<_>>());
}
