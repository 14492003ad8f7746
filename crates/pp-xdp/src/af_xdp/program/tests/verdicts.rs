//! What filters take: by hand, cut at every length, and at random. The program in the kernel and [`Filter::takes`] are two
//! writings of one thing, so each has to agree with the other, and both with the tables.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use super::super::{Filter, FilterError};
use super::frames::{ETH_HLEN, TCP, UDP, ethernet, ipv4, ipv6, segment};
use super::{program, takes};

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ARP: u16 = 0x0806;
const VLAN: u16 = 0x8100;
const OTHER_TAG: u16 = 0x88a8;

/// That a filter takes those frames that it is said to take.
fn check(filter: &Filter, frames: &[(&str, Vec<u8>, bool)]) {
    for (what, frame, taken) in frames {
        assert_eq!(filter.takes(frame), *taken, "{what} by the description of {filter:?}");
    }
    let Some(program) = program(filter) else { return };
    for (what, frame, taken) in frames {
        assert_eq!(takes(&program, frame), *taken, "{what} by the program of {filter:?}");
    }
}

#[test]
fn a_port_of_udp() {
    let dns = segment(999, 53);
    check(
        &Filter::new().udp_port(53),
        &[
            ("plain", ethernet(&[], IPV4, &ipv4(5, 0, UDP, &dns)), true),
            ("over IPv6", ethernet(&[], IPV6, &ipv6(UDP, &dns)), true),
            ("tagged", ethernet(&[VLAN], IPV4, &ipv4(5, 0, UDP, &dns)), true),
            ("tagged, over IPv6", ethernet(&[VLAN], IPV6, &ipv6(UDP, &dns)), true),
            ("with one option", ethernet(&[], IPV4, &ipv4(6, 0, UDP, &dns)), true),
            ("with all options", ethernet(&[VLAN], IPV4, &ipv4(15, 0, UDP, &dns)), true),
            ("not to be fragmented", ethernet(&[], IPV4, &ipv4(5, 0x4000, UDP, &dns)), true),
            ("the first fragment", ethernet(&[], IPV4, &ipv4(5, 0x2000, UDP, &dns)), true),
            ("a middle fragment", ethernet(&[], IPV4, &ipv4(5, 0x2001, UDP, &dns)), false),
            ("the last fragment", ethernet(&[], IPV4, &ipv4(5, 0x0100, UDP, &dns)), false),
            ("the farthest fragment", ethernet(&[], IPV4, &ipv4(5, 0x1000, UDP, &dns)), false),
            ("TCP", ethernet(&[], IPV4, &ipv4(5, 0, TCP, &dns)), false),
            ("another protocol", ethernet(&[], IPV4, &ipv4(5, 0, 132, &dns)), false),
            ("an extension header", ethernet(&[], IPV6, &ipv6(0, &dns)), false),
            ("another port", ethernet(&[], IPV4, &ipv4(5, 0, UDP, &segment(999, 54))), false),
            ("from the port", ethernet(&[], IPV4, &ipv4(5, 0, UDP, &segment(53, 999))), false),
            ("the port turned round", ethernet(&[], IPV4, &ipv4(5, 0, UDP, &segment(999, 0x3500))), false),
            ("another port behind options", ethernet(&[], IPV4, &ipv4(7, 0, UDP, &segment(9, 54))), false),
            ("too short a header", ethernet(&[], IPV4, &ipv4(4, 0, UDP, &dns)), false),
            ("no header", ethernet(&[], IPV4, &ipv4(0, 0, UDP, &dns)), false),
            ("IPv6 that says it is IPv4", ethernet(&[], IPV4, &ipv6(UDP, &dns)), false),
            ("IPv4 that says it is IPv6", ethernet(&[], IPV6, &ipv4(10, 0x1111, UDP, &dns)), false),
            ("two tags", ethernet(&[VLAN, VLAN], IPV4, &ipv4(5, 0, UDP, &dns)), false),
            ("another tag", ethernet(&[OTHER_TAG], IPV4, &ipv4(5, 0, UDP, &dns)), false),
            ("ARP", ethernet(&[], ARP, &[0; 28]), false),
            ("a length", ethernet(&[], 46, &ipv4(5, 0, UDP, &dns)), false),
        ],
    );
}

#[test]
fn a_port_of_tcp_and_a_port_of_either() {
    let udp = |port| ethernet(&[], IPV4, &ipv4(5, 0, UDP, &segment(1, port)));
    let tcp = |port| ethernet(&[], IPV6, &ipv6(TCP, &segment(1, port)));
    check(
        &Filter::new().tcp_port(443).port(9000).udp_port(0).tcp_port(65535),
        &[
            ("TCP 443", tcp(443), true),
            ("UDP 443", udp(443), false),
            ("TCP 9000", tcp(9000), true),
            ("UDP 9000", udp(9000), true),
            ("UDP 0", udp(0), true),
            ("TCP 0", tcp(0), false),
            ("UDP 65535", udp(65535), false),
            ("TCP 65535", tcp(65535), true),
        ],
    );
}

