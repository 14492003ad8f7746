//! A scene with Linux itself as the forwarder: real programs, generator and sink do what they say.
#![cfg(target_os = "linux")]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "there is no use without std")]

use std::thread;
use std::time::{Duration, Instant};

use pp_testbed::{
    Arp, Counts, End, Endpoint, Error, Generator, Hook, Iperf, Mac, Namespace, Offloads, Path, Ping, Sink, Traffic,
    Veth, skip_without_rights,
};

/// Waits until the sink has seen `packets` numbered ones, and then a moment for more than that.
fn settled(sink: &Sink, packets: u64) -> Counts {
    let start = Instant::now();
    while sink.counts().unwrap().numbered < packets && start.elapsed() < Duration::from_secs(5) {
        thread::sleep(Duration::from_millis(5));
    }
    thread::sleep(Duration::from_millis(20));
    sink.counts().unwrap()
}

#[test]
fn nobody_reaches_anybody_without_a_forwarder() {
    skip_without_rights!("ping");
    let path = Path::builder().build().unwrap();
    let error = path.ping(Ping::new()).unwrap_err();
    assert!(matches!(error, Error::Failed { .. }), "{error}");
}

#[test]
fn ping_goes_through_at_every_size() {
    skip_without_rights!("ping");
    let path = Path::builder().mtu(9000).queues(2).arp(Arp::Asked).build().unwrap();
    path.bridge().unwrap();
    for payload in [0, 56, 1472, 1473, 8972] {
        let replies = path.ping(Ping::new().payload(payload)).unwrap();
        assert_eq!(replies.received, 5, "{payload} bytes");
    }
    assert!(path.ping(Ping::new().payload(8973)).is_err());
}

#[test]
fn tcp_and_udp_go_through() {
    skip_without_rights!("iperf3");
    let path = Path::builder().build().unwrap();
    path.bridge().unwrap();
    for iperf in [Iperf::tcp(), Iperf::tcp().reverse().streams(3)] {
        let transfer = path.iperf(iperf.seconds(1)).unwrap();
        assert!(transfer.bits_per_second > 1e7, "{transfer:?}");
        assert!(transfer.retransmits.is_some() && transfer.packets.is_none(), "{transfer:?}");
    }
    let transfer = path.iperf(Iperf::udp(8_000_000).seconds(1).payload(1000)).unwrap();
    // A thousand a second.
    assert!(transfer.packets.is_some_and(|packets| (500..1500).contains(&packets)), "{transfer:?}");
    assert!(transfer.lost.is_some() && transfer.retransmits.is_none(), "{transfer:?}");
}

#[test]
fn a_transfer_that_does_not_begin_says_why() {
    skip_without_rights!("iperf3");
    let path = Path::builder().build().unwrap();
    let error = path.iperf(Iperf::tcp()).unwrap_err().to_string();
    assert!(error.contains("unable to connect"), "{error}");
}

#[test]
fn packets_of_a_host_without_offloads_are_complete_and_short() {
    skip_without_rights!("iperf3");
    // With them they are up to 64 KiB long, so there are fewer of them than segments.
    for (offloads, whole) in [(Offloads::Off, true), (Offloads::Default, false)] {
        let path = Path::builder().offloads(offloads).build().unwrap();
        path.bridge().unwrap();
        let transfer = path.iperf(Iperf::tcp().seconds(1)).unwrap();
        let count = |name: &str| -> f64 {
            let file = format!("/sys/class/net/{}/statistics/{name}", Path::IN);
            let text = path.forwarder().enter(|| std::fs::read_to_string(&file)).unwrap().unwrap();
            text.trim().parse().unwrap()
        };
        let mean = count("rx_bytes") / count("rx_packets");
        assert_eq!(mean <= 1514.0, whole, "{offloads:?}: {mean} bytes a packet, {transfer:?}");
    }
}

#[test]
fn generated_packets_arrive_whole_and_in_order() {
    skip_without_rights!();
    let path = Path::builder().build().unwrap();
    path.bridge().unwrap();
    for size in [60, 61, 512, 1514] {
        let sink = path.sink().unwrap();
        let traffic = path.traffic().size(size).rate(20_000).count(1001).numbered();
        let sent = path.generate(traffic).unwrap().wait().unwrap();
        let counts = settled(&sink, sent);
        let bytes = 1001 * u64::from(size);
        let expected = Counts { packets: 1001, bytes, numbered: 1001, misplaced: 0, next: 1001 };
        assert_eq!((sent, counts), (1001, expected));
    }
}

