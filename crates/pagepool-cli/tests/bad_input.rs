//! What bad input gets: one sentence, with what to do, and an exit code.

#![allow(clippy::std_instead_of_core, reason = "as in the program")]

mod common;

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use common::captures::{self, Fraction, Order};
use common::{Files, complaint, complaint_of, pagepool};

/// The code and the first line of a complaint about the command line; the rest points to `--help`.
fn usage(args: &[&str]) -> String {
    let (code, text) = complaint(args);
    assert_eq!(code, 2, "{text}");
    text.lines().next().unwrap_or_default().to_owned()
}

/// The one line of a complaint about a run.
fn failed(args: &[&str]) -> String {
    let (code, text) = complaint(args);
    assert_eq!(code, 1, "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

#[test]
fn ports_that_there_are_not() {
    let ports_in = "frames come in from gen[:SIZE], pcap:FILE or afxdp:IFACE";
    let ports_out = "frames go out to pcap:FILE, afxdp:IFACE or null";
    for (option, port, expected) in [
        ("--in", "eth0", format!("there is no port `eth0`; {ports_in}")),
        ("--in", "null", format!("`null` can't stand here; {ports_in}")),
        ("--in", "pcap:", "`pcap:` names no file; write pcap:FILE, as in pcap:trace.pcap".to_owned()),
        ("--in", "gen:0", "`0` is no size for a frame; give a number of bytes from 60 to 65535".to_owned()),
        ("--in", "afxdp", "`afxdp`: no interface is named; write afxdp:IFACE[@QUEUE]".to_owned()),
        ("--in", "afxdp:eth0@x", "`afxdp:eth0@x`: `x` is no queue; give its number, counted from 0".to_owned()),
        ("--in", "afxdp:eth0,quick", "there is no option `quick`; those are generic or native, and copy".to_owned()),
        ("--out", "gen", format!("`gen` can't stand here; {ports_out}")),
        ("--out", "tap0", format!("there is no port `tap0`; {ports_out}")),
        ("--out", "afxdp:a-name-too-long-for-one", "no interface can be called `a-name-too-long-for-one`".to_owned()),
    ] {
        let text = usage(&[option, port]);
        assert!(text.contains(&expected), "{text}");
    }
}

#[test]
fn values_that_an_option_cannot_have() {
    for (args, expected) in [
        (["--provider", "slab"], "invalid value 'slab' for '--provider"),
        (["--action", "reflect"], "invalid value 'reflect' for '--action"),
        (["--page-size", "0"], "no size that a page can have; give a power of two from 2048 to 65536"),
        (["--page-size", "3000"], "not a power of two; give one from 2048 to 65536"),
        (["--page-size", "1024"], "no size that a page can have"),
        (["--page-size", "9223372036854775808"], "no size that a page can have"),
        (["--page-size", "18446744073709551616"], "no number of bytes that fits into this machine's addresses"),
        (["--pool-size", "0"], "no number of pages"),
        (["--pool-size", "18446744073709551616"], "no number of pages"),
        (
            ["--pool-size", "10"],
            "a pool of 10 pages is too small, the devices' rings alone hold 64; give --pool-size 64",
        ),
        (["--pool-size", "1000000"], "is too large, its ring has at most 16384 places; give --pool-size 16384 or less"),
        (["--pool-size", "1"], "a pool of 1 page is too small"),
        (["--limit", "1"], "a limit of 1 page is too small"),
        (["--split", "0"], "no size that a fragment can have; give a number of bytes from 1 to the page size"),
        (["--split", "-1"], "no size that a fragment can have"),
        (["--split", "99999999999"], "no size that a fragment can have"),
        (["--split", "2k"], "no size that a fragment can have"),
        (["--split", "4097"], "fragments of 4097 bytes do not fit a page of 4096; give --split 4096 or less"),
        (["--queues", "0"], "no number of queues that the devices can have; give a whole number from 1 to 16"),
        (["--queues", "17"], "no number of queues that the devices can have"),
        (["--queues", "-1"], "no number of queues that the devices can have"),
        (["--queues", "all"], "no number of queues that the devices can have"),
        (["--limit", "0"], "no number of pages"),
        (["--limit", "100"], "a limit of 100 pages is too small, the receive ring alone holds 512; give --limit 512"),
        (["--count", "0"], "no number that can be counted to; give a whole number from 1"),
        (["--count", "many"], "no number that can be counted to; give a whole number from 1"),
        (["--repeat", "0"], "no number that can be counted to; give a whole number from 1"),
        (["--seconds", "0"], "no time that a run could take; give seconds over 0"),
        (["--seconds", "-1"], "no time that a run could take; give seconds over 0"),
    ] {
        // With `=`, so that a value may begin with a dash.
        let text = usage(&[&args.join("=")]);
        assert!(text.contains(expected), "{args:?}: {text}");
    }
}

#[test]
fn options_that_contradict_each_other() {
    assert!(usage(&["--count", "1", "--seconds", "1"]).contains("cannot be used with"));
    assert!(
        usage(&["--in", "gen", "--repeat", "2"]).contains("--repeat reads a capture again, but `gen:60` never ends")
    );
    assert!(!usage(&["--in", "gen", "--repeat", "2"]).contains("--count"));
    let both = "--both forwards between two interfaces; give both --in and --out an afxdp port";
    assert!(usage(&["--both"]).contains(both));
    assert!(usage(&["--both", "--in", "afxdp:lo"]).contains(both));
    let between = |more: &[&str]| usage(&[&["--in", "afxdp:lo", "--out", "afxdp:nothing0"], more].concat());
    assert!(between(&["--provider", "passthrough"]).contains("the kernel takes one piece; use --provider buddy"));
    assert!(between(&["--split", "1024"]).contains("--split is for the software NIC"));
    assert!(between(&["--repeat", "2"]).contains("--repeat reads a capture again, but `afxdp:lo` never ends"));
    assert!(between(&["--page-size", "8192"]).contains("the kernel takes pages of 2048 or 4096 bytes"));
    assert!(between(&["--limit", "100"]).contains("give --limit 2048 or more"));
    for to in ["afxdp:lo", "afxdp:lo@1"] {
        let said = usage(&["--in", "afxdp:lo@0", "--out", to]);
        assert!(said.contains("`lo` can't be both the way in and the way out, whatever its queues"), "{said}");
    }
    assert!(usage(&["--in", "afxdp:lo", "--queues", "2"]).contains("--queues 2 takes two afxdp ports, or none"));
    assert!(usage(&["--frobnicate"]).contains("unexpected argument '--frobnicate'"));
}

#[test]
fn a_reader_of_packets_that_goes_away_is_named() {
    let mut command = pagepool(&["forward", "--in", "gen", "--count", "100000", "--out", "pcap:/dev/stdout"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("its reader went away, let it read to the end"), "{text}");
}

/// Looked at before it is copied: it never ends. And where the copy would go has a name.
#[test]
fn inputs_that_can_be_read_once() {
    let text = failed(&["--in", "pcap:/dev/zero"]);
    assert!(text.contains("/dev/zero is no pcap or pcapng capture"), "{text}");
    assert!(failed(&["--in", "pcap:/dev/null"]).contains("/dev/null is empty"));

    let content = captures::pcap(Order::Little, Fraction::Nano, &captures::frames(5));
    let mut command = pagepool(&["forward", "--in", "pcap:/dev/stdin"]);
    command.env("TMPDIR", "/nonexistent").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(&content).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("can't copy /dev/stdin to a temporary file") && text.contains("TMPDIR"), "{text}");
}

#[test]
fn help_and_version_are_no_errors() {
    for args in [&["--help"][..], &["--version"], &["forward", "--version"], &["forward", "--help"], &["help"]] {
        assert!(pagepool(args).output().unwrap().status.success(), "{args:?}");
    }
    let (code, text) = complaint_of(&mut pagepool(&[]));
    assert_eq!(code, 2);
    assert!(text.contains("Usage: pagepool <COMMAND>") && text.contains("forward"), "{text}");
}

#[test]
fn inputs_that_are_no_whole_capture_leave_no_output() {
    let files = Files::new();
    let good = captures::pcap(Order::Little, Fraction::Micro, &captures::frames(2000));
    let good_ng = captures::pcapng(&captures::frames(2000));
    files.with("out", b"what was there before");
    for (name, content, expected) in [
        ("empty", &b""[..], "empty is empty, it has not even a header; capture it again"),
        ("text", b"no packets, just words\n", "text is no pcap or pcapng capture; name a file written by tcpdump"),
        ("gzip", &[0x1f, 0x8b, 8, 0, 0], "it is compressed, decompress it first with `gunzip`"),
        ("header", &good[..10], "header is truncated: it ends inside what begins at byte 0, after 0 whole packets"),
        ("packet", &good[..good.len() - 1], "after 1999 whole packets; capture or copy it again, or cut it there"),
        ("block", &good_ng[..good_ng.len() - 1], "after 2000 whole packets; capture or copy it again, or cut it there"),
        (
            "cooked",
            &[captures::pcap_header(Order::Big, Fraction::Nano, 113), vec![0; 16]].concat(),
            "has link type 113, only Ethernet (1)",
        ),
    ] {
        files.with(name, content);
        let text = failed(&["--in", &files.port(name), "--out", &files.port("out")]);
        assert!(text.contains(expected), "{text}");
        assert_eq!(files.read("out"), b"what was there before", "{name}");
        // Found in the middle of the run, where it was not read beforehand.
        if name == "packet" || name == "block" {
            let text = failed(&["--in", &files.port(name), "--out", &files.port("new"), "--count", "999999"]);
            assert!(text.contains(expected), "{text}");
        }
        fs::remove_file(files.path(name)).unwrap();
        assert_eq!(files.names(), ["out"], "{name}");
    }
    let text = failed(&["--in", &files.port("missing")]);
    assert!(text.contains("missing: No such file or directory") && text.contains("check the name"), "{text}");
    let text = failed(&["--in", "pcap:/"]);
    assert!(text.contains("/ is a directory; name one pcap or pcapng file in it"), "{text}");
}

#[test]
fn outputs_that_cannot_be_written() {
    let files = Files::new();
    files.with("file", b"");
    for name in ["missing/out", "file/out", ".", "new/"] {
        let text = failed(&["--out", &files.port(name)]);
        assert!(text.contains("can't write ") && text.contains("name a file in a directory"), "{text}");
    }
    for args in [&["--repeat", "1"][..], &["--in", "gen", "--count", "10"], &["--in", "gen", "--count", "1000000"]] {
        let text = failed(&[args, &["--out", "pcap:/dev/full"]].concat());
        assert!(text.contains("/dev/full was not written: No space left on device"), "{text}");
    }
    let report = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = pagepool(&["forward"]).stdout(report).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("the report can't be written: No space left"));
}

/// A limit that sends a signal as well.
#[test]
fn a_file_that_reaches_the_limit_of_its_size_is_an_error() {
    let files = Files::new();
    let script = "ulimit -f 1000; exec \"$0\" forward --in gen --count 100000 --out \"$1\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_pagepool"), &files.port("out")]);
    let (code, text) = complaint_of(&mut command);
    assert_eq!(code, 1);
    assert!(text.contains("out was not written: File too large") && text.contains("ulimit -f"), "{text}");
    assert!(files.names().is_empty());
}

