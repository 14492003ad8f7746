//! What one thread runs: a queue of each port, and the packets between them.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use pp_xdp::af_xdp::{RedirectProgram, WakeError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::forward::Directions;
use super::limit::{Limit, Reserve};
use super::side::{BURST, Burst, Memory, Side, Which, forward, settle};
use crate::counters::Live;
use crate::forward::watch::{Milestone, StopOnExit};
use crate::program::Program;
use crate::stop::StopFlag;
use crate::sync::lock_std;

/// How long a thread sleeps at most where nothing comes: the stop flag wakes nobody.
const IDLE: Duration = Duration::from_millis(50);
/// The same while something that was sent has not come back: nobody is woken by that either.
const UNDER_WAY: Duration = Duration::from_millis(1);
/// How long the end waits for what was sent.
const LAST_SENT: Duration = Duration::from_millis(500);

/// A queue of each port.
#[derive(Debug)]
pub(super) struct Lane<P> {
    pub(super) sides: [Side; 2],
    pub(super) memory: Memory,
    pub(super) directions: Directions,
    pub(super) program: P,
    pub(super) live: Arc<Live>,
}

/// What the lanes of a run share.
pub(super) struct Shared<'a> {
    pub(super) stop: &'a StopFlag,
    /// Taken away by the first lane that ends, so that no more comes in for those that still run.
    pub(super) programs: &'a std::sync::Mutex<Vec<RedirectProgram>>,
    /// How many packets may come in, if that is limited.
    pub(super) limit: Option<&'a Limit>,
    pub(super) tenth: &'a Milestone,
    pub(super) lives: &'a [Arc<Live>],
}

/// A lane that has ended.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) sides: [Side; 2],
    /// What each pool had from its provider when a tenth of the run was over.
    pub(super) allocs_at_10_percent: Option<[usize; 2]>,
    pub(super) result: Result<(), (usize, WakeError)>,
}

// === impl Lane ===

impl<P: Program> Lane<P> {
    /// Forwards until the stop flag is set or enough came in, and what came in went out. Sets the flag when it ends.
    pub(super) fn run(mut self, shared: &Shared<'_>) -> Outcome {
        let _stop = StopOnExit(shared.stop);
        let mut tenth = None;
        let result = self.until_end(shared, &mut tenth);
        // Whatever ended it: others come to their ends as well.
        shared.stop.set();
        if tenth.is_none() && shared.tenth.is_passed(shared.lives) {
            tenth = Some(self.holds());
        }
        self.live.napi.posted.set(self.sides.iter().map(Side::posted).sum());
        Outcome { sides: self.sides, allocs_at_10_percent: tenth, result }
    }

    fn until_end(&mut self, shared: &Shared<'_>, tenth: &mut Option<[usize; 2]>) -> Result<(), (usize, WakeError)> {
        let mut reserve = Reserve::of(shared.limit);
        while !shared.stop.is_set() {
            let frames = self.round(&mut reserve)?;
            if tenth.is_none() && shared.tenth.is_passed(shared.lives) {
                *tenth = Some(self.holds());
            }
            if frames == 0 {
                if shared.limit.is_some_and(|limit| limit.is_reached(shared.lives)) {
                    break;
                }
                if reserve.is_empty() {
                    // What waits in the ring may come in if others give back; `poll` would say at once that it is there.
                    thread::sleep(UNDER_WAY);
                } else {
                    reserve.give_back();
                    self.sleep()?;
                }
            }
        }
        drop(lock_std(shared.programs).drain(..));
        // What had come in by then goes out: of what was posted as many as can be.
        drain(self.sides.iter().map(Side::posted).sum(), || self.round(&mut reserve))?;
        drop(reserve);
        self.last_sent()
    }

    /// One burst each way.
    fn round(&mut self, reserve: &mut Reserve<'_>) -> Result<usize, (usize, WakeError)> {
        let mut frames = self.burst(0, reserve)?;
        if self.directions == Directions::Both {
            frames += self.burst(1, reserve)?;
        }
        Ok(frames)
    }

