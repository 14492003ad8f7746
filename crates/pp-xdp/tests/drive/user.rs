//! What the user of queues does, and what must come of it.

use pp_core::{AllocError, Page, PageBatch};
use pp_xdp::af_xdp::{RefillError, SendError};
use pp_xdp::{Buffer, MAX_FRAGS, Packet, return_buff};

use super::oracle::{At, Begun, Piece, Sent, Wanted, Way};
use super::world::{Held, Queue, World};

/// What becomes of received packets.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    Hold,
    Drop,
    /// To this pool, of whichever memory.
    Recycle(usize, usize),
    /// Out of this queue.
    Send(usize),
}

/// Pages a call asks the pool for, at most.
const AT_ONCE: usize = 64;

impl World {
    pub(crate) fn refill(&mut self, at: usize, (from, pool): (usize, usize)) {
        let Some(queue) = &mut self.queues[at] else { return };
        let memory = &mut self.memories[from];
        let to_be_had = memory.to_be_had(pool);
        let (owner, real) = &mut memory.pools[pool];
        let room = queue.fill.room((queue.fill.size / 2).clamp(1, AT_ONCE));
        let result = queue.real.rx.refill(real);
        let Ok(room) = room else {
            queue.counts.astray += 1;
            self.saw("refill astray");
            return assert_eq!(result, Ok(0));
        };
        let given = if from != queue.memory && room > 0 && to_be_had > 0 {
            assert_eq!(result, Err(RefillError::NotInUmem));
            *self.seen.entry("refill of other memory").or_default() += 1;
            0
        } else if to_be_had < room {
            assert_eq!(result, Err(RefillError::Alloc(AllocError::OutOfMemory)));
            *self.seen.entry("refill without pages").or_default() += 1;
            to_be_had
        } else {
            assert_eq!(result, Ok(room));
            room
        };
        queue.counts.given += given;
        queue.unread.extend(core::iter::repeat_n(*owner, given));
        queue.fill.unpublished = given;
        queue.fill.publish();
    }

    /// Receives at most so many packets of at most so many descriptors.
    pub(crate) fn receive(&mut self, at: usize, (budget, packets): (usize, usize), fate: Fate) {
        if self.queues[at].as_ref().is_none_or(|queue| queue.hostile) {
            self.settle();
        }
        let Some(queue) = &mut self.queues[at] else { return };
        let (available, astray) = queue.rx.available(budget);
        queue.counts.astray += usize::from(astray);
        let mut left = available.min(budget);
        let mut wanted = Vec::new();
        while left > 0 && wanted.len() < packets {
            left -= 1;
            wanted.extend(queue.next(&mut self.memories[queue.memory]));
        }
        let mut got = Vec::new();
        for buff in queue.real.rx.receive(budget).take(packets) {
            let want = wanted.get(got.len()).expect("no more packets than that");
            check_packet(&buff, want, &self.memories[queue.memory]);
            got.push(match fate {
                Fate::Recycle(memory, pool) => {
                    return_buff(buff, &mut self.memories[memory].pools[pool].1);
                    None
                }
                _ => Some(buff.into_packet()),
            });
        }
        assert_eq!(got.len(), wanted.len());
        let memory = queue.memory;
        for (packet, want) in got.into_iter().zip(wanted) {
            let Some(packet) = packet else {
                want.chunks.iter().for_each(|chunk| self.memories[memory].chunks[*chunk] = At::Home);
                continue;
            };
            self.hold(memory, packet);
            if want.chunks.len() > 1 {
                self.saw("packet of several chunks");
            }
            match fate {
                Fate::Drop => self.drop(self.held.len() - 1),
                Fate::Send(to) => self.send(self.held.len() - 1, to),
                Fate::Hold | Fate::Recycle(..) => {}
            }
        }
    }

    /// Takes a packet into the user's hands, as it is.
    fn hold(&mut self, memory: usize, packet: Packet) {
        let mut bytes = vec![0; packet.len()];
        packet.load_bytes(0, &mut bytes).expect("host memory");
        let chunks = pieces(&packet).map(|piece| self.memories[memory].of(piece).0).collect();
        self.held.push(Held { memory, packet, bytes, chunks });
    }

    pub(crate) fn drop(&mut self, at: usize) {
        let Some(at) = at.checked_rem(self.held.len()) else { return };
        let held = self.held.swap_remove(at);
        held.chunks.iter().for_each(|chunk| self.memories[held.memory].chunks[*chunk] = At::Home);
    }