#[test]
fn types() {
    let ip = ipv4(5, 0, UDP, &segment(1, 53));
    check(
        &Filter::new().ethertype(ARP).ethertype(0x88cc),
        &[
            ("ARP", ethernet(&[], ARP, &[0; 28]), true),
            ("ARP of no bytes", ethernet(&[], ARP, &[]), true),
            ("ARP behind a tag", ethernet(&[VLAN], ARP, &[]), true),
            ("ARP behind two", ethernet(&[VLAN, VLAN], ARP, &[]), false),
            ("ARP behind another tag", ethernet(&[OTHER_TAG], ARP, &[]), false),
            ("LLDP", ethernet(&[], 0x88cc, &[]), true),
            ("the type turned round", ethernet(&[], 0x0608, &[0; 28]), false),
            ("IPv4", ethernet(&[], IPV4, &ip), false),
        ],
    );
    check(
        &Filter::new().ethertype(VLAN).udp_port(54),
        &[
            ("any tag", ethernet(&[VLAN], 0x1234, &[]), true),
            ("a tag that is cut off", ethernet(&[], VLAN, &[0]), true),
            ("a tag behind another", ethernet(&[OTHER_TAG, VLAN], IPV4, &ip), false),
            ("no tag", ethernet(&[], IPV4, &ip), false),
            ("the port", ethernet(&[], IPV4, &ipv4(5, 0, UDP, &segment(1, 54))), true),
        ],
    );
    check(
        &Filter::new().ethertype(IPV4).tcp_port(1),
        &[("all of IPv4", ethernet(&[], IPV4, &[]), true), ("IPv6", ethernet(&[], IPV6, &ipv6(UDP, &ip)), false)],
    );
}

#[test]
fn everything() {
    let frames = [
        ("nothing but a header", ethernet(&[], 0, &[]), true),
        ("a packet", ethernet(&[VLAN], IPV6, &ipv6(UDP, &[])), true),
    ];
    check(&Filter::new(), &frames);
    assert_eq!(Filter::new(), Filter::default());
    assert!(Filter::new().takes(&[]));
}

/// A frame that is cut is taken only if what makes it be taken is there, and nothing is read behind its end.
#[test]
fn cut_at_every_length() {
    let filter = Filter::new().udp_port(53).tcp_port(80);
    // What has to be there: the port, and nothing behind it.
    let frames = [
        (ethernet(&[], IPV4, &ipv4(5, 0, UDP, &segment(1, 53))), 14 + 20 + 4),
        (ethernet(&[VLAN], IPV4, &ipv4(5, 0, TCP, &segment(1, 80))), 18 + 20 + 4),
        (ethernet(&[VLAN], IPV4, &ipv4(15, 0, UDP, &segment(1, 53))), 18 + 60 + 4),
        (ethernet(&[], IPV6, &ipv6(TCP, &segment(1, 80))), 14 + 40 + 4),
        (ethernet(&[VLAN], IPV6, &ipv6(UDP, &segment(1, 53))), 18 + 40 + 4),
    ];
    let program = program(&filter);
    for (frame, needed) in &frames {
        for bytes in 0..=frame.len() {
            let (cut, taken) = (&frame[..bytes], bytes >= *needed);
            assert_eq!(filter.takes(cut), taken, "{bytes} of {frame:?}");
            // The kernel runs no program on less than a header.
            if let Some(program) = program.as_ref().filter(|_| bytes >= ETH_HLEN) {
                assert_eq!(takes(program, cut), taken, "{bytes} of {frame:?}");
            }
        }
    }
}

/// The longest filter loads, and its last entry counts.
#[test]
fn the_longest_filter_and_one_more() {
    let longest = (0..32).fold(Filter::new(), |filter, n| filter.port(1000 + n));
    let last = ethernet(&[VLAN], IPV4, &ipv4(15, 0, TCP, &segment(1, 1031)));
    let beyond = ethernet(&[VLAN], IPV4, &ipv4(15, 0, TCP, &segment(1, 1032)));
    check(&longest, &[("the last port", last.clone(), true), ("the next one", beyond, false)]);
    assert_eq!(longest.check(), Ok(()));
    // What is there already is nothing more.
    assert_eq!(longest.clone().port(1031).check(), Ok(()));
    assert_eq!(longest.udp_port(1).check(), Err(FilterError::TooManyEntries { entries: Filter::MAX_ENTRIES + 1 }));

    let types = (0..64).fold(Filter::new(), |filter, n| filter.ethertype(0x9000 + n));
    check(&types, &[("the last type", ethernet(&[VLAN], 0x903f, &[]), true), ("a port", last, false)]);
    let sentence = types.ethertype(1).check().unwrap_err().to_string();
    assert!(sentence.contains("65 entries") && sentence.contains("at most 64"), "{sentence}");
}

