//! A sink on an interface that can't send just now, or never, as root.

#![cfg(all(feature = "af-xdp", target_os = "linux"))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

#[path = "support/keeper.rs"]
mod keeper;

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use pp_core::PagePool;
use pp_netdev::afxdp::{AfxdpPort, AfxdpSink, PortConfig, Role};
use pp_netdev::{Frame, FrameSink, StopFlag};
use pp_provider_buddy::Buddy;
use pp_testbed::{Path, skip_without_rights};
use pp_xdp::af_xdp::Umem;

use keeper::Keeper;

/// A frame to an address that nobody has.
const FRAME: [u8; 60] = {
    let mut frame = [0; 60];
    frame[0] = 0x02;
    frame[5] = 9;
    frame[6] = 0x02;
    frame
};

/// A sink on `f1` with a memory of so many pages.
fn sink(pages: usize, entries: u32) -> (AfxdpSink, Buddy) {
    let buddy = Buddy::builder().unit_bytes(4096).anonymous(pages * 4096).build().unwrap();
    let umem = Umem::new(&buddy).unwrap();
    let pool = PagePool::builder(&buddy).name("f1").build().unwrap();
    let config = PortConfig { role: Role::Sends, entries, ..PortConfig::default() };
    let port = AfxdpPort::open(&umem, &Path::OUT.parse().unwrap(), [pool], &config).unwrap();
    (AfxdpSink::new(port).unwrap(), buddy)
}

fn send(sink: &mut AfxdpSink) -> std::io::Result<()> {
    sink.send_frame(Frame { bytes: &FRAME, mark: 0 })
}

/// Runs this where the ports are. What takes too long is left behind.
fn within<T: Send + 'static>(path: &Arc<Path>, limit: Duration, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (end, ended) = mpsc::channel();
    let path = path.clone();
    // Who has given up does not listen.
    thread::spawn(move || end.send(path.forwarder().enter(work).unwrap()));
    ended.recv_timeout(limit).expect("it ends in time")
}

#[test]
fn a_memory_smaller_than_the_rings_is_there_for_sending() {
    skip_without_rights!();
    let path = Arc::new(Path::builder().build().unwrap());
    let counts = path.sink().unwrap();
    let report = within(&path, Duration::from_secs(20), || {
        let (mut sink, _) = sink(64, 2048);
        (0..500).for_each(|_| send(&mut sink).unwrap());
        sink.finish().unwrap();
        sink.close()
    });
    assert_eq!((report.copied_bytes, report.pool.lost), (500 * 60, 0));
    assert_eq!(counts.counts().unwrap().packets, 500);
}

#[test]
fn a_sink_without_pages_says_so() {
    skip_without_rights!();
    let path = Arc::new(Path::builder().build().unwrap());
    let error = within(&path, Duration::from_secs(20), || {
        let buddy = Buddy::builder().unit_bytes(4096).anonymous(16 * 4096).build().unwrap();
        let mut other = PagePool::builder(&buddy).build().unwrap();
        let taken: Vec<_> = std::iter::from_fn(|| other.alloc().ok()).collect();
        let umem = Umem::new(&buddy).unwrap();
        let pool = PagePool::builder(&buddy).name("f1").build().unwrap();
        let config = PortConfig { role: Role::Sends, entries: 64, ..PortConfig::default() };
        let port = AfxdpPort::open(&umem, &Path::OUT.parse().unwrap(), [pool], &config).unwrap();
        let mut sink = AfxdpSink::new(port).unwrap();
        let error = send(&mut sink).unwrap_err();
        assert!(!taken.is_empty() && sink.close().is_quiet);
        error.to_string()
    });
    let expected = "a packet of 60 bytes does not go out of `f1`: there is no page to copy to";
    assert!(error.starts_with(expected), "{error}");
}

/// The ring is full, and stays so.
#[test]
fn a_sink_that_nothing_leaves_ends_with_the_flag() {
    skip_without_rights!("tc");
    let path = Arc::new(Path::builder().build().unwrap());
    let keeper = Keeper::new(&path);
    let stop = StopFlag::new();
    let (says, said) = mpsc::channel();
    let (let_go, is_let_go) = mpsc::channel();
    let (forwarder, by_flag) = (path.clone(), stop.clone());
    let run = move || {
        let (mut sink, _) = sink(1024, 64);
        sink.stop_by(&by_flag);
        let error = loop {
            match send(&mut sink) {
                Ok(()) => says.send(None).unwrap(),
                Err(error) => break error,
            }
        };
        says.send(Some(error.to_string())).unwrap();
        is_let_go.recv().unwrap();
        sink.close()
    };
    let run = thread::spawn(move || forwarder.forwarder().enter(run).unwrap());
    let mut sent = 0;
    while let Ok(frame) = said.recv_timeout(Duration::from_secs(1)) {
        assert_eq!(frame, None, "after {sent} frames");
        sent += 1;
    }
    assert!(sent >= 64, "{sent} frames");
    stop.set();
    let error = said.recv_timeout(Duration::from_secs(10)).unwrap().unwrap();
    assert!(error.starts_with("`f1` does not send what it has, "), "{error}");
    keeper.let_go();
    let_go.send(()).unwrap();
    let report = run.join().unwrap();
    assert_eq!((report.pool.lost, report.is_quiet), (0, true));
}
