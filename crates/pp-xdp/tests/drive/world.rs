//! Two UMEMs with their pools, queues on them, and what the user has in hand.

use std::collections::{BTreeMap, VecDeque};

use pp_core::doc::Heap;
use pp_core::{Backing, Home, Host, PagePool, PoolHandle};
use pp_provider_buddy::Buddy;
use pp_xdp::af_xdp::model::{self, ModelKernel, ModelQueue};
use pp_xdp::af_xdp::{ChunkLayout, Closing, Umem, XdpDesc};
use pp_xdp::{MemModel, MemType, Packet, Registry, RxqInfo, RxqParams};

use super::input::Input;
use super::oracle::{At, Begun, Counts, Read, Received, Sent, Way, Written};

/// A UMEM, the pools on it, and where each of its chunks is.
pub(crate) struct Memory {
    pub(crate) umem: Umem,
    pub(crate) base: usize,
    pub(crate) unit: usize,
    pub(crate) chunks: Vec<At>,
    /// Those that are open, each with its number in `handles`.
    pub(crate) pools: Vec<(usize, PagePool)>,
    /// Of all there ever were.
    pub(crate) handles: Vec<PoolHandle>,
    free: Box<dyn Fn() -> usize>,
    build: Box<dyn Fn() -> PagePool>,
}

impl Memory {
    fn new(unit: usize, chunks: usize, input: &mut Input<'_>) -> Self {
        let headroom = [0, 0, 64, 500][input.below(4)];
        let unaligned = [None, Some(2048), Some(unit as u32), Some(3000)][input.below(4)];
        let shape = (unit, unaligned.map(|bytes| bytes.min(unit as u32)), headroom);
        // On the heap, units of 2048 do not begin at a page.
        if unit == 4096 && (input.below(2) == 0 || cfg!(miri)) {
            let home = Home::new(Heap::new(unit, chunks));
            let free = home.clone();
            Self::on(home, shape, Box::new(move || free.free_units()))
        } else {
            let buddy = Buddy::builder().unit_bytes(unit).anonymous(unit * chunks).build().expect("memory for a test");
            let home = Home::from(&buddy);
            Self::on(home, shape, Box::new(move || buddy.free_units()))
        }
    }

    fn on<P: Backing<Access = Host> + 'static>(
        home: Home<P>,
        (unit, unaligned, headroom): (usize, Option<u32>, u32),
        free: Box<dyn Fn() -> usize>,
    ) -> Self {
        let builder = Umem::builder(home.clone()).headroom(headroom);
        let umem = unaligned.map_or_else(|| Umem::builder(home.clone()).headroom(headroom), |b| builder.unaligned(b));
        let umem = umem.build().expect("a shape that the kernel takes");
        let base = home.regions()[0].base().addr();
        let chunks = vec![At::Home; umem.chunks() as usize];
        assert_eq!(free(), chunks.len());
        // Small, so that every way in and out of a pool is gone.
        let build =
            Box::new(move || PagePool::builder(home.clone()).pool_size(5).cache(4).refill(2).build().expect("a pool"));
        let mut memory = Memory { umem, base, unit, chunks, pools: vec![], handles: vec![], free, build };
        for _ in 0..3 {
            let pool = memory.new_pool();
            memory.pools.push(pool);
        }
        memory
    }

    fn new_pool(&mut self) -> (usize, PagePool) {
        let pool = (self.build)();
        self.handles.push(pool.handle());
        (self.handles.len() - 1, pool)
    }

    /// A new pool in the place of an old one, which is dropped with its pages wherever they are.
    pub(crate) fn replace_pool(&mut self, at: usize) {
        self.pools[at] = self.new_pool();
    }

    /// Pages that the provider and this pool have for who asks the pool.
    pub(crate) fn to_be_had(&self, at: usize) -> usize {
        let stats = self.pools[at].1.stats();
        (self.free)() + stats.in_cache + stats.in_ring
    }

    pub(crate) fn free(&self) -> usize {
        (self.free)()
    }

    /// The address of a byte, as the kernel's header says it.
    pub(crate) fn addr(&self, chunk: usize, offset: usize) -> u64 {
        let begin = (chunk * self.unit) as u64;
        match self.umem.layout() {
            ChunkLayout::Aligned => begin + offset as u64,
            ChunkLayout::Unaligned => begin | (offset as u64) << 48,
        }
    }

    /// The chunk and byte that an address names.
    pub(crate) fn locate(&self, addr: u64) -> Option<(usize, usize)> {
        let byte = match self.umem.layout() {
            ChunkLayout::Aligned => u128::from(addr),
            ChunkLayout::Unaligned => u128::from(addr % (1 << 48)) + u128::from(addr >> 48),
        };
        let bytes = (self.chunks.len() * self.unit) as u128;
        (byte < bytes).then(|| (byte as usize / self.unit, byte as usize % self.unit))
    }

    /// The chunk that bytes of a page lie in, and where.
    pub(crate) fn of(&self, bytes: &[u8]) -> (usize, usize) {
        let at = bytes.as_ptr().addr().checked_sub(self.base).expect("in the memory");
        assert!(at / self.unit < self.chunks.len(), "beyond the memory");
        (at / self.unit, at % self.unit)
    }
}

