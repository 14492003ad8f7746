//! And sharing takes the page.

use pp_core::{Home, PagePool, doc::Heap};

fn main() {
    let mut pool = PagePool::builder(Home::new(Heap::new(4096, 8))).build().unwrap();
    let mut page = pool.alloc().unwrap();
    let _shared = page.share();
    page[0] = 1;
}
