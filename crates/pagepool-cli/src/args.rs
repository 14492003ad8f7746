//! What can be said on the command line.

use std::num::{NonZeroU16, NonZeroU32, NonZeroU64};
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use pp_netdev::port::{AfxdpName, InPort, OutPort};

/// A recycling pool of DMA-ready pages, at work.
#[derive(Debug, Parser)]
#[command(name = "pagepool", version, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Forward packets from one port to another through two software NICs, and say what the pool did
    ///
    /// Without arguments it forwards a capture that is part of the program, over and over until a hundred times the
    /// pool's size has passed, and ends by itself within seconds.
    #[command(after_help = PORTS)]
    Forward(ForwardArgs),

    /// Have real ping and iperf3 talk through the forwarder, in networks made for that (as root)
    ///
    /// Two network namespaces are joined by veth pairs and `pagepool forward --both` between them, on AF_XDP sockets. A table shows
    /// packets and pools while the programs talk; their results come last. All of it is gone with the program.
    Demo(DemoArgs),
}

/// `pagepool demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Seconds that each program talks, 3 unless given
    #[arg(long, value_name = "S")]
    pub(crate) seconds: Option<Seconds>,

    /// Print one JSON object and no table
    #[arg(long)]
    pub(crate) json: bool,
}

const IN: &str =
    "Where packets come from: gen[:SIZE], pcap:FILE or afxdp:IFACE [default: a capture that is part of the program]";

const PORTS: &str = "\
Ports:
  gen[:SIZE]   frames of SIZE bytes made up on the spot, numbered Ethernet/IPv4/UDP (only --in; SIZE 60 unless given);
               of one flow, with several queues of 16 flows for each
  pcap:FILE    a pcap or pcapng file; on the way out in the format, and with the times, that came in
  afxdp:IFACE[@QUEUE][,generic|native][,copy|zerocopy]
               a network interface, from its first queue or QUEUE on: what comes in is taken from the ordinary stack, by a
               program in the driver if it can (native), else in front of the stack (generic), without copies by the kernel if
               the driver can (zerocopy), else with. Linux 5.11; needs CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF, as root has
  null         counts and forgets (only --out)

Between two afxdp ports pages move and nothing is copied by the program, until Ctrl-C unless --count or --seconds is given. An
interface that goes down is used again when it is up; one that is deleted ends the run. While the way out is down, up to a
transmit ring of packets waits (2048, fewer with a smaller --pool-size), and goes out when it is up again, however late.

Ends that leave checksums to hardware which is not there, as veth and other virtual interfaces do, send TCP that does not arrive:
the program passes bytes on as they are. At both ends: ethtool -K IFACE tx off

/dev/stdin and /dev/stdout are files like others, and a pipe is read to its end before the run begins; where packets go to standard output, the report goes to standard error.
An output has its name when it is complete. Until then it is .NAME.*.part beside it, which kill -9 can leave behind.

Dropped are the packets that came in and did not go out: by the verdict, because they fit no buffer,
or because they have no whole Ethernet header and would go to an afxdp port.

With --queues a packet's flow, its addresses and ports, says which queue it goes through; what has no addresses goes through the
first. Packets of a flow keep their order, those of different flows may change places, in an output file as well.
A fragment has no ports, so it may go another way than the whole packets of its flow.

Ctrl-C, SIGTERM and SIGHUP end a run in good order. A reader of the output that does not read holds that up, and
--seconds as well; a second Ctrl-C, a second later or more, ends at once and leaves no output.

Exit code: 0 all went well or Ctrl-C, 1 a run could not be finished, 2 the command line can't be meant, 130 a second
Ctrl-C.";

/// `pagepool forward`.
#[derive(Debug, Args)]
pub(crate) struct ForwardArgs {
    /// Where packets come from.
    #[arg(long = "in", value_name = "PORT", help = IN)]
    pub(crate) input: Option<InPort>,

