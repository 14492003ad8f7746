//! Nor can a pool clear it.

use pp_core::{Device, PoolBuilder, Zeroing};

fn cleared(builder: PoolBuilder<Device>) -> PoolBuilder<Device> {
    builder.zeroing(Zeroing::OnEntry)
}

fn main() {}
