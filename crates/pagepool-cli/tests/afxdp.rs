//! Real packets through the real program, between namespaces, as root.

#![allow(clippy::std_instead_of_core, reason = "as in the program")]

mod common;

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use common::captures::{self, Fraction, Order};
use common::{Files, check_laws, number};
use pp_testbed::{Arp, Iperf, Path, Ping, Running, skip_without_rights};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;

/// How long anything may take that is not timed.
const SOON: Duration = Duration::from_secs(20);

/// `pagepool forward` between the scene's ports.
fn start(path: &Path, args: &[&str]) -> Running {
    let mut words = vec!["forward"];
    words.extend(args);
    let mut running =
        path.forwarder().command(env!("CARGO_BIN_EXE_pagepool")).unwrap().arguments(&words).spawn().unwrap();
    // Packets come to those that receive as soon as they have their program.
    let receives =
        |port: &str| args.iter().any(|arg| arg.contains(port)) && (port == Path::IN || args.contains(&"--both"));
    for port in [Path::IN, Path::OUT].into_iter().filter(|port| receives(port)) {
        let end = Instant::now() + SOON;
        while !shown(path, port).contains("xdp") {
            assert!(Instant::now() < end && running.is_running(), "{port}: {}", running.stderr());
            thread::sleep(Duration::from_millis(10));
        }
    }
    running
}

fn shown(path: &Path, port: &str) -> String {
    path.forwarder().run(&["ip", "-details", "link", "show", "dev", port]).unwrap()
}

const BOTH: [&str; 6] = ["--in", "afxdp:f0", "--out", "afxdp:f1", "--both", "--json"];

/// Ends it as Ctrl-C does; it must have ended well, with nothing to complain about but `said`.
fn end(mut running: Running, said: &[&str]) -> Value {
    running.interrupt().unwrap();
    ended(running, said)
}

fn ended(running: Running, said: &[&str]) -> Value {
    let output = running.wait(SOON).unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {complaint}", output.status);
    let lines: Vec<_> = complaint.lines().collect();
    assert_eq!(lines.len(), said.len(), "{complaint}");
    lines.iter().zip(said).for_each(|(line, said)| assert!(line.contains(said), "{line}"));
    let report = serde_json::from_slice(&output.stdout).unwrap();
    check(&report);
    report
}

/// What holds of every run between two interfaces.
fn check(report: &Value) {
    check_laws(report);
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    let ports = report["ports"].as_array().unwrap();
    assert_eq!(ports.len(), 2);
    for port in ports {
        assert_eq!(
            keys(port),
            "bytes_in bytes_out completion copied_bytes fill interface interface_queues kernel modes nonsense \
             packets_in packets_out port queues receives rx tx wakes"
        );
        assert_eq!(keys(&port["modes"]), "attached bound native_refusal need_wakeup several_buffers");
        assert_eq!(
            keys(&port["kernel"]),
            "rx_dropped rx_fill_ring_empty rx_invalid_descs rx_ring_full tx_invalid_descs tx_ring_empty"
        );
        assert_eq!((&port["nonsense"], &port["tx"]), (&0.into(), &port["completion"]), "{port:#}");
        assert!(number(&port["rx"]) <= number(&port["fill"]), "{port:#}");
        assert_eq!(port["kernel"]["rx_invalid_descs"], 0);
        assert_eq!(port["kernel"]["tx_invalid_descs"], 0);
    }
}

/// No program is left at the ports, and both are free.
fn is_free(path: &Path) {
    for port in [Path::IN, Path::OUT] {
        let shown = shown(path, port);
        assert!(!shown.contains("xdp"), "{shown}");
    }
    end(start(path, &BOTH), &[]);
}