/// A queue that is open.
pub(crate) struct Queue {
    pub(crate) id: usize,
    pub(crate) memory: usize,
    pub(crate) real: ModelQueue,
    pub(crate) kernel: ModelKernel,
    pub(crate) fill: Written,
    /// The pools of the pages whose entries the kernel has not read.
    pub(crate) unread: VecDeque<usize>,
    pub(crate) rx: Read<Received>,
    pub(crate) begun: Begun,
    pub(crate) tx: Written,
    pub(crate) sent: VecDeque<Sent>,
    pub(crate) completion: Read<u64>,
    pub(crate) counts: Counts,
    pub(crate) hands: Hands,
    /// The kernel has put nonsense into its rings.
    pub(crate) hostile: bool,
    /// Packets that had more chunks than a packet may have.
    pub(crate) too_long: usize,
}

/// What the kernel took out of rings.
pub(crate) struct Hands {
    /// Chunks to receive into.
    pub(crate) empty: Vec<usize>,
    /// Addresses of what is sent.
    pub(crate) sending: Vec<u64>,
    /// By chunk: how often it was taken, less how often put.
    pub(crate) taken: Vec<i32>,
    /// What it said last, to be said again.
    pub(crate) last: Option<XdpDesc>,
}

/// A queue that was closed and is not quiet.
pub(crate) struct Ending {
    pub(crate) id: usize,
    pub(crate) memory: usize,
    pub(crate) closing: Closing,
    pub(crate) kernel: ModelKernel,
}

/// A packet that the user has.
pub(crate) struct Held {
    pub(crate) memory: usize,
    pub(crate) packet: Packet,
    /// What it must say as long as the user does nothing about it.
    pub(crate) bytes: Vec<u8>,
    pub(crate) chunks: Vec<usize>,
}

/// What has happened, and how often.
pub(crate) type Seen = BTreeMap<&'static str, usize>;

pub(crate) struct World {
    pub(crate) memories: [Memory; 2],
    pub(crate) queues: Vec<Option<Queue>>,
    pub(crate) endings: Vec<Ending>,
    pub(crate) held: Vec<Held>,
    /// For packets of the user's own.
    pub(crate) own: RxqInfo,
    /// What has happened, and how often.
    pub(crate) seen: Seen,
    ring: u32,
    ids: usize,
    numbers: u64,
}

impl World {
    pub(crate) fn new(input: &mut Input<'_>) -> Self {
        // Miri has no mmap, which is what begins at a page whatever the units are.
        let unit = if cfg!(miri) { 4096 } else { [4096, 2048][input.below(2)] };
        let other = if cfg!(miri) { 4096 } else { 6144 - unit };
        let chunks = 6 + input.below(60);
        let ring = 1 << input.below(6);
        let queues = 2 + input.below(2);
        let memories = [Memory::new(unit, chunks, input), Memory::new(other, 6 + input.below(20), input)];
        let mut own = RxqInfo::new();
        own.reg(RxqParams::new(1, 0)).expect("a new queue");
        let model = MemModel::new(MemType::PagePool, memories[0].handles[0].clone());
        own.reg_mem_model(&Registry::new(), model).expect("its memory");
        let (held, endings) = (Vec::new(), Vec::new());
        let mut world =
            World { memories, queues: vec![], endings, held, own, seen: Seen::new(), ring, ids: 0, numbers: 0 };
        for at in 0..=queues {
            let queue = world.open(usize::from(at == queues));
            world.queues.push(Some(queue));
        }
        world
    }