#[test]
fn a_second_run_begins_with_a_misplaced_packet() {
    skip_without_rights!();
    let path = Path::builder().build().unwrap();
    path.bridge().unwrap();
    let sink = path.sink().unwrap();
    let traffic = path.traffic().rate(20_000).count(100);
    for traffic in [traffic.numbered(), traffic, traffic.numbered()] {
        path.generate(traffic).unwrap().wait().unwrap();
    }
    let counts = settled(&sink, 200);
    assert_eq!((counts.packets, counts.numbered, counts.misplaced, counts.next), (300, 200, 1, 100));
}

#[test]
fn the_rate_is_kept_to() {
    skip_without_rights!();
    let path = Path::builder().build().unwrap();
    let start = Instant::now();
    let generator = path.generate(path.traffic().rate(5000)).unwrap();
    thread::sleep(Duration::from_millis(500));
    let sent = generator.stop().unwrap();
    let most = start.elapsed().as_secs_f64() * 5000.0 + 64.0;
    // At least, on a machine that does other things as well.
    assert!(sent > 250 && sent as f64 <= most, "{sent} packets, at most {most}");
}

#[test]
fn as_fast_as_possible_is_fast_and_ends() {
    skip_without_rights!();
    let path = Path::builder().build().unwrap();
    path.bridge().unwrap();
    let sink = path.sink().unwrap();
    let generator = path.generate(path.traffic().numbered().processor(pp_testbed::processors()[0])).unwrap();
    thread::sleep(Duration::from_millis(300));
    let sent = generator.stop().unwrap();
    let counts = settled(&sink, sent);
    assert!(sent > 20_000, "{sent}");
    assert!(counts.numbered > 1000 && counts.numbered <= sent, "{sent} {counts:?}");
    assert_eq!(counts.misplaced, 0);
    assert_eq!(sink.counts().unwrap(), counts, "it has ended");
}

/// The kernel gives frames that it is done with to the generator again, after a router has changed them.
#[test]
fn a_router_gets_fresh_packets() {
    skip_without_rights!();
    let names = ["client", "router", "server"].map(|name| Namespace::new(name).unwrap());
    let [client, router, server] = &names;
    let end = |mac, address: [u8; 4]| Endpoint { mac: Mac([2, 0, 0, 0, 0, mac]), address: address.into() };
    let (from, to) = (end(1, [192, 0, 2, 1]), end(2, [198, 51, 100, 2]));
    let near = End::new(router, "near").mac(end(3, [0; 4]).mac).address("192.0.2.254/24");
    Veth::new(End::new(client, "c").mac(from.mac), near).create().unwrap();
    let far = End::new(router, "far").address("198.51.100.254/24");
    Veth::new(far, End::new(server, "s").mac(to.mac)).create().unwrap();
    router.enter(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")).unwrap().unwrap();
    let neighbour =
        ["ip", "neighbour", "add", "198.51.100.2", "lladdr", "02:00:00:00:00:02", "dev", "far", "nud", "permanent"];
    router.run(&neighbour).unwrap();
    router.run(&["ethtool", "-K", "near", "gro", "on"]).unwrap();

    let sink = Sink::attach(server, "s", Hook::Native).unwrap();
    // Runs of 8192 in memory for some hundreds: without fresh ones each has been through the router too often before half of it.
    let traffic = Traffic::udp(from, Endpoint { mac: Mac([2, 0, 0, 0, 0, 3]), ..to }).count(8 * 8192).numbered();
    let sent = Generator::start(client, "c", traffic).unwrap().wait().unwrap();
    let counts = settled(&sink, sent);
    assert!(counts.next > sent - 1000, "the last ones came too: {sent} {counts:?}");
    assert!(counts.numbered > sent / 2, "{sent} {counts:?}");
}

#[test]
fn a_generic_sink_sees_what_the_stack_sees() {
    skip_without_rights!("ping");
    let path = Path::builder().build().unwrap();
    path.bridge().unwrap();
    let sink = Sink::attach(path.server(), Path::SERVER, Hook::Generic).unwrap();
    assert!(Sink::attach(path.server(), Path::SERVER, Hook::Generic).is_err());
    assert!(path.ping(Ping::new().count(3)).is_err());
    assert_eq!(sink.counts().unwrap(), Counts { packets: 3, bytes: 3 * 98, ..Counts::default() });
    drop(sink);
    assert_eq!(path.ping(Ping::new().count(3)).unwrap().received, 3);
}

#[test]
fn what_is_not_there_is_named() {
    skip_without_rights!();
    let path = Path::builder().build().unwrap();
    let error = Sink::attach(path.server(), "nowhere", Hook::Native).unwrap_err();
    assert!(error.to_string().contains("`nowhere`"), "{error}");
    let error = Generator::start(path.client(), "nowhere", path.traffic()).unwrap_err();
    assert!(error.to_string().contains("`nowhere`"), "{error}");
}
