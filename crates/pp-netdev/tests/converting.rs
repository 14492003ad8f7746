//! The receive loop before and after it was converted to a pool: one test, word for word, for both.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, unreachable_pub, reason = "tests have std")]

#[path = "../examples/converting/after.rs"]
mod after;
#[path = "../examples/converting/before.rs"]
mod before;

/// Packet `index`: its length and every byte depend on the index.
fn fill(index: u64, buffer: &mut [u8]) -> usize {
    let len = 1 + (index * 131 % 2048) as usize;
    for (at, byte) in buffer[..len].iter_mut().enumerate() {
        *byte = (index as usize * 31 + at * 7) as u8;
    }
    len
}

macro_rules! the_same_test {
    ($name:ident, $driver:ident) => {
        #[test]
        fn $name() {
            use std::collections::VecDeque;
            use std::sync::mpsc;

            const BUFFERS: usize = 8;
            const PACKETS: u64 = 20_000;
            let mut buffers = $driver::Buffers::new(BUFFERS).unwrap();
            let (up, packets) = mpsc::channel::<$driver::Packet>();
            let check = |index: u64, packet: &$driver::Packet| {
                let mut expected = [0; 2048];
                let len = fill(index, &mut expected);
                assert!(packet.bytes() == &expected[..len], "packet {index}");
            };
            let stack = std::thread::spawn(move || {
                // Some are kept for a while: no later packet may touch them.
                let mut kept = VecDeque::new();
                for (index, packet) in (0..).zip(packets) {
                    check(index, &packet);
                    kept.push_back((index, packet));
                    if kept.len() == BUFFERS - 2 {
                        let (index, packet) = kept.pop_front().unwrap();
                        check(index, &packet);
                    }
                }
                kept.into_iter().map(|(_, packet)| packet).collect::<Vec<_>>()
            });
            let mut next = 0;
            let link = |buffer: &mut [u8]| {
                assert!(buffer.len() >= 2048);
                let packet = (next < PACKETS).then(|| fill(next, buffer));
                next += 1;
                packet
            };
            $driver::receive(&mut buffers, link, |packet| up.send(packet).unwrap());
            drop(up);
            let kept = stack.join().unwrap();
            assert_eq!((next, buffers.out()), (PACKETS + 1, kept.len()));
            drop(kept);
            assert_eq!(buffers.out(), 0, "every buffer is back");
        }
    };
}

the_same_test!(before_on_buffers_of_its_own, before);
the_same_test!(after_on_a_pool, after);
