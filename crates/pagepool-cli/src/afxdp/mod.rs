//! AF_XDP ports of `pagepool forward`: two of them, between which pages move; or one, for the software NIC (`mixed.rs`).

mod memory;
mod mixed;
mod notes;
mod report;
mod watch;

use pp_core::{Host, PoolHandle};
use pp_netdev::afxdp::{AfxdpForwarder, AfxdpProgress, AfxdpReport, Directions, Role, buffers_for};
use pp_netdev::port::AfxdpName;
use pp_netdev::{Action, ForwardConfig, StopFlag};
use pp_xdp::af_xdp::MAX_CHUNK_BYTES;

use crate::args::{ForwardArgs, ProviderName};
use crate::failure::Failure;
use crate::forward::{action, headroom};
use crate::progress::{Progress, Sight, TICK};
use crate::report::Report;
use crate::sizes::Sizes;

use memory::Memories;
pub(crate) use mixed::{Sink, Source};
pub(crate) use notes::say as say_notes;
pub(crate) use pp_netdev::afxdp::PortState;
pub(crate) use watch::Interfaces;

/// Two ports, open, and what is between them.
#[derive(Debug)]
pub(crate) struct Wire {
    forwarder: AfxdpForwarder<Action>,
    handles: Vec<PoolHandle<Host>>,
}

/// What can be said of a port before anything is opened.
fn check(args: &ForwardArgs, port: &AfxdpName) -> Result<(), Failure> {
    if args.provider == ProviderName::Passthrough {
        return Err(Failure::PassthroughPort { port: port.to_string() });
    }
    if args.split.is_some() {
        return Err(Failure::SplitPort { port: port.to_string() });
    }
    let page = args.page_size.bytes();
    if page > MAX_CHUNK_BYTES as usize {
        return Err(Failure::PortPageSize { port: port.to_string(), page });
    }
    Ok(())
}

/// Runs it, and says what it did.
///
/// # Errors
///
/// [`Failure`]; both interfaces are as they were then.
pub(crate) fn run(args: &ForwardArgs, from: &AfxdpName, to: &AfxdpName, stop: &StopFlag) -> Result<Report, Failure> {
    let wire = Wire::open(args, from, to, stop)?;
    say_notes(args);
    let progress = Progress::new(args.count.map(|count| count.get()));
    let mut interfaces = Interfaces::default();
    let result = wire.run(|seen| {
        interfaces.look(&seen.ports, |sentence| progress.say(sentence));
        let traffic = &seen.traffic;
        let (packets_in, packets_out, dropped) = (traffic.packets_in, traffic.packets_out, traffic.dropped);
        progress.show(Sight { packets_in, packets_out, dropped });
    });
    progress.finish();
    result
}

// === impl Wire ===

impl Wire {
    /// Opens both ports.
    ///
    /// # Errors
    ///
    /// [`Failure`]; both interfaces are as they were then.
    pub(crate) fn open(args: &ForwardArgs, from: &AfxdpName, to: &AfxdpName, stop: &StopFlag) -> Result<Self, Failure> {
        check(args, from)?;
        if args.repeat.is_some() {
            return Err(Failure::RepeatedGenerator { port: from.to_string() });
        }
        // It has one program, which is one port's.
        if from.interface() == to.interface() {
            return Err(Failure::SameInterface { interface: from.interface().to_owned() });
        }
        let sizes = Sizes::of_sockets(args)?;
        headroom(sizes)?;
        let memories = Memories::new(args, sizes, 2)?;
        let buffers = buffers_for(memories.first(), [from, to])?;
        let (directions, back) =
            if args.both { (Directions::Both, Role::Receives) } else { (Directions::One, Role::Sends) };
        let ports = [memories.port(from, 0, buffers, Role::Receives)?, memories.port(to, 1, buffers, back)?];
        headroom(sizes)?;

        let handles = ports.iter().flat_map(|port| port.pools()).collect();
        let mut config = ForwardConfig::default();
        config.limit = args.count;
        config.duration = args.seconds.map(|seconds| seconds.0);
        config.observe_every = TICK;
        config.stop = stop.clone();
        let [from, to] = ports;
        let forwarder = AfxdpForwarder::new(from, to, directions, |_| action(args), config)?;
        Ok(Wire { forwarder, handles })
    }

    /// Forwards until the end, and says what it did.
    ///
    /// # Errors
    ///
    /// [`Failure`]; the interfaces are given up then.
    pub(crate) fn run(self, observe: impl FnMut(&AfxdpProgress)) -> Result<Report, Failure> {
        let Wire { forwarder, handles } = self;
        let report = forwarder.run(observe)?;
        Ok(whole(&report, &handles))
    }
}

fn whole(run: &AfxdpReport, handles: &[PoolHandle<Host>]) -> Report {
    let mut report = crate::forward::to_report(&run.run, handles);
    report.copied_bytes = run.copied_bytes;
    report.ports = run.ports.iter().map(report::port).collect();
    report.stuck = run.stuck;
    watch::say_not_quiet(run.not_quiet);
    report
}
