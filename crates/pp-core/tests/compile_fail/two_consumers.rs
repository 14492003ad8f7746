//! Two threads cannot allocate from one pool.

use pp_core::{Home, PagePool, doc::Heap};

fn main() {
    let mut pool = PagePool::builder(Home::new(Heap::new(4096, 8))).build().unwrap();
    let first = std::thread::spawn(move || drop(pool.alloc()));
    let second = std::thread::spawn(move || drop(pool.alloc()));
    first.join().and(second.join()).unwrap();
}
