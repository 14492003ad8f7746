//! `pagepool forward`, run for real: what goes in comes out, and the figures add up.

#![allow(clippy::std_instead_of_core, reason = "as in the program")]

mod common;

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::captures::{self, Fraction, Order};
use common::{Files, check_laws, forward, number, pagepool, report};
use serde_json::Value;

#[test]
fn without_arguments_it_ends_by_itself_and_nothing_is_lost() {
    let start = Instant::now();
    let report = forward(&[]);
    assert!(start.elapsed() < Duration::from_secs(20));
    let pool = &report["pools"][0];
    let packets = number(&report["packets_in"]);
    assert!(packets >= 100 * 1024, "{packets} packets for a pool of 1024");
    assert_eq!(report["packets_out"], packets);
    assert_eq!(report["dropped"], 0);
    assert!(number(&report["bytes"]) > 60 * packets);
    assert_eq!(pool["provider"], "buddy");
    assert_eq!(pool["page_size"], 4096);
    assert_eq!(pool["limit"], Value::Null);
    assert_eq!(pool["recycled_percent"], 100.0);
    // A hundred times the pool's size passed, and the provider was not asked again.
    assert!(number(&pool["provider_allocs"]) < 3 * 1024, "{pool:#}");
    assert_eq!(pool["provider_releases"], 0);
}

#[test]
fn more_passes_for_a_larger_pool_and_fewer_for_a_smaller() {
    for (pool, least) in [("64", 6_400), ("4096", 409_600)] {
        let packets = number(&forward(&["--pool-size", pool])["packets_in"]);
        assert!((least..least + 10_000).contains(&packets), "{packets} for a pool of {pool}");
    }
}

#[test]
fn people_get_a_table() {
    let output = pagepool(&["forward"]).output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let table = String::from_utf8(output.stdout).unwrap();
    for word in ["packets in", "packets out", "dropped", "Mpps", "pool 1 (rx0)", "buddy", "alloc fast", "in use"] {
        assert!(table.contains(word), "no {word:?} in\n{table}");
    }
}

#[test]
fn split_pages_carry_the_first_half_and_a_page_each_the_second() {
    let files = Files::new();
    let frames = captures::frames(6000);
    let content = captures::pcap(Order::Little, Fraction::Nano, &frames);
    files.with("a", &content);
    for provider in ["buddy", "passthrough"] {
        let ports = ["--in", &files.port("a"), "--out", &files.port("out"), "--provider", provider];
        let report = forward(&[&ports[..], &["--split", "2048", "--pool-size", "256"]].concat());
        assert!(files.read("out") == content, "{provider}");
        let phases = report["phases"].as_array().unwrap();
        assert_eq!(phases.iter().map(|phase| &phase["split"]).collect::<Vec<_>>(), [&2048.into(), &Value::Null]);
        assert!(phases.iter().all(|phase| number(&phase["packets"]).abs_diff(3000) <= 600), "{phases:#?}");
        assert_eq!(number(&phases[0]["most_bytes"]), 4096 * number(&phases[0]["most_pages"]));
    }
}

#[test]
fn the_middle_of_a_run_is_where_it_ends_first() {
    for args in [
        // Of the count and the capture, and of the time and the capture.
        &["--split", "2048", "--repeat", "2", "--count", "1000000"][..],
        &["--split", "2048", "--repeat", "1000000", "--seconds", "0.5"],
        // Nothing fits, so nothing is received.
        &["--split", "64", "--in", "gen:9000", "--page-size", "16384", "--seconds", "0.5"],
    ] {
        let report = forward(args);
        assert_eq!(report["phases"].as_array().unwrap().len(), 2, "{args:?}: {report:#}");
        assert!(number(&report["phases"][1]["packets"]) > 0, "{args:?}: {report:#}");
    }
    let output = pagepool(&["forward", "--split", "2048", "--count", "1"]).output().unwrap();
    assert!(output.status.success());
}

#[test]
fn split_pages_take_less_memory_and_people_see_how_much() {
    // Nothing is sent, so that what is in use is what is posted: 512 buffers, and the page that is being split.
    let args = ["--action", "drop", "--split", "1024", "--count", "200000"];
    let report = forward(&args);
    let most = |phase: usize| number(&report["phases"][phase]["most_pages"]);
    assert!((128..=160).contains(&most(0)), "four to a page: {report:#}");
    assert!((512..=513).contains(&most(1)), "a page each: {report:#}");

    let output = pagepool(&["forward"]).args(args).output().unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    for word in ["fragments of 1024", "a page a packet", "pages in use at most", "KiB"] {
        assert!(table.contains(word), "no {word:?} in\n{table}");
    }
}