#[test]
fn ping_tcp_and_udp_pass_and_no_page_is_copied_or_lost() {
    skip_without_rights!("ping", "iperf3");
    for mode in ["", ",generic"] {
        let path = Path::builder().arp(Arp::Asked).build().unwrap();
        let (from, to) = (format!("afxdp:f0{mode}"), format!("afxdp:f1{mode}"));
        let running = start(&path, &["--in", &from, "--out", &to, "--both", "--json"]);
        assert_eq!(path.ping(Ping::new().count(20).payload(1400)).unwrap().received, 20);
        let tcp = path.iperf(Iperf::tcp().seconds(2)).unwrap();
        assert!(tcp.bits_per_second > 1e6, "{tcp:?}");
        assert!(path.iperf(Iperf::tcp().seconds(1).reverse()).unwrap().bits_per_second > 1e6);
        let report = end(running, &[]);
        let attached = if mode.is_empty() { "native" } else { "generic" };
        for port in report["ports"].as_array().unwrap() {
            assert_eq!((&port["modes"]["attached"], &port["modes"]["bound"]), (&attached.into(), &"copy".into()));
            assert_eq!(port["copied_bytes"], 0);
        }
        assert_eq!((&report["dropped"], &report["copied_bytes"]), (&0.into(), &0.into()));
        is_free(&path);
    }
}

/// 20 kpps for ten seconds. Where the machine is busy with other things, packets are lost before they reach the forwarder's port, and
/// after they have reached the server; the kernel counts both.
#[test]
fn twenty_kpps_of_udp_lose_nothing() {
    skip_without_rights!("iperf3");
    const TRIES: u32 = 3;
    const PAYLOAD: u32 = 1400;
    for left in (0..TRIES).rev() {
        let path = Path::builder().build().unwrap();
        let running = start(&path, &BOTH);
        let udp = Iperf::udp(20_000 * 8 * u64::from(PAYLOAD)).seconds(10).payload(PAYLOAD).buffer(2 << 20);
        let udp = path.iperf(udp).unwrap();
        let report = end(running, &[]);
        assert_eq!((&report["dropped"], &report["copied_bytes"]), (&0.into(), &0.into()));
        for pool in report["pools"].as_array().unwrap() {
            assert_eq!(number(&pool["provider_allocs"]), 3 * 2048, "what was fetched before: {pool:#}");
        }
        let (packets, lost) = (udp.packets.unwrap(), udp.lost.unwrap());
        assert!(packets > 150_000, "{udp:?}");
        if lost == 0 {
            return;
        }
        let (before, after) = (dropped_at_the_port(&path), dropped_at_the_server(&path));
        eprintln!("of {packets} packets {lost} were lost: {before} before the forwarder, {after} at the server");
        let kernel = &report["ports"][0]["kernel"];
        // It had no processor for a tenth of a second: that is the machine, unless it always is.
        let starved = number(&kernel["rx_dropped"]) + number(&kernel["rx_ring_full"]);
        assert!(lost <= before + after + starved, "{report:#}");
        assert!(starved == 0 || left > 0, "the forwarder was too slow {TRIES} times: {report:#}");
    }
}

/// Packets that found no place in the veth's own ring.
fn dropped_at_the_port(path: &Path) -> u64 {
    let file = format!("/sys/class/net/{}/statistics/rx_dropped", Path::IN);
    path.forwarder().run(&["cat", &file]).unwrap().trim().parse().unwrap()
}

/// Packets that found no place in the socket's buffer.
fn dropped_at_the_server(path: &Path) -> u64 {
    let counts = path.server().run(&["cat", "/proc/net/snmp"]).unwrap();
    let udp: Vec<_> = counts.lines().filter_map(|line| line.strip_prefix("Udp: ")).collect();
    let at = udp[0].split(' ').position(|name| name == "RcvbufErrors").unwrap();
    udp[1].split(' ').nth(at).unwrap().parse().unwrap()
}

#[test]
fn long_packets_take_several_pages_and_two_memories_copies() {
    skip_without_rights!("ping");
    for (mtu, args, copied) in [
        (9000, &["--page-size", "2048"][..], false),
        (3000, &["--umem", "separate", "--page-size", "2048"], true),
        (1500, &["--umem", "separate"], true),
        (1500, &["--pool-size", "64", "--limit", "64"], false),
    ] {
        let path = Path::builder().mtu(mtu).build().unwrap();
        let running = start(&path, &[&BOTH, args].concat());
        assert_eq!(path.ping(Ping::new().count(20).payload(mtu - 28)).unwrap().received, 20, "{mtu}");
        let report = end(running, &[]);
        assert_eq!(report["ports"][0]["modes"]["several_buffers"], mtu > 1500);
        let expected = if copied { &report["bytes"] } else { &Value::from(0) };
        assert_eq!(&report["copied_bytes"], expected, "{mtu}");
    }
}

