//! Memory that other processes can see: who may write it, and that it cannot vanish.
#![cfg(all(feature = "std", target_os = "linux", not(any(loom, shuttle))))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

mod common;

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use common::*;
use pp_core::{Exposed, Host, MemoryProvider, NodeId};
use pp_provider_buddy::{Buddy, BuddyError, DefaultLock, Prefault};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, ftruncate, memfd_create};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

const BYTES: usize = 1 << 20;

/// Maps all of `file` shared, reads or writes its first byte, unmaps.
fn touch(file: impl AsFd, bytes: usize, protection: ProtFlags, value: Option<u8>) -> Result<u8, Errno> {
    // SAFETY: a mapping of its own at an address that the system chooses, in bounds, unmapped before we return.
    unsafe {
        let at = mmap(core::ptr::null_mut(), bytes, protection, MapFlags::SHARED, file, 0)?;
        let byte = at.cast::<u8>();
        if let Some(value) = value {
            byte.write_volatile(value);
        }
        let seen = byte.read_volatile();
        munmap(at, bytes)?;
        Ok(seen)
    }
}

/// A memfd with `seals`.
fn file(bytes: usize, flags: MemfdFlags, seals: SealFlags) -> OwnedFd {
    let file = memfd_create("test", MemfdFlags::CLOEXEC | flags).unwrap();
    ftruncate(&file, bytes as u64).unwrap();
    if !seals.is_empty() {
        fcntl_add_seals(&file, seals).unwrap();
    }
    file
}

/// Writes `value` to the first byte of the region and returns the unit that lies there.
fn write_first<A: pp_core::CpuAccess>(buddy: &Buddy<DefaultLock, A>, value: u8) -> pp_core::Unit {
    let units = alloc_all(&**buddy, 0, buddy.total_units());
    let (mut first, rest): (Vec<_>, Vec<_>) =
        units.into_iter().partition(|unit| unit.descriptor().addr() == buddy.regions()[0].base());
    release_bulk(&**buddy, rest);
    let unit = first.remove(0);
    // SAFETY: the unit is ours.
    unsafe { unit.descriptor().addr().write_volatile(value) };
    unit
}

#[test]
fn a_shared_memfd_can_be_read_and_not_written() {
    let buddy = Buddy::builder().memfd(BYTES).build().unwrap();
    let unit = write_first(&buddy, 0x5a);
    let shared = buddy.share_fd(0).unwrap();
    assert_eq!((shared.offset(), shared.bytes()), (0, BYTES));
    assert_eq!(shared.page_bytes(), rustix::param::page_size());
    let seals = fcntl_get_seals(&shared).unwrap();
    assert!(seals.contains(SealFlags::SHRINK | SealFlags::GROW | SealFlags::FUTURE_WRITE), "{seals:?}");

    assert_eq!(touch(&shared, BYTES, ProtFlags::READ, None), Ok(0x5a));
    assert_eq!(touch(&shared, BYTES, ProtFlags::READ | ProtFlags::WRITE, None), Err(Errno::PERM));
    assert_eq!(rustix::io::pwrite(&shared, b"x", 0), Err(Errno::PERM));
    assert_eq!(ftruncate(&shared, 0), Err(Errno::PERM));
    assert_eq!(ftruncate(&shared, 2 * BYTES as u64), Err(Errno::PERM));
    let punch = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
    assert_eq!(rustix::fs::fallocate(&shared, punch, 0, 4096), Err(Errno::PERM));

    // Our own mapping goes on, and a second descriptor is as tight as the first.
    // SAFETY: the unit is ours.
    unsafe { unit.descriptor().addr().write_volatile(0x5b) };
    let again: OwnedFd = buddy.share_fd(0).unwrap().into();
    assert_eq!(touch(&again, BYTES, ProtFlags::READ, None), Ok(0x5b));
    buddy.release(unit);
}

#[test]
fn a_memfd_is_sealed_against_writers_before_it_is_shared() {
    let buddy = Buddy::builder().memfd(BYTES).build().unwrap();
    // Whoever looks into our /proc/PID/fd finds it there.
    let inode = |path: &str| fs::metadata(path).ok().map(|file| file.ino());
    let ours = inode_of(buddy.regions()[0].base());
    let mut found = 0;
    for number in fs::read_dir("/proc/self/fd").unwrap() {
        let path = format!("/proc/self/fd/{}", number.unwrap().file_name().to_str().unwrap());
        if inode(&path) == Some(ours) {
            found += 1;
            let writer = fs::OpenOptions::new().read(true).write(true).open(&path);
            let refused = writer.map(|file| rustix::io::pwrite(&file, b"x", 0));
            assert!(matches!(refused, Err(_) | Ok(Err(Errno::PERM))), "{refused:?}");
        }
    }
    assert_eq!(found, 1);

    // Also where the pages are exposed, for the sake of another region.
    let both = Buddy::builder().memfd(BYTES).exposed_memfd(BYTES).build().unwrap();
    let write = |region| touch(both.share_fd_writable(region).unwrap(), BYTES, ProtFlags::WRITE, Some(1));
    assert_eq!((write(0), write(1)), (Err(Errno::PERM), Ok(1)));
}

