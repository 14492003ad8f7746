//! The receive loop of a driver that splits its pages itself, after mapping them, with the count in sight.
//!
//! All references to a page are taken at once, with the largest bias there is. Each buffer that is handed out takes one with it;
//! when the page is used up, what is left of the bias is given back in one step, which says whether everybody else is
//! through with the page: then it is put, else the last of its buffers does that. (`Fragmented::defrag` is the step by
//! itself, and returns the page if we were the last.) `cargo run --example slide` prints what
//! the pool saw of it.
#![allow(clippy::std_instead_of_core, reason = "a program has std")]

use std::error::Error;
use std::sync::mpsc;
use std::thread;

use pp_core::doc::Heap;
use pp_core::{BIAS_MAX, Fragmented, Home, PagePool, Stats};
use pp_frag::Frag;

/// Bytes of a receive buffer: a frame of 1500 bytes with its header, and aligned.
const BUFFER: usize = 1536;

fn main() -> Result<(), Box<dyn Error>> {
    let stats = receive(1000)?;
    println!("{stats}");
    Ok(())
}

/// Receives so many packets and hands every other one to another thread.
pub(crate) fn receive(packets: usize) -> Result<Stats, Box<dyn Error>> {
    let mut pool = PagePool::builder(Home::new(Heap::new(4096, 64))).name("rx0").build()?;
    let (stack, packets_up) = mpsc::sync_channel::<Frag>(16);
    let upper_layers = thread::spawn(move || packets_up.iter().map(|packet| packet.len()).sum::<usize>());

    let mut page = fragment(&mut pool)?;
    for number in 0..packets {
        if page.uncut() < BUFFER {
            // Used up: flush the remaining bias, which puts the page if we are the last.
            pool.recycle_fragmented(page);
            page = fragment(&mut pool)?;
        }
        let mut packet = Frag::from(page.cut(BUFFER)?); // bias--
        packet.truncate(60 + number % 1400); // the device received so many bytes
        packet.fill(number as u8);
        if number % 2 == 0 {
            stack.send(packet)?; // dropped there
        }
    }
    drop((page, stack));
    upper_layers.join().map_err(|_| "the upper layers panicked")?;
    Ok(pool.stats())
}

fn fragment(pool: &mut PagePool) -> Result<Fragmented, Box<dyn Error>> {
    Ok(pool.alloc()?.fragment(BIAS_MAX).map_err(|error| error.reason)?)
}