#[test]
fn packets_larger_than_a_fragment_are_dropped_and_said_to_be() {
    let args = ["--split", "300", "--in", "gen:5000", "--count", "1000"];
    let report = forward(&args);
    assert_eq!((number(&report["packets_out"]), number(&report["too_long"])), (0, 1000));
    let output = pagepool(&["forward"]).args(args).output().unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("1,000 packets did not fit a fragment of 300 bytes; give a larger --split"), "{table}");
}

#[test]
fn every_kind_of_capture_comes_out_byte_for_byte() {
    let files = Files::new();
    let frames = captures::frames(3000);
    let exchanged: Vec<_> = frames.iter().map(|frame| captures::swapped(frame)).collect();
    let (little, big, micro, nano) = (Order::Little, Order::Big, Fraction::Micro, Fraction::Nano);
    for (name, content, content_exchanged) in [
        ("le-us", captures::pcap(little, micro, &frames), captures::pcap(little, micro, &exchanged)),
        ("le-ns", captures::pcap(little, nano, &frames), captures::pcap(little, nano, &exchanged)),
        ("be-us", captures::pcap(big, micro, &frames), captures::pcap(big, micro, &exchanged)),
        ("be-ns", captures::pcap(big, nano, &frames), captures::pcap(big, nano, &exchanged)),
        ("pcapng", captures::pcapng(&frames), captures::pcapng(&exchanged)),
    ] {
        files.with(name, &content);
        for provider in ["buddy", "passthrough"] {
            let ports = ["--in", &files.port(name), "--out", &files.port("out"), "--provider", provider];
            let report = forward(&ports);
            assert_eq!(report["packets_out"], 3000);
            assert_eq!(report["pools"][0]["provider"], provider);
            assert_eq!(number(&report["bytes"]), frames.iter().map(|frame| frame.len() as u64).sum::<u64>());
            assert!(files.read("out") == content, "{name} by {provider}");

            forward(&[&ports[..], &["--action", "swap-mac"]].concat());
            assert!(files.read("out") == content_exchanged, "{name} exchanged by {provider}");
        }
    }
    assert_eq!(files.names(), ["be-ns", "be-us", "le-ns", "le-us", "out", "pcapng"], "temporary files are left");
}

#[test]
fn packets_shorter_than_a_header_pass_and_have_no_addresses_to_exchange() {
    let files = Files::new();
    let (order, fraction) = (Order::Little, Fraction::Nano);
    let frames: Vec<_> = (0..600).map(|n| captures::frame(n, 60)[..n as usize % 20].to_vec()).collect();
    let content = captures::pcap(order, fraction, &frames);
    files.with("a", &content);
    let ports = ["--in", &files.port("a"), "--out", &files.port("out")];
    forward(&ports);
    assert!(files.read("out") == content);
    let report = forward(&[&ports[..], &["--action", "swap-mac"]].concat());
    assert_eq!((&report["packets_out"], &report["dropped"]), (&(600 / 20 * 8).into(), &(600 / 20 * 12).into()));
}

#[test]
fn the_embedded_capture_survives_too() {
    let files = Files::new();
    let report = forward(&["--repeat", "1", "--out", &files.port("once")]);
    assert!(number(&report["packets_out"]) >= 2000);
    assert!(files.read("once") == include_bytes!("../assets/default.pcap"));
}

#[test]
fn the_output_may_be_the_input() {
    let files = Files::new();
    let frames = captures::frames(2000);
    let content = captures::pcap(Order::Big, Fraction::Nano, &frames);
    files.with("a", &content);
    let ports = ["--in", &files.port("a"), "--out", &files.port("a"), "--action", "swap-mac"];
    forward(&ports);
    assert!(files.read("a") != content);
    forward(&ports);
    assert!(files.read("a") == content);
}

#[test]
fn drop_drops_and_leaves_a_capture_without_packets() {
    let files = Files::new();
    files.with("a", &captures::pcap(Order::Little, Fraction::Micro, &captures::frames(5000)));
    let report = forward(&["--in", &files.port("a"), "--out", &files.port("out"), "--action", "drop"]);
    assert_eq!((&report["packets_in"], &report["packets_out"]), (&5000.into(), &0.into()));
    assert_eq!(report["dropped"], 5000);
    // Dropped pages go straight back into the cache.
    assert!(number(&report["pools"][0]["recycle"]["cached"]) >= 5000);
    assert_eq!(files.read("out"), captures::pcap_header(Order::Little, Fraction::Micro, 1));
}