    /// Where packets go: pcap:FILE, afxdp:IFACE or null
    #[arg(long = "out", value_name = "PORT", default_value = "null")]
    pub(crate) output: OutPort,

    /// Forward from --out to --in as well; both must be afxdp ports
    #[arg(long)]
    pub(crate) both: bool,

    /// Whether two afxdp ports receive into one memory, in which pages move, or into two, between which bytes are copied
    #[arg(long, value_enum, default_value_t = UmemName::Shared)]
    pub(crate) umem: UmemName,

    /// What gives the pool its pages; afxdp ports have `buddy` only
    #[arg(long, value_enum, default_value_t = ProviderName::Buddy)]
    pub(crate) provider: ProviderName,

    /// What becomes of each packet
    #[arg(long, value_enum, default_value_t = ActionName::Forward)]
    pub(crate) action: ActionName,

    /// End after so many packets came in
    #[arg(long, value_name = "N", value_parser = times, conflicts_with = "seconds")]
    pub(crate) count: Option<NonZeroU64>,

    /// End after so many seconds; `gen` without `--count` runs 5
    #[arg(long, value_name = "S")]
    pub(crate) seconds: Option<Seconds>,

    /// Read the capture so many times, once unless given
    #[arg(long, value_name = "N", value_parser = times)]
    pub(crate) repeat: Option<NonZeroU64>,

    /// Spread the flows over so many queues, from 1 to 16, each with a thread, a pool and a provider of its own; packets of different
    /// flows may change places then. With two afxdp ports so many of each, from the named one on, and the interface's driver spreads
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) queues: Queues,

    /// Pages that the pool's ring has places for, from 64 to 16384; each queue's [default: 1024, of afxdp ports 4096]
    #[arg(long, value_name = "N")]
    pub(crate) pool_size: Option<Pages>,

    /// Bytes of a page, a power of two from 2048 to 65536
    #[arg(long, value_name = "BYTES", default_value = "4096")]
    pub(crate) page_size: PageSize,

    /// Begin with several packets to a page, in fragments of so many bytes; half way it changes to a page a packet, and a
    /// table shows rate and memory of both
    #[arg(long, value_name = "BYTES")]
    pub(crate) split: Option<SplitSize>,

    /// The most pages the pool may have from its provider at any time; each queue's
    #[arg(long, value_name = "PAGES")]
    pub(crate) limit: Option<Pages>,

    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

impl ForwardArgs {
    /// The two interfaces, if the run is between two.
    pub(crate) fn interfaces(&self) -> Option<(&AfxdpName, &AfxdpName)> {
        match (&self.input, &self.output) {
            (Some(InPort::Afxdp(from)), OutPort::Afxdp(to)) => Some((from, to)),
            _ => None,
        }
    }
}

/// The providers this build has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProviderName {
    /// Split and coalesced blocks of one mapping
    Buddy,
    /// Every page from and to the system allocator
    Passthrough,
}

/// The verdicts this build has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ActionName {
    /// Send it out as it came in
    Forward,
    /// Forget it
    Drop,
    /// Send it out with its two addresses exchanged
    SwapMac,
}

/// How many memories two AF_XDP ports have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum UmemName {
    /// One
    Shared,
    /// One each
    Separate,
}

/// A time that a run may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seconds(pub(crate) Duration);

/// How many queues the devices have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Queues(NonZeroU16);

/// A number of pages, not yet held against anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pages(pub(crate) u64);

/// Bytes of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageSize(usize);

/// Bytes of a fragment, not yet held against a page's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SplitSize(pub(crate) NonZeroU32);