    /// A new queue on a UMEM.
    pub(crate) fn open(&mut self, memory: usize) -> Queue {
        let umem = &self.memories[memory].umem;
        let (real, kernel) = model::queue(umem, self.ring).expect("memory can be registered");
        self.ids += 1;
        let size = self.ring as usize;
        let taken = vec![0; umem.chunks() as usize];
        Queue {
            id: self.ids,
            memory,
            real,
            kernel,
            fill: Written::new(size),
            unread: VecDeque::new(),
            rx: Read::new(size),
            begun: Begun::Nothing,
            tx: Written::new(size),
            sent: VecDeque::new(),
            completion: Read::new(size),
            counts: Counts::default(),
            hands: Hands { empty: vec![], sending: vec![], taken, last: None },
            hostile: false,
            too_long: 0,
        }
    }

    pub(crate) fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    /// The bytes of the next packet, which say its number and nothing that another one says.
    pub(crate) fn packet(&mut self, len: usize) -> Vec<u8> {
        self.numbers += 1;
        let number = self.numbers;
        (0..len).map(|at| if at < 8 { number.to_le_bytes()[at] } else { (number * 31 + at as u64) as u8 }).collect()
    }

    /// What the books and the counters say, held against where everything is; and what the user has, against what it had.
    pub(crate) fn check(&mut self) {
        let open = || self.queues.iter().flatten();
        for (at, memory) in self.memories.iter().enumerate() {
            let mut outstanding = 0;
            for (pool, handle) in memory.handles.iter().enumerate() {
                let known = |with: fn(&At) -> Option<usize>| {
                    memory.chunks.iter().filter(|chunk| with(chunk) == Some(pool)).count()
                };
                let user = known(|at| if let At::User { pool } = at { Some(*pool) } else { None });
                let kernel = known(|at| if let At::Kernel { pool, .. } = at { Some(*pool) } else { None });
                let unknown: usize = open().filter(|queue| queue.memory == at).map(|queue| queue.unknown(pool)).sum();
                let stats = handle.stats();
                assert_eq!(memory.umem.kernel_held(handle), kernel + unknown, "the kernel's, of pool {pool}");
                assert_eq!(stats.in_use(), user + kernel + unknown, "in use, of pool {pool}");
                outstanding += stats.outstanding();
            }
            assert_eq!(memory.free() + outstanding, memory.chunks.len(), "a page is lost, or there twice");
        }
        for queue in self.queues.iter_mut().flatten() {
            let counters = queue.real.counters();
            assert_eq!(Counts::of(counters), queue.counts);
            assert_eq!(counters.nonsense(), queue.counts.nonsense());
            let given = |at: &&At| matches!(at, At::Kernel { queue: id, .. } if *id == queue.id);
            let known = self.memories[queue.memory].chunks.iter().filter(given).count();
            let copies = queue.sent.iter().filter(|sent| sent.addr.is_none()).count();
            assert_eq!(counters.kernel_held(), known + queue.unread.len() + copies);
            let unsent = queue.tx.unpublished > 0 || queue.tx.in_ring > 0 || queue.tx.astray;
            assert_eq!(queue.real.tx.has_unsent(), unsent);
        }
        for held in &self.held {
            let mut bytes = vec![0; held.packet.len()];
            held.packet.load_bytes(0, &mut bytes).expect("host memory");
            assert!(bytes == held.bytes, "a packet changed in the user's hands: {:?}", held.chunks);
        }
    }