#[test]
fn a_length_is_no_type() {
    assert_eq!(Filter::new().ethertype(0x05ff).check(), Err(FilterError::NotAnEtherType { number: 0x05ff }));
    assert_eq!(Filter::new().ethertype(0x0600).check(), Ok(()));
}

// What is drawn from is small, so that filters and frames meet.
const PORTS: [u16; 6] = [0, 53, 0x3500, 80, 443, 65535];
const TYPES: [u16; 7] = [IPV4, IPV6, ARP, VLAN, OTHER_TAG, 0x0008, 46];

fn any_filter() -> impl Strategy<Value = Filter> {
    let entry = (0..6, select(&PORTS[..]), select(&TYPES[..]));
    prop::collection::vec(entry, 0..8).prop_map(|entries| {
        entries.into_iter().fold(Filter::new(), |filter, (kind, port, ether_type)| match kind {
            0 | 1 => filter.udp_port(port),
            2 | 3 => filter.tcp_port(port),
            4 => filter.port(port),
            _ => filter.ethertype(ether_type),
        })
    })
}

/// Mostly something that is what its headers say.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let protocol = || prop_oneof![4 => Just(UDP), 4 => Just(TCP), 1 => any::<u8>()];
    let fragment = prop_oneof![4 => Just(0_u16), 1 => select(vec![0x4000, 0x2000, 0x8000]), 1 => any::<u16>()];
    let payload = (any::<u16>(), select(&PORTS[..])).prop_map(|(from, to)| segment(from, to));
    let packet =
        (5..16_u8, fragment, protocol(), protocol(), payload).prop_map(|(words, fragment, v4, v6, payload)| {
            [(IPV4, ipv4(words, fragment, v4, &payload)), (IPV6, ipv6(v6, &payload))]
        });
    let tags = prop_oneof![
        3 => Just(vec![]),
        3 => Just(vec![VLAN]),
        1 => prop::collection::vec(select(vec![VLAN, OTHER_TAG]), 1..4),
    ];
    let ether_type =
        prop_oneof![4 => Just(None), 1 => select(&TYPES[..]).prop_map(Some), 1 => any::<u16>().prop_map(Some)];
    let whole = (tags, ether_type, packet, 0..2_usize).prop_map(|(tags, ether_type, packets, which)| {
        let (own, packet) = &packets[which];
        ethernet(&tags, ether_type.unwrap_or(*own), packet)
    });
    let damage = prop_oneof![3 => Just(vec![]), 1 => prop::collection::vec((12..60_usize, any::<u8>()), 1..4)];
    let cut = prop_oneof![3 => Just(0), 1 => 0..100_usize];
    (whole, damage, cut).prop_map(|(mut frame, damage, cut)| {
        for (at, byte) in damage {
            if let Some(place) = frame.get_mut(at) {
                *place = byte;
            }
        }
        frame.truncate(ETH_HLEN.max(frame.len().saturating_sub(cut)));
        frame
    })
}

/// A program is loaded once and looks at many frames.
#[test]
fn program_and_description_agree() {
    if program(&Filter::new()).is_none() {
        return;
    }
    let cases = (any_filter(), prop::collection::vec(any_frame(), 100));
    let mut runner = TestRunner::new(Config::with_source_file(file!()));
    let result = runner.run(&cases, |(filter, frames)| {
        let program = program(&filter).unwrap();
        for frame in &frames {
            prop_assert_eq!(takes(&program, frame), filter.takes(frame), "{:02x?}", frame);
        }
        Ok(())
    });
    assert!(result.is_ok(), "{}", result.unwrap_err());
}

/// The frames above are of both kinds, or the comparison would say nothing.
#[test]
fn random_frames_are_taken_and_passed() {
    let mut runner = TestRunner::deterministic();
    let mut counts = [0; 2];
    for _ in 0..1000 {
        let filter = Filter::new().port(53).tcp_port(443);
        let frame = any_frame().new_tree(&mut runner).unwrap().current();
        counts[usize::from(filter.takes(&frame))] += 1;
    }
    assert!(counts.iter().all(|&count| count > 50), "{counts:?}");
}
