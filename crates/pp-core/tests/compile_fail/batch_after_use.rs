//! A batch that was given away is gone.

use pp_core::{Home, PageBatch, PagePool, doc::Heap};

fn main() {
    let mut pool = PagePool::builder(Home::new(Heap::new(4096, 8))).build().unwrap();
    let mut batch: PageBatch<4> = pool.alloc_batch();
    std::thread::spawn(move || drop(batch)).join().unwrap();
    batch.pop();
}
