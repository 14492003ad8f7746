//! Packets both ways through every kind of socket that a veth has.

use std::time::{Duration, Instant};

use pp_provider_buddy::Buddy;
use pp_xdp::Packet;
use pp_xdp::af_xdp::{AttachMode, Attached, Bound, KernelStatistics};

use crate::memory::{self, HUGE_BYTES, HugePages, Kind};
use crate::net::namespace::in_bare_namespace;
use crate::rows::Row;
use crate::scene::{self, Port, SOON, all_home, arrive, forward};
use crate::wire::{Wire, frame, lengths};
use crate::{PROCESSORS, on_processor};

/// Frames sent at a time, each way, and how often. The longest take five chunks of a ring of 64.
const BURST: u32 = 12;
const BURSTS: u32 = 9;

#[test]
fn the_matrix() {
    run(Row::triples());
}

#[test]
#[ignore = "takes minutes: each combination, not only enough of them for any three settings to meet"]
fn the_whole_matrix() {
    run(Row::all());
}

fn run(rows: Vec<Row>) {
    let huge = HugePages::reserve(8);
    let (rows, skipped): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| huge.is_ok() || row.memory != Kind::Huge);
    if let Err(reason) = &huge {
        eprintln!("SKIPPED: {} rows with huge pages: {reason}", skipped.len());
    }
    for (mtu, queues) in [(1500, 1), (1500, 2), (9000, 1), (9000, 2)] {
        let these: Vec<_> = rows.iter().filter(|row| (row.mtu(), row.queues) == (mtu, queues)).copied().collect();
        in_bare_namespace(move || {
            scene::make(mtu, queues);
            let begun = Instant::now();
            let wires = (Wire::open("a0"), Wire::open("b0"));
            let slowest = these.iter().map(|row| timed(row, &wires)).max().unwrap_or_default();
            let (count, took) = (these.len(), begun.elapsed());
            eprintln!("{count} rows at MTU {mtu} with {queues} queue(s) in {took:.1?}, the slowest in {slowest:.0?}");
        });
    }
}

fn timed(row: &Row, wires: &(Wire, Wire)) -> Duration {
    let begun = Instant::now();
    // Shown where the test fails.
    print!("{row}");
    row.run(wires);
    let took = begun.elapsed();
    println!(": {took:.0?}");
    took
}

impl Row {
    fn run(&self, (a, b): &(Wire, Wire)) {
        let memory: Vec<Buddy> =
            (0..self.umems).map(|_| memory::buddy(self.memory, 2 * HUGE_BYTES, self.chunks.2)).collect();
        let umems: Vec<_> = memory.iter().map(|buddy| self.umem(buddy)).collect();
        let setup = self.setup();
        let (mut f0, mut f1) = (
            Port::open("f0", &umems[0], &memory[0], &setup),
            Port::open("f1", umems.last().unwrap(), memory.last().unwrap(), &setup),
        );
        for port in [&f0, &f1] {
            self.opened(port);
        }

        let (mut next, mut lengths) = (0, lengths(self.mtu()));
        for burst in 0..BURSTS {
            on_processor(burst);
            let numbers = next..next + BURST;
            next = numbers.end;
            for number in numbers.clone() {
                let len = lengths.next().unwrap();
                a.send(&frame(number, len));
                b.send(&frame(number, len));
            }
            if burst == BURSTS / 2 {
                self.keeps(&mut f0, &mut f1);
            }
            arrive(b, numbers.clone(), || forward(&mut f0, &mut f1));
            arrive(a, numbers, || forward(&mut f1, &mut f0));
        }
        f0.complete_all();
        f1.complete_all();
        for (from, to) in [(&f0, &f1), (&f1, &f0)] {
            self.counted(from, to, (BURST * BURSTS) as usize);
        }

        // The next row opens the same queues again.
        scene::close([f0, f1]);
        memory.iter().for_each(all_home);
    }

    /// What it got, and that the kernel has the pages it got.
    fn opened(&self, port: &Port) {
        for queue in &port.queues {
            let modes = queue.modes();
            assert_eq!(
                (modes.bound, modes.buffers, modes.wakeups, modes.busy_poll),
                (Bound::Copy, self.buffers, self.wakeups, self.busy_poll)
            );
            assert_eq!(queue.counters().given.get(), 64);
            assert_eq!(queue.rx.rxq().params().map(|params| params.ifindex > 0), Some(true));
        }
        let attached = if self.attach == AttachMode::Native { Attached::Native } else { Attached::Generic };
        assert_eq!(port.program.as_ref().map(|program| program.attached()), Some(attached));
        let given = 64 * self.queues as usize;
        assert_eq!((port.held(), port.pool.stats().in_use()), (given, given));
    }

    /// What has come in is kept for a while, and then sent.
    fn keeps(&self, from: &mut Port, to: &mut Port) {
        let patience = Instant::now() + SOON;
        let mut kept: Vec<(usize, Packet)> = Vec::new();
        while kept.len() < BURST as usize {
            for (number, queue) in from.queues.iter_mut().enumerate() {
                if self.busy_poll.is_some() {
                    queue.rx.wake().unwrap();
                }
                kept.extend(queue.rx.receive(64).map(|packet| (number, packet.into_packet())));
            }
            assert!(Instant::now() < patience, "only {} came", kept.len());
        }
        let pages: usize = kept.iter().map(|(_, packet)| 1 + packet.frags().len()).sum();
        assert_eq!(from.pool.stats().in_use(), from.held() + pages);
        assert_eq!(from.sum(|queue| queue.counters().kernel_held()), from.held());
        for (number, packet) in kept {
            to.queues[number].tx.send_copy(packet, &mut to.pool).map_err(|refused| refused.reason).unwrap();
        }
    }

    /// Counters after `frames` went from one to the other, and as many back.
    fn counted(&self, from: &Port, to: &Port, frames: usize) {
        assert_eq!(from.sum(|queue| queue.counters().packets_in.get()), frames);
        assert_eq!(to.sum(|queue| queue.counters().packets_out.get()), frames);
        let (bytes_in, bytes_out) =
            (from.sum(|queue| queue.counters().bytes_in.get()), to.sum(|queue| queue.counters().bytes_out.get()));
        assert_eq!(bytes_in, lengths(self.mtu()).take(frames).sum::<usize>());
        assert_eq!(bytes_in, bytes_out);
        let copied = if self.umems == 1 { 0 } else { bytes_out };
        assert_eq!(to.sum(|queue| queue.counters().copied_bytes.get()), copied);

        for queue in &to.queues {
            let counters = queue.counters();
            assert_eq!(counters.completed.get(), counters.sent.get());
            assert_eq!((counters.nonsense(), counters.broken_packets.get()), (0, 0), "{counters:?}");
            assert_eq!(counters.kernel_held(), counters.given.get() - counters.received.get());
        }
        // Nothing is with the user.
        assert_eq!(from.pool.stats().in_use(), from.held());
        assert_eq!(from.statistics(), KernelStatistics::default());
        // Without native mode a veth has everything come in on its first queue.
        if self.queues == 2 && self.attach == AttachMode::Native && *PROCESSORS > 1 {
            let packets: Vec<_> = from.queues.iter().map(|queue| queue.counters().packets_in.get()).collect();
            assert!(packets.iter().all(|&packets| packets > 0), "on one queue only: {packets:?}");
        }
    }
}
