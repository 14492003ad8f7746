//! Ids and queues: states, order, errors, and the end with pages still out.
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use common::{Store, frame, pool, queue};
use pp_core::{Home, PagePool, PoolState};
use pp_xdp::{
    IdsExhausted, LookupError, MemId, MemModel, MemType, Memory, RegError, Registration, Registry, RxqInfo, RxqParams,
    RxqState, Share,
};

/// A share that is counted.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn model(count: &Arc<AtomicUsize>) -> MemModel {
        count.fetch_add(1, Ordering::Relaxed);
        MemModel::new(MemType::User, Counted(count.clone()))
    }
}

impl Share for Counted {
    fn state(&self) -> PoolState {
        PoolState::Open
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn id(registration: &Registration) -> u16 {
    registration.info().id.expect("an allocator has one").get()
}

#[test]
fn ids_go_round_their_whole_range() {
    let (registry, shares) = (Registry::new(), Arc::default());
    for lap in 0..2 {
        for expected in 1..=0xFFFD {
            let registration = registry.register(Counted::model(&shares)).unwrap();
            assert_eq!(id(&registration), expected, "lap {lap}");
        }
    }
    assert_eq!((registry.ids_in_use(), shares.load(Ordering::Relaxed)), (0, 0));
}

#[test]
fn a_full_registry_refuses_and_leaks_nothing() {
    let (registry, shares) = (Registry::new(), Arc::default());
    let mut all: Vec<_> = (0..0xFFFD).map(|_| registry.register(Counted::model(&shares)).unwrap()).collect();
    let mut ids: Vec<_> = all.iter().map(id).collect();
    ids.dedup();
    assert_eq!((ids.len(), ids[0], ids[0xFFFC]), (0xFFFD, 1, 0xFFFD));
    assert_eq!(registry.register(Counted::model(&shares)).unwrap_err(), IdsExhausted);
    assert_eq!(shares.load(Ordering::Relaxed), 0xFFFD, "the refused share is dropped, no other");
    assert_eq!(registry.ids_in_use(), 0xFFFD);

    // One that goes makes room for one, wherever it was.
    for gone in [6, 0xFFFC, 0] {
        let freed = id(&all[gone]);
        drop(all.swap_remove(gone));
        all.push(registry.register(Counted::model(&shares)).unwrap());
        assert_eq!(id(all.last().unwrap()), freed);
        assert_eq!(registry.register(Counted::model(&shares)).unwrap_err(), IdsExhausted);
    }
    drop(all);
    assert_eq!((registry.ids_in_use(), shares.load(Ordering::Relaxed)), (0, 0));
}

#[test]
fn an_id_that_somebody_has_in_hand_is_not_given_to_another() {
    let (first, last) = (MemId::new(1).unwrap(), MemId::new(3).unwrap());
    let (registry, shares) = (Registry::with_ids(first, last), Arc::default());
    let next = || registry.register(Counted::model(&shares)).map(|registration| id(&registration));
    let registration = registry.register(Counted::model(&shares)).unwrap();
    let (held, again) = (registry.lookup(first).unwrap(), registration.mem_ref().unwrap());
    assert_eq!((held.info(), again.info()), (registration.info(), registration.info()));
    drop(registration);
    assert_eq!(registry.lookup(first).unwrap_err(), LookupError::Leaving { id: first });
    assert_eq!([next(), next(), next(), next()], [Ok(2), Ok(3), Ok(2), Ok(3)], "1 is left out");
    assert_eq!(shares.load(Ordering::Relaxed), 1, "who looked at it keeps the share");
    drop(held);
    assert_eq!([next(), next()], [Ok(2), Ok(3)], "and so does the other");
    drop(again);
    assert_eq!(registry.lookup(first).unwrap_err(), LookupError::Unknown { id: first });
    assert_eq!((next(), shares.load(Ordering::Relaxed)), (Ok(1), 0));
}

#[test]
fn threads_register_look_up_and_go_at_the_same_time() {
    let (first, last) = (MemId::new(10).unwrap(), MemId::new(17).unwrap());
    let (registry, shares) = (Registry::with_ids(first, last), Arc::default());
    thread::scope(|scope| {
        for seed in 0..4 {
            let (registry, shares) = (&registry, &shares);
            scope.spawn(move || {
                let mut held = Vec::new();
                for round in 0..2000 {
                    match (seed + round) % 3 {
                        0 => held.extend(registry.register(Counted::model(shares)).ok().map(|mine| (Some(mine), None))),
                        1 => {
                            let id = MemId::new(10 + (round % 8) as u16).unwrap();
                            held.extend(registry.lookup(id).ok().map(|found| {
                                assert_eq!(found.info().id, Some(id));
                                (None, Some(found))
                            }));
                        }
                        _ if held.len() > 2 => drop(held.swap_remove(round % 3)),
                        _ => {}
                    }
                }
            });
        }
    });
    assert_eq!((registry.ids_in_use(), shares.load(Ordering::Relaxed)), (0, 0));
}

#[test]
fn a_queue_goes_through_its_states_and_no_others() {
    let registry = Registry::new();
    let (_home, pool) = pool(8);
    let params = RxqParams::new(3, 1).with_napi(9);
    let mut rxq = RxqInfo::new();
    let not = |state| RegError::NotRegistered { state };

    // New.
    assert_eq!((rxq.state(), rxq.is_reg(), rxq.mem(), rxq.params()), (RxqState::New, false, None, None));
    assert_eq!(rxq.unreg(), Err(not(RxqState::New)));
    assert_eq!(rxq.reg_mem_model(&registry, pool.model()), Err(not(RxqState::New)));
    assert_eq!(rxq.unreg_mem_model(), Err(not(RxqState::New)));
    assert_eq!(rxq.detach().unwrap_err(), not(RxqState::New));
    assert_eq!(rxq.reg(RxqParams::new(0, 1)), Err(RegError::NoDevice));
    assert_eq!((rxq.state(), registry.ids_in_use()), (RxqState::New, 0));

    // Registered.
    rxq.reg(params).unwrap();
    assert_eq!(rxq.reg(RxqParams::new(4, 4)), Err(RegError::AlreadyRegistered));
    assert_eq!((rxq.is_reg(), rxq.params()), (true, Some(params)), "the second left it as it was");
    assert_eq!(rxq.unused(), Err(RegError::AlreadyRegistered));
    assert_eq!(rxq.unreg_mem_model(), Err(RegError::NoMemory));

    // With memory.
    let mem = rxq.reg_mem_model(&registry, pool.model()).unwrap();
    assert_eq!((mem.mem_type, mem.id, rxq.mem()), (MemType::PagePool, MemId::new(1), Some(mem)));
    assert_eq!(rxq.reg_mem_model(&registry, pool.model()), Err(RegError::HasMemory { mem }));
    assert_eq!((registry.ids_in_use(), rxq.detach().unwrap_err()), (1, RegError::NoMemory), "it is not attached");
    rxq.unreg_mem_model().unwrap();
    assert_eq!((rxq.is_reg(), rxq.mem(), registry.ids_in_use()), (true, None, 0));

    // Unregistered, and once more.
    rxq.reg_mem_model(&registry, pool.model()).unwrap();
    rxq.unreg().unwrap();
    assert_eq!((rxq.state(), rxq.params(), registry.ids_in_use()), (RxqState::Unregistered, None, 0));
    assert_eq!(rxq.unreg(), Err(not(RxqState::Unregistered)));
    rxq.reg(params).unwrap();
    rxq.unreg().unwrap();

    // Unused, for good.
    rxq.unused().unwrap();
    assert_eq!((rxq.unreg(), rxq.unused(), rxq.state()), (Ok(()), Ok(()), RxqState::Unused));
    assert_eq!(rxq.reg(params), Err(RegError::Unused));
    assert_eq!(rxq.reg_mem_model(&registry, pool.model()), Err(not(RxqState::Unused)));
}

#[test]
fn types_are_registered_with_an_allocator_and_some_without() {
    let registry = Registry::new();
    for mem_type in MemType::ALL {
        let mut rxq = RxqInfo::new();
        rxq.reg(RxqParams::new(1, 0)).unwrap();
        let outcome = rxq.reg_mem_model(&registry, MemModel::without_allocator(mem_type));
        if mem_type.needs_pool() {
            assert_eq!(outcome, Err(RegError::PoolMissing { mem_type }));
        } else {
            assert_eq!(outcome.map(|mem| (mem.mem_type, mem.id)), Ok((mem_type, None)));
        }
    }
    assert_eq!(registry.ids_in_use(), 0);
}

#[test]
fn registering_unwinds_when_no_id_is_left() {
    let only = MemId::new(7).unwrap();
    let registry = Registry::with_ids(only, only);
    let (_home, pool) = pool(8);
    let holder = queue(&registry, &pool);
    // The driver's own order: queue, memory, and back by dropping what it has.
    let open = || {
        let mut rxq = RxqInfo::new();
        rxq.reg(RxqParams::new(1, 1))?;
        rxq.reg_mem_model(&registry, pool.model())?;
        Ok::<_, RegError>(rxq)
    };
    assert_eq!(open().unwrap_err(), RegError::Ids(IdsExhausted));
    assert_eq!(registry.ids_in_use(), 1);
    drop(holder);
    assert_eq!(open().unwrap().mem().unwrap().id, Some(only));
    assert_eq!(registry.ids_in_use(), 0);
}

#[test]
fn several_queues_attach_to_one_registration() {
    let registry = Registry::new();
    let (_home, mut pool) = pool(16);
    let registration = registry.register(pool.model()).unwrap();
    let mut queues = [(); 3].map(|()| RxqInfo::new());
    let refused = queues[0].attach(registration.mem_ref().unwrap()).unwrap_err();
    assert_eq!(refused.reason, RegError::NotRegistered { state: RxqState::New });
    assert_eq!(refused.buffer.info(), registration.info(), "given back");
    drop(refused);
    for (number, rxq) in queues.iter_mut().enumerate() {
        rxq.reg(RxqParams::new(1, number as u32)).unwrap();
        assert_eq!(rxq.attach(registration.mem_ref().unwrap()).unwrap(), registration.info());
    }
    let again = queues[0].attach(registration.mem_ref().unwrap()).unwrap_err();
    assert_eq!(again.reason, RegError::HasMemory { mem: registration.info() });
    drop(again);
    assert_eq!(registry.ids_in_use(), 1);
    drop(frame(&queues[2], &mut pool, 60, 1));

    assert_eq!(queues[0].unreg_mem_model(), Err(RegError::NoMemory), "it has registered none itself");
    drop(queues[0].detach().unwrap());
    queues[1].unreg().unwrap();
    drop(registration);
    assert_eq!(registry.ids_in_use(), 1, "the third is still attached");
    let [_, _, mut third] = queues;
    assert_eq!(third.detach().unwrap().state(), PoolState::Open);
    assert_eq!(registry.ids_in_use(), 0);
}

#[test]
fn unloading_with_pages_out_never_waits() {
    let registry = Registry::new();
    let (home, mut pool) = pool(64);
    let mut rxq = queue(&registry, &pool);
    let frames: Vec<_> = (0..8).map(|tag| frame(&rxq, &mut pool, 100, tag)).collect();
    let looked = registry.lookup(rxq.mem().unwrap().id.unwrap()).unwrap();
    let handle = pool.handle();
    rxq.unreg().unwrap();
    drop(pool);
    assert_eq!((looked.state(), handle.inflight(), home.out()), (PoolState::Closing, 8, 8));
    for (tag, frame) in frames.iter().enumerate() {
        assert!(frame.data().unwrap().iter().all(|byte| *byte == tag as u8));
    }
    thread::spawn(move || drop(frames)).join().unwrap();
    assert_eq!((looked.state(), handle.inflight(), home.out()), (PoolState::Closed, 0, 0));
}

#[test]
fn a_consumer_that_goes_on_with_another_pool_leaves_nothing_in_the_old_one() {
    // Kernel dd64b232deb8: the old pool thought the poll was still its own, and filled a cache that nobody emptied again.
    let registry = Registry::new();
    let home = Home::new(Store::host(4096, 64));
    let build = || PagePool::builder(home.clone()).refill(8).build().unwrap();
    let mut old = build();
    let rxq = queue(&registry, &old);
    let frames: Vec<_> = (0..8).map(|tag| frame(&rxq, &mut old, 100, tag)).collect();
    let handle = old.handle();
    drop((rxq, old));
    let mut new = build();
    let rxq = queue(&registry, &new);
    drop(frame(&rxq, &mut new, 100, 1));
    frames.into_iter().for_each(|frame| pp_xdp::return_frame_rx_napi(frame, &mut new));
    assert_eq!((handle.inflight(), handle.state()), (0, PoolState::Closed));
    assert_eq!(new.stats().in_use(), 0, "{}", new.stats());
}

#[test]
fn a_frame_whose_id_is_anothers_now_goes_home_to_its_own_pool() {
    let only = MemId::new(9).unwrap();
    let registry = Registry::with_ids(only, only);
    let ((old_home, mut old), (new_home, new)) = (pool(64), pool(64));
    let mut rxq = queue(&registry, &old);
    let [early, late] = [1, 2].map(|tag| frame(&rxq, &mut old, 100, tag));
    rxq.unreg().unwrap();
    // Nobody's.
    let refused = registry.return_frame(early).unwrap_err();
    assert_eq!((refused.reason, refused.buffer.mem().id), (LookupError::Unknown { id: only }, Some(only)));
    drop(refused);
    // Another's: only the number is looked at, and the memory does not follow it.
    let again = queue(&registry, &new);
    assert_eq!(again.mem().and_then(|mem| mem.id), Some(only));
    assert_eq!(old.stats().in_use(), 1);
    assert!(registry.return_frame(late).is_ok());
    assert_eq!((old.stats().in_use(), new.stats().in_use(), new.stats().puts()), (0, 0, 0));
    drop((old, new));
    assert_eq!((old_home.out(), new_home.out()), (0, 0));
}

#[test]
fn errors_say_what_to_do() {
    let id = MemId::MAX;
    let texts = [
        IdsExhausted.to_string(),
        LookupError::Unknown { id }.to_string(),
        LookupError::Leaving { id }.to_string(),
        RegError::AlreadyRegistered.to_string(),
        RegError::Unused.to_string(),
        RegError::NoDevice.to_string(),
        RegError::NotRegistered { state: RxqState::New }.to_string(),
        RegError::NoMemory.to_string(),
        RegError::PoolMissing { mem_type: MemType::Device }.to_string(),
    ];
    assert!(texts.iter().all(|text| text.contains([';', ','])), "{texts:?}");
}
