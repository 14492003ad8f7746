//! Moving threads and children into a network namespace.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::process::{Pid, Signal};
use rustix::thread::{CpuSet, LinkNameSpaceType, UnshareFlags};

/// Gives the calling thread, which has to end soon after, a network namespace of its own, and returns that.
///
/// # Errors
///
/// Without CAP_SYS_ADMIN.
pub(crate) fn unshare_network() -> io::Result<OwnedFd> {
    // SAFETY: what makes the function unsafe are descriptors that other threads would lose with FILES; only the network is
    // unshared here, and sockets that exist stay in the namespace they were made in.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET)? };
    Ok(rustix::fs::open(c"/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Moves the calling thread into `network`, with a `/sys` that shows the devices there. It allocates nothing.
pub(crate) fn settle(network: BorrowedFd<'_>) -> io::Result<()> {
    rustix::thread::move_into_link_name_space(network, Some(LinkNameSpaceType::Network))?;
    // SAFETY: as above; NEWNS also gives the thread a working directory of its own, which no descriptor depends on.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS)? };
    // Or the new /sys would be mounted for everyone.
    rustix::mount::mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    // Which devices a sysfs shows is fixed when it is mounted.
    rustix::mount::mount(c"sysfs", c"/sys", c"sysfs", MountFlags::empty(), None)?;
    Ok(())
}

/// Has the program that `command` starts live in `network`, on `processors` (all, if that is empty), and no longer than the
/// thread that starts it.
pub(crate) fn settle_child(command: &mut Command, network: OwnedFd, processors: &[usize]) {
    let parent = Pid::from_raw(i32::try_from(std::process::id()).unwrap_or_default());
    let mut set = CpuSet::new();
    for &processor in processors.iter().filter(|&&processor| processor < CpuSet::MAX_CPU) {
        set.set(processor);
    }
    let pinned = set.count() > 0;
    let before_exec = move || {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have died before that was in force, and somebody else be the parent now.
        if rustix::process::getppid() != parent {
            return Err(rustix::io::Errno::SRCH.into());
        }
        if pinned {
            rustix::thread::sched_setaffinity(None, &set)?;
        }
        settle(network.as_fd())
    };
    // SAFETY: between fork and exec only async-signal-safe things may happen. The closure makes system calls with constant
    // strings and captured values; it takes no lock and allocates nothing, and errors of the system are plain numbers.
    unsafe { command.pre_exec(before_exec) };
}