/// The inode of the file that is mapped at `base`.
fn inode_of(base: *mut u8) -> u64 {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let start = format!("{:x}-", base.addr());
    let line = maps.lines().find(|line| line.starts_with(&start)).unwrap();
    line.split_ascii_whitespace().nth(4).unwrap().parse().unwrap()
}

#[test]
fn another_process_reads_what_we_write() {
    let buddy = Buddy::builder().memfd(BYTES).build().unwrap();
    let unit = write_first(&buddy, 0x77);
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_of_another_process_reads", "--ignored", "--nocapture"])
        .stdin(Stdio::from(buddy.share_fd(0).unwrap().into_fd()))
        .output()
        .unwrap();
    assert!(child.status.success(), "{child:?}");
    assert!(String::from_utf8_lossy(&child.stdout).contains("read 0x77, writing refused"), "{child:?}");
    buddy.release(unit);
}

#[test]
#[ignore = "the other process of another_process_reads_what_we_write"]
fn child_of_another_process_reads() {
    let shared = std::io::stdin();
    let seen = touch(&shared, BYTES, ProtFlags::READ, None).unwrap();
    assert_eq!(touch(&shared, BYTES, ProtFlags::READ | ProtFlags::WRITE, Some(1)), Err(Errno::PERM));
    println!("read {seen:#x}, writing refused");
}

#[test]
fn an_exposed_memfd_can_be_written_by_others() {
    let buddy: Buddy<DefaultLock, Exposed> = Buddy::builder().exposed_memfd(BYTES).build().unwrap();
    let unit = write_first(&buddy, 1);
    let shared = buddy.share_fd_writable(0).unwrap();
    assert_eq!(touch(&shared, BYTES, ProtFlags::READ | ProtFlags::WRITE, Some(9)), Ok(9));
    // SAFETY: the unit is ours to read; others write it, so volatile.
    assert_eq!(unsafe { unit.descriptor().addr().read_volatile() }, 9);
    assert_eq!(ftruncate(&shared, 0), Err(Errno::PERM), "it cannot be shortened under us");
    buddy.release(unit);
}

#[test]
fn only_regions_with_a_file_can_be_shared() {
    let buddy = Buddy::builder().anonymous(BYTES).memfd(BYTES).build().unwrap();
    assert_eq!(buddy.share_fd(0).unwrap_err(), BuddyError::NoFile { region: 0 });
    assert!(buddy.share_fd(1).is_ok());
    assert_eq!(buddy.share_fd(2).unwrap_err(), BuddyError::NoFile { region: 2 });
    let exposed = Buddy::builder().anonymous(BYTES).exposed_memfd(BYTES).build().unwrap();
    assert_eq!(exposed.share_fd_writable(0).unwrap_err(), BuddyError::NoFile { region: 0 });
}

#[test]
fn a_callers_file_is_mapped_where_he_says() {
    let theirs = file(3 * BYTES, MemfdFlags::ALLOW_SEALING, SealFlags::SHRINK);
    rustix::io::pwrite(&theirs, b"\x42", BYTES as u64).unwrap();
    let ours = theirs.try_clone().unwrap();
    let buddy: Buddy<DefaultLock, Exposed> =
        Buddy::builder().unit_bytes(64 << 10).fd(ours, BYTES as u64, BYTES).build().unwrap();
    assert_eq!(buddy.total_units(), 16);
    // SAFETY: nobody writes the byte now.
    assert_eq!(unsafe { buddy.regions()[0].base().read_volatile() }, 0x42);
    let shared = buddy.share_fd_writable(0).unwrap();
    assert_eq!((shared.offset(), shared.bytes()), (BYTES as u64, BYTES));
}

#[test]
fn an_exclusive_file_is_host_memory() {
    let theirs = file(BYTES, MemfdFlags::ALLOW_SEALING, SealFlags::SHRINK);
    // SAFETY: nobody else has the file.
    let buddy: Buddy<DefaultLock, Host> = unsafe { Buddy::builder().exclusive_fd(theirs, 0, BYTES) }.build().unwrap();
    let unit = write_first(&buddy, 3);
    let shared = buddy.share_fd(0).unwrap();
    assert_eq!(touch(&shared, BYTES, ProtFlags::READ, None), Ok(3));
    assert_eq!(touch(&shared, BYTES, ProtFlags::READ | ProtFlags::WRITE, None), Err(Errno::PERM));
    buddy.release(unit);
}

