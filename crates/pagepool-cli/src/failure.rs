//! Why there is no report, in one sentence.

use std::io;
use std::process::ExitCode;

use pp_core::BuildError;
use pp_netdev::afxdp::{AfxdpError, PortError};
use pp_netdev::port::{CaptureError, OutputError};
use pp_netdev::{ForwardError, WindowError};
use pp_provider_buddy::BuddyError;
use pp_provider_passthrough::SizeError;
use pp_xdp::af_xdp::OpenError;

use crate::args::PageSize;
use crate::demo::DemoError;

/// What ended the program early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    // --- the command line can't be meant
    #[error("--repeat reads a capture again, but `{port}` never ends; leave --repeat out")]
    RepeatedGenerator { port: String },
    #[error(
        "a pool of {} is too small, the devices' rings alone hold {least}; give --pool-size {least} or more",
        pages_of(.pages)
    )]
    PoolTooSmall { pages: u64, least: u64 },
    #[error(
        "a pool of {pages} pages is too large, its ring has at most {most} places; give --pool-size {most} or less"
    )]
    PoolTooLarge { pages: u64, most: u64 },
    #[error(
        "a limit of {} is too small, the receive ring alone holds {least}; give --limit {least} or more, or a smaller --pool-size",
        pages_of(.limit)
    )]
    LimitTooSmall { limit: u64, least: u64 },
    #[error("fragments of {split} bytes do not fit a page of {page}; give --split {page} or less{}", or_larger(*page))]
    SplitTooLarge { split: u32, page: usize },
    #[error(
        "--both forwards between two interfaces; give both --in and --out an afxdp port, as in --in afxdp:eth0 --out afxdp:eth1"
    )]
    BothPorts,
    #[error(
        "`{interface}` can't be both the way in and the way out, whatever its queues; name another interface for --out"
    )]
    SameInterface { interface: String },
    #[error(
        "`{port}` can't receive into pages of --provider passthrough, which lie all over the memory: the kernel takes one piece; use --provider buddy"
    )]
    PassthroughPort { port: String },
    #[error("--split is for the software NIC: the kernel gives `{port}` a page for each packet; leave it out")]
    SplitPort { port: String },
    #[error(
        "--queues {queues} takes two afxdp ports, or none: between `{port}` and a port of another kind packets are copied, in one row; leave it out"
    )]
    QueuesPort { port: String, queues: u16 },
    #[error(
        "--page-size {page} is too large for `{port}`: the kernel takes pages of 2048 or 4096 bytes; give one of these"
    )]
    PortPageSize { port: String, page: usize },
    #[error("a pool like this can't be built: {0}")]
    Build(#[from] BuildError),

    // --- the run could not be finished
    #[error(transparent)]
    Capture(#[from] CaptureError),
    #[error(transparent)]
    Output(#[from] OutputError),
    #[error("no memory for the pool: {0}")]
    Buddy(#[from] BuddyError),
    #[error("no memory for the pool: {0}")]
    PassThrough(#[from] SizeError),
    #[error(
        "no memory for the run: its threads and buffers need {mib} MiB more; end other programs, or raise the limit (ulimit -v)"
    )]
    Headroom { mib: usize },
    #[error("the devices' window can't be made: {0}")]
    Window(#[from] WindowError),
    #[error(transparent)]
    Forward(#[from] ForwardError),
    #[error("{0}: a smaller --pool-size needs less")]
    Locked(PortError),
    #[error(transparent)]
    Port(PortError),
    #[error(transparent)]
    Afxdp(#[from] AfxdpError),
    #[error(transparent)]
    Demo(#[from] DemoError),
    #[error("signals can't be caught: {0}; end other programs and try again")]
    Signals(io::Error),
    #[error("the report can't be written: {0}; the packets were forwarded")]
    Report(io::Error),
}

/// The other way out, where there is one.
fn or_larger(page: usize) -> &'static str {
    if page < PageSize::LARGEST { ", or a larger --page-size" } else { "" }
}

/// So many pages, in words.
fn pages_of(pages: &u64) -> String {
    if *pages == 1 { "1 page".to_owned() } else { format!("{pages} pages") }
}

// === impl Failure ===

impl From<PortError> for Failure {
    fn from(error: PortError) -> Self {
        match error {
            PortError::Open { source: OpenError::LockedMemory { .. }, .. } => Failure::Locked(error),
            error => Failure::Port(error),
        }
    }
}

impl Failure {
    /// 2 where the command line can't be meant, 1 otherwise.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::RepeatedGenerator { .. }
            | Self::PoolTooSmall { .. }
            | Self::PoolTooLarge { .. }
            | Self::LimitTooSmall { .. }
            | Self::SplitTooLarge { .. }
            | Self::BothPorts
            | Self::SameInterface { .. }
            | Self::PassthroughPort { .. }
            | Self::SplitPort { .. }
            | Self::QueuesPort { .. }
            | Self::PortPageSize { .. } => ExitCode::from(2),
            Self::Build(error) if *error != BuildError::OutOfMemory => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }
}
