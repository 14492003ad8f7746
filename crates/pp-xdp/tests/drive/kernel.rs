//! What the kernel does, or whoever has written its memory.

use pp_xdp::af_xdp::XdpDesc;

use super::input::Input;
use super::oracle::{At, Received, Way};
use super::world::{Queue, World};

impl World {
    /// Reads so many entries of the fill ring.
    pub(crate) fn take_fill(&mut self, at: usize, most: usize) {
        let Some(queue) = &mut self.queues[at] else { return };
        let memory = &mut self.memories[queue.memory];
        for _ in 0..most {
            let addr = queue.kernel.take_fill();
            if !queue.fill.read() {
                return assert_eq!(addr, None);
            }
            let addr = addr.expect("it was filled");
            let (chunk, offset) = memory.locate(addr).expect("ours");
            assert_eq!((offset, memory.addr(chunk, 0)), (0, addr));
            let pool = queue.unread.pop_front().expect("as many as in the ring");
            memory.given(chunk, At::Kernel { queue: queue.id, way: Way::Receive, pool });
            queue.hands.empty.push(chunk);
            queue.count(Some(chunk), 1);
        }
    }

    /// Reads so many entries of the transmit ring, which must say what was sent.
    pub(crate) fn take_tx(&mut self, at: usize, most: usize) {
        let Some(queue) = &mut self.queues[at] else { return };
        let memory = &mut self.memories[queue.memory];
        for _ in 0..most {
            let desc = queue.kernel.take_tx();
            if !queue.tx.read() {
                return assert_eq!(desc, None);
            }
            let (desc, sent) = (desc.expect("it was sent"), queue.sent.pop_front().expect("as many as in the ring"));
            assert_eq!((desc.len as usize, desc.is_continued()), (sent.bytes.len(), sent.continued));
            let chunk = memory.locate(desc.addr).expect("ours").0;
            match sent.addr {
                Some(addr) => assert_eq!(desc.addr, addr),
                None => memory.given(chunk, At::Kernel { queue: queue.id, way: Way::Transmit, pool: sent.pool }),
            }
            queue.hands.sending.push(desc.addr);
            queue.count(Some(chunk), 1);
            // Unless it was said to be completed before the kernel saw it: then it may have come back another way.
            let sent_still =
                matches!(memory.chunks[chunk], At::Kernel { queue: id, way: Way::Transmit, .. } if id == queue.id);
            if sent_still && queue.hands.taken[chunk] > 0 {
                assert!(queue.kernel.read(desc) == Some(sent.bytes), "not what was sent");
            }
        }
    }

    /// Reads all that there is to read, so that it is known where each chunk is.
    pub(crate) fn settle(&mut self) {
        for at in 0..self.queues.len() {
            self.take_fill(at, usize::MAX);
            self.take_tx(at, usize::MAX);
        }
    }

    /// Receives a packet, or the next part of one that goes on after these, into so many chunks.
    pub(crate) fn deliver(&mut self, at: usize, (pieces, goes_on): (usize, bool), input: &mut Input<'_>) {
        for piece in 0..pieces {
            if self.queues[at].as_ref().is_some_and(|queue| queue.hands.empty.is_empty()) {
                self.take_fill(at, 1 + input.below(4));
            }
            let bytes = self.packet(1 + input.below(256) * input.below(12));
            let Some(queue) = &mut self.queues[at] else { return };
            let memory = &self.memories[queue.memory];
            if queue.hands.empty.is_empty() || !queue.rx.has_room() {
                return;
            }
            let chunk = queue.hands.empty.swap_remove(input.below(queue.hands.empty.len()));
            let offset = 256 + memory.umem.headroom() as usize + input.below(64);
            let bytes = &bytes[..bytes.len().min(memory.unit - offset)];
            let addr = memory.addr(chunk, offset);
            let wrote = queue.kernel.write_packet(addr, bytes);
            assert_eq!(wrote, queue.hands.taken[chunk] > 0);
            let options = u32::from(piece + 1 < pieces || goes_on);
            let desc = XdpDesc { addr, len: bytes.len() as u32, options };
            queue.put_rx(desc, wrote.then(|| bytes.to_vec()), Some(chunk));
        }
    }

    /// Says that something was sent, in any order.
    pub(crate) fn done(&mut self, at: usize, which: usize) {
        let Some(queue) = &mut self.queues[at] else { return };
        let Some(which) = which.checked_rem(queue.hands.sending.len()) else { return };
        if queue.completion.has_room() {
            let addr = queue.hands.sending.swap_remove(which);
            let chunk = self.memories[queue.memory].locate(addr).map(|(chunk, _)| chunk);
            queue.put_completion(addr, chunk);
        }
    }

