//! Nor may a slice of it be kept.

use pp_core::{Home, PagePool, doc::Heap};

fn main() {
    let mut pool = PagePool::builder(Home::new(Heap::new(4096, 8))).build().unwrap();
    let page = pool.alloc().unwrap();
    let bytes = &page[..];
    drop(page);
    println!("{}", bytes[0]);
}
