//! What the conformance suite could not show must be seen.
#![deny(unused_must_use)]

use pp_core::conformance;
use pp_core::{Home, doc::Heap};

fn main() -> Result<(), conformance::Broken> {
    conformance::provider(|| Home::new(Heap::new(4096, 64)))?;
    Ok(())
}
