//! After: the same loop on a pool.

use pp_core::{Host, Page, PagePool};
use pp_provider_buddy::Buddy;

/// Bytes of a buffer.
const BUFFER: usize = 2048;

/// The buffers, and which of them are free.
pub struct Buffers {
    pool: PagePool,
}

/// A received packet.
pub struct Packet {
    page: Page<Host>,
    len: usize,
}

impl Buffers {
    pub fn new(count: usize) -> Result<Self, Box<dyn std::error::Error>> {
        let provider =
            Buddy::builder().unit_bytes(BUFFER).anonymous((count * BUFFER).next_multiple_of(4096)).build()?;
        Ok(Buffers { pool: PagePool::builder(provider).limit(count).build()? })
    }

    /// A buffer that nobody has; waits for one if all are out.
    fn take(&mut self) -> Page<Host> {
        loop {
            match self.pool.alloc() {
                Ok(page) => return page,
                Err(_) => std::thread::yield_now(),
            }
        }
    }

    /// How many buffers are out.
    pub fn out(&mut self) -> usize {
        self.pool.stats().in_use()
    }
}

/// Receives until `link` is at its end, and hands every packet up.
pub fn receive(buffers: &mut Buffers, mut link: impl FnMut(&mut [u8]) -> Option<usize>, mut up: impl FnMut(Packet)) {
    loop {
        let mut page = buffers.take();
        let Some(len) = link(&mut page) else {
            buffers.pool.recycle_direct(page);
            return;
        };
        up(Packet { page, len });
    }
}

impl Packet {
    pub fn bytes(&self) -> &[u8] {
        &self.page[..self.len]
    }
}
