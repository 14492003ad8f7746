//! The system call bpf(2), as far as it is needed: the one place here with unsafe code.
//!
//! Each command takes a structure of its own, of which the kernel reads as many bytes as it is told, and takes the rest for
//! zeroes. What the kernel's answers mean is for the callers to say: these functions give its error numbers on.
#![allow(unsafe_code, reason = "bpf(2) has no safe wrapper among the dependencies")]

use alloc::vec;
use alloc::vec::Vec;
use core::ffi::{CStr, c_long};
use core::ptr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

use super::asm::Insn;

/// What bpf(2) is to do.
#[derive(Clone, Copy, Debug)]
#[repr(i32)]
enum Command {
    MapCreate = 0,
    MapUpdate = 2,
    MapDelete = 3,
    MapNextKey = 4,
    ProgLoad = 5,
    #[cfg(test)]
    ProgRun = 10,
    ObjectInfo = 15,
    LinkCreate = 28,
    LinkDetach = 34,
}

const MAP_TYPE_XSKMAP: u32 = 17;
const PROG_TYPE_XDP: u32 = 6;
const ATTACH_TYPE_XDP: u32 = 37;

/// For a program that can do with packets of several buffers.
pub(super) const XDP_HAS_FRAGS: u32 = 1 << 5;

/// The two ways in which a program can be at an interface.
pub(super) const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
pub(super) const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// Bytes for what the kernel says about a program that it refuses. Kernels before 6.4 keep the beginning of what is longer,
/// newer ones its end, which says why.
const LOG_BYTES: usize = 256 << 10;

/// How often a load that a signal disturbed is begun anew.
const LOAD_ATTEMPTS: usize = 5;

/// What somebody's descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MapInfo {
    pub(super) is_xskmap: bool,
    pub(super) entries: u32,
}

/// Runs a command on `attr`.
///
/// # Safety
///
/// 1. `A` is the beginning of what the kernel has for this command, without padding.
/// 2. Each address in it is of as many bytes as the command has there, readable, and writable where the command writes, until
///    this returns.
unsafe fn bpf<A>(command: Command, attr: &mut A) -> Result<c_long, Errno> {
    // SAFETY: the kernel reads, and for some commands writes, `size_of::<A>()` bytes of `attr`, which is borrowed mutably and
    // made of integers only, of which every value is one; what it does with addresses in it is the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command as i32, ptr::from_mut(attr), size_of::<A>()) };
    if result < 0 { Err(last_errno()) } else { Ok(result) }
}

