//! Nothing is left behind, whatever becomes of the test.
#![cfg(target_os = "linux")]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "there is no use without std")]

use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use pp_testbed::{End, Error, Namespace, Path, Veth, skip_without_rights};

/// Waits for what the kernel does in its own time.
fn soon(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(20), "not so after 20 seconds: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn is_alive(pid: u32) -> bool {
    PathBuf::from(format!("/proc/{pid}")).exists()
}

/// A namespace that watches: its end of a pair is gone when the other end's namespace is.
fn is_there(watcher: &Namespace) -> bool {
    watcher.index("watch").is_ok()
}

#[test]
fn after_a_panic_interfaces_and_programs_are_gone() {
    skip_without_rights!();
    let watcher = Namespace::new("watcher").unwrap();
    let mut pid = 0;
    let result = catch_unwind(AssertUnwindSafe(|| {
        let path = Path::builder().build().unwrap();
        Veth::new(End::new(path.forwarder(), "watched"), End::new(&watcher, "watch")).create().unwrap();
        let sleeper = path.forwarder().spawn(&["sleep", "1000"]).unwrap();
        pid = sleeper.pid();
        assert!(is_alive(pid) && is_there(&watcher));
        panic!("on purpose");
    }));
    assert!(result.is_err());
    assert!(!is_alive(pid), "it was waited for");
    soon("the interfaces are gone", || !is_there(&watcher));
}

/// The child's part of the next test; nothing when it is run by itself.
#[test]
fn child_that_is_killed() {
    let Some(watcher) = std::env::var_os("TESTBED_WATCHER") else { return };
    let namespace = Namespace::new("killed").unwrap();
    let line = ["ip", "link", "add", "name", "watched", "type", "veth", "peer", "name", "watch", "netns"];
    namespace.run(&[&line[..], &[watcher.to_str().unwrap()]].concat()).unwrap();
    // From a thread that ends at once, which must not end the program.
    let sleeper = thread::scope(|scope| scope.spawn(|| namespace.spawn(&["sleep", "1000"]).unwrap()).join().unwrap());
    std::fs::write(std::env::var_os("TESTBED_SAYS").unwrap(), format!("{}\n", sleeper.pid())).unwrap();
    loop {
        thread::park();
    }
}

#[test]
fn after_kill_9_interfaces_and_programs_are_gone() {
    skip_without_rights!();
    let watcher = Namespace::new("watcher").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let says = folder.path().join("pid");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child_that_is_killed", "--nocapture"]).arg0("killed").stdout(Stdio::null());
    let mut child = command.env("TESTBED_WATCHER", watcher.path()).env("TESTBED_SAYS", &says).spawn().unwrap();
    let said = || std::fs::read_to_string(&says).unwrap_or_default();
    soon("the child is ready", || said().ends_with('\n'));
    let sleeper: u32 = said().trim().parse().unwrap();
    thread::sleep(Duration::from_millis(50));
    assert!(is_alive(sleeper) && is_there(&watcher));

    child.kill().unwrap();
    child.wait().unwrap();
    soon("the program is gone", || !is_alive(sleeper));
    soon("the interfaces are gone", || !is_there(&watcher));
}

#[test]
fn nothing_is_seen_from_outside() {
    skip_without_rights!();
    let interfaces = || {
        let names = std::fs::read_dir("/sys/class/net").unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    };
    let mounts = || std::fs::read_to_string("/proc/self/mounts").unwrap();
    let (before, mounts_before) = (interfaces(), mounts());
    let path = Path::builder().build().unwrap();
    assert_eq!(before, interfaces());
    assert_eq!(mounts_before, mounts());
    assert_eq!(
        path.forwarder().run(&["ip", "netns", "list"]).unwrap(),
        path.client().run(&["ip", "netns", "list"]).unwrap()
    );
    let inside = path.forwarder().enter(interfaces).unwrap();
    assert_eq!(inside, ["f0", "f1", "lo"]);
    assert_eq!(
        path.forwarder().run(&["ls", "-x", "/sys/class/net"]).unwrap().split_whitespace().collect::<Vec<_>>(),
        inside
    );
}

#[test]
fn a_panic_inside_of_a_namespace_comes_out() {
    skip_without_rights!();
    let namespace = Namespace::new("panicking").unwrap();
    let result = catch_unwind(AssertUnwindSafe(|| namespace.enter(|| panic!("on purpose"))));
    assert_eq!(result.unwrap_err().downcast_ref::<&str>(), Some(&"on purpose"));
    assert_eq!(namespace.enter(|| 5).unwrap(), 5);
}

#[test]
fn programs_that_do_not_do_their_part_are_named() {
    skip_without_rights!();
    let namespace = Namespace::new("errors").unwrap();
    let error = namespace.run(&["sh", "-c", "echo some reason >&2; exit 3"]).unwrap_err();
    assert!(matches!(&error, Error::Failed { said, status, .. } if said == "some reason" && status.code() == Some(3)));
    assert_eq!(namespace.exec(&["sh", "-c", "exit 3"]).unwrap().status.code(), Some(3));
    let error = namespace.run(&["a-program-that-nobody-has"]).unwrap_err();
    assert!(matches!(&error, Error::NotStarted { line, .. } if line == "a-program-that-nobody-has"), "{error}");

    let sleeper = namespace.spawn(&["sleep", "1000"]).unwrap();
    let pid = sleeper.pid();
    let error = sleeper.success(Duration::from_millis(20)).unwrap_err();
    assert!(matches!(&error, Error::Late { .. }), "{error}");
    assert!(!is_alive(pid));
    let mut silent = namespace.spawn(&["true"]).unwrap();
    assert!(matches!(silent.until("a word", Duration::from_secs(20)), Err(Error::Failed { .. })));
}

#[test]
fn processor_time_is_that_of_the_program() {
    skip_without_rights!();
    let namespace = Namespace::new("busy").unwrap();
    let processor = pp_testbed::processors()[0];
    let busy = namespace.command("sh").unwrap().arguments(&["-c", "while :; do :; done"]).processors(&[processor]);
    let busy = busy.spawn().unwrap();
    let idle = namespace.spawn(&["sleep", "1000"]).unwrap();
    let start = Instant::now();
    let (busy_before, idle_before) = (busy.cpu_time().unwrap(), idle.cpu_time().unwrap());
    thread::sleep(Duration::from_millis(300));
    let (busy_used, idle_used) = (busy.cpu_time().unwrap() - busy_before, idle.cpu_time().unwrap() - idle_before);
    assert!(busy_used > Duration::from_millis(20) && busy_used <= start.elapsed(), "{busy_used:?}");
    assert!(idle_used < Duration::from_millis(10), "{idle_used:?}");
}
