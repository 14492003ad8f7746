//! bpf(2): a map of one value, a program, a link to an interface, and a run with live frames.
//!
//! Every command takes a structure that the kernel reads as far as it is told that it goes; what lies beyond counts as zero.

use std::ffi::{c_int, c_uint};
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use crate::assembly::Word;

/// An array map with one value of `N` counters, which programs add to.
#[derive(Debug)]
pub(crate) struct Counters<const N: usize>(OwnedFd);

/// An XDP program in the kernel.
#[derive(Debug)]
pub(crate) struct Program(OwnedFd);

/// A program on an interface, until this is dropped; also when this process is killed.
#[derive(Debug)]
pub(crate) struct Link(#[expect(dead_code, reason = "is held, and closed")] OwnedFd);

const MAP_CREATE: c_int = 0;
const MAP_LOOK_UP: c_int = 1;
const PROG_LOAD: c_int = 5;
const PROG_RUN: c_int = 10;
const LINK_CREATE: c_int = 28;

const MAP_ARRAY: u32 = 2;
const PROG_XDP: u32 = 6;
const ATTACH_XDP: u32 = 37;
/// The program takes packets of several buffers.
const HAS_FRAGS: u32 = 1 << 5;
/// The frames go where the program says, instead of being counted.
const LIVE_FRAMES: u32 = 1 << 1;

#[repr(C)]
struct MapCreate {
    kind: u32,
    key_size: u32,
    value_size: u32,
    entries: u32,
    flags: u32,
}

#[repr(C, align(8))]
struct MapElement {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C, align(8))]
struct ProgLoad {
    kind: u32,
    words: u32,
    program: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

#[repr(C, align(8))]
struct ProgRun {
    program: u32,
    returned: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    processor: u32,
    batch: u32,
    padding: u32,
}

#[repr(C)]
struct LinkCreate {
    program: u32,
    interface: u32,
    attach: u32,
    flags: u32,
}

// === impl Counters ===

impl<const N: usize> Counters<N> {
    pub(crate) fn new() -> io::Result<Self> {
        let value_size = u32::try_from(N * mem::size_of::<u64>()).map_err(io::Error::other)?;
        let mut create = MapCreate { kind: MAP_ARRAY, key_size: 4, value_size, entries: 1, flags: 0 };
        // SAFETY: the structure holds no address.
        unsafe { new_descriptor(MAP_CREATE, &mut create) }.map(Counters)
    }

    pub(crate) fn descriptor(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    pub(crate) fn read(&self) -> io::Result<[u64; N]> {
        let (key, mut value) = (0_u32, [0_u64; N]);
        let mut element = MapElement {
            map: number(&self.0),
            padding: 0,
            key: (&raw const key).addr() as u64,
            value: (&raw mut value).expose_provenance() as u64,
            flags: 0,
        };
        (&raw const key).expose_provenance();
        // SAFETY: the kernel reads 4 bytes at `key` and writes as many at `value` as `new` gave it for the map's value size,
        // N words; both live until after the call.
        unsafe { bpf(MAP_LOOK_UP, &mut element) }?;
        Ok(value)
    }
}

// === impl Program ===

impl Program {
    /// # Errors
    ///
    /// What the verifier objects to.
    pub(crate) fn load(words: &[Word]) -> io::Result<Self> {
        let mut log = vec![0_u8; 64 << 10];
        let mut name = [0; 16];
        name[..10].copy_from_slice(b"pp_testbed");
        let mut load = ProgLoad {
            kind: PROG_XDP,
            words: u32::try_from(words.len()).map_err(io::Error::other)?,
            program: words.as_ptr().expose_provenance() as u64,
            license: c"MIT OR Apache-2.0".as_ptr().expose_provenance() as u64,
            log_level: 0,
            log_size: 0,
            log: 0,
            kernel_version: 0,
            flags: HAS_FRAGS,
            name,
        };
        // SAFETY: the kernel reads `words.len()` words of 8 bytes, the size of `Word`, and a string that is ended by a zero
        // byte; both outlive the call.
        let refused = match unsafe { new_descriptor(PROG_LOAD, &mut load) } {
            Ok(descriptor) => return Ok(Program(descriptor)),
            Err(refused) => refused,
        };
        // Once more, for the reason.
        load.log_level = 1;
        load.log_size = u32::try_from(log.len()).map_err(io::Error::other)?;
        load.log = log.as_mut_ptr().expose_provenance() as u64;
        // SAFETY: as above; and the kernel writes at most `log.len()` bytes to `log`.
        if let Ok(descriptor) = unsafe { new_descriptor(PROG_LOAD, &mut load) } {
            return Ok(Program(descriptor));
        }
        let text = String::from_utf8_lossy(&log);
        let text = text.trim_end_matches('\0').trim();
        if text.is_empty() { Err(refused) } else { Err(io::Error::new(refused.kind(), format!("{refused}: {text}"))) }
    }

    /// Puts it on an interface of the calling thread's network namespace. `mode` is one of the `XDP_FLAGS_*_MODE`.
    pub(crate) fn attach(&self, interface: u32, mode: u32) -> io::Result<Link> {
        let mut create = LinkCreate { program: number(&self.0), interface, attach: ATTACH_XDP, flags: mode };
        // SAFETY: the structure holds no address.
        unsafe { new_descriptor(LINK_CREATE, &mut create) }.map(Link)
    }

    /// Gives it `repeat` copies of `frame`, `batch` at a time, as if they had come in on an interface of the calling thread's
    /// network namespace, and does with each what it says.
    pub(crate) fn run_live(&self, frame: &[u8], repeat: u32, batch: u32) -> io::Result<()> {
        let mut run = ProgRun {
            program: number(&self.0),
            returned: 0,
            data_size_in: u32::try_from(frame.len()).map_err(io::Error::other)?,
            data_size_out: 0,
            data_in: frame.as_ptr().expose_provenance() as u64,
            data_out: 0,
            repeat,
            duration: 0,
            ctx_size_in: 0,
            ctx_size_out: 0,
            ctx_in: 0,
            ctx_out: 0,
            flags: LIVE_FRAMES,
            processor: 0,
            batch,
            padding: 0,
        };
        // SAFETY: the kernel reads `frame.len()` bytes at `frame`, which outlives the call, and copies them; it writes no
        // data out, because it is given no address for it.
        unsafe { bpf(PROG_RUN, &mut run) }.map(|_| ())
    }
}

/// A descriptor as the structures have it.
fn number(descriptor: &OwnedFd) -> u32 {
    // Descriptors are not negative.
    descriptor.as_raw_fd().cast_unsigned()
}

/// A command that makes a descriptor.
///
/// # Safety
///
/// As [`bpf`].
unsafe fn new_descriptor<T>(command: c_int, attributes: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: the caller's promise.
    let descriptor = unsafe { bpf(command, attributes) }?;
    // SAFETY: the kernel has just made it, close-on-exec, for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// # Safety
///
/// `attributes` is the structure of `command`, or its beginning, and each address in it is good for what the command does there.
unsafe fn bpf<T>(command: c_int, attributes: &mut T) -> io::Result<c_int> {
    let size = c_uint::try_from(mem::size_of::<T>()).map_err(io::Error::other)?;
    // SAFETY: the kernel reads and writes `size` bytes at `attributes`, which is an exclusive reference to as many; the rest
    // is the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { c_int::try_from(result).map_err(io::Error::other) }
}
