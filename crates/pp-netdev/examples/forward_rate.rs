//! How fast this machine forwards small frames from nowhere to nowhere.
//!
//! `cargo run --release -p pp-netdev --example forward_rate -- [frames] [ring]`
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "a crate of threads has std")]

use std::io;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;

use pp_core::doc::Heap;
use pp_core::{DmaDirection, Home, PagePool};
use pp_netdev::{Action, DmaWindow, ForwardConfig, Forwarder, Frame, FrameSink, FrameSource};

/// The same 60 bytes for ever.
struct Endless([u8; 60]);

impl FrameSource for Endless {
    fn next_frame(&mut self) -> io::Result<Option<Frame<'_>>> {
        Ok(Some(Frame { bytes: &self.0, mark: 0 }))
    }
}

/// Forgets every frame.
struct Nowhere;

impl FrameSink for Nowhere {
    fn send_frame(&mut self, _: Frame<'_>) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let frames: u64 = arguments.next().map_or(Ok(10_000_000), |text| text.parse())?;
    let ring: u32 = arguments.next().map_or(Ok(512), |text| text.parse())?;
    let units = 4 * ring as usize + 256;

    let window = Arc::new(DmaWindow::new(units, 4096)?);
    let pool = PagePool::builder(Home::new(Heap::new(4096, units)))
        .name("rx0")
        .dma(Arc::clone(&window), DmaDirection::Bidirectional)
        .returners(1, 1024)
        .build()?;
    let mut config = ForwardConfig::default();
    config.limit = NonZeroU64::new(frames);
    if let Some(ring) = NonZeroU32::new(ring) {
        (config.rx_ring, config.tx_ring) = (ring, ring);
    }
    let forwarder = Forwarder::new(pool, window, Action::Forward, config);
    let report = forwarder.run(&mut Endless([0x5a; 60]), &mut Nowhere, |_| {})?;
    println!("{:.2} Mpps", report.traffic.packets_out as f64 / report.seconds / 1e6);
    println!("{}", report.pools[0].stats);
    Ok(())
}