#[test]
fn each_queue_has_a_pool_and_a_socket() {
    skip_without_rights!("iperf3");
    let path = Path::builder().queues(2).build().unwrap();
    let running = start(&path, &[&BOTH[..], &["--queues", "2"]].concat());
    path.iperf(Iperf::tcp().seconds(1).streams(4)).unwrap();
    let report = end(running, &[]);
    let pools: Vec<_> = report["pools"].as_array().unwrap().iter().map(|pool| pool["name"].clone()).collect();
    assert_eq!(pools, ["f0@0", "f0@1", "f1@0", "f1@1"]);
    for port in report["ports"].as_array().unwrap() {
        let queues = port["queues"].as_array().unwrap();
        assert_eq!((queues.len(), &port["interface_queues"]), (2, &2.into()));
        let sum: u64 = queues.iter().map(|queue| number(&queue["packets_in"])).sum();
        assert_eq!(sum, number(&port["packets_in"]));
    }
    assert_eq!(report["dropped"], 0);
}

#[test]
fn packets_that_will_be_missing_are_told_of_at_the_start() {
    skip_without_rights!();
    let path = Path::builder().queues(2).build().unwrap();
    path.forwarder().run(&["ip", "link", "set", "dev", Path::OUT, "mtu", "1400"]).unwrap();
    let alone = |port: &str| format!("{port} has 2 queues and packets of queue 0 alone are forwarded; give --queues 2");
    let shorter = "f0 has an MTU of 1500 and f1 one of 1400";
    end(start(&path, &BOTH), &[&alone("f0"), shorter, &alone("f1")]);
    end(start(&path, &[&BOTH[..], &["--queues", "2"]].concat()), &[shorter]);
    let made_up = start(&path, &["--in", "gen:1500", "--count", "1", "--out", "afxdp:f1", "--json"]);
    let output = made_up.wait(SOON).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.lines().count() == 1, "{said}");
    assert!(said.contains("f1 has an MTU of 1400, so 1414 bytes are the longest frame"), "{said}");
}

#[test]
fn people_get_a_table_of_ports() {
    skip_without_rights!("ping");
    let path = Path::builder().build().unwrap();
    let running = start(&path, &["--in", "afxdp:f0", "--out", "afxdp:f1", "--both", "--seconds", "2"]);
    path.ping(Ping::new()).unwrap();
    let output = running.wait(SOON).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for word in ["afxdp:f0", "driver (native)", "out of completion ring", "of those with the kernel", "bytes copied"] {
        assert!(text.contains(word), "{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
}

#[test]
fn an_interface_with_ports_of_other_kinds() {
    skip_without_rights!("ping");
    let (path, files) = (Path::builder().build().unwrap(), Files::new());
    let capture = files.port("capture");
    let running = start(&path, &["--in", "afxdp:f0", "--out", &capture, "--json"]);
    assert!(path.ping(Ping::new().count(10)).is_err(), "nobody answers");
    let mut running = running;
    running.interrupt().unwrap();
    let output = running.wait(SOON).unwrap();
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    check_laws(&report);
    assert_eq!((&report["packets_in"], &report["packets_out"]), (&10.into(), &10.into()));
    assert_eq!(report["copied_bytes"], report["bytes"]);
    let pools: Vec<_> = report["pools"].as_array().unwrap().iter().map(|pool| pool["name"].clone()).collect();
    assert_eq!(pools, ["rx0", "f0@0"]);

    // And out again, to where they were sent.
    let sink = path.sink().unwrap();
    let output = start(&path, &["--in", &capture, "--out", "afxdp:f1", "--json"]).wait(SOON).unwrap();
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["packets_out"], sink.counts().unwrap().packets), (&10.into(), 10));
    let output = start(&path, &["--in", "gen", "--count", "5000", "--out", "afxdp:f1", "--json"]).wait(SOON).unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(sink.counts().unwrap().packets, 5010);
}