#[test]
fn files_that_could_kill_or_fool_us_are_refused() {
    let offer = |file: OwnedFd, offset, bytes| Buddy::builder().fd(file, offset, bytes).build().unwrap_err();
    let sealed = || file(BYTES, MemfdFlags::ALLOW_SEALING, SealFlags::SHRINK);
    let unsealed = file(BYTES, MemfdFlags::ALLOW_SEALING, SealFlags::GROW);
    assert_eq!(offer(unsealed, 0, BYTES), BuddyError::NotSealed);
    let plain = fs::File::open(std::env::current_exe().unwrap()).unwrap();
    assert_eq!(offer(plain.into(), 0, 4096), BuddyError::NotSealed);
    for writers in [SealFlags::WRITE, SealFlags::FUTURE_WRITE] {
        let read_only = file(BYTES, MemfdFlags::ALLOW_SEALING, SealFlags::SHRINK | writers);
        assert_eq!(offer(read_only, 0, BYTES), BuddyError::NotWritable);
    }
    let file_bytes = BYTES as u64;
    for (offset, bytes) in [(0, 2 * BYTES), (file_bytes, 4096), (4096, BYTES), (u64::MAX, 4096)] {
        assert_eq!(offer(sealed(), offset, bytes), BuddyError::FileRange { offset, bytes, file_bytes });
    }
    let page_bytes = rustix::param::page_size();
    for (offset, bytes) in [(1, 4096), (0, 4097)] {
        assert_eq!(offer(sealed(), offset, bytes), BuddyError::FileAlign { offset, bytes, page_bytes });
    }
    assert_eq!(offer(sealed(), 0, 0), BuddyError::TooSmall { bytes: 0, unit_bytes: 4096 });
}

#[test]
fn a_forked_child_does_not_get_the_memfd() {
    not_in_children(Buddy::builder().memfd(BYTES).build().unwrap());
}

#[test]
fn a_forked_child_does_not_get_an_exclusive_file() {
    let theirs = file(BYTES, MemfdFlags::ALLOW_SEALING, SealFlags::SHRINK);
    // SAFETY: nobody else has the file, and the child does nothing with its descriptor.
    not_in_children(unsafe { Buddy::builder().exclusive_fd(theirs, 0, BYTES) }.build().unwrap());
}

fn not_in_children(buddy: Buddy<DefaultLock, Host>) {
    let base = buddy.regions()[0].base();
    // SAFETY: the child makes system calls, drops the buddy (glibc's allocator survives a fork) and leaves by _exit.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: as above; FIXED_NOREPLACE maps only if nothing is there, that is if the child has no copy.
        let code = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
            let at = libc::mmap(base.cast(), BYTES, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
            if at == base.cast() {
                drop(buddy); // must leave alone what is at its old addresses now
                base.write_volatile(1);
                0
            } else {
                1
            }
        };
        // SAFETY: ends the child without running anything of the parent's.
        unsafe { libc::_exit(code) }
    }
    assert!(child > 0);
    let mut status = 0;
    // SAFETY: waits for the child made above.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "status {status:#x}");
    let unit = write_first(&buddy, 1);
    buddy.release(unit);
}

#[test]
fn prefault_makes_the_pages_exist() {
    /// Kilobytes of the mapping at `base` that are there.
    fn resident(base: *mut u8) -> usize {
        let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
        let start = format!("{:x}-", base.addr());
        let mapping = smaps.lines().skip_while(|line| !line.starts_with(&start));
        let rss = mapping.skip(1).find_map(|line| line.strip_prefix("Rss:")).unwrap();
        rss.trim().trim_end_matches(" kB").parse().unwrap()
    }
    let lazy = Buddy::builder().memfd(BYTES).build().unwrap();
    assert_eq!(resident(lazy.regions()[0].base()), 0);
    let now = Buddy::builder().prefault(Prefault::Now).memfd(BYTES).build().unwrap();
    assert_eq!(resident(now.regions()[0].base()), BYTES / 1024);
    let now = Buddy::builder().prefault(Prefault::Now).anonymous(BYTES).build().unwrap();
    // A neighbouring mapping of the same kind may have been joined to ours.
    assert!(touched(now.regions()[0].base(), BYTES));
}