#[test]
fn packets_that_fit_no_page_are_counted_and_dropped() {
    let files = Files::new();
    let (order, fraction) = (Order::Little, Fraction::Micro);
    let frames: Vec<_> = (0..1000).map(|n| captures::frame(n, if n % 10 == 0 { 2049 } else { 2048 })).collect();
    files.with("a", &captures::pcap(order, fraction, &frames));
    let report = forward(&["--in", &files.port("a"), "--out", &files.port("out"), "--page-size", "2048"]);
    assert_eq!(report["packets_in"], 1000);
    assert_eq!(report["dropped"], 100);
    assert_eq!(report["pools"][0]["page_size"], 2048);
    let output = pagepool(&["forward", "--in", &files.port("a"), "--page-size", "2048"]).output().unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("\n100 packets did not fit a page of 2048 bytes; give --page-size\n"), "{table}");
    let fitting = files.with("fitting", &files.read("out"));
    let again = forward(&["--in", &format!("pcap:{}", fitting.display()), "--page-size", "2048"]);
    assert_eq!((&again["packets_out"], &again["dropped"]), (&900.into(), &0.into()));
}

#[test]
fn count_seconds_and_repeat_end_a_run() {
    let files = Files::new();
    let frames = captures::frames(100);
    let (order, fraction) = (Order::Big, Fraction::Micro);
    files.with("a", &captures::pcap(order, fraction, &frames));
    let input = files.port("a");

    assert_eq!(forward(&["--count", "1000000"])["packets_in"], 1_000_000);
    assert_eq!(forward(&["--in", "gen:1514", "--count", "12345"])["bytes"], 12345 * 1514);
    assert_eq!(forward(&["--in", &input, "--count", "7"])["packets_in"], 7);
    assert_eq!(forward(&["--in", &input, "--count", "7000"])["packets_in"], 100);

    let report = forward(&["--in", &input, "--repeat", "30", "--out", &files.port("out")]);
    assert_eq!(report["packets_out"], 3000);
    let header = captures::pcap_header(order, fraction, 1);
    assert!(files.read("out") == [header, captures::pcap_packets(order, &frames).repeat(30)].concat());

    for input in ["gen", "gen:60"] {
        let start = Instant::now();
        let seconds = forward(&["--in", input, "--seconds", "0.3"])["seconds"].as_f64().unwrap();
        assert!((0.3..5.0).contains(&seconds), "{seconds}");
        assert!(start.elapsed() < Duration::from_secs(10));
    }
    assert!(forward(&["--seconds", "0.3"])["seconds"].as_f64().unwrap() >= 0.3);
}

#[test]
fn a_generator_alone_runs_five_seconds() {
    let seconds = forward(&["--in", "gen"])["seconds"].as_f64().unwrap();
    assert!((5.0..10.0).contains(&seconds), "{seconds}");
}

#[test]
fn generated_packets_become_a_capture_that_can_be_forwarded() {
    let files = Files::new();
    forward(&["--in", "gen:99", "--count", "5000", "--out", &files.port("gen")]);
    let report = forward(&["--in", &files.port("gen"), "--out", &files.port("copy")]);
    assert_eq!((&report["packets_out"], &report["bytes"]), (&5000.into(), &(5000 * 99).into()));
    assert!(files.read("gen") == files.read("copy"));
}

#[test]
fn steady_state_leaves_the_buddy_alone_and_pass_through_shows_what_that_saves() {
    for traffic in [&[][..], &["--in", "gen", "--count", "200000"], &["--pool-size", "64"], &["--action", "drop"]] {
        let report = forward(traffic);
        let pool = &report["pools"][0];
        assert_eq!(pool["provider_allocs"], pool["provider_allocs_at_10_percent"], "{pool:#}");
        assert_eq!(pool["provider_releases"], 0);
        assert_eq!(pool["recycled_percent"], 100.0);

        let report = forward(&[traffic, &["--provider", "passthrough"]].concat());
        let pool = &report["pools"][0];
        assert_eq!(pool["recycled_percent"], 0.0, "{pool:#}");
        assert!(number(&pool["provider_allocs"]) >= number(&report["packets_in"]), "{pool:#}");
        assert!(number(&pool["provider_releases"]) >= number(&report["packets_in"]), "{pool:#}");
        assert!(number(&pool["provider_allocs"]) > 2 * number(&pool["provider_allocs_at_10_percent"]), "{pool:#}");
    }
}