    /// Moves a packet's ends, if that is possible.
    pub(crate) fn adjust(&mut self, at: usize, head: i32, tail: i32) {
        let Some(at) = at.checked_rem(self.held.len()) else { return };
        let held = &mut self.held[at];
        if held.packet.adjust_head(head).is_ok() {
            held.bytes.drain(..head as usize);
        }
        if held.packet.adjust_tail(-tail).is_ok() {
            held.bytes.truncate(held.bytes.len() - tail as usize);
        }
        // Fragments that are of the packet no longer are home.
        let memory = &mut self.memories[held.memory];
        let still: Vec<_> = pieces(&held.packet).map(|piece| memory.of(piece).0).collect();
        held.chunks.iter().filter(|chunk| !still.contains(chunk)).for_each(|chunk| memory.chunks[*chunk] = At::Home);
        held.chunks = still;
    }

    /// A packet in pages that the user takes itself, so long in each of them.
    pub(crate) fn make(&mut self, (memory, pool): (usize, usize), lens: &[usize]) {
        if self.memories[memory].to_be_had(pool) < lens.len() {
            return;
        }
        let mut packet: Option<Packet> = None;
        for len in lens {
            let bytes = self.packet(*len);
            let place = &mut self.memories[memory];
            let (owner, pool) = &mut place.pools[pool];
            let owner = *owner;
            let mut page = pool.alloc().expect("there are some");
            page[..*len].copy_from_slice(&bytes);
            let chunk = place.of(&page).0;
            place.given(chunk, At::User { pool: owner });
            match &mut packet {
                Some(packet) => packet.add_frag(page, 0, *len).expect("it has room for that"),
                none => *none = Some(self.own.prepare(page, 0, *len).expect("within the page").into_packet()),
            }
        }
        if let Some(packet) = packet {
            self.hold(memory, packet);
        }
    }

    pub(crate) fn send(&mut self, at: usize, to: usize) {
        let Some(at) = at.checked_rem(self.held.len()) else { return };
        let Some(queue) = &mut self.queues[to] else { return };
        let held = self.held.swap_remove(at);
        let (memory, expected) = (held.memory, sendable(&held, queue, self.memories[held.memory].umem.chunk_bytes()));
        let entries: Vec<_> =
            pieces(&held.packet).map(|piece| (self.memories[memory].of(piece), piece.to_vec())).collect();
        match queue.real.tx.send(held.packet) {
            Ok(()) => {
                assert_eq!(expected, Ok(()));
                for (at, ((chunk, offset), bytes)) in entries.iter().enumerate() {
                    let memory = &mut self.memories[memory];
                    let At::User { pool } = memory.chunks[*chunk] else { panic!("sent, and not the user's") };
                    memory.chunks[*chunk] = At::Kernel { queue: queue.id, way: Way::Transmit, pool };
                    let (addr, continued) = (Some(memory.addr(*chunk, *offset)), at + 1 < entries.len());
                    queue.sent.push_back(Sent { addr, continued, bytes: bytes.clone(), pool });
                }
                queue.count_sent(entries.len(), held.bytes.len());
            }
            Err(refused) => {
                assert_eq!(Err(refused.reason), expected);
                self.held.push(Held { packet: refused.buffer, ..held });
                self.saw(why(refused.reason));
            }
        }
    }

    /// Sends a packet by a copy in pages of this pool, unless it need not be copied.
    pub(crate) fn send_copy(&mut self, at: usize, to: usize, (from, pool): (usize, usize)) {
        let Some(at) = at.checked_rem(self.held.len()) else { return };
        let Some(queue) = &mut self.queues[to] else { return };
        if self.held[at].memory == queue.memory {
            return self.send(at, to);
        }
        let held = self.held.swap_remove(at);
        let expected = self.copyable(to, held.bytes.len(), (from, pool));
        let Some(queue) = &mut self.queues[to] else { return };
        match queue.real.tx.send_copy(held.packet, &mut self.memories[from].pools[pool].1) {
            Ok(()) => {
                assert_eq!(expected, Ok(()));
                held.chunks.iter().for_each(|chunk| self.memories[held.memory].chunks[*chunk] = At::Home);
                self.copied(to, &held.bytes, (from, pool));
            }
            Err(refused) => {
                assert_eq!(Err(refused.reason), expected);
                self.held.push(Held { packet: refused.buffer, ..held });
                self.saw(why(refused.reason));
            }
        }
    }

    pub(crate) fn send_bytes(&mut self, len: usize, to: usize, (from, pool): (usize, usize)) {
        if self.queues[to].is_none() {
            return;
        }
        let (bytes, expected) = (self.packet(len), self.copyable(to, len, (from, pool)));
        let Some(queue) = &mut self.queues[to] else { return };
        match queue.real.tx.send_bytes(&bytes, &mut self.memories[from].pools[pool].1) {
            Ok(()) => {
                assert_eq!(expected, Ok(()));
                self.copied(to, &bytes, (from, pool));
            }
            Err(reason) => {
                assert_eq!(Err(reason), expected);
                self.saw(why(reason));
            }
        }
    }

