//! `pagepool demo`: real programs talking through the forwarder, in networks made for that.
//!
//! ```text
//!    client                    forwarder                    server
//!   +--------------+          +------------------+         +--------------+
//!   | 10.77.0.1 c0-|---veth---|-f0  this one  f1-|---veth--|-s0 10.77.0.2 |
//!   +--------------+          +------------------+         +--------------+
//! ```
//!
//! The three namespaces have no names and are this process's: they are gone with it, however it ends, and with them the interfaces
//! and the programs that ran there.

mod clients;
mod live;
mod report;

use std::io::{self, Write};
use std::sync::mpsc;
use std::thread;

use clap::Parser;
use pp_netdev::StopFlag;
use pp_testbed::{Arp, Missing, Path, Rights};

use crate::afxdp::Wire;
use crate::args::{Cli, Command, DemoArgs};
use crate::failure::Failure;
use crate::report::Report;
use crate::signals;

use clients::Clients;
use live::Live;
use report::DemoReport;

/// The forwarder's command line, for who wants to do it by hand.
const FORWARD: [&str; 7] = ["pagepool", "forward", "--in", "afxdp:f0", "--out", "afxdp:f1", "--both"];

/// Why there is no demonstration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    #[error(
        "no right to make network namespaces, which takes CAP_SYS_ADMIN and CAP_NET_ADMIN, or no system that has them: {0}; run as root (sudo pagepool demo)"
    )]
    Namespaces(String),
    #[error("no XDP program can be loaded: {0}; run as root (sudo pagepool demo), on a kernel with CONFIG_BPF_SYSCALL")]
    Program(String),
    #[error("no pair of interfaces can be made: {0}; run as root (sudo pagepool demo), on a kernel with CONFIG_VETH")]
    Veth(String),
    #[error("{0}; install it and try again")]
    Missing(Missing),
    #[error(
        "neither ping nor iperf3 is installed, so nothing could talk; on Debian: apt-get install iputils-ping iperf3"
    )]
    NoClients,
    #[error("the demonstration's networks can't be made: {0}")]
    Scene(pp_testbed::Error),
    #[error("the demonstration failed: {0}")]
    Client(pp_testbed::Error),
}

/// Makes the networks, has programs talk through the forwarder, shows how that goes, and prints what came of it.
///
/// # Errors
///
/// [`Failure`]. Nothing is left of the networks.
pub(crate) fn run(args: &DemoArgs) -> Result<(), Failure> {
    Rights::check().map_err(|missing| match missing {
        Missing::Namespaces(reason) => DemoError::Namespaces(reason),
        Missing::Bpf(reason) => DemoError::Program(reason),
        Missing::Veth(reason) => DemoError::Veth(reason),
        missing => DemoError::Missing(missing),
    })?;
    let clients = Clients::installed(args.seconds)?;
    let stop = StopFlag::new();
    signals::stop_on_ctrl_c(&stop).map_err(Failure::Signals)?;
    let path = Path::builder().arp(Arp::Asked).build().map_err(DemoError::Scene)?;

    let mut live = Live::new(args);
    live.say(&format!("two networks, and between them: {}", FORWARD.join(" ")));
    for missing in clients.missing() {
        live.say(&format!("{missing}; the demonstration goes on without it"));
    }
    let now = live.now();
    let (spoken, forwarded) = thread::scope(|scope| {
        let (opened, open) = mpsc::channel();
        let forwarder = scope.spawn(|| forward(&path, &stop, opened, &mut live));
        // An error of the forwarder's own closes the channel.
        let spoken = if open.recv().is_ok() { clients.talk(&path, &stop, &now) } else { Ok(Vec::new()) };
        stop.set();
        (spoken, forwarder.join())
    });
    let forwarded = forwarded.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    live.finish();
    // First what went wrong in the middle: programs that can't talk any more are a consequence.
    let report = DemoReport { forward: forwarded?, clients: spoken.map_err(DemoError::Client)? };
    print(args, &report).or_else(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(Failure::Report(error)),
    })
}

/// Forwards in the middle until the flag is set; `opened` hears when packets can come.
fn forward(path: &Path, stop: &StopFlag, opened: mpsc::Sender<()>, live: &mut Live) -> Result<Report, Failure> {
    let inside = move || {
        let Command::Forward(args) = Cli::parse_from(FORWARD).command else { return Err(Failure::BothPorts) };
        let Some((from, to)) = args.interfaces() else { return Err(Failure::BothPorts) };
        let wire = Wire::open(&args, from, to, stop)?;
        // Who waits for it has given up otherwise.
        let _ = opened.send(());
        wire.run(|seen| live.show(seen))
    };
    path.forwarder().enter(inside).map_err(DemoError::Scene)?
}

fn print(args: &DemoArgs, report: &DemoReport) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, report)?;
        writeln!(out)?;
    } else {
        report.write(&mut out)?;
    }
    out.flush()
}