/// Whether all pages are there, asked of the system.
fn touched(base: *mut u8, bytes: usize) -> bool {
    let mut pages = vec![0u8; bytes / rustix::param::page_size()];
    // SAFETY: the range is mapped, and the vector has a byte a page.
    assert_eq!(unsafe { libc::mincore(base.cast(), bytes, pages.as_mut_ptr()) }, 0);
    pages.iter().all(|page| page & 1 == 1)
}

#[test]
fn memory_lies_on_the_node_that_was_asked_for() {
    let buddy = Buddy::builder().node(NodeId(0)).anonymous(BYTES).memfd(BYTES).build().unwrap();
    for region in buddy.regions() {
        let (mut mode, mut nodes) = (0, [0u64; 16]);
        // SAFETY: asks for the policy at an address that is mapped; both results have room.
        let asked = unsafe {
            let flags = 2u64; // MPOL_F_ADDR
            libc::syscall(libc::SYS_get_mempolicy, &raw mut mode, nodes.as_mut_ptr(), 1025, region.base(), flags)
        };
        if asked != 0 {
            eprintln!("SKIPPED: get_mempolicy: {}", std::io::Error::last_os_error());
            return;
        }
        assert_eq!((mode, nodes[0]), (libc::MPOL_PREFERRED, 1));
    }
}

#[test]
fn a_node_that_does_not_exist_is_refused() {
    for node in [NodeId(1023), NodeId(1024), NodeId(u16::MAX)] {
        let error = Buddy::builder().node(node).anonymous(BYTES).build().unwrap_err();
        assert_eq!(error, BuddyError::NoSuchNode { node });
    }
}

/// Runs where two huge pages of 2 MiB are free, and says so loudly where not. With `PP_TEST_HUGEPAGES=1` in the environment
/// (and as root) it makes them first and restores the machine's setting at the end; nothing else may change it meanwhile.
#[test]
fn huge_pages_of_a_callers_memfd() {
    const HUGE: usize = 2 << 20;
    const FOLDER: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB";
    struct Restore(Option<usize>);
    impl Drop for Restore {
        fn drop(&mut self) {
            if let Some(before) = self.0 {
                let _ = fs::write(format!("{FOLDER}/nr_hugepages"), before.to_string());
            }
        }
    }
    let count = |name| -> usize {
        fs::read_to_string(format!("{FOLDER}/{name}")).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    };
    let mut restore = Restore(None); // dropped after the buddy and the file
    if count("free_hugepages") < 2 && std::env::var_os("PP_TEST_HUGEPAGES").is_some_and(|wanted| wanted == "1") {
        let before = count("nr_hugepages");
        restore.0 = Some(before);
        fs::write(format!("{FOLDER}/nr_hugepages"), (before + 2).to_string()).expect("PP_TEST_HUGEPAGES=1 needs root");
    }
    if count("free_hugepages") < 2 {
        eprintln!("SKIPPED: huge pages are NOT tested: no two are free ({FOLDER}; PP_TEST_HUGEPAGES=1 makes them)");
        return;
    }
    let Ok(file) = memfd_create("huge", MemfdFlags::ALLOW_SEALING | MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB) else {
        eprintln!("SKIPPED: no huge pages of 2 MiB");
        return;
    };
    ftruncate(&file, 2 * HUGE as u64).unwrap();
    fcntl_add_seals(&file, SealFlags::SHRINK).unwrap();
    let offer = |offset, bytes| Buddy::builder().fd(file.try_clone().unwrap(), offset, bytes).build();
    let odd = BuddyError::FileAlign { offset: 4096, bytes: HUGE, page_bytes: HUGE };
    assert_eq!(offer(4096, HUGE).unwrap_err(), odd);
    let buddy = match offer(0, 2 * HUGE) {
        Ok(buddy) => buddy,
        Err(error) => {
            eprintln!("SKIPPED: no two free huge pages: {error}");
            return;
        }
    };
    assert_eq!(buddy.total_units(), 1024);
    assert!(buddy.regions()[0].base().addr().is_multiple_of(HUGE));
    let units = alloc_all(&*buddy, 9, 2);
    assert_eq!(units.len(), 2, "each huge page is one block");
    // SAFETY: the units are ours.
    units.iter().for_each(|unit| unsafe { unit.descriptor().addr().write_bytes(1, HUGE) });
    assert_eq!(buddy.share_fd_writable(0).unwrap().page_bytes(), HUGE);
    release_bulk(&*buddy, units);
    println!("huge pages: tested");
}

#[test]
fn descriptors_are_closed_on_exec() {
    let buddy = Buddy::builder().memfd(BYTES).build().unwrap();
    let shared = buddy.share_fd(0).unwrap();
    let flags = rustix::io::fcntl_getfd(&shared).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
}