    /// Whether so many bytes can be sent by a copy, and why not.
    fn copyable(&mut self, to: usize, len: usize, (from, pool): (usize, usize)) -> Result<(), SendError> {
        let Some(queue) = &mut self.queues[to] else { return Ok(()) };
        let chunk_bytes = self.memories[queue.memory].umem.chunk_bytes();
        let too_long = Err(SendError::Length { bytes: len, chunk_bytes });
        if len == 0 {
            return too_long;
        }
        let chunks = len.div_ceil(chunk_bytes as usize);
        queue.room(chunks)?;
        let to_be_had = self.memories[from].to_be_had(pool);
        if to_be_had > 0 && from != queue.memory {
            return Err(SendError::NotInUmem);
        }
        // The page that makes it too long is taken as well.
        if to_be_had < chunks.min(MAX_FRAGS + 2) {
            return Err(SendError::Alloc(AllocError::OutOfMemory));
        }
        if chunks > MAX_FRAGS + 1 { too_long } else { Ok(()) }
    }

    fn copied(&mut self, to: usize, bytes: &[u8], (from, pool): (usize, usize)) {
        let Some(queue) = &mut self.queues[to] else { return };
        let pool = self.memories[from].pools[pool].0;
        let per_chunk = self.memories[queue.memory].umem.chunk_bytes() as usize;
        let chunks = bytes.len().div_ceil(per_chunk);
        for (at, bytes) in bytes.chunks(per_chunk).enumerate() {
            queue.sent.push_back(Sent { addr: None, continued: at + 1 < chunks, bytes: bytes.to_vec(), pool });
        }
        queue.counts.copied_bytes += bytes.len();
        queue.count_sent(chunks, bytes.len());
        // So that the kernel can say which pages they are.
        self.flush(to);
    }

    pub(crate) fn flush(&mut self, at: usize) {
        let Some(queue) = &mut self.queues[at] else { return };
        queue.real.tx.flush().expect("the model can be woken");
        let tx = &mut queue.tx;
        if tx.unpublished > 0 {
            tx.publish();
        } else if tx.believed == 0 || (tx.in_ring == 0 && !tx.astray) {
            return;
        }
        queue.counts.astray += usize::from(tx.room(tx.size).is_err());
        queue.counts.wakes += 1;
    }

    /// Takes back what was sent: at most so many pages, which the user keeps, or all, for a pool.
    pub(crate) fn complete(&mut self, at: usize, how: Result<usize, (usize, usize)>) {
        if self.queues[at].as_ref().is_some_and(|queue| queue.hostile) {
            self.settle();
        }
        let Some(queue) = &mut self.queues[at] else { return };
        let budget = how.unwrap_or(AT_ONCE);
        let (available, astray) = queue.completion.available(budget);
        queue.counts.astray += usize::from(astray);
        let (memory, mut back) = (&mut self.memories[queue.memory], Vec::new());
        for _ in 0..available.min(budget) {
            let addr = queue.completion.read().expect("it is known");
            match memory.locate(addr).map(|(chunk, _)| (chunk, memory.chunks[chunk])) {
                Some((chunk, At::Kernel { queue: id, way: Way::Transmit, pool })) if id == queue.id => {
                    memory.chunks[chunk] = At::User { pool };
                    back.push(chunk);
                }
                _ => queue.counts.not_given += 1,
            }
        }
        queue.counts.completed += back.len();
        match how {
            Ok(budget) => {
                let mut pages: Vec<Page> = Vec::new();
                assert_eq!(queue.real.tx.complete(budget, |page| pages.push(page)), back.len());
                let memory = queue.memory;
                for (page, chunk) in pages.into_iter().zip(back) {
                    assert_eq!(self.memories[memory].of(&page), (chunk, 0));
                    let len = page.len();
                    let packet = self.own.prepare(page, 0, len).expect("the whole page").into_packet();
                    self.hold(memory, packet);
                }
            }
            Err((to, pool)) => {
                let to = &mut self.memories[to].pools[pool].1;
                assert_eq!(queue.real.tx.complete_into(to), back.len());
                let memory = &mut self.memories[queue.memory];
                back.iter().for_each(|chunk| memory.chunks[*chunk] = At::Home);
            }
        }
    }

    /// Takes pages out of a pool and puts them back at once, for what is in them to be the next one's.
    pub(crate) fn churn(&mut self, (memory, pool): (usize, usize), byte: u8) {
        let mut batch: PageBatch<3> = PageBatch::new();
        let pool = &mut self.memories[memory].pools[pool].1;
        pool.alloc_into(&mut batch);
        let mut pages = Vec::new();
        while let Some(mut page) = batch.pop() {
            page.fill(byte);
            pages.push(page);
        }
        pages.into_iter().for_each(|page| pool.recycle_direct(page));
    }
}

