//! The far ends: frames with numbers and a pattern, sent and received by packet sockets.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketType, recv, send, socket, sockopt};

use crate::net::namespace::ifindex;

/// The Ethernet type of the tests' frames (IEEE 802, for experiments).
pub(crate) const ETHERTYPE: u16 = 0x88b5;
/// And of those that a filter leaves alone.
pub(crate) const OTHER_ETHERTYPE: u16 = 0x88b6;

/// Addresses, type, number and length.
const HEADER_BYTES: usize = 14 + 8;

/// A packet socket at an interface: sends frames as they are, and receives those of one Ethernet type.
pub(crate) struct Wire(OwnedFd);

impl Wire {
    pub(crate) fn open(interface: &str) -> Self {
        Self::of(interface, ETHERTYPE)
    }

    pub(crate) fn of(interface: &str, ethertype: u16) -> Self {
        let protocol = Protocol::from_raw(u32::from(ethertype.to_be()).try_into().unwrap());
        let fd = socket(AddressFamily::PACKET, SocketType::RAW, Some(protocol)).unwrap();
        sockopt::set_socket_recv_buffer_size_force(&fd, 16 << 20).unwrap();
        // SAFETY: all zeroes is an address.
        let mut addr: libc::sockaddr_ll = unsafe { core::mem::zeroed() };
        addr.sll_family = libc::AF_PACKET as u16;
        addr.sll_protocol = ethertype.to_be();
        addr.sll_ifindex = ifindex(interface) as i32;
        // SAFETY: reads the address, which has that length.
        let bound =
            unsafe { libc::bind(fd.as_raw_fd(), (&raw const addr).cast(), size_of_val(&addr) as libc::socklen_t) };
        assert_eq!(bound, 0, "{}", std::io::Error::last_os_error());
        // Past the queueing discipline the device's queue is that of the processor.
        let one = 1_i32;
        // SAFETY: reads one number.
        let set = unsafe {
            libc::setsockopt(fd.as_raw_fd(), libc::SOL_PACKET, 20, (&raw const one).cast(), size_of_val(&one) as u32)
        };
        assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
        Wire(fd)
    }

    pub(crate) fn send(&self, frame: &[u8]) {
        let patience = Instant::now() + Duration::from_secs(2);
        loop {
            match send(&self.0, frame, SendFlags::empty()) {
                Ok(bytes) => return assert_eq!(bytes, frame.len()),
                Err(Errno::NOBUFS) if Instant::now() < patience => std::thread::yield_now(),
                Err(error) => panic!("{error} for {} bytes", frame.len()),
            }
        }
    }

    /// The same where the far end may be down.
    pub(crate) fn try_send(&self, frame: &[u8]) -> Result<usize, Errno> {
        send(&self.0, frame, SendFlags::DONTWAIT)
    }

    /// The number of the next frame that has come in, whose bytes are as they were sent.
    pub(crate) fn receive(&self) -> Option<u32> {
        let mut frame = [0; 16 << 10];
        match recv(&self.0, &mut frame, RecvFlags::DONTWAIT) {
            Ok((bytes, _)) => Some(check(&frame[..bytes])),
            Err(Errno::AGAIN) => None,
            // Said once after the interface was down.
            Err(Errno::NETDOWN) => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// The same, waiting for one at most so long.
    pub(crate) fn receive_within(&self, limit: Duration) -> Option<u32> {
        poll(&mut [PollFd::new(&self.0.as_fd(), PollFlags::IN)], Some(&Timespec::try_from(limit).unwrap())).unwrap();
        self.receive()
    }
}

/// A frame of `len` bytes, which its number determines.
pub(crate) fn frame(number: u32, len: usize) -> Vec<u8> {
    frame_of(ETHERTYPE, number, len)
}

pub(crate) fn frame_of(ethertype: u16, number: u32, len: usize) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 0xb, 2, 0, 0, 0, 0, 0xa];
    frame.extend(ethertype.to_be_bytes());
    frame.extend(number.to_be_bytes());
    frame.extend((len as u32).to_be_bytes());
    frame.extend((HEADER_BYTES..len).map(|at| pattern(number, at)));
    frame
}

fn pattern(number: u32, at: usize) -> u8 {
    (((number as usize * 7919 + at) * 2_654_435_761) >> 13) as u8
}

/// The number of a frame, all of whose bytes are looked at.
pub(crate) fn check(frame: &[u8]) -> u32 {
    let word = |at: usize| u32::from_be_bytes(frame[at..at + 4].try_into().unwrap());
    let (number, len) = (word(14), word(18) as usize);
    assert_eq!(frame.len(), len, "the length of frame {number}");
    assert_eq!(&frame[..12], &[2, 0, 0, 0, 0, 0xb, 2, 0, 0, 0, 0, 0xa], "the addresses of frame {number}");
    let wrong = (HEADER_BYTES..len).find(|&at| frame[at] != pattern(number, at));
    assert_eq!(wrong, None, "the first wrong byte of frame {number} of {len} bytes");
    number
}

/// Lengths from the shortest to the longest frame of an MTU, the edges of chunks among them, over and over.
pub(crate) fn lengths(mtu: usize) -> impl Iterator<Item = usize> {
    const SOME: [usize; 24] = [
        60, 1514, 61, 1513, 64, 128, 1024, 590, 9014, 9013, 1515, 1728, 1729, 1792, 1793, 2048, 2744, 2745, 3840, 3841,
        4082, 5000, 7000, 8999,
    ];
    SOME.into_iter().cycle().filter(move |len| *len <= mtu + 14)
}
