//! What is said of interfaces at the start, because the kernel would not say it: which packets will be missing.

use std::io::{self, Write};
use std::num::NonZeroU16;

use pp_netdev::port::{AfxdpName, InPort, OutPort};
use pp_xdp::ETH_HLEN;
use pp_xdp::af_xdp::Interface;

use crate::args::{ForwardArgs, Queues};

/// What the MTU does not count.
const HEADER_BYTES: u64 = ETH_HLEN as u64;
/// A VLAN tag, which the kernel lets pass beside it.
const TAG_BYTES: u64 = 4;

/// What an interface has, as far as it can be known.
#[derive(Clone, Copy, Debug, Default)]
struct Facts {
    receive_queues: Option<u32>,
    queues: Option<u32>,
    mtu: Option<u32>,
}

/// Says on standard error which packets will be missing.
pub(crate) fn say(args: &ForwardArgs) {
    for note in notes(args, facts) {
        // Where it can't be said the run goes on.
        let _ = writeln!(io::stderr(), "pagepool: {note}");
    }
}

fn facts(name: &AfxdpName) -> Facts {
    let Ok(interface) = Interface::by_name(name.interface()) else { return Facts::default() };
    Facts { receive_queues: interface.receive_queues(), queues: interface.queues(), mtu: interface.mtu().ok() }
}

/// What there is to say of the ports, in sentences without an end.
fn notes(args: &ForwardArgs, facts: impl Fn(&AfxdpName) -> Facts) -> Vec<String> {
    let input = if let Some(InPort::Afxdp(name)) = &args.input { Some(name) } else { None };
    let output = if let OutPort::Afxdp(name) = &args.output { Some(name) } else { None };
    let mut directions = vec![(input, output)];
    if args.both {
        directions.push((output, input));
    }
    let mut notes = Vec::new();
    for (from, to) in directions {
        notes.extend(from.and_then(|from| other_queues(args.queues.get(), (from, facts(from)), to.map(&facts))));
        notes.extend(to.and_then(|to| match (from, &args.input) {
            (Some(from), _) => longer_packets((from, facts(from)), (to, facts(to))),
            (None, Some(InPort::Gen(size))) => longer_frames(size.bytes() as u64, (to, facts(to))),
            (None, _) => None,
        }));
    }
    notes
}

/// Packets of queues that are not taken go up the ordinary stack.
fn other_queues(taken: NonZeroU16, (from, facts): (&AfxdpName, Facts), to: Option<Facts>) -> Option<String> {
    let (name, there) = (from.interface(), facts.receive_queues?);
    let (first, taken) = (from.queue().unwrap_or(0), u32::from(taken.get()));
    if taken >= there {
        return None;
    }
    let alone = match taken {
        1 => format!("queue {first}"),
        _ => format!("queues {first} to {}", first.saturating_add(taken - 1)),
    };
    // Where the other port has as many, or does not say.
    let possible = to.is_some_and(|to| to.queues.is_none_or(|queues| queues >= there)) && there <= Queues::MOST.into();
    let advice = match (possible, from.queue()) {
        (false, _) => format!("`ethtool -L {name}` gives it fewer where the driver can"),
        (true, None | Some(0)) => format!("give --queues {there}"),
        (true, Some(_)) => format!("give afxdp:{name} and --queues {there}"),
    };
    Some(format!("{name} has {there} queues and packets of {alone} alone are forwarded; {advice}"))
}

/// The kernel throws away what is too long for an interface after it has taken it.
fn longer_packets((from, there): (&AfxdpName, Facts), (to, here): (&AfxdpName, Facts)) -> Option<String> {
    let (from, to, long, short) = (from.interface(), to.interface(), there.mtu?, here.mtu?);
    (long > short).then(|| {
        format!(
            "{from} has an MTU of {long} and {to} one of {short}: the kernel throws longer packets away, and they count as \
             packets out; give both the same (ip link set {to} mtu {long})"
        )
    })
}

/// The same of frames that are made up.
fn longer_frames(bytes: u64, (to, facts): (&AfxdpName, Facts)) -> Option<String> {
    let (to, mtu) = (to.interface(), facts.mtu?);
    let (longest, needed) = (u64::from(mtu) + HEADER_BYTES, bytes.saturating_sub(HEADER_BYTES));
    (bytes > longest + TAG_BYTES).then(|| {
        format!(
            "{to} has an MTU of {mtu}, so {longest} bytes are the longest frame: the kernel throws those of {bytes} away, and they \
             count as packets out; give gen:{longest}, or a larger MTU (ip link set {to} mtu {needed})"
        )
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    /// What is said where `f0` has 4 queues and an MTU of 9000, any other interface one queue and 1500.
    fn said(line: &str) -> Vec<String> {
        let Command::Forward(args) =
            Cli::parse_from(["pagepool", "forward"].into_iter().chain(line.split(' '))).command
        else {
            panic!("the words say forward")
        };
        notes(&args, |name| match name.interface() {
            "f0" | "g0" => Facts { receive_queues: Some(4), queues: Some(4), mtu: Some(9000) },
            _ => Facts { receive_queues: Some(1), queues: Some(1), mtu: Some(1500) },
        })
    }

    #[test]
    fn queues_that_are_not_taken_are_named() {
        let alone = |what: &str, advice: &str| {
            vec![format!("f0 has 4 queues and packets of {what} alone are forwarded; {advice}")]
        };
        let fewer = "`ethtool -L f0` gives it fewer where the driver can";
        assert_eq!(said("--in afxdp:f0 --out afxdp:g0"), alone("queue 0", "give --queues 4"));
        assert_eq!(said("--in afxdp:f0@2 --out afxdp:g0"), alone("queue 2", "give afxdp:f0 and --queues 4"));
        assert_eq!(
            said("--in afxdp:f0@1 --out afxdp:g0 --queues 2"),
            alone("queues 1 to 2", "give afxdp:f0 and --queues 4")
        );
        assert_eq!(said("--in afxdp:f0 --out null"), alone("queue 0", fewer));
        assert_eq!(said("--in afxdp:f0 --out afxdp:f1")[0], alone("queue 0", fewer)[0]);
        assert_eq!(said("--in afxdp:f0 --out afxdp:g0 --queues 4"), [""; 0]);
        assert_eq!(said("--in afxdp:f1 --out afxdp:f0"), [""; 0], "it only sends there");
        assert_eq!(said("--in afxdp:f0 --out afxdp:g0 --both").len(), 2);
    }

    #[test]
    fn packets_that_will_be_too_long_are_named() {
        let both = said("--in afxdp:f1 --out afxdp:f0 --both");
        assert_eq!(
            both.last().unwrap(),
            "f0 has an MTU of 9000 and f1 one of 1500: the kernel throws longer packets away, and they count as packets out; \
             give both the same (ip link set f1 mtu 9000)"
        );
        assert_eq!(said("--in gen:1518 --out afxdp:f1"), [""; 0]);
        assert_eq!(
            said("--in gen:1519 --out afxdp:f1"),
            [
                "f1 has an MTU of 1500, so 1514 bytes are the longest frame: the kernel throws those of 1519 away, and they count \
              as packets out; give gen:1514, or a larger MTU (ip link set f1 mtu 1505)"
            ]
        );
        assert_eq!(said("--in pcap:x --out afxdp:f1"), [""; 0]);
    }
}
