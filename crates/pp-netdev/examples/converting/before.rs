//! Before: packets in buffers cut from one mapping, a stack of free ones, and a channel by which they come back.

use std::sync::mpsc;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// Bytes of a buffer.
const BUFFER: usize = 2048;

/// The buffers, and which of them are free.
pub struct Buffers {
    area: *mut u8,
    count: usize,
    free: Vec<usize>,
    returned: mpsc::Receiver<usize>,
    home: mpsc::Sender<usize>,
}

/// A received packet.
pub struct Packet {
    buffer: *mut u8,
    index: usize,
    len: usize,
    home: mpsc::Sender<usize>,
}

// SAFETY: the buffer is this packet's alone until its index is sent home.
unsafe impl Send for Packet {}

impl Buffers {
    pub fn new(count: usize) -> std::io::Result<Self> {
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: at an address that the kernel chooses.
        let area = unsafe { mmap_anonymous(std::ptr::null_mut(), count * BUFFER, protection, flags) }?;
        let (home, returned) = mpsc::channel();
        Ok(Buffers { area: area.cast(), count, free: (0..count).collect(), returned, home })
    }

    /// A buffer that nobody has; waits for one if all are out.
    fn take(&mut self) -> Option<usize> {
        self.free.extend(self.returned.try_iter());
        self.free.pop().or_else(|| self.returned.recv().ok())
    }

    /// How many buffers are out.
    pub fn out(&mut self) -> usize {
        self.free.extend(self.returned.try_iter());
        self.count - self.free.len()
    }
}

/// Receives until `link` is at its end, and hands every packet up.
pub fn receive(buffers: &mut Buffers, mut link: impl FnMut(&mut [u8]) -> Option<usize>, mut up: impl FnMut(Packet)) {
    while let Some(index) = buffers.take() {
        // SAFETY: within the mapping; nobody else has this index, or so the channel is trusted.
        let buffer = unsafe { buffers.area.add(index * BUFFER) };
        // SAFETY: as above, for as long as `link` fills it.
        let Some(len) = link(unsafe { std::slice::from_raw_parts_mut(buffer, BUFFER) }) else {
            buffers.free.push(index);
            return;
        };
        up(Packet { buffer, index, len, home: buffers.home.clone() });
    }
}

impl Packet {
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: ours until we send the index home; valid while the mapping is, which nothing here makes sure of.
        unsafe { std::slice::from_raw_parts(self.buffer, self.len) }
    }
}

impl Drop for Packet {
    fn drop(&mut self) {
        let _ = self.home.send(self.index);
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // Packets that are out would be read after this: then the mapping must stay, for ever.
        if self.out() == 0 {
            // SAFETY: the mapping is ours, and nobody is in it.
            let _ = unsafe { munmap(self.area.cast(), self.count * BUFFER) };
        }
    }
}
