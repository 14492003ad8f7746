//! Memory that another process may write is never borrowed.

use pp_core::{Exposed, Page, Shared};

fn slice(page: &Page<Exposed>) -> &[u8] {
    &page[..]
}

fn shared(page: &Shared<Exposed>) -> &[u8] {
    &page[..]
}

fn main() {}
