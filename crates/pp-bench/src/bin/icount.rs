//! One case, run so many times: what the instruction gate runs under callgrind.
use pp_core::{Home, PagePool, doc::Heap};
use std::hint::black_box;

#[inline(never)]
fn direct(pool: &mut PagePool, n: usize) {
    for _ in 0..n {
        if let Ok(page) = pool.alloc() {
            pool.recycle_direct(page);
        }
    }
}

fn main() {
    let n: usize = black_box(std::env::args().nth(2).unwrap().parse().unwrap());
    let mut pool = PagePool::builder(Home::new(Heap::new(4096, 256))).build().unwrap();
    direct(&mut pool, n);
}
