//! Queues and their kernels on rings in memory: what the tests of pp-xdp do with random bytes, with bytes that the fuzzer chooses.
#![no_main]

#[path = "../../crates/pp-xdp/tests/drive/mod.rs"]
mod drive;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    drive::run(bytes);
});
