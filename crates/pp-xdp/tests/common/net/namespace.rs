//! A network namespace for each test: it is gone when the test's thread is.

use std::process::Command;
use std::thread;

use pp_xdp::af_xdp::{ProgramError, XskMap};
use rustix::net::{AddressFamily, SocketType, netdevice, socket};

/// Where `ip link show` says that a program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    Nowhere,
    Generic,
    Native,
}

/// Runs a test in a namespace with the interfaces `left` and `right`, which are each other's peers. Skips it, and says so,
/// without the rights or without `ip`.
pub(crate) fn in_namespace(test: impl FnOnce() + Send + 'static) {
    in_bare_namespace(|| {
        ip("link add left type veth peer name right");
        ip("link set left up");
        ip("link set right up");
        test();
    });
}

/// The same with no interface but `lo`.
pub(crate) fn in_bare_namespace(test: impl FnOnce() + Send + 'static) {
    let thread = thread::spawn(|| {
        if let Err(reason) = enter() {
            eprintln!("SKIPPED: {reason}");
            return;
        }
        ip("link set lo up");
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn enter() -> Result<(), String> {
    // SAFETY: `unshare` of the network namespace touches no memory, and no other thread.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        return Err(format!("no namespace of its own: {}", std::io::Error::last_os_error()));
    }
    match XskMap::new(1) {
        Err(error @ ProgramError::NoRights { .. }) => return Err(error.to_string()),
        other => drop(other.unwrap()),
    }
    Command::new("ip").arg("-V").output().map_err(|error| format!("no `ip` (package iproute2): {error}"))?;
    Ok(())
}

/// Runs `ip`, which must succeed, and gives what it prints.
pub(crate) fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What `ip link show` says about an interface.
pub(crate) fn shown(interface: &str) -> Shown {
    let text = ip(&format!("link show dev {interface}"));
    let has = |word| text.split_whitespace().any(|shown| shown == word);
    match (has("xdpgeneric"), has("xdp")) {
        (false, false) => Shown::Nowhere,
        (true, false) => Shown::Generic,
        (false, true) => Shown::Native,
        (true, true) => panic!("two programs: {text}"),
    }
}

/// The number of an interface.
pub(crate) fn ifindex(interface: &str) -> u32 {
    netdevice::name_to_index(socket(AddressFamily::UNIX, SocketType::DGRAM, None).unwrap(), interface).unwrap()
}