    /// Ends everything; then every page must be home. Says what has happened.
    pub(crate) fn end(mut self) -> Seen {
        for at in 0..self.queues.len() {
            self.close(at);
        }
        self.check();
        while !self.endings.is_empty() {
            self.quiet(0, self.endings.len() % 3);
            self.check();
        }
        assert!(self.memories.iter().all(|memory| memory.umem.kernel_held(&memory.handles[0]) == 0));
        self.held.clear();
        for chunk in self.memories.iter_mut().flat_map(|memory| &mut memory.chunks) {
            assert!(!matches!(chunk, At::Kernel { .. }), "every queue is quiet");
            *chunk = At::Home;
        }
        self.check();
        for memory in &mut self.memories {
            memory.pools.clear();
            assert_eq!(memory.free(), memory.chunks.len(), "a page did not come home");
            assert!(memory.handles.iter().all(|pool| pool.stats().inflight() == 0));
        }
        self.seen
    }

    /// Closes a queue. What the kernel has of it stays where it is.
    pub(crate) fn close(&mut self, at: usize) {
        let Some(mut queue) = self.queues[at].take() else { return };
        if let Begun::Packet(begun) = core::mem::replace(&mut queue.begun, Begun::Nothing) {
            begun.chunks.iter().for_each(|chunk| self.memories[queue.memory].chunks[*chunk] = At::Home);
        }
        // As a child that was forked before it was closed.
        let Queue { id, memory, real, .. } = queue;
        let mut closing = real.close();
        assert!(!closing.is_quiet(), "the kernel still has it");
        let (mut fill, mut tx) = (queue.fill, queue.tx);
        let (mut kernel, mut sent) = (queue.kernel, queue.sent);
        for pool in queue.unread {
            assert!(fill.read());
            let chunk = self.memories[memory].locate(kernel.take_fill().expect("it was filled")).expect("ours").0;
            self.memories[memory].given(chunk, At::Kernel { queue: id, way: Way::Receive, pool });
        }
        while tx.read() {
            let (desc, sent) = (kernel.take_tx().expect("it was sent"), sent.pop_front().expect("it was sent"));
            if sent.addr.is_none() {
                let chunk = self.memories[memory].locate(desc.addr).expect("ours").0;
                self.memories[memory].given(chunk, At::Kernel { queue: id, way: Way::Transmit, pool: sent.pool });
            }
        }
        assert!(sent.iter().all(|sent| sent.addr.is_some()), "copies are flushed at once");
        assert_eq!((kernel.take_fill(), kernel.take_tx()), (None, None));
        *self.seen.entry("too many chunks").or_default() += queue.too_long;
        queue.counts.each().for_each(|(name, count)| *self.seen.entry(name).or_default() += count);
        self.endings.push(Ending { id, memory, closing, kernel });
    }

    /// The kernel lets go of a closed queue, which the user hears in one way or another.
    pub(crate) fn quiet(&mut self, at: usize, how: usize) {
        if self.endings.is_empty() {
            return;
        }
        let at = at % self.endings.len();
        let Ending { id, memory, mut closing, kernel } = self.endings.swap_remove(at);
        assert!(!closing.is_quiet(), "the kernel still has it");
        closing = closing.wait(core::time::Duration::ZERO).expect_err("the kernel still has it");
        kernel.quiet();
        let of_it = |at: &&mut At| matches!(at, At::Kernel { queue, .. } if *queue == id);
        let held = self.memories[memory].chunks.iter_mut().filter(of_it);
        if held.map(|at| *at = At::Home).count() > 0 {
            self.saw("pages back at last");
        }
        match how {
            0 => assert!(closing.is_quiet()),
            1 => closing.wait(core::time::Duration::ZERO).expect("it is quiet"),
            _ => drop(closing),
        }
    }
}

impl Memory {
    /// It is seen where a chunk is that came out of a pool.
    pub(crate) fn given(&mut self, chunk: usize, to: At) {
        assert_eq!(self.chunks[chunk], At::Home, "chunk {chunk} is in two places");
        self.chunks[chunk] = to;
    }
}

impl Queue {
    /// Chunks of a pool that it has in its rings and nobody knows which.
    fn unknown(&self, pool: usize) -> usize {
        let copies = self.sent.iter().filter(|sent| sent.addr.is_none() && sent.pool == pool).count();
        copies + self.unread.iter().filter(|unread| **unread == pool).count()
    }
}
