//! `pagepool`: what a newcomer runs first.
//!
//! Exit codes: 0 when all went well, a run ended by Ctrl-C included; 1 when a run could not be finished; 2 when the
//! command line can't be meant.

#![forbid(unsafe_code)]
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "a program has std, and one name for it is enough"
)]

#[cfg(not(target_os = "linux"))]
compile_error!("pagepool is for Linux, whose are its pages' mappings and its AF_XDP ports; leave it out");

mod afxdp;
mod args;
mod demo;
mod ends;
mod failure;
mod forward;
mod plan;
mod progress;
mod report;
mod signals;
mod sizes;
mod table;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};
use crate::failure::Failure;

fn main() -> ExitCode {
    let Cli { command } = Cli::parse();
    let result = match command {
        Command::Forward(args) => forward::run(&args),
        Command::Demo(args) => demo::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => complain(&failure),
    }
}

/// One sentence on standard error. Where even that can't be written, the exit code has to do.
fn complain(failure: &Failure) -> ExitCode {
    let _ = writeln!(io::stderr(), "pagepool: {failure}");
    failure.exit_code()
}
