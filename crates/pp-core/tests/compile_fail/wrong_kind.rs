//! A pool takes pages of its own kind of memory only.

use pp_core::{Device, Host, Page, PagePool};

fn recycle(pool: &mut PagePool<Host>, page: Page<Device>) {
    pool.recycle_direct(page);
}

fn main() {}
