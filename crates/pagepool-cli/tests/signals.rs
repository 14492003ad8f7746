//! Ctrl-C, as a terminal sends it.

#![allow(clippy::std_instead_of_core, reason = "as in the program")]

mod common;

use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::captures::{self, Fraction, Order};
use common::{Files, number, pagepool, report};
use rustix::process::{Pid, Signal, kill_process};

fn start(args: &[&str]) -> Child {
    let child = pagepool(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Long enough for packets to flow; the handler is there before they do.
    thread::sleep(Duration::from_millis(700));
    child
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn ctrl_c_ends_with_the_figures() {
    for signal in [Signal::INT, Signal::TERM] {
        let child = start(&["forward", "--json", "--in", "gen", "--seconds", "600"]);
        let before = Instant::now();
        send(&child, signal);
        let report = report(&child.wait_with_output().unwrap());
        assert!(before.elapsed() < Duration::from_secs(5));
        assert!(number(&report["packets_in"]) > 0);
        assert!(report["seconds"].as_f64().unwrap() < 60.0);
    }
}

#[test]
fn ctrl_c_completes_the_output() {
    let files = Files::new();
    let frames = captures::frames(100);
    files.with("a", &captures::pcap(Order::Big, Fraction::Nano, &frames));
    let (input, output) = (files.port("a"), files.port("out"));
    let args = ["forward", "--json", "--in", &input, "--repeat", "1000000000", "--out", &output];
    let child = start(&args);
    send(&child, Signal::INT);
    let sent = number(&report(&child.wait_with_output().unwrap())["packets_out"]);
    let written = files.read("out");
    let pass = captures::pcap_packets(Order::Big, &frames);
    let header = captures::pcap_header(Order::Big, Fraction::Nano, 1);
    assert!(written.starts_with(&header));
    let last: usize = frames.iter().take((sent % 100) as usize).map(|frame| 16 + frame.len()).sum();
    assert_eq!(written.len(), header.len() + (sent / 100) as usize * pass.len() + last);
    assert_eq!(files.names(), ["a", "out"]);
}

/// The first is asked for in good order, which a reader that does not read holds up; the second ends it.
#[test]
fn a_second_ctrl_c_ends_at_once() {
    let mut child = start(&["forward", "--in", "gen", "--seconds", "600", "--out", "pcap:/dev/stdout"]);
    send(&child, Signal::INT);
    thread::sleep(Duration::from_millis(300));
    assert_eq!(child.try_wait().unwrap(), None, "the pipe is full, so it can't have ended in good order");
    send(&child, Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