#[test]
fn packets_too_short_or_too_long_for_an_interface_are_dropped() {
    skip_without_rights!();
    let (path, files) = (Path::builder().build().unwrap(), Files::new());
    let frames: Vec<_> = [0, 1, 13, 14, 60].map(|len| captures::frame(0, 60)[..len].to_vec()).into();
    files.with("short", &captures::pcap(Order::Little, Fraction::Micro, &frames));
    let output = start(&path, &["--in", &files.port("short"), "--out", "afxdp:f1", "--json"]).wait(SOON).unwrap();
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    check_laws(&report);
    assert_eq!(
        (&report["packets_in"], &report["packets_out"], &report["too_short"]),
        (&5.into(), &2.into(), &3.into())
    );
    for (input, said) in [
        (files.port("short"), "3 packets have no whole Ethernet header, and did not go out"),
        (
            "gen:9000".to_owned(),
            "9 packets did not fit a page of 4096 bytes, the longest that afxdp ports have; give shorter",
        ),
    ] {
        let output = start(&path, &["--in", &input, "--count", "9", "--out", "afxdp:f1"]).wait(SOON).unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains(said), "{text}");
    }
}

#[test]
fn an_interface_that_was_renamed_is_told_from_the_one_of_its_name() {
    skip_without_rights!();
    let path = Path::builder().build().unwrap();
    let mut running = start(&path, &BOTH);
    let link = |words: &str| path.forwarder().run(&words.split(' ').collect::<Vec<_>>());
    link("ip link set dev f1 down").unwrap();
    running.until("`f1` is down; packets go on when it is up again: ip link set f1 up", SOON).unwrap();
    link("ip link set dev f1 up").unwrap();
    running.until("`f1` is up again", SOON).unwrap();
    link("ip link set dev f1 name other").unwrap();
    link("ip link set dev other down").unwrap();
    running.until("`f1`, which is called something else by now, is down", SOON).unwrap();
    running.interrupt().unwrap();
    running.wait(SOON).unwrap();
}

#[test]
fn killed_in_the_middle_it_leaves_nothing() {
    skip_without_rights!("ping");
    let path = Path::builder().build().unwrap();
    for _ in 0..3 {
        let mut running = start(&path, &BOTH);
        let traffic = path.generate(path.traffic().rate(20_000)).unwrap();
        thread::sleep(Duration::from_millis(200));
        running.kill().unwrap();
        drop(running);
        traffic.stop().unwrap();
        is_free(&path);
    }
    let running = start(&path, &BOTH);
    assert_eq!(path.ping(Ping::new()).unwrap().received, 5);
    end(running, &[]);
}

#[test]
fn a_deleted_interface_ends_it_in_a_sentence() {
    skip_without_rights!();
    for (gone, busy) in [(Path::IN, false), (Path::OUT, false), (Path::OUT, true)] {
        let path = Path::builder().build().unwrap();
        let running = start(&path, &BOTH);
        let traffic = busy.then(|| path.generate(path.traffic().rate(20_000)).unwrap());
        thread::sleep(Duration::from_millis(200));
        path.forwarder().run(&["ip", "link", "delete", "dev", gone]).unwrap();
        let output = running.wait(SOON).unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{text}");
        let last = text.lines().last().unwrap_or_default();
        let expected =
            format!("pagepool: `{gone}` is gone: it was deleted, or moved to another namespace; the run was ended");
        assert!(last.starts_with(&expected), "{text}");
        drop(traffic.map(|traffic| traffic.stop()));
    }
}

#[test]
fn an_interface_that_goes_down_and_up_is_used_again() {
    skip_without_rights!("ping");
    let path = Path::builder().build().unwrap();
    let link = |port, state| path.forwarder().run(&["ip", "link", "set", "dev", port, state]).unwrap();
    for (port, busy) in [(Path::IN, false), (Path::OUT, false), (Path::IN, true), (Path::OUT, true)] {
        let mut running = start(&path, &BOTH);
        let traffic = busy.then(|| path.generate(path.traffic().rate(20_000)).unwrap());
        link(port, "down");
        running.until("is down", SOON).unwrap();
        link(port, "up");
        running.until("is up again", SOON).unwrap();
        drop(traffic.map(|traffic| traffic.stop()));
        // The other end of the pair takes up to a second to notice.
        let until = Instant::now() + SOON;
        while path.ping(Ping::new().count(1)).is_err() {
            assert!(Instant::now() < until, "never reached again");
        }
        assert_eq!(path.ping(Ping::new()).unwrap().received, 5, "{port}");
        let (down, up) =
            (format!("`{port}` is down; packets go on when it is up again"), format!("`{port}` is up again"));
        end(running, &[&down, &up]);
    }
    // The last word, where it never comes up.
    let mut running = start(&path, &BOTH);
    let traffic = path.generate(path.traffic().rate(20_000)).unwrap();
    link(Path::OUT, "down");
    running.until("is down", SOON).unwrap();
    running.interrupt().unwrap();
    let output = running.wait(SOON).unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    check_laws(&report);
    assert!(number(&report["dropped"]) > 0, "what could not go out: {report:#}");
    traffic.stop().unwrap();
    link(Path::OUT, "up");
    is_free(&path);
}

