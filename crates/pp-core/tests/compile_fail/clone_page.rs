//! A page has one owner.

use pp_core::Page;

fn needs_clone<T: Clone>(_: &T) {}

fn twice(page: &Page) {
    needs_clone(page);
}

fn main() {}
