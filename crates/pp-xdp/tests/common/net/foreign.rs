//! Somebody else's program, loaded and attached without the crate that is tested.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, recv, send, socket};

pub(crate) const SKB_MODE: u32 = 1 << 1;
pub(crate) const DRV_MODE: u32 = 1 << 2;

/// A program that passes everything.
pub(crate) fn load() -> OwnedFd {
    load_words(&[0x2_0000_00b7, 0x95]) // r0 = 2; exit
}

/// A program that gives each packet to the socket of its queue in a map of sockets, and drops it where there is none.
pub(crate) fn load_redirect(map: &OwnedFd) -> OwnedFd {
    load_words(&[
        0x10_1261,                               // r2 = the queue's number
        0x1118 | (map.as_raw_fd() as u64) << 32, // r1 = the map,
        0,                                       // in two words
        0x1_0000_03b7,                           // r3 = 1
        0x33_0000_0085,                          // r0 = bpf_redirect_map(r1, r2, r3)
        0x95,                                    // exit
    ])
}

/// A map of sockets with `entries` places.
pub(crate) fn socket_map(entries: u32) -> OwnedFd {
    let attr = [17, 4, 4, entries];
    made(0, &raw const attr)
}

fn load_words(insns: &[u64]) -> OwnedFd {
    let insns: Vec<_> = insns.iter().map(|insn| insn.to_le_bytes()).collect();
    let attr = [
        6 | (insns.len() as u64) << 32, // an XDP program
        insns.as_ptr().addr() as u64,
        c"MIT".as_ptr().addr() as u64,
        0,
        0,
        0,
    ];
    made(5, &raw const attr)
}

/// Runs a command of bpf(2) that makes something. Whatever its argument points to is there until it returns.
fn made<T>(command: i32, attr: *const T) -> OwnedFd {
    // SAFETY: the commands here only read the argument, and what it points to.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, attr, size_of::<T>()) };
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the command has just made it.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

/// A program at an interface.
pub(crate) struct Link(OwnedFd);

impl Drop for Link {
    fn drop(&mut self) {
        let attr = self.0.as_raw_fd() as u32;
        // Another test's child that is between fork and exec has the descriptor as well, so closing it may not do.
        // SAFETY: the command, which ends a link, reads one number.
        unsafe { libc::syscall(libc::SYS_bpf, 34, &raw const attr, size_of_val(&attr)) };
    }
}

/// Attaches a program that passes everything, so that it is there until the link is dropped.
pub(crate) fn attach_by_link(ifindex: u32, mode: u32) -> Link {
    link(&load(), ifindex, mode)
}

/// The same with a program of the caller's.
pub(crate) fn link(program: &OwnedFd, ifindex: u32, mode: u32) -> Link {
    let attr = [program.as_raw_fd() as u32, ifindex, 37, mode];
    Link(made(28, &raw const attr))
}

/// Attaches one that passes everything as `ip` would: it is there until somebody detaches it.
pub(crate) fn attach_by_netlink(ifindex: u32, mode: u32) {
    let program = load();
    let words = |numbers: &[u32]| numbers.iter().flat_map(|number| number.to_ne_bytes()).collect::<Vec<_>>();
    let halves = |numbers: &[u16]| numbers.iter().flat_map(|number| number.to_ne_bytes()).collect::<Vec<_>>();

    let mut message = words(&[52]);
    message.extend(halves(&[19, 1 | 4])); // set a link, as a request that is answered
    message.extend(words(&[1, 0]));
    message.extend(words(&[0, ifindex, 0, 0]));
    message.extend(halves(&[20, 43 | 0x8000])); // XDP, with these inside
    message.extend(halves(&[8, 1])); // the program
    message.extend(words(&[program.as_raw_fd() as u32]));
    message.extend(halves(&[8, 3])); // the mode
    message.extend(words(&[mode]));
    assert_eq!(message.len(), 52);

    // Protocol 0 of netlink is NETLINK_ROUTE.
    let socket = socket(AddressFamily::NETLINK, SocketType::RAW, None).unwrap();
    send(&socket, &message, SendFlags::empty()).unwrap();
    let mut answer = [0; 256];
    let (bytes, _) = recv(&socket, &mut answer, RecvFlags::empty()).unwrap();
    assert!(bytes >= 20);
    let error = i32::from_ne_bytes(answer[16..20].try_into().unwrap());
    assert_eq!(error, 0, "{}", std::io::Error::from_raw_os_error(-error));
}