fn last_errno() -> Errno {
    // The error is that of the call just made, so there is one.
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// # Safety
///
/// `fd` is the result of a command that makes a descriptor, and nobody else has it.
unsafe fn owned(fd: c_long) -> OwnedFd {
    // SAFETY: passed on. The cast keeps all of it: descriptors are `int`s.
    unsafe { OwnedFd::from_raw_fd(fd as RawFd) }
}

/// A descriptor's number as bpf(2) has it. Borrowed ones are never negative.
fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

/// An address as bpf(2) has it.
fn address<T>(pointer: *const T) -> u64 {
    pointer.expose_provenance() as u64
}

/// A name of at most 15 bytes, for those who list the kernel's objects.
const fn object_name(name: &str) -> [u8; 16] {
    let mut padded = [0; 16];
    let mut at = 0;
    while at < name.len() {
        padded[at] = name.as_bytes()[at];
        at += 1;
    }
    padded
}

/// What a map, program or link is, in as many words as there is room for.
fn object_info<const N: usize>(object: BorrowedFd<'_>, info: &mut [u32; N]) -> Result<(), Errno> {
    #[repr(C)]
    struct Attr {
        bpf_fd: u32,
        info_len: u32,
        info: u64,
    }
    let mut attr =
        Attr { bpf_fd: number(object), info_len: size_of::<[u32; N]>() as u32, info: address(ptr::from_mut(info)) };
    // SAFETY:
    // 1. The fields are the command's.
    // 2. The command reads and writes at most `info_len` bytes at `info`, which is borrowed mutably, and has
    //    that size.
    unsafe { bpf(Command::ObjectInfo, &mut attr)? };
    Ok(())
}

// === maps ===

/// A map from receive queues to sockets.
pub(super) fn xskmap_create(entries: u32) -> Result<OwnedFd, Errno> {
    #[repr(C)]
    struct Attr {
        map_type: u32,
        key_size: u32,
        value_size: u32,
        max_entries: u32,
        map_flags: u32,
        inner_map_fd: u32,
        numa_node: u32,
        map_name: [u8; 16],
    }
    let mut attr = Attr {
        map_type: MAP_TYPE_XSKMAP,
        key_size: 4,
        value_size: 4,
        max_entries: entries,
        map_flags: 0,
        inner_map_fd: 0,
        numa_node: 0,
        map_name: object_name("pp_xdp_sockets"),
    };
    // SAFETY:
    // 1. The fields are the command's first, all multiples of four bytes.
    // 2. It has no address.
    let fd = unsafe { bpf(Command::MapCreate, &mut attr)? };
    // SAFETY: the command has just made it.
    Ok(unsafe { owned(fd) })
}

/// What the commands for an element have in common.
#[repr(C)]
struct Element {
    map_fd: u32,
    zero: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Puts `value`, a descriptor of an AF_XDP socket, in the place of `key`, whoever was there.
pub(super) fn map_update(map: BorrowedFd<'_>, key: u32, value: BorrowedFd<'_>) -> Result<(), Errno> {
    let value = number(value);
    let (key, value) = (&raw const key, &raw const value);
    let mut attr = Element { map_fd: number(map), zero: 0, key: address(key), value: address(value), flags: 0 };
    // SAFETY:
    // 1. The fields are the command's, with its padding spelled out.
    // 2. The command reads a key and a value of the map, whose sizes are four bytes: `XskMap` takes no other maps. Both are
    //    locals.
    unsafe { bpf(Command::MapUpdate, &mut attr)? };
    Ok(())
}

/// Empties the place of `key`.
pub(super) fn map_delete(map: BorrowedFd<'_>, key: u32) -> Result<(), Errno> {
    let key = &raw const key;
    let mut attr = Element { map_fd: number(map), zero: 0, key: address(key), value: 0, flags: 0 };
    // SAFETY:
    // 1. The fields are the command's, with its padding spelled out.
    // 2. The command reads a key of the map, which is four bytes: `XskMap` takes no other maps. It is a local.
    unsafe { bpf(Command::MapDelete, &mut attr)? };
    Ok(())
}

/// What this descriptor of whatever kind is, if it is a map.
pub(super) fn map_info(fd: BorrowedFd<'_>) -> Result<Option<MapInfo>, Errno> {
    if !is_map(fd) {
        return Ok(None);
    }
    let mut info = [0; 5];
    object_info(fd, &mut info)?;
    let [map_type, _id, key_size, value_size, entries] = info;
    let is_xskmap = map_type == MAP_TYPE_XSKMAP && key_size == 4 && value_size == 4;
    Ok(Some(MapInfo { is_xskmap, entries }))
}

/// Whether the descriptor may be of a map, and is not of a program, a link or something else: their information begins alike.
fn is_map(fd: BorrowedFd<'_>) -> bool {
    let mut attr = Element { map_fd: number(fd), zero: 0, key: 0, value: 0, flags: 0 };
    // SAFETY:
    // 1. The fields are the command's, with its padding spelled out.
    // 2. The command would read no key, as its address is null, and write the map's first key to null, where nothing may be
    //    written: the kernel finds that out (EFAULT).
    let result = unsafe { bpf(Command::MapNextKey, &mut attr) };
    // What is no map is refused first, then what may not be read, which the map of somebody else may well be.
    !matches!(result, Err(Errno::INVAL | Errno::BADF))
}

// === programs ===

/// The fields of the command, without those at its end for type information.
#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// None of the functions that it calls is kept for programs under the GPL.
const LICENSE: &CStr = c"MIT OR Apache-2.0";

/// Has the kernel check and translate an XDP program.
pub(super) fn prog_load(insns: &[Insn], flags: u32) -> Result<OwnedFd, Errno> {
    load(insns, flags, &mut [])
}

/// What the kernel says to a program that it refuses; empty if it has not looked at it.
pub(super) fn prog_load_log(insns: &[Insn], flags: u32) -> Vec<u8> {
    let mut log = vec![0; LOG_BYTES];
    // What is asked for is the log; whether it loads now, is too long to be logged, or is refused again does not matter.
    let _ = load(insns, flags, &mut log);
    let bytes = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
    log.truncate(bytes);
    log
}

fn load(insns: &[Insn], flags: u32, log: &mut [u8]) -> Result<OwnedFd, Errno> {
    let mut attr = ProgLoad {
        prog_type: PROG_TYPE_XDP,
        insn_cnt: u32::try_from(insns.len()).map_err(|_| Errno::TOOBIG)?,
        insns: address(insns.as_ptr()),
        license: address(LICENSE.as_ptr()),
        log_level: u32::from(!log.is_empty()),
        log_size: u32::try_from(log.len()).map_err(|_| Errno::TOOBIG)?,
        log_buf: if log.is_empty() { 0 } else { address(log.as_mut_ptr()) },
        kern_version: 0,
        prog_flags: flags,
        prog_name: object_name("pp_xdp_filter"),
        prog_ifindex: 0,
        expected_attach_type: ATTACH_TYPE_XDP,
    };
    let mut attempts = 1;
    let fd = loop {
        // SAFETY:
        // 1. The fields are the command's first.
        // 2. The command reads `insn_cnt` instructions, which the slice has, and the licence to its zero; it writes at most
        //    `log_size` bytes to the log, which is borrowed mutably and has as many.
        match unsafe { bpf(Command::ProgLoad, &mut attr) } {
            Err(Errno::AGAIN | Errno::INTR) if attempts < LOAD_ATTEMPTS => attempts += 1,
            result => break result?,
        }
    };
    // SAFETY: the command has just made it.
    Ok(unsafe { owned(fd) })
}

// === links ===

/// Attaches a program to an interface of the calling thread's network namespace, until the descriptor is closed.
pub(super) fn link_create(program: BorrowedFd<'_>, ifindex: u32, flags: u32) -> Result<OwnedFd, Errno> {
    let fd = link(number(program), ifindex, flags)?;
    // SAFETY: the command has just made it.
    Ok(unsafe { owned(fd) })
}

/// Whether the kernel knows links of XDP programs, which Linux has since 5.9.
pub(super) fn has_xdp_links() -> bool {
    // It looks at the type before it looks for the program, and there is no program of this number.
    !matches!(link(u32::MAX, 0, 0), Err(Errno::INVAL | Errno::NOSYS))
}

fn link(program: u32, ifindex: u32, flags: u32) -> Result<c_long, Errno> {
    #[repr(C)]
    struct Attr {
        prog_fd: u32,
        target_ifindex: u32,
        attach_type: u32,
        flags: u32,
    }
    let mut attr = Attr { prog_fd: program, target_ifindex: ifindex, attach_type: ATTACH_TYPE_XDP, flags };
    // SAFETY:
    // 1. The fields are the command's first.
    // 2. It has no address.
    unsafe { bpf(Command::LinkCreate, &mut attr) }
}

/// Ends a link, whoever else has a descriptor of it.
pub(super) fn link_detach(link: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut attr = number(link);
    // SAFETY:
    // 1. The command has one field.
    // 2. It has no address.
    unsafe { bpf(Command::LinkDetach, &mut attr)? };
    Ok(())
}

/// The interface that a link is at, or 0 if that is gone or the link has ended.
pub(super) fn link_ifindex(link: BorrowedFd<'_>) -> Result<u32, Errno> {
    let mut info = [0; 5];
    object_info(link, &mut info)?;
    let [_type, _id, _program, _zero, ifindex] = info;
    Ok(ifindex)
}

/// Runs a program on a packet as if it came in on queue 0 of the loopback interface, and gives its verdict. The kernel
/// takes no packet without a whole Ethernet header.
#[cfg(test)]
pub(super) fn prog_run(program: BorrowedFd<'_>, packet: &[u8]) -> Result<u32, Errno> {
    #[repr(C)]
    struct Attr {
        prog_fd: u32,
        retval: u32,
        data_size_in: u32,
        data_size_out: u32,
        data_in: u64,
        data_out: u64,
        repeat: u32,
        duration: u32,
    }
    let mut attr = Attr {
        prog_fd: number(program),
        retval: u32::MAX,
        data_size_in: packet.len() as u32,
        data_size_out: 0,
        data_in: address(packet.as_ptr()),
        data_out: 0,
        repeat: 1,
        duration: 0,
    };
    // SAFETY:
    // 1. The fields are the command's first.
    // 2. The command reads `data_size_in` bytes of the packet, which has as many; without an address it writes no packet.
    unsafe { bpf(Command::ProgRun, &mut attr)? };
    Ok(attr.retval)
}
