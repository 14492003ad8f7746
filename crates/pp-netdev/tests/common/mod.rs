//! Ports, providers and set-ups that the tests share.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "each test binary uses a part of it, and all of them have std"
)]

pub mod flows;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pp_core::doc::Heap;
use pp_core::{Backing, DmaDirection, Home, Host, PagePool};
use pp_netdev::{DmaWindow, ForwardConfig, Frame, FrameSink, FrameSource};

/// Bytes in a page of every test.
pub const PAGE: usize = 4096;

/// What frame `index` of a stream looks like: its length and every byte depend on the index.
pub fn frame(index: u64, out: &mut Vec<u8>) {
    let len = 14 + (index.wrapping_mul(2_654_435_761) >> 7) % 1487;
    out.clear();
    out.extend((0..len).map(|at| (index.wrapping_mul(31) ^ at.wrapping_mul(7)) as u8));
}

/// The first `frames` frames of the stream, each marked with its index.
pub struct Generator {
    next: u64,
    frames: u64,
    bytes: Vec<u8>,
}

impl Generator {
    pub fn new(frames: u64) -> Self {
        Generator { next: 0, frames, bytes: Vec::new() }
    }
}

impl FrameSource for Generator {
    fn next_frame(&mut self) -> io::Result<Option<Frame<'_>>> {
        if self.next == self.frames {
            return Ok(None);
        }
        let mark = self.next;
        frame(mark, &mut self.bytes);
        self.next += 1;
        Ok(Some(Frame { bytes: &self.bytes, mark }))
    }
}

/// Checks that what arrives is the stream from its beginning, in order and byte by byte.
#[derive(Default)]
pub struct Checker {
    pub frames: u64,
    pub bytes: u64,
    pub finished: bool,
    expected: Vec<u8>,
}

impl FrameSink for Checker {
    fn send_frame(&mut self, sent: Frame<'_>) -> io::Result<()> {
        frame(self.frames, &mut self.expected);
        if sent.mark != self.frames || sent.bytes != self.expected {
            return Err(io::Error::other(format!("frame {} arrived where {} was due", sent.mark, self.frames)));
        }
        self.frames += 1;
        self.bytes += sent.bytes.len() as u64;
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.finished = true;
        Ok(())
    }
}

/// A source made of a list of frames.
pub struct Listed {
    pub frames: Vec<Vec<u8>>,
    next: usize,
}

impl Listed {
    pub fn new(frames: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Listed { frames: frames.into_iter().collect(), next: 0 }
    }
}

impl FrameSource for Listed {
    fn next_frame(&mut self) -> io::Result<Option<Frame<'_>>> {
        let mark = self.next as u64;
        self.next += 1;
        Ok(self.frames.get(self.next - 1).map(|bytes| Frame { bytes, mark }))
    }
}

/// Keeps what arrives.
#[derive(Default)]
pub struct Collector {
    pub frames: Vec<(u64, Vec<u8>)>,
    pub finished: bool,
}

impl FrameSink for Collector {
    fn send_frame(&mut self, sent: Frame<'_>) -> io::Result<()> {
        self.frames.push((sent.mark, sent.bytes.to_vec()));
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.finished = true;
        Ok(())
    }
}

/// A sink that also says to other threads how far it is.
#[derive(Default)]
pub struct Counted {
    pub inner: Checker,
    pub frames: Arc<AtomicU64>,
}

impl FrameSink for Counted {
    fn send_frame(&mut self, frame: Frame<'_>) -> io::Result<()> {
        self.inner.send_frame(frame)?;
        self.frames.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.inner.finish()
    }
}

/// A window and a pool on it, mapped for both directions, of at most `units` pages of a provider.
pub fn pool_on<P: Backing<Access = Host>>(provider: &Home<P>, units: usize) -> (PagePool, Arc<DmaWindow>) {
    let window = Arc::new(DmaWindow::new(units, PAGE).unwrap());
    let pool = PagePool::builder(provider.clone())
        .name("rx0")
        .dma(Arc::clone(&window), DmaDirection::Bidirectional)
        .returners(1, 64)
        .limit(units)
        .build()
        .unwrap();
    (pool, window)
}

/// The same on a heap of `units` pages.
pub fn heap_pool(units: usize) -> (Home<Heap>, PagePool, Arc<DmaWindow>) {
    let provider = Home::new(Heap::new(PAGE, units));
    let (pool, window) = pool_on(&provider, units);
    (provider, pool, window)
}

/// Rings of `descriptors`, everything else as it is by default.
pub fn rings_of(descriptors: u32) -> ForwardConfig {
    let mut config = ForwardConfig::default();
    config.rx_ring = descriptors.try_into().unwrap();
    config.tx_ring = config.rx_ring;
    config
}
