//! Pages that are used: `touch-line`, `touch-page`, `cold-line`, `cold-page`.
//!
//! What a pool is about is that the page it gives out was in use a moment ago and lies in the processor's cache. So everybody has
//! 4096 pages here, 16 MiB, and what is written of each page counts. In the touch cases 64 are out at a time, and who hands out the last one
//! that came back has 64 warm pages; who hands out the one that waited longest has none. In the cold cases more are out at a time
//! than the second cache holds, so that nobody has warm ones.

use std::alloc::System;

use mimalloc::MiMalloc;
use opool::RefGuard;
use pp_core::Page;

use super::Case;
use crate::lineup::{Lineup, Peer, Runner, in_rounds};
use crate::loops::{Direct, window};
use crate::peers::{
    ArrayStack, Boxes, ByRing, DirectPool, Jemalloc, Malloc, Mapping, Mempool, PageBytes, array_queue, heap_pool,
    opool, seg_queue,
};

/// Pages that everybody has.
const PAGES: usize = 4096;
const BYTES: usize = 4096;

pub(crate) fn cases() -> Vec<Case> {
    let case = |name: &str, about: &str, out: usize, bytes: usize| {
        Case::new("touch", name, about, move |lineup| enter(lineup, out, bytes))
    };
    vec![
        case("touch-line", "64 out, 64 back, a line written of each; 4096 pages there are", 64, 64),
        case("touch-page", "64 out, 64 back, all of each written; 4096 pages there are", 64, BYTES),
        case("cold-line", "4096 out, 4096 back, a line written of each", PAGES, 64),
        case("cold-page", "1024 out, 1024 back, all of each written: 4 MiB", 1024, BYTES),
    ]
}

/// An item that is memory, or stands for it.
trait Memory {
    fn start(&mut self) -> *mut u8;
}

impl Memory for Page {
    #[inline(always)]
    fn start(&mut self) -> *mut u8 {
        self.as_mut_ptr()
    }
}

impl Memory for usize {
    #[inline(always)]
    fn start(&mut self) -> *mut u8 {
        core::ptr::with_exposed_provenance_mut(*self)
    }
}

impl Memory for RefGuard<'static, Boxes, Box<PageBytes>> {
    #[inline(always)]
    fn start(&mut self) -> *mut u8 {
        (***self).0.as_mut_ptr()
    }
}

fn enter(lineup: &mut Lineup<'_>, out: usize, bytes: usize) {
    lineup.enter(Peer::Pool, "direct", || run((out, bytes, DirectPool(heap_pool(PAGES)))));
    lineup.enter(Peer::Pool, "drop", || run((out, bytes, ByRing(heap_pool(PAGES)))));
    lineup.enter(Peer::ArrayStack, "", || run((out, bytes, ArrayStack::<PAGES>::new(area()))));
    lineup.enter_if(Peer::Mempool, "", || Ok(run((out, bytes, Mempool::new(PAGES + 512, BYTES, 256)?))));
    lineup.enter_if(Peer::MempoolUncached, "", || Ok(run((out, bytes, Mempool::new(PAGES, BYTES, 0)?))));
    lineup.enter(Peer::ArrayQueue, "", || run((out, bytes, array_queue(PAGES, area()))));
    lineup.enter(Peer::SegQueue, "", || run((out, bytes, seg_queue(area()))));
    lineup.enter(Peer::Opool, "", || run((out, bytes, opool(PAGES))));
    lineup.enter(Peer::Malloc, "", || run((out, bytes, Malloc::pages(System, BYTES))));
    lineup.enter(Peer::Mimalloc, "", || run((out, bytes, Malloc::pages(MiMalloc, BYTES))));
    lineup.enter_if(Peer::Jemalloc, "", || Ok(run((out, bytes, Malloc::pages(Jemalloc::load()?, BYTES)))));
    lineup.enter(Peer::Mmap, "", || run((out, bytes, Malloc::pages(Mapping, BYTES))));
}

/// The addresses of 4096 pages that are there, which live as long as the program.
fn area() -> impl Iterator<Item = usize> {
    let bytes: &'static mut [PageBytes] = (0..PAGES).map(|_| PageBytes([1; BYTES])).collect::<Vec<_>>().leak();
    let start = bytes.as_mut_ptr().expose_provenance();
    (0..PAGES).map(move |page| start + page * BYTES)
}

fn run<D>((out, bytes, mut by): (usize, usize, D)) -> Runner
where
    D: Direct + 'static,
    D::Item: Memory,
{
    let mut held = Vec::with_capacity(out);
    in_rounds(held.capacity(), move |rounds| {
        window(&mut by, rounds, &mut held, |item| {
            // SAFETY: everybody's items are memory of a page at least, and ours alone while they are out.
            unsafe { item.start().write_bytes(rounds as u8, bytes) };
        });
    })
}
