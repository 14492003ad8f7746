//! What a run's buffers were, how fast it went with them and what memory they took.

use std::time::Instant;

use crate::counters::Live;
use crate::rx_queue::{Buffers, RxQueue};

/// Polls between two looks at the pool: looking costs as much as a packet or two.
const POLLS_A_LOOK: u32 = 256;

/// One part of a run, with one kind of buffers posted; [`Forwarder`](crate::Forwarder) reports them. The first packets may still lie in buffers of the part before.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Phase {
    /// What was posted.
    pub buffers: Buffers,
    /// Packets received.
    pub packets: u64,
    /// How long it took, of several queues the longest.
    pub seconds: f64,
    /// The most pages that were seen in use: in the devices' rings, in hands, being split.
    pub most_pages: usize,
}

/// Follows the phases of a run, on the poll loop's thread.
#[derive(Debug)]
pub(super) struct Phases {
    over: Vec<Phase>,
    /// What comes after the first half.
    change_to: Option<Buffers>,
    since: Instant,
    packets_before: usize,
    most_pages: usize,
    polls: u32,
}

impl Phases {
    pub(super) fn new(change_to: Option<Buffers>) -> Self {
        Phases { over: Vec::new(), change_to, since: Instant::now(), packets_before: 0, most_pages: 0, polls: 0 }
    }

    /// After each poll: looks at the pool now and then, and changes the buffers once `half` of the run is over.
    pub(super) fn after_poll(&mut self, rx: &mut RxQueue, live: &Live, half: impl FnOnce() -> bool) {
        if self.polls.is_multiple_of(POLLS_A_LOOK) {
            self.look(rx);
        }
        self.polls = self.polls.wrapping_add(1);
        if self.change_to.is_some() && half() {
            self.end_phase(rx, live);
            if let Some(buffers) = self.change_to.take() {
                rx.set_buffers(buffers);
            }
        }
    }

    /// The phases that there were, the last of which ends now.
    pub(super) fn finish(mut self, rx: &mut RxQueue, live: &Live) -> Vec<Phase> {
        self.end_phase(rx, live);
        self.over
    }

    fn look(&mut self, rx: &mut RxQueue) {
        self.most_pages = self.most_pages.max(rx.pool().stats().in_use());
    }

    fn end_phase(&mut self, rx: &mut RxQueue, live: &Live) {
        self.look(rx);
        let (now, packets) = (Instant::now(), live.napi.received.get());
        self.over.push(Phase {
            buffers: rx.buffers(),
            packets: packets.wrapping_sub(self.packets_before) as u64,
            seconds: now.duration_since(self.since).as_secs_f64(),
            most_pages: self.most_pages,
        });
        (self.since, self.packets_before, self.most_pages) = (now, packets, 0);
    }
}

/// The phases of all queues together: packets and pages of all, the time of the slowest.
///
/// Queues change their buffers at the same point of the run, each when it polls next; one that did not any more has no second
/// phase.
pub(super) fn add_up<'a>(queues: impl Iterator<Item = &'a [Phase]>) -> Vec<Phase> {
    let mut sum: Vec<Phase> = Vec::new();
    for phases in queues {
        for (at, phase) in phases.iter().enumerate() {
            match sum.get_mut(at) {
                None => sum.push(*phase),
                Some(of_all) => {
                    of_all.packets += phase.packets;
                    of_all.seconds = of_all.seconds.max(phase.seconds);
                    of_all.most_pages += phase.most_pages;
                }
            }
        }
    }
    sum
}
