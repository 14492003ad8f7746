//! A page that was put is gone.

use pp_core::{Home, PagePool, doc::Heap};

fn main() {
    let mut pool = PagePool::builder(Home::new(Heap::new(4096, 8))).build().unwrap();
    let page = pool.alloc().unwrap();
    pool.recycle_direct(page);
    println!("{}", page[0]);
}
