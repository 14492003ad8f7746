//! Device memory has no bytes that the CPU could read.

use pp_core::{Device, Page};

fn first(page: &Page<Device>) -> u8 {
    page[0]
}

fn copy(page: &Page<Device>, out: &mut [u8]) {
    page.copy_to(0, out).unwrap();
}

fn main() {}
