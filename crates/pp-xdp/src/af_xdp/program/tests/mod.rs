//! The programs in the kernel: that it loads them, and what they say to packets.

mod frames;
mod redirecting;
mod verdicts;

use std::eprintln;
use std::os::fd::{AsFd, OwnedFd};

use super::code::{self, Taken};
use super::{Filter, Packets, ProgramError, bpf, load};

/// The verdict of the tests' programs for what they take: `XDP_DROP`, which no other way leads to.
const TAKEN: i32 = 1;

/// A filter's program with [`TAKEN`] in place of a redirection; `None`, and a word about it, without the rights to load one.
fn program(filter: &Filter) -> Option<OwnedFd> {
    match load(&code::program(filter, Taken::Verdict(TAKEN)), Packets::Whole) {
        Ok(program) => Some(program),
        Err(error @ ProgramError::NoRights { .. }) => {
            eprintln!("SKIPPED: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Whether a program takes a frame; it must say one of the two things.
fn takes(program: &OwnedFd, frame: &[u8]) -> bool {
    match bpf::prog_run(program.as_fd(), frame).unwrap() as i32 {
        TAKEN => true,
        code::XDP_PASS => false,
        verdict => panic!("a verdict of {verdict}"),
    }
}
