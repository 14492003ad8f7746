//! All unsafe code of the crate: system calls that rustix has not, or has not as safe functions.

pub(crate) mod bpf;
pub(crate) mod clock;
pub(crate) mod settle;