    fn burst(&mut self, from: usize, reserve: &mut Reserve<'_>) -> Result<usize, (usize, WakeError)> {
        let budget = reserve.have(BURST);
        let [a, b] = &mut self.sides;
        let (ins, outs) = if from == 0 { (a, b) } else { (b, a) };
        let burst = forward(ins, outs, self.memory, &mut self.program, budget).map_err(|(which, error)| {
            let at = if which == Which::From { from } else { 1 - from };
            (at, error)
        })?;
        if burst.frames > 0 {
            reserve.used(burst.frames);
            self.count(&burst);
        }
        Ok(burst.frames)
    }

    fn count(&self, burst: &Burst) {
        let Live { rx, napi, tx, .. } = &*self.live;
        rx.frames.add(burst.frames);
        rx.bytes.add(burst.bytes);
        napi.polls.add(1);
        napi.received.add(burst.frames);
        napi.largest_poll.set(napi.largest_poll.get().max(burst.frames));
        napi.dropped.add(burst.dropped);
        napi.discarded.add(burst.unsent);
        tx.frames.add(burst.sent);
        tx.bytes.add(burst.sent_bytes);
    }

    /// Sleeps until something comes in. Where nothing does, asks the kernel how the interfaces are.
    fn sleep(&mut self) -> Result<(), (usize, WakeError)> {
        let waiting = self.sides.iter().any(|side| side.outstanding() > 0 && !side.is_down());
        let limit = Timespec::try_from(if waiting { UNDER_WAY } else { IDLE }).ok();
        let [a, b] = &self.sides;
        let events = if self.directions == Directions::Both { PollFlags::IN } else { PollFlags::empty() };
        let mut fds = [PollFd::new(&a.queue, PollFlags::IN), PollFd::new(&b.queue, events)];
        let ready = match poll(&mut fds, limit.as_ref()) {
            Ok(ready) => ready,
            Err(Errno::INTR) => 0,
            Err(error) => return Err((0, WakeError::Os { call: "poll", code: error.raw_os_error() })),
        };
        let broken = |fd: &PollFd<'_>| fd.revents().intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL);
        if (ready == 0 && !waiting) || fds.iter().any(broken) {
            for (at, side) in self.sides.iter_mut().enumerate() {
                side.probe().map_err(|error| (at, error))?;
            }
        }
        Ok(())
    }

    /// Waits for what was sent to be done, as long as that makes sense.
    fn last_sent(&mut self) -> Result<(), (usize, WakeError)> {
        let end = Instant::now() + LAST_SENT;
        for to in 0..2 {
            let [a, b] = &mut self.sides;
            let (from, side) = if to == 0 { (b, a) } else { (a, b) };
            while side.outstanding() > 0 && !side.is_down() && Instant::now() < end {
                settle(side, self.memory, &mut from.pool).map_err(|error| (to, error))?;
                if side.outstanding() > 0 {
                    thread::sleep(UNDER_WAY);
                }
            }
        }
        Ok(())
    }

    fn holds(&self) -> [usize; 2] {
        self.sides.each_ref().map(|side| side.pool.stats().hold)
    }
}

/// Has `round` take packets until it finds none, or has found `most` of them: if they go on coming, whatever brings them, there is an end all
/// the same.
fn drain<E>(most: usize, mut round: impl FnMut() -> Result<usize, E>) -> Result<(), E> {
    let mut left = most;
    while left > 0 {
        match round()? {
            0 => break,
            frames => left = left.saturating_sub(frames),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_that_go_on_coming_do_not_keep_a_lane() {
        let rounds = |frames, most| {
            let mut taken = 0;
            let round = || {
                taken += 1;
                Ok::<_, ()>(frames)
            };
            drain(most, round).map(|()| taken)
        };
        assert_eq!((rounds(BURST, 100), rounds(BURST, 128), rounds(BURST, 129)), (Ok(2), Ok(2), Ok(3)));
        assert_eq!((rounds(0, 100), rounds(BURST, 0)), (Ok(1), Ok(0)), "nothing comes, nothing can have come");
        assert_eq!(drain(100, || Err::<usize, _>("gone")), Err("gone"));
    }
}