/// A file system of its own in a mount namespace of its own, so that nothing is left of it.
#[test]
fn a_full_disk_leaves_no_partial_file() {
    let files = Files::new();
    let (disk, input) = (files.path("disk"), files.path("a"));
    fs::create_dir(&disk).unwrap();
    files.with("a", &captures::pcap(Order::Little, Fraction::Micro, &captures::frames(20_000)));
    let script = r#"
        mount -t tmpfs -o size=1m tmpfs "$1" 2>&1 || exit 77
        echo before > "$1/out"
        "$0" forward --in "pcap:$2" --out "pcap:$1/out"
        echo "code $?"
        ls -A "$1"
        cat "$1/out"
    "#;
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, env!("CARGO_BIN_EXE_pagepool")])
        .args([&disk, &input])
        .stdin(Stdio::null())
        .output();
    let output = match output {
        Ok(output) if output.status.success() => output,
        other => {
            eprintln!("!!!! SKIPPED: a full disk needs root and a mount namespace: {other:?}");
            return;
        }
    };
    let (text, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(text, "code 1\nout\nbefore\n", "{error}");
    assert!(error.contains("out was not written: No space left on device"), "{error}");
}

/// Under a limit of the address space, from one under which the program just starts to one that is enough.
#[test]
fn without_memory_there_is_a_sentence_too() {
    no_memory("", (12_000..160_000).step_by(2_000));
    no_memory("--pool-size 16384", (12_000..250_000).step_by(14_000));
    no_memory("--queues 16", (20_000..900_000).step_by(55_000));
    no_memory("--provider passthrough", (12_000..150_000).step_by(3_000));
}

fn no_memory(options: &str, limits: impl Iterator<Item = u32>) {
    let (mut failed, mut done, mut aborted) = (0, 0, 0);
    for kib in limits {
        let script = format!("ulimit -v {kib}; exec \"$0\" forward --json --count 20000 {options}");
        // The standard library waits for itself for ever where it has no memory to print a backtrace.
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_pagepool")]).env("RUST_BACKTRACE", "0");
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) => done += 1,
            // The loader's, before anything of ours runs.
            Some(127) => {}
            Some(1) => {
                failed += 1;
                assert_eq!(text.lines().count(), 1, "{kib}: {text}");
                // Or a thread could not be started for lack of it.
                assert!(text.contains("memory") || text.contains("thread"), "{kib}: {text}");
            }
            // The standard library's: a few bytes for a thread's name or its overflow handler that were not to be had.
            None if text.contains("memory allocation of") || text.contains("alternative stack") => aborted += 1,
            _ => panic!("{kib}: {:?}: {text}", output.status),
        }
    }
    assert!(failed > 0 && done > 0 && aborted <= 2, "{failed} failed, {done} done, {aborted} aborted");
}
