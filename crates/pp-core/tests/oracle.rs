//! Random operations over random pools, against a model that predicts every figure; and the same body on plain threads.
//!
//! Two pools stand on one region, and each is given the other's pages. After every step all statistics, mappings, syncs and
//! units out are what the model says; at the end every unit is home.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

mod common;

use core::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;

use common::{Give, Hand, Setup, Shape, Step, Verb, World, law};
use pp_core::{DmaError, Home, PoolState, ProvideError, Zeroing};
use proptest::prelude::*;

fn setups() -> impl Strategy<Value = Setup> {
    let memory = (prop_oneof![Just(4096usize), Just(16384), Just(65536)], 1usize..40, 0usize..6, 0u8..3);
    // Rings from 128 slots on have several lanes.
    let sizes = (prop_oneof![1usize..12, 1usize..70, 128usize..300], 1usize..24, any::<prop::sample::Index>());
    let bounds = (prop::option::of(1usize..40), 0usize..40);
    let returners = (0usize..4, 1usize..10, prop::option::of(1usize..50));
    let zeroing = prop_oneof![Just(Zeroing::Never), Just(Zeroing::OnEntry), Just(Zeroing::OnCrossOwner)];
    let dma = prop::option::of(prop::option::of((0usize..100, 1usize..4000)));
    (memory, sizes, bounds, returners, zeroing, dma).prop_map(
        |(
            (unit_bytes, units, reserve, order),
            (pool_size, cache, refill),
            (limit, watermark),
            returners,
            zeroing,
            dma,
        )| {
            let order = if order == 2 { 1 } else { 0 };
            let shape =
                Shape { unit_bytes, units: units << order, nodes: 1, max_order: order, reserve: reserve.min(units) };
            let watermark = Some(watermark).filter(|watermark| limit.is_none_or(|limit| *watermark < limit));
            let (returners, bag, batch_bag) = returners;
            Setup {
                shape,
                order,
                pool_size,
                cache,
                refill: refill.index(cache) + 1,
                limit,
                watermark,
                returners,
                bag,
                batch_bag,
                zeroing,
                dma,
            }
        },
    )
}

fn verbs() -> impl Strategy<Value = Verb> {
    let often = |verb| Just(verb).boxed();
    prop_oneof![
        12 => often(Verb::Alloc),
        6 => often(Verb::AllocInto),
        4 => often(Verb::BatchRound),
        4 => often(Verb::RecycleDirect),
        3 => often(Verb::RecycleBatch),
        4 => often(Verb::Drop),
        2 => often(Verb::PutSynced),
        2 => often(Verb::TryPut),
        1 => often(Verb::HandlePut),
        2 => often(Verb::HandleBatch),
        2 => often(Verb::DropBatch),
        3 => often(Verb::ReturnerPut),
        3 => often(Verb::ReturnerBatch),
        1 => often(Verb::ReturnerAgain),
        3 => often(Verb::Share),
        4 => often(Verb::CloneShared),
        2 => often(Verb::TryUnshare),
        2 => often(Verb::Release),
        4 => often(Verb::DropShared),
        2 => often(Verb::Detach),
        2 => often(Verb::Raw),
        1 => often(Verb::Trim),
        1 => often(Verb::UpdateNid),
        1 => often(Verb::SetLimit),
        4 => often(Verb::Pass),
    ]
}

fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = (verbs(), 0usize..2, any::<u16>(), 0usize..14);
    let step = step.prop_map(|(verb, pool, pick, count)| Step { verb, pool, pick: pick.into(), count });
    prop::collection::vec(step, 1..most)
}

/// What must be so once everything is dropped.
fn all_home(world: &World) {
    for (pool, handle) in world.handles.iter().enumerate() {
        let stats = handle.stats();
        let allocations = world.allocations[pool].load(Ordering::Relaxed);
        law(&stats, allocations, allocations - stats.detached, 0);
        assert_eq!((handle.state(), stats.strays, stats.mapped), (PoolState::Closed, 0, 0));
        assert_eq!(world.windows[pool].maps(), world.windows[pool].unmaps());
        world.windows[pool].verify();
    }
    assert_eq!(world.home.out(), 0, "a unit is not home");
    assert_eq!(Home::owners(&world.home), 1, "somebody still owns the provider");
}

/// So many cases, unless `PROPTEST_CASES` says otherwise.
fn config(cases: u32) -> ProptestConfig {
    let from_env = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_some() { from_env } else { ProptestConfig { cases, ..from_env } }
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn a_pool_does_what_its_model_predicts(
        setup in setups(),
        before in steps(160),
        close in prop::option::of(0usize..2),
        after in steps(80),
        pools_first in any::<bool>(),
    ) {
        let (world, pools) = World::new(&setup);
        let mut hand = Hand::new(&world, pools).predicted();
        before.into_iter().for_each(|step| hand.step(step));
        if let Some(pool) = close {
            hand.step(Step { verb: Verb::Close, pool, pick: 0, count: 0 });
        }
        after.into_iter().for_each(|step| hand.step(step));
        hand.finish(pools_first);
        all_home(&world);
    }
}

proptest! {
    #![proptest_config(config(40))]

    /// One consumer of both pools and three threads that only hold and return, pages passing round a circle of them.
    ///
    /// Here the provider may have two nodes, and it and the devices fail now and then.
    #[test]
    fn threads_lose_nothing(
        setup in setups(),
        nodes in 1u16..3,
        faults in any::<bool>(),
        plans in prop::collection::vec(steps(400), 4),
        pools_first in any::<bool>(),
    ) {
        let (world, pools) = World::new(&Setup { shape: Shape { nodes, ..setup.shape }, ..setup });
        if faults {
            world.home.plan(|call| match call % 7 {
                2 => Give::Fail(ProvideError::OutOfMemory),
                4 => Give::AtMost(1),
                _ => Give::All,
            });
            let refused = |call: usize| if call.is_multiple_of(11) { Err(DmaError::Full) } else { Ok(()) };
            world.windows.iter().for_each(|window| window.plan(refused));
        }
        let mut pools = Some(pools);
        let (senders, inboxes): (Vec<_>, Vec<_>) = (0..plans.len()).map(|_| mpsc::channel()).unzip();
        thread::scope(|scope| {
            for (index, (plan, inbox)) in plans.into_iter().zip(inboxes).enumerate() {
                let next = senders[(index + 1) % senders.len()].clone();
                let mine = if index == 0 { pools.take().unwrap_or_default() } else { Vec::new() };
                let mut hand = Hand::new(&world, mine).with_mail(inbox, next);
                scope.spawn(move || {
                    plan.into_iter().for_each(|step| hand.step(step));
                    hand.finish(pools_first);
                });
            }
            drop(senders);
        });
        all_home(&world);
    }
}
