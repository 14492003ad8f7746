//! What a command line asks for, checked and opened, before anything runs.

use std::num::NonZeroU64;
use std::time::Duration;

use pp_netdev::port::{AfxdpName, Capture, CaptureError, InPort, Input, Repeat};

use crate::args::ForwardArgs;
use crate::failure::Failure;
use crate::sizes;

/// What runs when no capture is given: real programs talking. `assets/README.md` says how it was made.
static DEFAULT_CAPTURE: &[u8] = include_bytes!("../assets/default.pcap");

/// How often the pool's size passes when nothing else is asked for: enough to see pages go round.
const ROUNDS: u64 = 100;

/// How long a generator runs when nothing else is asked for.
const GENERATOR_TIME: Duration = Duration::from_secs(5);

/// Where packets come from, and when they end.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) input: Origin,
    /// After so many packets.
    pub(crate) count: Option<NonZeroU64>,
    /// After so long.
    pub(crate) time: Option<Duration>,
    /// How many packets the input has, where that is known.
    pub(crate) expected: Option<NonZeroU64>,
}

/// Where packets come from.
#[derive(Debug)]
pub(crate) enum Origin {
    /// Opened.
    Port(Input),
    /// To be opened with its memory.
    Interface(AfxdpName),
}

// === impl Plan ===

impl Plan {
    /// Opens the input and finds out when the run will end.
    ///
    /// # Errors
    ///
    /// The capture can't be read, or the options contradict each other.
    pub(crate) fn new(args: &ForwardArgs) -> Result<Self, Failure> {
        let time = args.seconds.map(|seconds| seconds.0);
        let mut plan = match &args.input {
            None => Self::embedded(args)?,
            Some(port) => {
                if let (InPort::Gen(_) | InPort::Afxdp(_), Some(_)) = (port, args.repeat) {
                    return Err(Failure::RepeatedGenerator { port: port.to_string() });
                }
                let repeat = Repeat::Times(args.repeat.unwrap_or(NonZeroU64::MIN));
                let input = match port {
                    InPort::Afxdp(name) => Origin::Interface(name.clone()),
                    port => Origin::Port(Input::open(port, repeat)?),
                };
                Self { input, count: args.count, time, expected: None }
            }
        };
        match &plan.input {
            // Read once before it is forwarded: so the middle of the run is known, for the bar and for the figures at a
            // tenth of it, and a truncated capture is refused before any output is begun.
            // With a count that may be more than there is: only where the middle decides about something.
            Origin::Port(Input::Capture(capture, Repeat::Times(times)))
                if plan.count.is_none() || args.split.is_some() =>
            {
                plan.expected = NonZeroU64::new(capture.count()?).map(|packets| packets.saturating_mul(*times));
            }
            Origin::Port(Input::Generator(_)) if plan.count.is_none() && plan.time.is_none() => {
                plan.time = Some(GENERATOR_TIME)
            }
            _ => {}
        }
        Ok(plan)
    }

    /// The capture that is part of the program, as often as the pool's size asks for.
    fn embedded(args: &ForwardArgs) -> Result<Self, CaptureError> {
        let capture = Capture::embedded("that is part of the program", DEFAULT_CAPTURE)?;
        let time = args.seconds.map(|seconds| seconds.0);
        let repeat = match args.repeat {
            Some(times) => Repeat::Times(times),
            None if args.count.is_some() || time.is_some() => Repeat::Forever,
            None => {
                let rounds = sizes::pool_size(args).saturating_mul(ROUNDS);
                let times = rounds.div_ceil(capture.count()?.max(1));
                Repeat::Times(NonZeroU64::new(times).unwrap_or(NonZeroU64::MIN))
            }
        };
        Ok(Self { input: Origin::Port(Input::Capture(capture, repeat)), count: args.count, time, expected: None })
    }

    /// How many packets will come in, where that is known.
    pub(crate) fn total(&self) -> Option<u64> {
        self.count.or(self.expected).map(NonZeroU64::get)
    }
}
