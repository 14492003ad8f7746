//! When the kernel is called, and what is done about what it says.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use std::sync::Mutex;

use pp_core::Home;
use pp_core::doc::Heap;

use super::super::binding::Driver;
use super::super::closing::Probe;
use super::super::ring;
use super::*;

/// A kernel that sends so many entries in each call, and then says one thing.
struct Calls {
    kernel: Consumer<XdpDesc>,
    answers: VecDeque<(usize, Result<Woken, WakeError>)>,
}

struct Scripted(Arc<Mutex<Calls>>);

impl Driver for Scripted {
    fn wake_tx(&self) -> Result<Woken, WakeError> {
        let mut calls = self.0.lock().unwrap();
        let (sends, answer) = calls.answers.pop_front().expect("no call more than that");
        assert!(calls.kernel.available(sends as u32).unwrap() as usize >= sends, "it was not shown so many");
        for _ in 0..sends {
            calls.kernel.read();
        }
        calls.kernel.release();
        answer
    }
    fn wake_rx(&self) -> Result<(), WakeError> {
        Ok(())
    }
    fn close(self: Box<Self>) -> Box<dyn Probe> {
        self
    }
}

impl Probe for Scripted {
    fn is_quiet(&mut self) -> bool {
        true
    }
}

struct Scene {
    tx: XskTx,
    pool: PagePool,
    calls: Arc<Mutex<Calls>>,
}

fn scene(buffers: Buffers, wakeups: Wakeups) -> Scene {
    let home = Home::new(Heap::new(4096, 16));
    let umem = Umem::new(home.clone()).unwrap();
    let (ring, kernel) = ring::in_memory(8);
    let (_, completion) = ring::in_memory(8);
    let calls = Arc::new(Mutex::new(Calls { kernel, answers: VecDeque::new() }));
    let binding = Binding::new(umem.clone(), umem.places().tag().unwrap());
    binding.bound(Box::new(Scripted(calls.clone())));
    let tx = XskTx::new(ring, completion, (buffers, wakeups), Arc::default(), Arc::new(binding));
    Scene { tx, pool: PagePool::builder(home).build().unwrap(), calls }
}

impl Scene {
    fn send(&mut self, packets: usize) {
        for _ in 0..packets {
            self.tx.send_bytes(b"a packet", &mut self.pool).unwrap();
        }
    }

    /// Flushes with a kernel that answers so, and says how often it was called.
    fn flush(&mut self, answers: &[(usize, Result<Woken, WakeError>)]) -> (Result<(), WakeError>, usize) {
        let before = self.tx.counters.wakes.get();
        self.calls.lock().unwrap().answers = answers.iter().copied().collect();
        let result = self.tx.flush();
        let calls = self.tx.counters.wakes.get() - before;
        assert_eq!(calls, answers.len() - self.calls.lock().unwrap().answers.len());
        (result, calls)
    }
}

const MORE: Result<Woken, WakeError> = Ok(Woken::More);
const DONE: Result<Woken, WakeError> = Ok(Woken::Done);

#[test]
fn a_kernel_that_sends_a_part_is_called_until_it_sends_none() {
    let mut scene = scene(Buffers::One, Wakeups::Always);
    assert_eq!(scene.flush(&[(0, DONE)]), (Ok(()), 0), "there is nothing to send");
    scene.send(5);
    assert_eq!(scene.flush(&[(2, MORE), (2, MORE), (1, DONE)]), (Ok(()), 3));
    assert!(!scene.tx.has_unsent());
    scene.send(5);
    assert_eq!(scene.flush(&[(2, MORE), (0, MORE), (3, DONE)]), (Ok(()), 2), "no endless loop");
    assert!(scene.tx.has_unsent());
    assert_eq!(scene.flush(&[(3, DONE)]), (Ok(()), 1), "the rest, with nothing new");
    assert_eq!((scene.flush(&[]), scene.tx.has_unsent()), ((Ok(()), 0), false));
}

#[test]
fn what_an_interface_that_is_down_does_not_send_is_sent_later() {
    let mut scene = scene(Buffers::One, Wakeups::Always);
    scene.send(2);
    for answer in [WakeError::Down, WakeError::Down, WakeError::Os { call: "sendto", code: 5 }] {
        assert_eq!(scene.flush(&[(0, Err(answer))]), (Err(answer), 1));
        assert!(scene.tx.has_unsent());
    }
    assert_eq!(scene.flush(&[(2, DONE)]), (Ok(()), 1));
}

#[test]
fn a_kernel_that_is_awake_is_not_called() {
    let mut scene = scene(Buffers::One, Wakeups::WhenNeeded);
    scene.send(2);
    assert_eq!(scene.flush(&[]), (Ok(()), 0));
    // It reads the ring by itself.
    assert_eq!(scene.calls.lock().unwrap().kernel.available(2), Ok(2));
    scene.tx.ring.ask_for_wakeups();
    assert_eq!(scene.flush(&[(2, DONE)]), (Ok(()), 1));
    scene.send(1);
    assert_eq!(scene.flush(&[(1, DONE)]), (Ok(()), 1));
}

#[test]
fn a_packet_of_several_chunks_takes_a_queue_for_such() {
    for (buffers, expected) in [(Buffers::One, Err(SendError::SeveralBuffers)), (Buffers::Several, Ok(()))] {
        let mut scene = scene(buffers, Wakeups::Always);
        assert_eq!(scene.tx.send_bytes(&[1; 5000], &mut scene.pool), expected);
        let mut packet = Packet::new(Buffer::Umem(scene.pool.alloc().unwrap()), None, 0, 60).unwrap();
        packet.add_frag(Buffer::Umem(scene.pool.alloc().unwrap()), 0, 60).unwrap();
        match scene.tx.send(packet) {
            Ok(()) => assert_eq!(expected, Ok(())),
            Err(refused) => assert_eq!((Err(refused.reason), refused.buffer.len()), (expected, 120)),
        }
        assert_eq!(scene.tx.counters.sent.get(), if expected.is_ok() { 4 } else { 0 });
    }
}
