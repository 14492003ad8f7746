//! A ring, a pool whose pages are all out, and a device's memory: what a body begins with and how it ends.

use std::sync::Arc;

use pp_core::doc::Heap;
use pp_core::sync::{Counter, UnsafeCell};
use pp_core::{Descriptor, Dma, DmaAddr, DmaDirection, DmaError, Home, MemoryProvider, PagePart, PagePool};
use pp_netdev::ring::{Bells, Cleaner, Completed, Completion, DeviceEnd, Poster, ring};
use pp_netdev::{Bell, Buffer};

/// How large a run is.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) descriptors: u32,
    pub(crate) packets: u64,
}

/// What the device reaches, one word a page, as cells that the checker watches: the bytes of a page, for a ring that
/// must carry them along.
#[derive(Debug)]
pub(crate) struct Memory {
    words: Vec<UnsafeCell<u64>>,
    mapped: Counter,
}

// SAFETY: whether two threads are ever at one cell is what the models find out.
unsafe impl Sync for Memory {}

// SAFETY: its addresses are places in `words`, which nothing but this type reaches.
unsafe impl Dma for Memory {
    fn map(&self, _: &Descriptor, _: DmaDirection) -> Result<DmaAddr, DmaError> {
        let place = self.mapped.get();
        self.mapped.set(place + 1); // one consumer maps
        Ok(DmaAddr(place as u64))
    }
    fn unmap(&self, _: DmaAddr, _: usize, _: DmaDirection) {}
    fn needs_sync(&self) -> bool {
        false
    }
}

impl Memory {
    pub(crate) fn read(&self, addr: DmaAddr) -> u64 {
        // SAFETY: the caller has the page, says the model; the checker looks.
        self.words[addr.0 as usize].with(|word| unsafe { *word })
    }

    pub(crate) fn write(&self, addr: DmaAddr, value: u64) {
        // SAFETY: as in `read`.
        self.words[addr.0 as usize].with_mut(|word| unsafe { *word = value });
    }
}

/// A pool whose pages are all out, and a ring.
pub(crate) struct Bench {
    pub(crate) provider: Home<Heap>,
    pub(crate) pool: PagePool,
    pub(crate) memory: Arc<Memory>,
    pub(crate) buffers: Vec<Buffer>,
    pub(crate) bells: [Arc<Bell>; 3],
    pub(crate) ends: (Poster, DeviceEnd, Cleaner),
}

impl Bench {
    pub(crate) fn new(size: Size, pages: u64) -> Self {
        let pages = pages as usize;
        let provider = Home::new(Heap::new(64, pages));
        let words = (0..pages).map(|_| UnsafeCell::new(0)).collect();
        let memory = Arc::new(Memory { words, mapped: Counter::new(0) });
        let mut pool = PagePool::builder(provider.clone())
            .cache(pages)
            .refill(pages)
            .pool_size(pages)
            .dma(memory.clone(), DmaDirection::Bidirectional)
            .build()
            .unwrap();
        // Of both kinds.
        let buffers = (0..pages).map(|at| {
            let page = pool.alloc().unwrap();
            if at % 2 == 0 { Buffer::from(page) } else { Buffer::from(PagePart::from(page)) }
        });
        let buffers = buffers.collect();
        let bells = [(); 3].map(|()| Arc::new(Bell::new()));
        let [poster, device, cleaner] = bells.clone();
        let ends = ring(size.descriptors.try_into().unwrap(), Bells { poster, device, cleaner });
        Bench { provider, pool, memory, buffers, bells, ends }
    }
}

/// Every page is home, and went there once.
pub(crate) fn all_home(provider: &Home<Heap>, pool: PagePool) {
    assert_eq!(pool.stats().in_use(), 0, "a page is lost");
    drop(pool);
    let heap = provider.describe();
    assert_eq!(heap.free_units, heap.total_units, "a page came home twice or never");
}

/// Checks what came out of a ring: in order, and if the device says that it is done, with what the device wrote.
pub(crate) fn check(completed: &Completed, expected: u64, memory: &Memory) {
    assert_eq!(completed.mark, expected, "out of order");
    let word = memory.read(completed.buffer.dma_addr().unwrap());
    assert!(word == !expected || (completed.completion == Completion::Failed && word == expected), "not its bytes");
}

/// The device's work on one page: reads what the driver wrote and writes its answer.
pub(crate) fn work_on(device: &DeviceEnd, memory: &Memory, expected: u64) -> bool {
    let Some(work) = device.work() else { return false };
    assert_eq!((work.mark, memory.read(work.addr)), (expected, expected), "not what was posted");
    memory.write(work.addr, !expected);
    true
}
