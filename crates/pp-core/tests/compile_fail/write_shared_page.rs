//! What several hold nobody writes.

use pp_core::{Home, PagePool, doc::Heap};

fn main() {
    let mut pool = PagePool::builder(Home::new(Heap::new(4096, 8))).build().unwrap();
    let mut shared = pool.alloc().unwrap().share();
    shared[0] = 1;
}