#[test]
fn stopped_for_seconds_it_goes_on() {
    skip_without_rights!("ping");
    let path = Path::builder().build().unwrap();
    let running = start(&path, &BOTH);
    let traffic = path.generate(path.traffic().rate(20_000)).unwrap();
    let pid = running.pid().to_string();
    let signal = |name: &str| path.forwarder().run(&["kill", name, &pid]).unwrap();
    signal("-STOP");
    thread::sleep(Duration::from_secs(2));
    signal("-CONT");
    thread::sleep(Duration::from_millis(200));
    traffic.stop().unwrap();
    assert_eq!(path.ping(Ping::new()).unwrap().received, 5);
    let report = end(running, &[]);
    let kernel = &report["ports"][0]["kernel"];
    assert!(number(&kernel["rx_dropped"]) > 0, "more came than the rings hold: {kernel:#}");
    is_free(&path);
}

#[test]
fn the_demonstration_has_real_programs_talk() {
    skip_without_rights!("ping", "iperf3");
    let demo = |args: &[&str]| {
        let mut words = vec!["demo"];
        words.extend(args);
        common::pagepool(&words)
    };
    let output = demo(&["--seconds", "1", "--json"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    check(&report["forward"]);
    let clients = report["clients"].as_array().unwrap();
    let names: Vec<_> = clients.iter().map(|client| client["client"].clone()).collect();
    assert_eq!(names, ["ping", "tcp", "udp"]);
    assert_eq!((&clients[0]["sent"], &clients[0]["received"]), (&20.into(), &20.into()));
    assert!(clients[1]["gbit_per_second"].as_f64().unwrap() > 0.001);
    assert!(number(&clients[2]["packets"]) > 10_000);

    let output = demo(&["--seconds", "1"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    for word in [
        "pagepool forward --in afxdp:f0 --out afxdp:f1 --both",
        "kernel-held",
        "20 of 20 answered",
        "round trip",
        "Gbit/s",
    ] {
        assert!(text.contains(word), "{text}");
    }

    // Ctrl-C, or killed: nobody is left.
    for signal in [Signal::INT, Signal::KILL] {
        let mut child = demo(&["--seconds", "60", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
        thread::sleep(Duration::from_millis(1500));
        let clients = children(child.id());
        assert!(!clients.is_empty(), "ping is not started");
        kill_process(Pid::from_child(&child), signal).unwrap();
        let before = Instant::now();
        child.wait().unwrap();
        while clients.iter().any(|client| fs::exists(format!("/proc/{client}")).unwrap()) {
            assert!(before.elapsed() < Duration::from_secs(5), "{clients:?} are left");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A terminal signals everybody in the foreground, in the middle of which programs talk.
#[test]
fn ctrl_c_at_a_terminal_ends_the_demonstration_well() {
    skip_without_rights!("ping", "iperf3");
    // During ping, and during iperf3, which would say why it was ended.
    for wait in [Duration::from_millis(1200), Duration::from_millis(4500)] {
        let mut command = common::pagepool(&["demo", "--seconds", "2", "--json"]);
        let child = command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        thread::sleep(wait);
        kill_process_group(Pid::from_child(&child), Signal::INT).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        check(&report["forward"]);
    }
}

/// The processes that a process has started.
fn children(id: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{id}/task")).unwrap();
    let listed = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
    let words: Vec<_> = listed.collect();
    words.iter().flat_map(|list| list.split_whitespace()).map(|id| id.parse().unwrap()).collect()
}
