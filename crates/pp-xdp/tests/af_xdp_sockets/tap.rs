//! An interface whose queues come and go while sockets are bound to them: a tap device, of which each descriptor is a queue.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;

/// A queue of a tap.
pub(crate) struct TapQueue(File);

/// `struct ifreq`, with what these calls use of it.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    flags: i16,
    rest: [u8; 22],
}

const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
const TUNSETQUEUE: libc::c_ulong = 0x4004_54d9;
const TAP: i16 = 0x0002;
const MULTI_QUEUE: i16 = 0x0100;
const ATTACH: i16 = 0x0200;
const DETACH: i16 = 0x0400;
const NO_HEADER: i16 = 0x1000;

impl TapQueue {
    /// A further queue of the tap of that name. `None` where the kernel has no taps.
    pub(crate) fn open(name: &str) -> Option<Self> {
        let queue = TapQueue(File::options().read(true).write(true).open("/dev/net/tun").ok()?);
        queue.call(TUNSETIFF, name, TAP | NO_HEADER | MULTI_QUEUE);
        Some(queue)
    }

    /// Takes the queue away from the interface.
    pub(crate) fn detach(&self) {
        self.call(TUNSETQUEUE, "", DETACH);
    }

    /// Gives it back.
    pub(crate) fn attach(&self) {
        self.call(TUNSETQUEUE, "", ATTACH);
    }

    /// Has a frame come in on it.
    pub(crate) fn send(&mut self, frame: &[u8]) {
        self.0.write_all(frame).expect("the tap takes it");
    }

    fn call(&self, call: libc::c_ulong, name: &str, flags: i16) {
        let mut request = Request { name: [0; libc::IFNAMSIZ], flags, rest: [0; 22] };
        request.name[..name.len()].copy_from_slice(name.as_bytes());
        // SAFETY: the request is as long as the kernel's.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), call as _, &raw mut request) };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    }
}
