//! What can't be opened gets one sentence, and nothing is left attached; as root, in namespaces of the tests.

#![allow(clippy::std_instead_of_core, reason = "as in the program")]

mod common;

use std::fs;
use std::time::Duration;

use pp_testbed::{Path, skip_without_rights};

/// The exit code and the one line of what `line` starts in the forwarder's namespace.
fn refusal(path: &Path, line: &[&str]) -> (Option<i32>, String) {
    let output = path.forwarder().spawn(line).unwrap().wait(Duration::from_secs(20)).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{line:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{line:?}: {text}");
    for port in [Path::IN, Path::OUT] {
        let shown = path.forwarder().run(&["ip", "-details", "link", "show", "dev", port]).unwrap();
        assert!(!shown.contains("xdp"), "{line:?}: {shown}");
    }
    (output.status.code(), text)
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_pagepool");

fn forward<'a>(args: &[&'a str]) -> Vec<&'a str> {
    [&[PROGRAM, "forward"], args].concat()
}

#[test]
fn ports_that_are_not_there() {
    skip_without_rights!();
    let path = Path::builder().build().unwrap();
    for (from, to, more, expected) in [
        (
            "afxdp:nothing0",
            "afxdp:f1",
            &[][..],
            "there is no interface `nothing0` here; `ip link` lists those that there are",
        ),
        ("afxdp:f0", "afxdp:nothing0", &[], "`afxdp:nothing0` can't be opened: there is no interface `nothing0` here"),
        ("afxdp:f0@7", "afxdp:f1", &[], "`f0` has no queue 7: it has 1, counted from 0"),
        ("afxdp:f0", "afxdp:f1@1", &["--both"], "`f1` has no queue 1: it has 1"),
        ("afxdp:f0", "afxdp:f1", &["--queues", "2"], "`f0` has no queue 1: it has 1, counted from 0"),
        ("afxdp:f0,zerocopy", "afxdp:f1", &[], "the driver of `f0` has no zero-copy AF_XDP; use copy mode"),
        (
            "afxdp:f0",
            "afxdp:f1,zerocopy",
            &[],
            "beside the UMEM's other queues, which are bound in copy mode; open it first",
        ),
        (
            "afxdp:f0",
            "afxdp:f1,zerocopy",
            &["--umem", "separate"],
            "the driver of `f1` has no zero-copy AF_XDP; use copy mode",
        ),
        ("afxdp:lo,native", "afxdp:f1", &[], "the driver of lo runs no XDP programs itself"),
        ("afxdp:f0", "null", &["--queues", "2"], "--queues 2 takes two afxdp ports, or none"),
        ("afxdp:nothing0", "null", &[], "there is no interface `nothing0` here"),
        ("gen", "afxdp:f1@3", &[], "`f1` has no queue 3: it has 1"),
    ] {
        let (code, text) = refusal(&path, &forward(&[&["--in", from, "--out", to], more].concat()));
        let usage = text.contains("takes two afxdp ports");
        assert_eq!(code, Some(if usage { 2 } else { 1 }), "{text}");
        assert!(text.starts_with("pagepool: ") && text.contains(expected), "{text}");
    }
}

#[test]
fn ports_that_somebody_has() {
    skip_without_rights!();
    let path = Path::builder().queues(2).build().unwrap();
    let mut other = path.forwarder().spawn(&forward(&["--in", "afxdp:f0", "--out", "afxdp:f1"])).unwrap();
    std::thread::sleep(Duration::from_millis(700));
    assert!(other.is_running(), "{}", other.stderr());
    for (from, expected) in [
        ("afxdp:f0", "queue 0 of `f0` is in use by another AF_XDP socket; end what has it"),
        (
            "afxdp:f0@1",
            "f0 has another XDP program, or is part of a device that has, or has a device on top (macvlan, vlan, vxlan)",
        ),
    ] {
        let line = forward(&["--in", from, "--out", "null"]);
        let output = path.forwarder().exec(&line).unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), text.lines().count()), (Some(1), 1), "{text}");
        assert!(text.contains(expected), "{text}");
    }
    // Which does not disturb who has it.
    other.interrupt().unwrap();
    assert!(other.wait(Duration::from_secs(20)).unwrap().status.success());
}

#[test]
fn rights_and_limits() {
    skip_without_rights!("setpriv");
    let path = Path::builder().build().unwrap();
    let args = "forward --in afxdp:f0 --out afxdp:f1";
    // Where anybody may run it.
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("pagepool");
    fs::copy(PROGRAM, &copy).unwrap();
    std::os::unix::fs::chown(folder.path(), Some(65534), None).unwrap();
    let copy = copy.to_str().unwrap();
    let setcap = "setcap cap_net_raw,cap_net_admin,cap_bpf+ep";
    for (how, expected) in [
        ("exec setpriv --reuid 65534 --clear-groups", "takes CAP_NET_RAW; run as root, or grant it: setcap"),
        ("exec setpriv --bounding-set -net_raw", setcap),
        ("exec setpriv --bounding-set -bpf,-sys_admin", "needs CAP_NET_ADMIN and CAP_BPF"),
        (
            "exec setpriv --bounding-set -net_admin,-sys_admin",
            "run as root, or once `setcap cap_net_admin,cap_net_raw,cap_bpf+ep",
        ),
        ("ulimit -l 1024; exec setpriv --bounding-set -ipc_lock", "a smaller --pool-size needs less"),
        ("ulimit -l 1024; exec setpriv --bounding-set -ipc_lock", "and the limit is 1048576; raise it (ulimit -l)"),
        ("ulimit -n 6; exec", "Too many open files (os error 24); raise the limit (ulimit -n)"),
        ("ulimit -n 8; exec", "none is left; raise the limit (ulimit -n)"),
    ] {
        let script = format!("{how} {copy} {args}");
        let (code, text) = refusal(&path, &["sh", "-c", &script]);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(expected), "{how}: {text}");
    }
    // With less memory it fits.
    let small = "--pool-size 64 --page-size 2048 --seconds 0.2 --json";
    let script = format!("ulimit -l 4096; exec setpriv --bounding-set -ipc_lock {copy} {args} {small}");
    let output = path.forwarder().exec(&["sh", "-c", &script]).unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_demonstration_without_rights() {
    skip_without_rights!("setpriv");
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("pagepool");
    fs::copy(PROGRAM, &copy).unwrap();
    std::os::unix::fs::chown(folder.path(), Some(65534), None).unwrap();
    let mut command = std::process::Command::new("setpriv");
    command.args(["--reuid", "65534", "--clear-groups"]).arg(&copy).arg("demo");
    let (code, text) = common::complaint_of(&mut command);
    assert_eq!(code, 1);
    assert!(text.contains("no right to make network namespaces") && text.contains("sudo pagepool demo"), "{text}");
    // With the right to make them, and no other.
    let mut command = std::process::Command::new("setpriv");
    command.args(["--bounding-set", "-net_admin,-bpf"]).arg(&copy).arg("demo");
    let (code, text) = common::complaint_of(&mut command);
    assert_eq!(code, 1);
    assert!(text.contains("sudo pagepool demo") && !text.contains("the test"), "{text}");
}
