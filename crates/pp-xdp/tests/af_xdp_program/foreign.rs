//! Somebody else's program, loaded and attached without the crate that is tested.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, recv, send, socket};

pub(crate) const SKB_MODE: u32 = 1 << 1;
pub(crate) const DRV_MODE: u32 = 1 << 2;

/// A program that passes everything.
pub(crate) fn load() -> OwnedFd {
    // r0 = 2; exit
    let insns = [0x2_0000_00b7_u64, 0x95].map(u64::to_le_bytes);
    let attr = [
        6 | (insns.len() as u64) << 32, // an XDP program
        insns.as_ptr().addr() as u64,
        c"MIT".as_ptr().addr() as u64,
        0,
        0,
        0,
    ];
    // SAFETY: the command reads the instructions and the text, both of which are there until it returns.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, 5, &raw const attr, size_of_val(&attr)) };
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the command has just made it.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

/// Attaches it so that it is there until the descriptor is closed.
pub(crate) fn attach_by_link(ifindex: u32, mode: u32) -> OwnedFd {
    let program = load();
    let attr = [program.as_raw_fd() as u32, ifindex, 37, mode];
    // SAFETY: the command reads the array only.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, 28, &raw const attr, size_of_val(&attr)) };
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the command has just made it.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

/// Attaches it as `ip` would: it is there until somebody detaches it.
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
