//! Ctrl-C, as a terminal sends it.

#![allow(clippy::std_instead_of_core, reason = "as in the program")]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::captures::{self, Fraction, Order};
use common::{Files, number, pagepool, report};
use rustix::process::{Pid, Signal, kill_process};

/// The program with these arguments; none of its streams is ours.
fn start(args: &[&str]) -> Child {
    pagepool(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The program writing to `out` in `files`; packets are on their way into the hidden file by now.
fn start_writing(files: &Files, args: &[&str]) -> Child {
    let child = start(&[args, &["--out", &files.port("out")]].concat());
    let begun = Instant::now();
    let written =
        |name: &String| name.ends_with(".part") && fs::metadata(files.path(name)).is_ok_and(|hidden| hidden.len() > 0);
    while !files.names().iter().any(written) {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing is written");
        thread::sleep(Duration::from_millis(1));
    }
    child
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn ctrl_c_ends_with_the_figures() {
    for signal in [Signal::INT, Signal::TERM] {
        let files = Files::new();
        let child = start_writing(&files, &["forward", "--json", "--in", "gen", "--seconds", "600"]);
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
    let child = start_writing(&files, &["forward", "--json", "--in", &files.port("a"), "--repeat", "1000000000"]);
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

/// `timeout` signals the process and then its group, the process with it.
#[test]
fn a_signal_told_twice_is_one() {
    let files = Files::new();
    let child = start_writing(&files, &["forward", "--json", "--in", "gen", "--seconds", "600"]);
    send(&child, Signal::TERM);
    thread::sleep(Duration::from_millis(5));
    send(&child, Signal::TERM);
    report(&child.wait_with_output().unwrap());
    assert_eq!(files.names(), ["out"]);
}

/// The first is asked for in good order, which a reader that does not read holds up; the second ends it.
#[test]
fn a_second_ctrl_c_ends_at_once() {
    let mut child = start(&["forward", "--in", "gen", "--seconds", "600", "--out", "pcap:/dev/stdout"]);
    // One byte of the first write, which is larger than a pipe.
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    send(&child, Signal::INT);
    // The hint comes when patience is at its end.
    let mut hint = String::new();
    BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut hint).unwrap();
    assert_eq!(
        hint,
        "pagepool: waiting for the output, or for the kernel to give queues up; Ctrl-C again ends at once, and leaves no output\n"
    );
    assert_eq!(child.try_wait().unwrap(), None, "the pipe is full, so it can't have ended in good order");
    send(&child, Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
