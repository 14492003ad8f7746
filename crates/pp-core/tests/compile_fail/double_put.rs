//! A page is put once.

use pp_core::{Home, PagePool, doc::Heap};

fn main() {
    let mut pool = PagePool::builder(Home::new(Heap::new(4096, 8))).build().unwrap();
    let page = pool.alloc().unwrap();
    pool.handle().put(page);
    drop(page);
}
