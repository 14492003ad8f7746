//! Where a run's packets come from and go to, opened.

use std::num::NonZeroU16;
use std::sync::Arc;

use pp_netdev::port::{Null, OutPort, StampSink};
use pp_netdev::{FrameSink, FrameSource};

use crate::afxdp::{self, PortState};
use crate::args::ForwardArgs;
use crate::failure::Failure;
use crate::plan::{Origin, Plan};
use crate::report::Report;
use crate::sizes::Sizes;

/// Where packets come from.
pub(crate) enum Source {
    Port(Box<dyn FrameSource>),
    Interface(Box<afxdp::Source>),
}

/// Where packets go.
pub(crate) enum Sink {
    Port(Box<dyn FrameSink>),
    Interface(Box<afxdp::Sink>),
}

// === impl Source ===

impl Source {
    /// # Errors
    ///
    /// An interface can't be opened.
    pub(crate) fn open(args: &ForwardArgs, plan: &Plan, sizes: Sizes) -> Result<Self, Failure> {
        Ok(match &plan.input {
            Origin::Port(input) => Source::Port(input.source(flows(sizes.queues))),
            Origin::Interface(name) => Source::Interface(Box::new(afxdp::Source::open(args, name)?)),
        })
    }

    pub(crate) fn frames(&mut self) -> &mut dyn FrameSource {
        match self {
            Source::Port(port) => port,
            Source::Interface(port) => port.frames(),
        }
    }

    /// How the interface is, if it is one.
    pub(crate) fn state(&self) -> Option<Arc<PortState>> {
        match self {
            Source::Port(_) => None,
            Source::Interface(port) => Some(port.state()),
        }
    }

    /// Closes it, and adds what there is to say.
    pub(crate) fn close_into(self, report: &mut Report) {
        if let Source::Interface(port) = self {
            port.close_into(report);
        }
    }
}

/// How many flows a generator makes up: enough that each queue has some, and one where they would make no difference.
fn flows(queues: NonZeroU16) -> NonZeroU16 {
    const A_QUEUE: u16 = 16;
    if queues == NonZeroU16::MIN { queues } else { queues.saturating_mul(NonZeroU16::new(A_QUEUE).unwrap_or(queues)) }
}

// === impl Sink ===

impl Sink {
    /// # Errors
    ///
    /// A file can't be written, or an interface not opened.
    pub(crate) fn open(args: &ForwardArgs, plan: &Plan, sizes: Sizes) -> Result<Self, Failure> {
        Ok(match (&args.output, &plan.input) {
            (OutPort::Afxdp(name), _) => Sink::Interface(Box::new(afxdp::Sink::open(args, name)?)),
            (output, Origin::Port(input)) => Sink::Port(input.sink(output, sizes.queues)?),
            (OutPort::Pcap(file), Origin::Interface(_)) => Sink::Port(Box::new(StampSink::create(file)?)),
            (OutPort::Null, Origin::Interface(_)) => Sink::Port(Box::new(Null::default())),
        })
    }

    pub(crate) fn frames(&mut self) -> &mut dyn FrameSink {
        match self {
            Sink::Port(port) => port,
            Sink::Interface(port) => port.frames(),
        }
    }

    /// How the interface is, if it is one.
    pub(crate) fn state(&self) -> Option<Arc<PortState>> {
        match self {
            Sink::Port(_) => None,
            Sink::Interface(port) => Some(port.state()),
        }
    }

    /// Closes it, and adds what there is to say.
    pub(crate) fn close_into(self, report: &mut Report) {
        if let Sink::Interface(port) = self {
            port.close_into(report);
        }
    }
}