    /// Puts what makes no sense into a ring, or what happens to.
    pub(crate) fn lie(&mut self, at: usize, input: &mut Input<'_>) {
        self.settle();
        let Some(queue) = &mut self.queues[at] else { return };
        queue.hostile = true;
        let memory = &self.memories[queue.memory];
        let units = memory.chunks.len();
        let (kind, chunk) = (input.byte(), input.below(units));
        let (empty, last) = (input.below(queue.hands.empty.len()), queue.hands.last);
        let addr = match kind % 5 {
            0 => input.number(),
            // Somebody's; maybe its own.
            1 => memory.addr(chunk, input.below(256)),
            2 => last.map_or(0, |last| last.addr),
            3 => {
                memory.addr(queue.hands.empty.get(empty).copied().unwrap_or(chunk), input.below(256) * 16 % memory.unit)
            }
            // Past the end, by a little.
            _ => memory.addr(units - 1, 0).wrapping_add((memory.unit - 128 + input.below(256)) as u64),
        };
        let mut desc = last.filter(|_| kind % 5 == 2).unwrap_or_default();
        desc.addr = addr;
        if kind & 0x80 == 0 {
            desc = XdpDesc { addr, len: input.number() as u32, options: u32::from(input.byte()) };
        }
        let chunk = memory.locate(addr).map(|(chunk, _)| chunk);
        let full = if kind & 0x40 == 0 { !queue.rx.has_room() } else { !queue.completion.has_room() };
        if full {
            let refused = if kind & 0x40 == 0 { queue.kernel.put_rx(desc) } else { queue.kernel.put_completion(addr) };
            return assert!(!refused, "a full ring has no room");
        }
        if kind & 0x40 == 0 {
            // If that was in its hand, it is no longer.
            queue.hands.empty.retain(|empty| Some(*empty) != chunk);
            queue.put_rx(desc, None, chunk);
        } else {
            queue.put_completion(addr, chunk);
        }
    }

    pub(crate) fn lead_astray(&mut self, at: usize, by: u32) {
        let Some(queue) = &mut self.queues[at] else { return };
        queue.kernel.lead_astray(by);
        for astray in [&mut queue.fill.astray, &mut queue.tx.astray, &mut queue.rx.astray, &mut queue.completion.astray]
        {
            *astray = true;
        }
    }

    /// Writes to whatever chunks the kernels have, of queues that are open, and of those that were closed: nobody else has them.
    pub(crate) fn scribble(&mut self, byte: u8) {
        for queue in self.queues.iter_mut().flatten() {
            let memory = &self.memories[queue.memory];
            for (chunk, taken) in queue.hands.taken.iter().enumerate() {
                let addr = memory.addr(chunk, 0);
                assert_eq!(queue.kernel.has(addr), *taken > 0);
                queue.kernel.write(addr, byte);
            }
        }
        for ending in &mut self.endings {
            let memory = &self.memories[ending.memory];
            for chunk in 0..memory.chunks.len() {
                ending.kernel.write(memory.addr(chunk, 0), byte);
            }
        }
    }

    /// Puts something into the rings of a queue that was closed, which nobody reads.
    pub(crate) fn too_late(&mut self, at: usize, input: &mut Input<'_>) {
        let Some(at) = at.checked_rem(self.endings.len()) else { return };
        let ending = &mut self.endings[at];
        let memory = &self.memories[ending.memory];
        let addr = memory.addr(input.below(memory.chunks.len()), 256);
        ending.kernel.put_rx(XdpDesc { addr, len: 60, options: 0 });
        ending.kernel.put_completion(addr);
        assert!(!ending.closing.is_quiet());
    }
}

impl Queue {
    fn count(&mut self, chunk: Option<usize>, by: i32) {
        chunk.into_iter().for_each(|chunk| self.hands.taken[chunk] += by);
    }

    fn put_rx(&mut self, desc: XdpDesc, bytes: Option<Vec<u8>>, chunk: Option<usize>) {
        assert!(self.kernel.put_rx(desc), "the ring has room");
        self.rx.write(Received { desc, bytes });
        self.hands.last = Some(desc);
        self.count(chunk, -1);
    }

    fn put_completion(&mut self, addr: u64, chunk: Option<usize>) {
        assert!(self.kernel.put_completion(addr), "the ring has room");
        self.completion.write(addr);
        self.hands.last = Some(XdpDesc { addr, len: 60, options: 0 });
        self.count(chunk, -1);
    }
}
