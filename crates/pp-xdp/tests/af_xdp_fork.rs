//! A forked child that outlives the close has the queue still: until it ends, the kernel may write to what it held at the close, and does.
//! What is given out meanwhile is other memory.
//!
//! Each test runs once more in namespaces of its own, which take its interfaces with them, whatever happens.
#![cfg(all(feature = "af-xdp", target_os = "linux", not(any(loom, shuttle, miri))))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use pp_core::{Page, PagePool};
use pp_provider_buddy::Buddy;
use pp_xdp::af_xdp::{
    AttachMode, Filter, Interface, Packets, ProgramError, QueueConfig, RedirectProgram, Umem, XskQueue,
};
use rustix::process::{Pid, Signal, WaitOptions, geteuid, kill_process, set_parent_process_death_signal, waitpid};

/// Says to this program that it runs in the namespaces.
const INSIDE: &str = "PP_XDP_FORK_INSIDE";
/// What the tests are about as long as there is traffic: pages that the queue has, and packets that come too late.
const ENTRIES: u32 = 64;
const LATE: usize = 40;
const UNITS: usize = 512;

#[test]
fn a_child_that_outlives_the_close_has_what_comes_too_late() {
    if !geteuid().is_root() {
        return eprintln!("SKIPPED: packets come to a socket through a program, and loading one takes root");
    }
    in_namespaces("a_child_that_outlives_the_close_has_what_comes_too_late", "-n");
}

#[test]
fn a_child_that_outlives_the_close_needs_no_rights() {
    in_namespaces("a_child_that_outlives_the_close_needs_no_rights", "-Urn");
}

/// Runs a test of this program in fresh namespaces.
fn in_namespaces(test: &str, which: &str) {
    if std::env::var_os(INSIDE).is_some() {
        return outlive();
    }
    for command in [&["unshare", which, "true"][..], &["ip", "-V"]] {
        let works = Command::new(command[0]).args(&command[1..]).output().is_ok_and(|output| output.status.success());
        if !works {
            return eprintln!("SKIPPED: `{}` does not work here", command.join(" "));
        }
    }
    let program = std::env::current_exe().expect("this program has a path");
    let mut again = Command::new("unshare");
    again.arg(which).arg(program).args([test, "--exact", "--nocapture", "--test-threads=1"]).env(INSIDE, "1");
    let status = again.status().expect("it works");
    assert!(status.success(), "in its namespaces, `unshare {which}`: {status}");
}

/// A process that sleeps until it is ended, or its parent ends.
struct Child(Pid);

impl Child {
    fn fork() -> Self {
        // SAFETY: the child makes system calls only, whatever locks other threads had.
        match unsafe { libc::fork() } {
            0 => {
                let _ = set_parent_process_death_signal(Some(Signal::KILL));
                loop {
                    // SAFETY: waits for a signal.
                    unsafe { libc::pause() };
                }
            }
            pid => Child(Pid::from_raw(pid).expect("a process")),
        }
    }

    fn end(self) {}
}

impl Drop for Child {
    fn drop(&mut self) {
        kill_process(self.0, Signal::KILL).expect("it lives, or nobody has asked how it ended");
        waitpid(Some(self.0), WaitOptions::empty()).expect("it is ours");
    }
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("it was there before");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A frame that says its number, all over.
fn frame(number: u8) -> [u8; 600] {
    let mut frame = [number; 600];
    frame[..14].copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5]);
    frame
}

/// Whether a frame of this number lies in a page.
fn has_frame(page: &[u8], number: u8) -> bool {
    let frame = frame(number);
    page.windows(frame.len()).any(|window| window == frame)
}

/// Somebody at the other end.
struct Sender {
    queue: XskQueue,
    pool: PagePool,
}

impl Sender {
    fn new(interface: &str) -> Self {
        let memory = Buddy::anonymous(1 << 20).unwrap();
        let umem = Umem::new(&memory).unwrap();
        let mut pool = PagePool::builder(&memory).build().unwrap();
        let config = QueueConfig { entries: ENTRIES, ..QueueConfig::default() };
        let queue = XskQueue::open(&umem, &mut pool, &Interface::by_name(interface).unwrap(), &config).unwrap();
        Sender { queue, pool }
    }

