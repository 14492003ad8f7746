//! The program that users get, with a socket in its map and without, and what the kernel says when it cannot load one.

use alloc::boxed::Box;
use std::eprintln;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::sockopt::{set_xdp_rx_ring_size, set_xdp_umem_fill_ring_size, set_xdp_umem_reg};
use rustix::net::xdp::{XdpUmemReg, XdpUmemRegFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::super::asm::{Assembler, Reg, Size};
use super::super::code::{self, Taken};
use super::super::{Filter, Packets, ProgramError, XskMap, bpf, load};
use super::frames::{UDP, ethernet, ipv4, segment};

const XDP_REDIRECT: u32 = 4;

/// Memory for a socket's area.
#[repr(align(4096))]
struct Area([u8; 2 * 4096]);

fn xdp_socket() -> OwnedFd {
    socket_with(AddressFamily::XDP, SocketType::RAW, SocketFlags::CLOEXEC, None).unwrap()
}

/// A socket that could be bound, and the area that it has until it is closed.
fn receiver() -> (OwnedFd, Box<Area>) {
    let (socket, area) = (xdp_socket(), Box::new(Area([0; 8192])));
    let registration = XdpUmemReg {
        addr: area.0.as_ptr().addr() as u64,
        len: area.0.len() as u64,
        chunk_size: 4096,
        headroom: 0,
        flags: XdpUmemRegFlags::empty(),
        tx_metadata_len: 0,
    };
    set_xdp_umem_reg(&socket, registration).unwrap();
    set_xdp_umem_fill_ring_size(&socket, 2).unwrap();
    set_xdp_rx_ring_size(&socket, 2).unwrap();
    (socket, area)
}

/// A map of two places; `None`, and a word about it, without the rights to make one.
fn map() -> Option<XskMap> {
    match XskMap::new(2) {
        Ok(map) => Some(map),
        Err(error @ ProgramError::NoRights { .. }) => {
            eprintln!("SKIPPED: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_packet_goes_to_the_socket_of_its_queue_or_up_the_stack() {
    let Some(map) = map() else { return };
    let taken = ethernet(&[], 0x0800, &ipv4(5, 0, UDP, &segment(1, 53)));
    let passed = ethernet(&[], 0x0800, &ipv4(5, 0, UDP, &segment(1, 54)));
    let (socket, _area) = receiver();
    for packets in [Packets::Whole, Packets::SeveralBuffers] {
        let program = |filter| load(&code::program(filter, Taken::Redirect(map.as_fd())), packets).unwrap();
        let (dns, all) = (program(&Filter::new().udp_port(53)), program(&Filter::new()));
        let verdicts = || {
            [(&dns, &taken), (&dns, &passed), (&all, &taken), (&all, &passed)]
                .map(|(program, frame)| bpf::prog_run(program.as_fd(), frame).unwrap())
        };
        let pass = code::XDP_PASS as u32;
        assert_eq!(verdicts(), [pass; 4], "no socket");
        map.insert(1, &socket).unwrap();
        assert_eq!(verdicts(), [pass; 4], "a socket of another queue");
        map.insert(0, &socket).unwrap();
        assert_eq!(verdicts(), [XDP_REDIRECT, pass, XDP_REDIRECT, XDP_REDIRECT], "a socket");
        map.remove(0).unwrap();
        assert_eq!(verdicts(), [pass; 4], "no socket any more");
        map.remove(0).unwrap();
        map.remove(1).unwrap();
    }
    let all = load(&code::program(&Filter::new(), Taken::Redirect(map.as_fd())), Packets::Whole).unwrap();
    map.insert(0, &socket).unwrap();
    drop(socket);
    assert_eq!(bpf::prog_run(all.as_fd(), &taken).unwrap(), code::XDP_PASS as u32, "a closed socket has left");
}

#[test]
fn what_cannot_receive_is_not_inserted() {
    let Some(map) = map() else { return };
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    for descriptor in [OwnedFd::from(udp), OwnedFd::from(file)] {
        let error = map.insert(1, &descriptor).unwrap_err();
        assert!(matches!(error, ProgramError::NotAReceiver { queue: 1 }), "{error:?}");
    }
    for error in [map.insert(2, xdp_socket()).unwrap_err(), map.remove(u32::MAX).unwrap_err()] {
        assert!(matches!(error, ProgramError::NoSuchQueue { entries: 2, .. }), "{error:?}");
    }
}

/// A program is information of the same beginning, whose first number is its type.
#[test]
fn a_map_is_known_by_its_descriptor() {
    let Some(map) = map() else { return };
    let copy = map.as_fd().try_clone_to_owned().unwrap();
    let copy = XskMap::from_fd(copy).unwrap();
    assert_eq!(copy.entries(), 2);
    let (socket, _area) = receiver();
    copy.insert(0, &socket).unwrap();
    let program = load(&code::program(&Filter::new(), Taken::Redirect(map.as_fd())), Packets::Whole).unwrap();
    assert_eq!(bpf::prog_run(program.as_fd(), &[0; 14]).unwrap(), XDP_REDIRECT, "one map by two descriptors");

    for other in [program, std::fs::File::open("/dev/null").unwrap().into(), socket] {
        assert!(matches!(XskMap::from_fd(other), Err(ProgramError::NotAnXskMap)));
    }
    assert!(matches!(XskMap::new(0), Err(ProgramError::NoQueues)));
}

/// Reads behind the end of a packet.
#[test]
fn a_refused_program_comes_with_the_verifiers_words() {
    if map().is_none() {
        return;
    }
    let mut asm = Assembler::default();
    asm.load(Size::Word, Reg::R2, Reg::R1, 0);
    asm.load(Size::Byte, Reg::R0, Reg::R2, 0);
    asm.exit();
    let error = load(&asm.finish(), Packets::Whole).unwrap_err();
    let sentence = alloc::format!("{error}");
    assert!(matches!(error, ProgramError::Rejected { .. }), "{error:?}");
    assert!(sentence.contains("invalid access to packet"), "{sentence}");
}

/// The answer on kernels that have none can be had nowhere that tests run.
#[test]
fn this_kernel_has_links() {
    if map().is_some() {
        assert!(bpf::has_xdp_links());
    }
}
