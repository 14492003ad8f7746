//! Measures AF_XDP forwarders beside each other, in fresh networks and in turns: `cargo xtask afxdp-bench`.
//!
//! What counts is packets per second of the forwarder's processor: on a machine with few processors everything else, the
//! generator and the kernel's receiving, competes with it, and packets per second say who won that.
#![cfg_attr(
    target_os = "linux",
    allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "there is no use without std")
)]

#[cfg(target_os = "linux")]
mod contender;
#[cfg(target_os = "linux")]
mod measure;
#[cfg(target_os = "linux")]
mod report;
#[cfg(target_os = "linux")]
mod run;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    run::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("SKIPPED: AF_XDP is Linux's");
}