    /// Sends so many frames of this number, and waits until each was.
    fn send(&mut self, frames: usize, number: u8) {
        for _ in 0..frames {
            self.queue.tx.send_bytes(&frame(number), &mut self.pool).unwrap();
        }
        let (begun, mut completed) = (Instant::now(), 0);
        while completed < frames {
            self.queue.tx.flush().unwrap();
            completed += self.queue.tx.complete_into(&mut self.pool);
            assert!(begun.elapsed() < Duration::from_secs(20), "{completed} of {frames} frames sent");
            std::thread::sleep(Duration::from_millis(1));
        }
        // They are at the other end's queue by now, or soon are.
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn outlive() {
    ip("link add near type veth peer name far");
    ip("link set near up");
    ip("link set far up");
    let memory = Buddy::anonymous(UNITS * 4096).unwrap();
    let umem = Umem::new(&memory).unwrap();
    let mut pool = PagePool::builder(&memory).name("first").build().unwrap();
    let near = Interface::by_name("near").unwrap();
    let config = QueueConfig { entries: ENTRIES, ..QueueConfig::default() };
    let mut queue = XskQueue::open(&umem, &mut pool, &near, &config).unwrap();
    let mut sender = Sender::new("far");
    let program = match RedirectProgram::attach(near.index(), AttachMode::Best, &Filter::new(), Packets::Whole, 1) {
        Ok(program) => {
            program.map().insert(0, &queue).unwrap();
            Some(program)
        }
        Err(error @ ProgramError::NoRights { .. }) if !geteuid().is_root() || in_user_namespace() => {
            println!("no packets come in: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    };
    if program.is_some() {
        sender.send(3, 1);
        assert!(queue.wait(Some(Duration::from_secs(20))).unwrap(), "the three come");
        // The stack says a word of its own when an interface comes up, so there may be others.
        let received = queue.rx.receive(64).filter(|packet| packet.data() == Some(&frame(1)[..])).count();
        assert_eq!(received, 3);
        queue.rx.refill(&mut pool).unwrap();
    }

    let handle = pool.handle();
    let held = umem.kernel_held(&handle);
    assert_eq!(held, ENTRIES as usize);
    let child = Child::fork();
    let mut closing = queue.close();
    assert!(!closing.is_quiet(), "the child has the queue");

    // Everything that can be had, from this pool and from one after it, is other memory, and stays what it is.
    let mut pages: Vec<Page> = core::iter::from_fn(|| pool.alloc().ok()).take(UNITS / 4).collect();
    drop(pool);
    let mut next = PagePool::builder(&memory).name("second").build().unwrap();
    pages.extend(core::iter::from_fn(|| next.alloc().ok()));
    assert_eq!(pages.len(), UNITS - held, "all but what the kernel holds");
    let mut places = BTreeSet::new();
    for page in &mut pages {
        page.fill(0xa5);
        assert!(places.insert(page.as_ptr().addr()), "a page is there twice");
    }
    sender.send(LATE, 2);
    assert!(pages.iter().all(|page| page.iter().all(|byte| *byte == 0xa5)), "the kernel wrote to what was given out");
    closing = closing.wait(Duration::from_millis(300)).expect_err("the child has the queue");
    assert_eq!((umem.kernel_held(&handle), memory.free_units()), (held, 0));

    child.end();
    closing.wait(Duration::from_secs(20)).expect("nobody has the queue any more");
    assert_eq!((umem.kernel_held(&handle), memory.free_units()), (0, held));
    // What came too late lies in what the kernel held.
    let back: Vec<Page> = core::iter::from_fn(|| next.alloc().ok()).collect();
    assert!(back.iter().all(|page| places.insert(page.as_ptr().addr())), "a page is there twice");
    let late = back.iter().filter(|page| has_frame(page, 2)).count();
    assert_eq!((back.len(), late), (held, if program.is_some() { LATE } else { 0 }));
    drop((pages, back, next));
    assert_eq!(memory.free_units(), UNITS);

    // And the queue is there for the next one.
    let mut pool = PagePool::builder(&memory).name("third").build().unwrap();
    let queue = XskQueue::open(&umem, &mut pool, &near, &config).unwrap();
    queue.close().wait(Duration::from_secs(20)).expect("nobody else has it");
}

/// Whether root is root of a user namespace only.
fn in_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().nth(2) != Some("4294967295")
}
