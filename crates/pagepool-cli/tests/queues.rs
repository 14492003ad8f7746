//! `pagepool forward --queues`, run for real: a pool a queue, and the order of each flow.

#![allow(clippy::std_instead_of_core, reason = "as in the program")]

mod common;

use std::collections::HashMap;

use common::captures::{self, Fraction, Order};
use common::{Files, forward, number, pagepool};
use serde_json::Value;

/// The records of a little-endian pcap file: header and frame.
fn records(file: &[u8]) -> Vec<&[u8]> {
    let (mut rest, mut records) = (&file[24..], Vec::new());
    while !rest.is_empty() {
        let len = u32::from_le_bytes(*rest[8..].first_chunk().unwrap()) as usize;
        let (record, after) = rest.split_at(16 + len);
        records.push(record);
        rest = after;
    }
    records
}

/// What a record's frame says its flow is: addresses, and of TCP and UDP the ports; nothing of other frames, which are one flow.
fn flow(record: &[u8]) -> Vec<u8> {
    let frame = &record[16..];
    let ipv4 = frame.get(12..14) == Some(&[0x08, 0x00]) && frame.get(14) == Some(&0x45);
    let ports = matches!(frame.get(23), Some(6 | 17));
    match ipv4 {
        true if ports => frame[26..38].to_vec(),
        true => frame[26..34].to_vec(),
        false => Vec::new(),
    }
}

fn by_flow(file: &[u8]) -> HashMap<Vec<u8>, Vec<&[u8]>> {
    let mut flows: HashMap<_, Vec<_>> = HashMap::new();
    for record in records(file) {
        flows.entry(flow(record)).or_default().push(record);
    }
    flows
}

fn pools(report: &Value) -> &[Value] {
    report["pools"].as_array().unwrap()
}

/// Whether packets went through a pool: what it has besides are the pages that were fetched before the run.
fn is_busy(pool: &Value) -> bool {
    number(&pool["recycle"]["ring"]) + number(&pool["recycle"]["ring_full"]) > 2000
}

#[test]
fn each_queue_has_a_pool_and_a_provider_and_nothing_is_lost() {
    for queues in ["1", "2", "3", "16"] {
        for provider in ["buddy", "passthrough"] {
            let report = forward(&[
                "--queues",
                queues,
                "--provider",
                provider,
                "--in",
                "gen",
                "--count",
                "150000",
                "--pool-size",
                "128",
            ]);
            assert_eq!(pools(&report).len().to_string(), queues);
            assert_eq!((number(&report["packets_out"]), &report["dropped"]), (150_000, &0.into()));
            if provider == "buddy" {
                assert!(pools(&report).iter().all(is_busy), "{report:#}");
                assert!(pools(&report).iter().all(|pool| pool["provider_releases"] == 0), "{report:#}");
            }
        }
    }
    // Real traffic has fewer flows, and all of it passes.
    let report = forward(&["--queues", "4"]);
    assert_eq!(report["dropped"], 0);
    assert!(pools(&report).iter().filter(|pool| is_busy(pool)).count() > 1, "{report:#}");
}

#[test]
fn a_single_flow_comes_out_byte_for_byte_whatever_the_queues() {
    let files = Files::new();
    let frames = captures::frames(3000);
    for content in [captures::pcap(Order::Big, Fraction::Nano, &frames), captures::pcapng(&frames)] {
        files.with("a", &content);
        for queues in ["1", "2", "7", "16"] {
            let report = forward(&["--in", &files.port("a"), "--out", &files.port("out"), "--queues", queues]);
            assert!(files.read("out") == content, "{queues}");
            assert_eq!(
                pools(&report).iter().filter(|pool| is_busy(pool)).count(),
                1,
                "frames without addresses are one flow"
            );
        }
    }
}

#[test]
fn flows_keep_their_order_and_every_packet_its_record() {
    let files = Files::new();
    forward(&["--in", "gen:99", "--count", "20000", "--queues", "4", "--out", &files.port("gen")]);
    files.with("talk", include_bytes!("../assets/default.pcap"));
    for (name, flows) in [("gen", 64), ("talk", 8)] {
        let content = files.read(name);
        let original = by_flow(&content);
        assert!(original.len() >= flows, "{name}: {} flows", original.len());
        for queues in ["1", "2", "5", "16"] {
            for options in [&["--pool-size", "64"][..], &["--split", "2048"], &["--provider", "passthrough"]] {
                let args = ["--in", &files.port(name), "--out", &files.port("out"), "--queues", queues];
                forward(&[&args[..], options].concat());
                let out = files.read("out");
                assert_eq!(out[..24], content[..24]);
                assert!(by_flow(&out) == original, "{name} over {queues} {options:?}");
                if queues == "1" {
                    assert!(out == content);
                }
            }
        }
    }
    // What was generated went through four queues as well: each flow's numbers rise.
    for (flow, records) in by_flow(&files.read("gen")) {
        let numbers: Vec<_> = records.iter().map(|record| &record[16 + 42..16 + 50]).collect();
        assert!(numbers.is_sorted(), "{flow:?}");
    }
}

#[test]
fn limits_and_splits_are_each_queues_own() {
    let args = ["--queues", "3", "--in", "gen", "--count", "120000", "--pool-size", "64"];
    let report = forward(&[&args[..], &["--limit", "40"]].concat());
    assert_eq!(report["dropped"], 0);
    for pool in pools(&report) {
        assert_eq!(pool["limit"], 40);
        assert!(number(&pool["provider_allocs"]) <= 40, "{pool:#}");
    }
    let report = forward(&[&args[..], &["--split", "2048"]].concat());
    let phases = report["phases"].as_array().unwrap();
    assert_eq!(phases.iter().map(|phase| &phase["split"]).collect::<Vec<_>>(), [&2048.into(), &Value::Null]);
    assert_eq!(phases.iter().map(|phase| number(&phase["packets"])).sum::<u64>(), 120_000);
    // All change at the same packet, each when it polls next: a few polls and the packets in the rings.
    assert!(phases.iter().all(|phase| number(&phase["packets"]).abs_diff(60_000) <= 3 * 128), "{phases:#?}");
}

#[test]
fn people_see_four_pools_beside_each_other_and_the_next_below() {
    let output = pagepool(&["forward", "--queues", "6", "--count", "20000"]).output().unwrap();
    assert!(output.status.success());
    let table = String::from_utf8(output.stdout).unwrap();
    let line = |words: [&str; 2]| table.lines().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(line(["pool 1 (rx0)", "pool 4 (rx3)"]) && line(["pool 5 (rx4)", "pool 6 (rx5)"]), "{table}");
    assert!(!line(["pool 1 (rx0)", "pool 5 (rx4)"]));
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
    assert_eq!(table.matches("recycle ring full").count(), 2);
}

#[test]
fn help_says_what_becomes_of_the_order() {
    let output = pagepool(&["forward", "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let text = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in ["--queues <N>", "Packets of a flow keep their order", "those of different flows may change places"] {
        assert!(text.contains(words), "no {words:?} in {help}");
    }
}