impl Queue {
    /// What must come of the next descriptor.
    fn next(&mut self, memory: &mut super::world::Memory) -> Option<Wanted> {
        let received = self.rx.read()?;
        let (desc, begun) = (received.desc, core::mem::replace(&mut self.begun, Begun::Nothing));
        let (was_broken, mut packet) = match begun {
            Begun::Nothing => (false, Wanted::default()),
            Begun::Packet(packet) => (false, packet),
            Begun::Broken => (true, Wanted::default()),
        };
        let sensible = match memory.locate(desc.addr).map(|(chunk, offset)| (chunk, offset, memory.chunks[chunk])) {
            None => {
                self.counts.out_of_area += 1;
                false
            }
            Some((chunk, offset, At::Kernel { queue, way: Way::Receive, pool })) if queue == self.id => {
                self.counts.received += 1;
                self.hands.empty.retain(|empty| *empty != chunk);
                memory.chunks[chunk] = At::User { pool };
                packet.chunks.push(chunk);
                let len = desc.len as usize;
                packet.pieces.push(Piece { offset, len, bytes: received.bytes });
                let fits = len > 0 && offset + len <= memory.unit;
                self.counts.bad_length += usize::from(!fits);
                let too_long = packet.chunks.len() > MAX_FRAGS + 1;
                self.too_long += usize::from(fits && too_long);
                fits && !too_long
            }
            Some(_) => {
                self.counts.not_given += 1;
                false
            }
        };
        if sensible && !was_broken {
            if desc.is_continued() {
                self.begun = Begun::Packet(packet);
                return None;
            }
            self.counts.packets_in += 1;
            self.counts.bytes_in += packet.pieces.iter().map(|piece| piece.len).sum::<usize>();
            return Some(packet);
        }
        packet.chunks.iter().for_each(|chunk| memory.chunks[*chunk] = At::Home);
        self.counts.broken_packets += usize::from(!was_broken);
        if desc.is_continued() {
            self.begun = Begun::Broken;
        }
        None
    }

    /// Whether the transmit ring has room for so many.
    fn room(&mut self, chunks: usize) -> Result<(), SendError> {
        match self.tx.room(chunks) {
            Ok(room) if room >= chunks => Ok(()),
            Ok(_) => Err(SendError::Full),
            Err(_) => {
                self.counts.astray += 1;
                Err(SendError::Full)
            }
        }
    }

    fn count_sent(&mut self, chunks: usize, bytes: usize) {
        self.tx.unpublished += chunks;
        self.counts.sent += chunks;
        self.counts.packets_out += 1;
        self.counts.bytes_out += bytes;
    }
}

/// Whether a packet can be sent as it is, and why not.
fn sendable(held: &Held, queue: &mut Queue, chunk_bytes: u32) -> Result<(), SendError> {
    if held.memory != queue.memory {
        return Err(SendError::NotInUmem);
    }
    let lens: Vec<_> = pieces(&held.packet).map(<[u8]>::len).collect();
    if let Some(bytes) = lens.iter().find(|bytes| !(1..=chunk_bytes as usize).contains(bytes)) {
        return Err(SendError::Length { bytes: *bytes, chunk_bytes });
    }
    queue.room(lens.len())
}

fn why(reason: SendError) -> &'static str {
    match reason {
        SendError::Full => "send: full",
        SendError::NotInUmem => "send: other memory",
        SendError::Length { .. } => "send: length",
        SendError::Alloc(_) => "send: no page",
        _ => "send: something else",
    }
}

fn pieces(packet: &Packet) -> impl Iterator<Item = &[u8]> {
    let frags = packet.frags().iter().map(|frag| frag.data());
    core::iter::once(packet.data()).chain(frags).map(|bytes| bytes.expect("host memory"))
}

fn check_packet(packet: &Packet, want: &Wanted, memory: &super::world::Memory) {
    let lens: Vec<_> = pieces(packet).map(<[u8]>::len).collect();
    assert_eq!(lens, want.pieces.iter().map(|piece| piece.len).collect::<Vec<_>>());
    for ((bytes, piece), chunk) in pieces(packet).zip(&want.pieces).zip(&want.chunks) {
        assert_eq!(memory.of(bytes), (*chunk, piece.offset));
        assert!(piece.bytes.as_ref().is_none_or(|wanted| bytes == wanted), "not what the kernel wrote");
    }
    let Buffer::Umem(page) = packet.head() else { panic!("received into {:?}", packet.head()) };
    let At::User { pool } = memory.chunks[want.chunks[0]] else { panic!("received, and not the user's") };
    assert!(memory.handles[pool].has_on_books(page.descriptor()), "a page of another pool");
}
