//! A Returner is one thread's.

use pp_core::{Page, Returner};

fn both(mut returner: Returner, one: Page, two: Page) {
    std::thread::spawn(move || returner.put(one));
    std::thread::spawn(move || returner.put(two));
}

fn main() {}
