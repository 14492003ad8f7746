//! A receive loop on buffers of its own, and the same on a pool, side by side: `cargo run -p pp-netdev --example converting`. What
//! changed, and why, is in the documentation of `pp_netdev::converting`; `tests/converting.rs` puts both to the same test.
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, unreachable_pub, reason = "a program has std")]

mod after;
mod before;

/// A link that brings three packets.
fn link() -> impl FnMut(&mut [u8]) -> Option<usize> {
    let mut packets = ["one", "two", "three"].iter();
    move |buffer| {
        let packet = packets.next()?.as_bytes();
        buffer[..packet.len()].copy_from_slice(packet);
        Some(packet.len())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut buffers = before::Buffers::new(4)?;
    before::receive(&mut buffers, link(), |packet| println!("before: {} bytes", packet.bytes().len()));
    println!("before: {} buffers out", buffers.out());

    let mut buffers = after::Buffers::new(4)?;
    after::receive(&mut buffers, link(), |packet| println!("after: {} bytes", packet.bytes().len()));
    println!("after: {} buffers out", buffers.out());
    Ok(())
}
