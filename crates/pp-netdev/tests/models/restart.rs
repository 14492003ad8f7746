//! A receive queue that is restarted on another pool, against its device and against pages of the old pool that come back late.

use std::io;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use pp_core::doc::Heap;
use pp_core::{DmaDirection, Home, PagePool, PoolState};
use pp_netdev::ring::{Bells, ring};
use pp_netdev::steer::SteeringTable;
use pp_netdev::{
    Bell, DmaWindow, Frame, FrameSource, GateError, OnNoBuffer, RestartError, RxDevice, RxQueue, StopFlag,
};

use super::thread;

/// Whether the device can reach the new pool's pages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reachable {
    Yes,
    No,
}

/// Whether a page of the old pool is elsewhere when the queue is restarted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Elsewhere {
    APage,
    Nothing,
}

/// So many frames, and no more.
struct Frames(u64);

impl FrameSource for Frames {
    fn next_frame(&mut self) -> io::Result<Option<Frame<'_>>> {
        if self.0 == 0 {
            return Ok(None);
        }
        self.0 -= 1;
        Ok(Some(Frame { bytes: &[7; 4], mark: self.0 }))
    }
}

/// Windows are counted, so that their addresses never meet; executions are many. The checkers run every modelled thread on the
/// thread of its test, so that no two tests share one.
fn windows() -> [Arc<DmaWindow>; 2] {
    thread_local! {
        static WINDOWS: [Arc<DmaWindow>; 2] = [(); 2].map(|()| Arc::new(DmaWindow::new(4, 64).unwrap()));
    }
    WINDOWS.with(Clone::clone)
}

fn pool(pages: usize, window: &Arc<DmaWindow>) -> (Home<Heap>, PagePool) {
    let heap = Home::new(Heap::new(64, pages));
    let builder = PagePool::builder(heap.clone()).cache(pages).refill(pages).pool_size(1);
    (heap, builder.dma(Arc::clone(window), DmaDirection::Bidirectional).build().unwrap())
}

/// The device receives its frames, whichever ring they go to; one thread restarts the queue and handles them; one gives a page
/// of the old pool back, if one is out. Returns how the restart went, how many frames came in pages of the old and the new
/// pool, and whether the late page came back before or after the old pool was closed.
pub(crate) fn restart(frames: u64, reachable: Reachable, elsewhere: Elsewhere) -> String {
    let [window, other] = &windows();
    let (old_heap, mut old_pool) = pool(2, window);
    let (new_heap, new_pool) = pool(1, if reachable == Reachable::Yes { window } else { other });
    let late_page = (elsewhere == Elsewhere::APage).then(|| old_pool.alloc().unwrap());
    let (old, bell) = (old_pool.handle(), Arc::new(Bell::new()));
    let bells = Bells { poster: bell.clone(), device: Arc::new(Bell::new()), cleaner: bell.clone() };
    let (poster, device, cleaner) = ring(1.try_into().unwrap(), bells);
    let table = SteeringTable::new(NonZeroU16::MIN);
    let rings = vec![(device, Arc::default())];
    let (device, gates) = RxDevice::new(rings, table, Arc::clone(window), OnNoBuffer::Wait).unwrap();
    let mut rx = RxQueue::new(old_pool, poster, cleaner).with_gate(gates.into_iter().next().unwrap());
    rx.refill().unwrap();

    let receiving = thread::spawn(move || device.run(&mut Frames(frames), None, &StopFlag::new()).unwrap());
    let returning = late_page.map(|page| thread::spawn(move || drop(page)));
    let driving = thread::spawn(move || {
        let how = match rx.restart(new_pool, Duration::MAX) {
            Ok(_) => "restarted",
            Err(failed) => match failed.error {
                RestartError::Stop(GateError::Gone) => "gone",
                RestartError::Start(GateError::Unreachable) => "refused",
                other => panic!("{other}"),
            },
        };
        // At once, with whatever is out: frames of the old ring, the late page.
        rx.free_retired();
        let (mut from_old, mut from_new) = (0, 0);
        loop {
            let left = rx.device_left();
            while let Some(received) = rx.receive() {
                // The old pool is closed, so its pages have no address any more.
                match (how, received.buffer.dma_addr()) {
                    ("restarted", Some(_)) => from_new += 1,
                    _ => from_old += 1,
                }
                rx.recycle(received.buffer);
                rx.refill().unwrap();
            }
            if left.is_some() {
                break;
            }
            bell.wait(|| rx.has_received() || rx.device_left().is_some());
        }
        drop(rx.close());
        (how, from_old, from_new)
    });
    receiving.join().unwrap();
    returning.into_iter().for_each(|returning| returning.join().unwrap());
    let (how, from_old, from_new) = driving.join().unwrap();
    assert_eq!(from_old + from_new, frames, "a frame is lost");
    assert_eq!((old.inflight(), old.state()), (0, PoolState::Closed), "a page of the old pool is lost");
    for (heap, units) in [(old_heap, 2), (new_heap, 1)] {
        assert_eq!(heap.free_units(), units, "a page came home twice or never");
    }
    let late = match elsewhere {
        Elsewhere::Nothing => "",
        Elsewhere::APage if old.stats().recycle.released_closed > 0 => ", late page after the close",
        Elsewhere::APage => ", late page before the close",
    };
    format!("{how}: {from_old} old, {from_new} new{late}")
}
