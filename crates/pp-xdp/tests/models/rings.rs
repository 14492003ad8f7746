//! A queue of AF_XDP and its kernel, each on a thread of its own, with a chunk or two between them.
//!
//! Loom does not see the bytes of pages: the [`Scene`] has a cell for each, which is written and read by whoever has the page, by his own
//! lights. Two at a time is what the models look for.

use std::sync::Arc;

use loom::thread;
use pp_core::sync::spin;
use pp_core::{Backing, Home, Host, Page};
use pp_xdp::af_xdp::model::{self, ModelKernel, ModelQueue};
use pp_xdp::af_xdp::{Umem, XdpDesc};
use pp_xdp::{Memory, Packet, Registry, RxqInfo, RxqParams};

use super::units::{Scene, tiny};

fn scene(units: usize) -> (Arc<Scene>, Home<impl Backing<Access = Host>>, Umem) {
    let (scene, home) = Scene::new(units);
    let umem = Umem::new(home.clone()).expect("one region of whole pages");
    (scene, home, umem)
}

/// A queue with rings of one entry, so that each is used again at once, and wraps.
fn queue(umem: &Umem) -> (ModelQueue, ModelKernel) {
    model::queue(umem, 1).expect("memory can be registered")
}

/// For packets of the user's own.
fn own(memory: &impl Memory) -> RxqInfo {
    let mut own = RxqInfo::new();
    own.reg(RxqParams::new(1, 0)).unwrap();
    own.reg_mem_model(&Registry::new(), memory.model()).unwrap();
    own
}

fn packet(own: &RxqInfo, page: Page) -> Packet {
    own.prepare(page, 0, 64).unwrap().into_packet()
}

/// Where a packet is that begins at its page's beginning.
fn place(packet: &Packet) -> usize {
    packet.data().expect("host memory").as_ptr().addr()
}

fn desc(addr: u64) -> XdpDesc {
    XdpDesc { addr, len: 64, options: 0 }
}

impl Scene {
    /// Where the chunk is that the kernel was told of.
    fn chunk(&self, addr: u64) -> usize {
        self.base() + addr as usize
    }
}

/// Ends a queue whose kernel has said all that it will say.
fn end(queue: ModelQueue, kernel: ModelKernel) {
    let mut closing = queue.close();
    kernel.quiet();
    assert!(closing.is_quiet());
}

/// The kernel receives into what the user gives it, and the user gives it what it received, twice.
pub(crate) fn receive_against_kernel() -> &'static str {
    let (scene, home, umem) = scene(2);
    let mut pool = tiny(home, 2);
    let (mut queue, mut kernel) = queue(&umem);
    queue.rx.refill(&mut pool).unwrap();
    let (kernels, users) = (scene.clone(), scene.clone());
    let kernel = thread::spawn(move || {
        let mut told = 0;
        for number in 1..=2 {
            let Some(addr) = kernel.take_fill() else { continue };
            kernels.write(kernels.chunk(addr), number);
            if !kernel.put_rx(desc(addr)) {
                break;
            }
            told += 1;
        }
        (kernel, told)
    });
    let user = thread::spawn(move || {
        let mut numbers = Vec::new();
        for _ in 0..2 {
            let packet = queue.rx.receive(1).next().map(|buff| buff.into_packet());
            numbers.extend(packet.map(|packet| users.read(place(&packet))));
            let _ = queue.rx.refill(&mut pool);
        }
        (queue, pool, numbers)
    });
    let ((kernel, told), (queue, pool, numbers)) = (kernel.join().unwrap(), user.join().unwrap());
    assert!(numbers.is_sorted_by(|one, other| one < other), "a packet was received twice: {numbers:?}");
    assert_eq!((queue.counters().nonsense(), pool.stats().in_use()), (0, umem.kernel_held(&pool.handle())));
    end(queue, kernel);
    assert_eq!(pool.stats().in_use(), 0);
    drop(pool);
    assert_eq!(scene.out(), 0, "a page was lost");
    match (told, numbers.len()) {
        (1, 0) => "one told, none seen",
        (1, 1) => "one told and seen",
        (2, 1) => "two told, one seen",
        (2, 2) => "two told and seen",
        _ => "something else",
    }
}