/// A value that an option can't have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ValueError {
    #[error("no time that a run could take; give seconds over 0, as in 5 or 0.5")]
    Seconds,
    #[error("no number that can be counted to; give a whole number from 1 to 18446744073709551615")]
    Times,
    #[error("no number of queues that the devices can have; give a whole number from 1 to {}", Queues::MOST)]
    Queues,
    #[error("no number of pages; give a whole number over 0 that fits into this machine's addresses")]
    Pages,
    #[error("no number of bytes that fits into this machine's addresses; give a power of two from 2048 to 65536")]
    Unaddressable,
    #[error("not a power of two; give one from 2048 to 65536, as in 4096")]
    NotPowerOfTwo,
    #[error("no size that a fragment can have; give a number of bytes from 1 to the page size, as in 2048")]
    SplitSize,
    #[error("no size that a page can have; give a power of two from 2048 to 65536, as in 4096")]
    PageSize,
}

/// A number of packets or of repetitions.
fn times(text: &str) -> Result<NonZeroU64, ValueError> {
    text.parse().map_err(|_| ValueError::Times)
}

// === impl Seconds ===

impl FromStr for Seconds {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        text.parse()
            .ok()
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .filter(|duration| !duration.is_zero())
            .map(Self)
            .ok_or(ValueError::Seconds)
    }
}

// === impl Queues ===

impl Queues {
    /// More would not be used: each is two threads of this machine.
    pub(crate) const MOST: u16 = 16;

    pub(crate) fn get(self) -> NonZeroU16 {
        self.0
    }
}

impl FromStr for Queues {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        text.parse().ok().filter(|queues: &NonZeroU16| queues.get() <= Self::MOST).map(Self).ok_or(ValueError::Queues)
    }
}

// === impl Pages ===

impl FromStr for Pages {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        text.parse().ok().filter(|pages| *pages > 0).map(Self).ok_or(ValueError::Pages)
    }
}

// === impl SplitSize ===

impl FromStr for SplitSize {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        text.parse().map(Self).map_err(|_| ValueError::SplitSize)
    }
}

// === impl PageSize ===

impl PageSize {
    const SMALLEST: usize = 2 << 10;
    pub(crate) const LARGEST: usize = 64 << 10;

    pub(crate) fn bytes(self) -> usize {
        self.0
    }
}

impl FromStr for PageSize {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse::<usize>() {
            // What is a number and yet does not parse is too large to be one here.
            Err(_) if digits => Err(ValueError::Unaddressable),
            Err(_) => Err(ValueError::PageSize),
            Ok(bytes) if bytes != 0 && !bytes.is_power_of_two() => Err(ValueError::NotPowerOfTwo),
            Ok(bytes) if !(Self::SMALLEST..=Self::LARGEST).contains(&bytes) => Err(ValueError::PageSize),
            Ok(bytes) => Ok(Self(bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn page_sizes_are_powers_of_two_in_range() {
        for (text, bytes) in [("2048", 2048), ("4096", 4096), ("65536", 65536)] {
            assert_eq!(text.parse(), Ok(PageSize(bytes)));
        }
        for (text, error) in [
            ("0", ValueError::PageSize),
            ("1024", ValueError::PageSize),
            ("131072", ValueError::PageSize),
            ("", ValueError::PageSize),
            ("4k", ValueError::PageSize),
            ("-4096", ValueError::PageSize),
            ("3000", ValueError::NotPowerOfTwo),
            ("99999999999999999999999", ValueError::Unaddressable),
        ] {
            assert_eq!(text.parse::<PageSize>(), Err(error), "{text}");
        }
    }

    #[test]
    fn queues_are_one_to_sixteen() {
        for (text, queues) in [("1", 1), ("2", 2), ("16", 16)] {
            assert_eq!(text.parse::<Queues>().unwrap().get().get(), queues);
        }
        for text in ["0", "17", "-1", "", "two", "1.5", "65536"] {
            assert_eq!(text.parse::<Queues>(), Err(ValueError::Queues), "{text}");
        }
    }

    #[test]
    fn seconds_may_have_a_fraction_but_not_be_none() {
        assert_eq!("0.5".parse(), Ok(Seconds(Duration::from_millis(500))));
        for text in ["0", "-1", "nan", "inf", "1e300", "soon", ""] {
            assert_eq!(text.parse::<Seconds>(), Err(ValueError::Seconds), "{text}");
        }
    }
}