#[test]
fn a_limit_bounds_the_pool_and_loses_nothing() {
    let report = forward(&["--limit", "600"]);
    let pool = &report["pools"][0];
    assert_eq!(report["dropped"], 0);
    assert_eq!(pool["limit"], 600);
    assert!(number(&pool["provider_allocs"]) <= 600, "{pool:#}");
    assert!(number(&pool["limit_hits"]) > 0, "{pool:#}");
    // As few as there can be.
    let report = forward(&["--pool-size", "64", "--limit", "32", "--action", "swap-mac"]);
    assert_eq!(report["dropped"], 0);
    assert!(number(&report["pools"][0]["provider_allocs"]) <= 32);
}

#[test]
fn every_page_size_forwards() {
    for bytes in ["2048", "4096", "8192", "16384", "32768", "65536"] {
        for provider in ["buddy", "passthrough"] {
            let options = ["--page-size", bytes, "--provider", provider, "--count", "20000", "--pool-size", "256"];
            let report = forward(&options);
            assert_eq!(report["packets_out"], 20000);
            assert_eq!(report["pools"][0]["page_size"].to_string(), bytes);
        }
    }
}

#[test]
fn packets_on_standard_output_are_packets_only() {
    let files = Files::new();
    let content = captures::pcapng(&captures::frames(500));
    files.with("a", &content);
    let args = ["forward", "--json", "--in", &files.port("a"), "--out", "pcap:/dev/stdout"];
    let output = pagepool(&args).output().unwrap();
    assert!(output.status.success());
    assert!(output.stdout == content);
    check_laws(&serde_json::from_slice(&output.stderr).unwrap());
}

/// Whatever it is called, and where a shell put it: behind what is there, and the report elsewhere.
#[test]
fn standard_output_under_other_names_is_packets_only() {
    let files = Files::new();
    let content = captures::pcapng(&captures::frames(500));
    files.with("a", &content);
    symlink("/dev/stdout", files.path("link")).unwrap();
    let names = ["pcap:/dev/stdout", "pcap:/proc/thread-self/fd/1", "pcap:/dev/fd/../fd/1", &files.port("link")];
    for (name, append) in names.iter().flat_map(|name| [(name, false), (name, true)]) {
        files.with("out", b"before");
        let mut out = File::options().write(true).append(append).open(files.path("out")).unwrap();
        out.write_all(b"!").unwrap();
        let args = ["forward", "--json", "--in", &files.port("a"), "--out", name];
        let output = pagepool(&args).stdout(out).output().unwrap();
        assert!(output.status.success());
        let before = if append { &b"before!"[..] } else { b"!" };
        assert!(files.read("out") == [before, &content].concat(), "{name}");
        check_laws(&serde_json::from_slice(&output.stderr).unwrap());

        let output = pagepool(&args).output().unwrap();
        assert!(output.stdout == content, "{name}");
        check_laws(&serde_json::from_slice(&output.stderr).unwrap());
    }
}

/// The file that standard output goes to, by its own name: replaced by the packets, and the report is not lost.
#[test]
fn a_report_redirected_to_the_output_goes_to_standard_error() {
    let files = Files::new();
    let out = File::create(files.path("out")).unwrap();
    let args = ["forward", "--json", "--repeat", "1", "--out", &files.port("out")];
    let output = pagepool(&args).stdout(out).output().unwrap();
    assert!(files.read("out") == include_bytes!("../assets/default.pcap"));
    check_laws(&serde_json::from_slice(&output.stderr).unwrap());
}

#[test]
fn packets_on_standard_input_are_read() {
    let files = Files::new();
    let content = captures::pcap(Order::Little, Fraction::Nano, &captures::frames(500));
    files.with("a", &content);
    let mut writer = std::process::Command::new("cat").arg(files.path("a")).stdout(Stdio::piped()).spawn().unwrap();
    let mut command = pagepool(&["forward", "--json", "--in", "pcap:/dev/stdin", "--out", &files.port("out")]);
    let output = command.stdin(writer.stdout.take().unwrap()).output().unwrap();
    writer.wait().unwrap();
    assert_eq!(report(&output)["packets_out"], 500);
    assert!(files.read("out") == content);
}

#[test]
fn a_reader_that_has_read_enough_is_no_error() {
    let mut child = pagepool(&["forward"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{:?}", output.status);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
