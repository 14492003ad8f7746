//! The calls that rustix lacks.

#![allow(unsafe_code, reason = "ioctl and setsockopt")]

use core::ffi::{c_int, c_ulong, c_void};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Socket options by their numbers (`include/uapi/asm-generic/socket.h`, `include/uapi/linux/if_xdp.h`, Linux 6.18).
#[derive(Clone, Copy, Debug)]
pub(crate) enum SocketOption {
    /// `SO_BUSY_POLL`: microseconds.
    BusyPoll,
    /// `SO_PREFER_BUSY_POLL`: 1.
    PreferBusyPoll,
    /// `SO_BUSY_POLL_BUDGET`: packets.
    BusyPollBudget,
    /// `XDP_MAX_TX_SKB_BUDGET`: descriptors that one call sends in copy mode.
    TxBudget,
}

impl SocketOption {
    fn numbers(self) -> (c_int, c_int) {
        match self {
            SocketOption::BusyPoll => (libc::SOL_SOCKET, 46),
            SocketOption::PreferBusyPoll => (libc::SOL_SOCKET, 69),
            SocketOption::BusyPollBudget => (libc::SOL_SOCKET, 70),
            SocketOption::TxBudget => (libc::SOL_XDP, 9),
        }
    }
}

/// Sets a number of a socket.
pub(crate) fn set_option(socket: impl AsFd, option: SocketOption, value: u32) -> io::Result<()> {
    let (level, name) = option.numbers();
    let value = value as c_int;
    let len = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: reads one int, which is there.
    let result =
        unsafe { libc::setsockopt(socket.as_fd().as_raw_fd(), level, name, (&raw const value).cast::<c_void>(), len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `SO_NETNS_COOKIE`, Linux 5.14.
const NAMESPACE: c_int = 71;

/// The number of a socket's network namespace, which no other has had since the system was started.
pub(crate) fn namespace(socket: impl AsFd) -> io::Result<u64> {
    let (mut number, mut len) = (0_u64, size_of::<u64>() as libc::socklen_t);
    let (level, value) = (libc::SOL_SOCKET, (&raw mut number).cast::<c_void>());
    // SAFETY: writes a number of 64 bits at most, which has its place, and its length.
    let result = unsafe { libc::getsockopt(socket.as_fd().as_raw_fd(), level, NAMESPACE, value, &raw mut len) };
    if result == 0 { Ok(number) } else { Err(io::Error::last_os_error()) }
}

/// `SIOCGIFMTU`.
const GET_MTU: c_ulong = 0x8921;
/// `SIOCETHTOOL`.
const ETHTOOL: c_ulong = 0x8946;
/// `ETHTOOL_GCHANNELS`.
const GET_CHANNELS: u32 = 0x3c;

/// `struct ifreq`, with what these calls use of it.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    value: Value,
}

#[repr(C)]
union Value {
    mtu: c_int,
    data: *mut Channels,
    /// As long as the kernel copies.
    all: [u8; 24],
}

/// `struct ethtool_channels`.
#[repr(C)]
#[derive(Default)]
struct Channels {
    command: u32,
    most: [u32; 4],
    rx: u32,
    tx: u32,
    other: u32,
    combined: u32,
}

impl Request {
    /// `None` if no interface can be called that.
    fn new(name: &str, value: Value) -> Option<Self> {
        let mut request = Request { name: [0; libc::IFNAMSIZ], value };
        // One byte less: it ends with a zero.
        request.name.get_mut(..name.len()).filter(|_| name.len() < libc::IFNAMSIZ)?.copy_from_slice(name.as_bytes());
        Some(request)
    }

    fn call(&mut self, socket: impl AsFd, call: c_ulong) -> io::Result<()> {
        // SAFETY: the request is as long as the kernel's, and what it points to outlives the call.
        let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), call as _, &raw mut *self) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// The longest packet of an interface, Ethernet header left out, in bytes.
pub(crate) fn mtu(socket: impl AsFd, name: &str) -> io::Result<u32> {
    let mut request = Request::new(name, Value { all: [0; 24] }).ok_or(io::ErrorKind::InvalidInput)?;
    request.call(socket, GET_MTU)?;
    // SAFETY: the kernel has written it.
    Ok(unsafe { request.value.mtu }.unsigned_abs())
}

/// How many queues an interface has, where its driver says so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queues {
    pub(crate) receive: u32,
    pub(crate) send: u32,
}

/// How many queues an interface has, where its driver says so.
pub(crate) fn queues(socket: impl AsFd, name: &str) -> io::Result<Queues> {
    let mut channels = Channels { command: GET_CHANNELS, ..Channels::default() };
    let mut request = Request::new(name, Value { data: &raw mut channels }).ok_or(io::ErrorKind::InvalidInput)?;
    request.call(socket, ETHTOOL)?;
    Ok(Queues { receive: channels.rx + channels.combined, send: channels.tx + channels.combined })
}