/// The kernel sends what the user shows it, and the user sends the page again that came back.
pub(crate) fn send_against_kernel() -> &'static str {
    let (scene, home, umem) = scene(1);
    let mut pool = tiny(home, 1);
    let (mut queue, mut kernel) = queue(&umem);
    let (own, page) = (own(&pool), pool.alloc().unwrap());
    let (kernels, users) = (scene.clone(), scene.clone());
    let user = thread::spawn(move || {
        let (mut page, mut sent) = (Some(page), 0);
        for _ in 0..2 {
            if let Some(page) = page.take() {
                sent += 1;
                let packet = packet(&own, page);
                users.write(place(&packet), sent);
                // The place in the ring is free: the kernel has read what was there before it said that it was done.
                queue.tx.send(packet).map_err(|refused| refused.reason).expect("room");
                queue.tx.flush().unwrap();
            }
            queue.tx.complete(1, |back| page = Some(back));
        }
        let back = page.is_some();
        page.into_iter().for_each(|page| users.write(page.as_ptr().addr(), 9));
        (queue, own, sent, back)
    });
    let kernel = thread::spawn(move || {
        let mut numbers = Vec::new();
        for _ in 0..2 {
            let Some(desc) = kernel.take_tx() else { continue };
            numbers.push(kernels.read(kernels.chunk(desc.addr)));
            assert!(kernel.put_completion(desc.addr), "the user has read what was there before it sent this");
        }
        (kernel, numbers)
    });
    let ((queue, own, sent, back), (kernel, numbers)) = (user.join().unwrap(), kernel.join().unwrap());
    assert!(numbers.iter().copied().eq(1..=numbers.len() as u8), "sent twice, or in another order: {numbers:?}");
    end(queue, kernel);
    drop(own);
    drop(pool);
    assert_eq!(scene.out(), 0, "a page was lost");
    match (sent, numbers.len(), back) {
        (1, 0, false) => "one sent, not seen",
        (1, 1, false) => "one sent and seen",
        (1, 1, true) => "one sent and back",
        (2, 1, false) => "two sent, one seen",
        (2, 2, false) => "two sent and seen",
        (2, 2, true) => "two sent and back",
        _ => "something else",
    }
}

/// A descriptor that is said twice, and one of a chunk that was never given: on each the user finds out, whatever it is doing.
pub(crate) fn nonsense_against_user() -> &'static str {
    let (scene, home, umem) = scene(2);
    let mut pool = tiny(home, 2);
    let (mut queue, mut kernel) = model::queue(&umem, 2).unwrap();
    queue.rx.refill(&mut pool).unwrap();
    let kernels = scene.clone();
    let kernel = thread::spawn(move || {
        let addr = kernel.take_fill().expect("it was filled");
        kernels.write(kernels.chunk(addr), 1);
        kernel.put_rx(desc(addr));
        kernel.put_rx(desc(addr));
        kernel
    });
    let users = scene.clone();
    let user = thread::spawn(move || {
        let mut got = Vec::new();
        for _ in 0..2 {
            got.extend(queue.rx.receive(2).map(|buff| buff.into_packet()));
        }
        got.iter().for_each(|packet| users.write(place(packet), 2));
        (queue, pool, got)
    });
    let (kernel, (queue, pool, got)) = (kernel.join().unwrap(), user.join().unwrap());
    let outcome = match (got.len(), queue.counters().not_given.get()) {
        (0, 0) => "nothing seen",
        (1, 0) => "a packet",
        (1, 1) => "a packet and nonsense",
        _ => "something else",
    };
    drop(got);
    end(queue, kernel);
    drop(pool);
    assert_eq!(scene.out(), 0, "a page was lost, or is there twice");
    outcome
}

/// The kernel still writes to a chunk while the queue is closed, the chunk's pool is dropped, and another pool waits for its page.
pub(crate) fn late_write_against_close() -> &'static str {
    let (scene, home, umem) = scene(1);
    let mut pool = tiny(home.clone(), 1);
    let mut next = tiny(home, 1);
    let (mut queue, mut kernel) = queue(&umem);
    queue.rx.refill(&mut pool).unwrap();
    let kernels = scene.clone();
    let kernel = thread::spawn(move || {
        let addr = kernel.take_fill().expect("it was filled");
        kernels.write(kernels.chunk(addr), 1);
        kernel.quiet();
    });
    let closers = scene.clone();
    let closer = thread::spawn(move || {
        let mut closing = queue.close();
        while !closing.is_quiet() {
            spin();
        }
        let page = next.alloc().ok();
        page.iter().for_each(|page| closers.write(page.as_ptr().addr(), 2));
        page.is_some()
    });
    let dropper = thread::spawn(move || drop(pool));
    kernel.join().unwrap();
    let again = closer.join().unwrap();
    dropper.join().unwrap();
    assert_eq!(scene.out(), 0, "a page was lost");
    if again { "the next pool's" } else { "on its way" }
}

