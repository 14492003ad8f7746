//! One side against the other, about the places where cursors end.

use super::*;

/// Writes and publishes so many entries, in order.
fn send(producer: &mut Producer<u64>, entries: core::ops::Range<u64>) {
    entries.for_each(|entry| producer.write(entry));
    producer.publish();
}

fn receive(consumer: &mut Consumer<u64>) -> Vec<u64> {
    let entries = core::iter::from_fn(|| consumer.read()).collect();
    consumer.release();
    entries
}

#[test]
fn a_ring_goes_round_over_the_end_of_its_cursors() {
    for size in [1, 2, 8] {
        let (mut producer, mut consumer) = in_memory::<u64>(size);
        let (mut next, size) = (0, u64::from(size));
        // By batches of every length, so that one of them lies across the end, wherever it began.
        for batch in (1..=size).cycle().take(40) {
            assert_eq!(producer.room(size as u32), Ok(size as u32));
            send(&mut producer, next..next + batch);
            assert_eq!(consumer.available(size as u32), Ok(batch as u32));
            assert_eq!(receive(&mut consumer), (next..next + batch).collect::<Vec<_>>());
            next += batch;
        }
        assert!(producer.published < 1000, "they began before the end, and are behind it");
    }
}

#[test]
fn a_full_ring_has_no_room_and_an_empty_one_nothing_to_read() {
    let (mut producer, mut consumer) = in_memory::<u64>(4);
    assert_eq!((consumer.available(1), consumer.read(), producer.room(1)), (Ok(0), None, Ok(4)));
    send(&mut producer, 0..4);
    assert_eq!((producer.room(1), producer.in_ring(), producer.is_drained()), (Ok(0), 4, false));
    // Read and not released: the places are not the producer's.
    assert_eq!((consumer.available(4), consumer.read(), producer.room(1)), (Ok(4), Some(0), Ok(0)));
    consumer.release();
    assert_eq!((producer.room(1), producer.room(2)), (Ok(1), Ok(1)));
    assert_eq!((receive(&mut consumer).len(), producer.is_drained(), producer.room(4)), (3, true, Ok(4)));
}

#[test]
fn what_is_not_published_is_not_seen_and_does_not_count_as_in_the_ring() {
    let (mut producer, mut consumer) = in_memory::<u64>(4);
    producer.write(1);
    assert_eq!((producer.unpublished(), producer.in_ring(), producer.room(4)), (1, 0, Ok(3)));
    assert_eq!(consumer.available(1), Ok(0));
    producer.publish();
    assert_eq!((producer.unpublished(), producer.in_ring(), consumer.available(1)), (0, 1, Ok(1)));
}

#[test]
fn a_cursor_is_read_only_when_its_copy_does_not_do() {
    let (mut producer, mut consumer) = in_memory::<u64>(4);
    send(&mut producer, 0..1);
    assert_eq!(consumer.available(1), Ok(1));
    send(&mut producer, 1..3);
    assert_eq!((consumer.available(1), consumer.available(2)), (Ok(1), Ok(3)));
    assert_eq!(producer.room(1), Ok(1));
    receive(&mut consumer);
    assert_eq!((producer.room(1), producer.room(2)), (Ok(1), Ok(4)));
}

/// How the other side's cursor is from where it should be, and whether that is a place where one can be.
fn off_by(size: u32) -> impl Iterator<Item = u32> {
    let far = [1 << 31, u32::MAX / 2, u32::MAX - size, u32::MAX - 1, u32::MAX];
    (1..=2 * size + 1).chain(far)
}

#[test]
fn a_producers_cursor_that_cannot_be_is_refused_and_the_right_one_taken_again() {
    let size = 4;
    for used in 0..=size {
        for off in off_by(size) {
            let (mut producer, mut consumer) = in_memory::<u64>(size);
            send(&mut producer, 0..used.into());
            assert_eq!(consumer.available(size), Ok(used));
            let wrong = producer.published.wrapping_add(off);
            producer.memory.store(producer.memory.producer, wrong, Ordering::Release);
            // Forwards, and never more than the ring holds.
            let possible = used.checked_add(off).filter(|in_ring| *in_ring <= size);
            assert_eq!(consumer.available(size + 1), possible.ok_or(Astray), "{used} and {off} more");
            if possible.is_none() {
                assert_eq!(receive(&mut consumer).len(), used as usize, "what was there before is there");
                assert_eq!(producer.room(size), Ok(size));
                send(&mut producer, used.into()..u64::from(used) + 1);
                assert_eq!((consumer.available(1), consumer.read()), (Ok(1), Some(used.into())));
            }
        }
    }
}

#[test]
fn a_consumers_cursor_that_cannot_be_is_refused_and_the_right_one_taken_again() {
    let size = 4;
    for used in 0..=size {
        for off in off_by(size) {
            let (mut producer, mut consumer) = in_memory::<u64>(size);
            send(&mut producer, 0..used.into());
            let wrong = consumer.released.wrapping_add(off);
            consumer.memory.store(consumer.memory.consumer, wrong, Ordering::Release);
            // Forwards, and never beyond what was published.
            let possible = (off <= used).then(|| size - used + off);
            assert_eq!(producer.room(size + 1), possible.ok_or(Astray), "{off} of {used}");
            if possible.is_none() {
                assert_eq!(producer.in_ring(), used);
                assert_eq!(consumer.available(1), Ok(used));
                receive(&mut consumer);
                if used > 0 {
                    assert_eq!(producer.room(size), Ok(size));
                }
            }
        }
    }
}

#[test]
fn skew_is_always_astray() {
    let largest = if cfg!(miri) { 64 } else { 1 << 15 };
    for (size, used) in [(1, 1), (4, 0), (4, 2), (4, 4), (largest, 7)] {
        for entries in [0, 1, 3, 1 << 31, u32::MAX] {
            let (mut producer, mut consumer) = in_memory::<u64>(size);
            send(&mut producer, 0..used);
            producer.skew(entries);
            consumer.skew(entries);
            assert_eq!((producer.room(size + 1), consumer.available(size)), (Err(Astray), Err(Astray)), "{entries}");
        }
    }
}

#[test]
fn two_threads_pass_every_entry_once_and_in_order() {
    let entries = if cfg!(miri) { 30 } else { 100_000 };
    let (mut producer, mut consumer) = in_memory::<u64>(8);
    let sender = std::thread::spawn(move || {
        let mut next = 0;
        while next < entries {
            let room = u64::from(producer.room(1).unwrap()).min(entries - next);
            send(&mut producer, next..next + room);
            next += room;
            std::thread::yield_now();
        }
    });
    let mut next = 0;
    while next < entries {
        consumer.available(1).unwrap();
        for entry in receive(&mut consumer) {
            assert_eq!(entry, next);
            next += 1;
        }
        std::thread::yield_now();
    }
    sender.join().unwrap();
}