/// The kernel completes what it sent while the queue is closed: the page comes back once, by the completion or at the end.
pub(crate) fn completion_against_close() -> &'static str {
    let (scene, home, umem) = scene(2);
    let mut pool = tiny(home, 2);
    let (mut queue, mut kernel) = queue(&umem);
    let own = own(&pool);
    queue.rx.refill(&mut pool).unwrap();
    queue.tx.send(packet(&own, pool.alloc().unwrap())).map_err(|refused| refused.reason).unwrap();
    queue.tx.flush().unwrap();
    drop(own);
    let kernels = scene.clone();
    let kernel = thread::spawn(move || {
        let sent = kernel.take_tx().expect("sent").addr;
        kernels.read(kernels.chunk(sent));
        kernel.put_completion(sent);
        let fill = kernel.take_fill().expect("filled");
        kernels.write(kernels.chunk(fill), 1);
        kernel.quiet();
    });
    let closers = scene.clone();
    let closer = thread::spawn(move || {
        let completed = queue.tx.complete(1, |page| closers.write(page.as_ptr().addr(), 2));
        let mut closing = queue.close();
        let first = closing.is_quiet();
        while !closing.is_quiet() {
            spin();
        }
        let pages = [pool.alloc().unwrap(), pool.alloc().unwrap()];
        pages.iter().for_each(|page| closers.write(page.as_ptr().addr(), 3));
        drop(pages);
        (completed, first)
    });
    kernel.join().unwrap();
    let outcome = match closer.join().unwrap() {
        (0, false) => "not completed, waited",
        (0, true) => "not completed, quiet at once",
        (1, false) => "completed, waited",
        (1, true) => "completed, quiet at once",
        _ => "something else",
    };
    assert_eq!(scene.out(), 0, "a page was lost");
    outcome
}

/// A page of the pool of one queue leaves through another, on another thread, while its pool is dropped.
pub(crate) fn forward_against_pool_drop() -> &'static str {
    let (scene, home, umem) = scene(1);
    let mut pool = tiny(home, 1);
    let (mut from, mut from_kernel) = queue(&umem);
    let (mut to, mut to_kernel) = queue(&umem);
    from.rx.refill(&mut pool).unwrap();
    let addr = from_kernel.take_fill().unwrap();
    assert!(from_kernel.put_rx(desc(addr)));
    let received = from.rx.receive(1).next().unwrap().into_packet();
    let (kernels, senders) = (scene.clone(), scene.clone());
    let sender = thread::spawn(move || {
        senders.write(place(&received), 1);
        to.tx.send(received).map_err(|refused| refused.reason).unwrap();
        to.tx.flush().unwrap();
        let mut completed = 0;
        for _ in 0..2 {
            completed += to.tx.complete(1, |page| senders.write(page.as_ptr().addr(), 2));
        }
        (to, completed)
    });
    let kernel = thread::spawn(move || {
        if let Some(desc) = to_kernel.take_tx() {
            assert_eq!(kernels.read(kernels.chunk(desc.addr)), 1);
            to_kernel.put_completion(desc.addr);
        }
        to_kernel
    });
    let dropper = thread::spawn(move || drop(pool));
    let actors = [("sender", sender.thread().id()), ("dropper", dropper.thread().id())];
    let ((to, completed), to_kernel) = (sender.join().unwrap(), kernel.join().unwrap());
    dropper.join().unwrap();
    let sent_by = scene.last_sent_by(&actors);
    end(to, to_kernel);
    end(from, from_kernel);
    assert_eq!(scene.out(), 0, "a page was lost");
    match (completed, sent_by) {
        (0, _) => "home when it is quiet",
        (1, "sender") => "completed, the sender sends it home",
        (1, "dropper") => "completed, the dropper sends it home",
        _ => "something else",
    }
}

/// Somebody asks what the kernel holds while the two sides pass it around.
pub(crate) fn figures_against_both() -> &'static str {
    let (scene, home, umem) = scene(2);
    let mut pool = tiny(home, 2);
    let (mut queue, mut kernel) = queue(&umem);
    queue.rx.refill(&mut pool).unwrap();
    let (asked, handle) = (umem.clone(), pool.handle());
    let kernel = thread::spawn(move || {
        let addr = kernel.take_fill().expect("it was filled");
        kernel.put_rx(desc(addr));
        kernel
    });
    let user = thread::spawn(move || {
        let held: Vec<_> = queue.rx.receive(1).map(|buff| buff.into_packet()).collect();
        let _ = queue.rx.refill(&mut pool);
        (queue, pool, held)
    });
    let figures = thread::spawn(move || asked.kernel_held(&handle));
    let (kernel, (queue, pool, held), figure) = (kernel.join().unwrap(), user.join().unwrap(), figures.join().unwrap());
    let now = umem.kernel_held(&pool.handle());
    assert_eq!(now, queue.counters().kernel_held());
    drop(held);
    end(queue, kernel);
    drop(pool);
    assert_eq!(scene.out(), 0, "a page was lost");
    match (figure, now) {
        (1, 2) => "one, not received",
        (2, 2) => "two, not received",
        // Between the take and the give; or the chunk that comes back is looked at before, and the other one after.
        (0, 1) => "none, received",
        (1, 1) => "one, received",
        (2, 1) => "one too many, received",
        _ => "something else",
    }
}
