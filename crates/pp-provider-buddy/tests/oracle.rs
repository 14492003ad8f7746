//! Random work against a model that knows nothing but which units are free.
//!
//! With every pair of free buddies joined at once, the free blocks follow from the set of free units alone: they are the
//! largest aligned blocks that fit into it. So the model needs no free lists, and all counts must agree exactly.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

mod common;

use std::collections::BTreeMap;

use common::*;
use pp_core::{MemoryProvider, Recycling, Unit};
use pp_provider_buddy::{Buddy, ORDERS};
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Shape {
    /// log2 of the base unit, 11 to 16.
    unit_shift: u32,
    units: usize,
    max_order: u8,
    /// Where the region starts, in base units after a boundary of its largest block.
    offset_units: usize,
}

#[derive(Clone, Debug)]
enum Step {
    Alloc { order: u8, count: usize },
    Release { which: prop::sample::Index },
    ReleaseBulk { from: prop::sample::Index, count: usize },
}

fn shape() -> impl Strategy<Value = Shape> {
    (11u32..=16, 1usize..=80, 0u8..=7, 0usize..8).prop_map(|(unit_shift, units, max_order, offset_units)| Shape {
        unit_shift,
        units,
        max_order,
        offset_units,
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0u8..=8, prop_oneof![Just(1usize), 1usize..=64]).prop_map(|(order, count)| Step::Alloc { order, count }),
        2 => any::<prop::sample::Index>().prop_map(|which| Step::Release { which }),
        1 => (any::<prop::sample::Index>(), 1usize..=64)
            .prop_map(|(from, count)| Step::ReleaseBulk { from, count }),
    ]
}

/// One region in the model.
struct Area {
    base: usize,
    unit: usize,
    max_order: u8,
    free: Vec<bool>,
}

impl Area {
    /// Free blocks of each order, from nothing but the free units.
    fn blocks(&self) -> [usize; ORDERS] {
        let mut blocks = [0; ORDERS];
        let mut at = 0;
        while at < self.free.len() {
            if !self.free[at] {
                at += 1;
                continue;
            }
            let number = self.base / self.unit + at;
            let order = (0..=self.max_order)
                .rev()
                .find(|order| {
                    let len = 1usize << order;
                    number.is_multiple_of(len) && self.free.get(at..at + len).is_some_and(|all| all.iter().all(|f| *f))
                })
                .unwrap();
            blocks[usize::from(order)] += 1;
            at += 1 << order;
        }
        blocks
    }
}

struct Model {
    areas: Vec<Area>,
    unit: usize,
    /// Units that are out, by address.
    live: BTreeMap<usize, usize>,
}

impl Model {
    fn new(buddy: &Buddy, shapes: &[Shape]) -> Self {
        let areas: Vec<_> = buddy
            .regions()
            .iter()
            .zip(shapes)
            .map(|(region, shape)| Area {
                base: region.base().addr(),
                unit: region.unit_bytes(),
                max_order: shape.max_order,
                free: vec![true; region.units() as usize],
            })
            .collect();
        let unit = areas.iter().map(|area| area.unit).min().unwrap();
        Model { areas, unit, live: BTreeMap::new() }
    }

    /// Free blocks of each order, counted in the smallest base unit.
    fn blocks(&self) -> [usize; ORDERS] {
        let mut all = [0; ORDERS];
        for area in &self.areas {
            let shift = (area.unit / self.unit).ilog2() as usize;
            area.blocks().iter().enumerate().filter(|(_, n)| **n > 0).for_each(|(order, n)| all[order + shift] += n);
        }
        all
    }

    /// How many units of `order` can be had, as one region after the other is cut up.
    fn available(&self, order: u8) -> usize {
        self.areas
            .iter()
            .map(|area| {
                let shift = (area.unit / self.unit).ilog2() as usize;
                let Some(order) = usize::from(order).checked_sub(shift) else { return 0 };
                area.blocks().iter().enumerate().skip(order).map(|(from, n)| n << (from - order)).sum()
            })
            .sum()
    }

    fn set(&mut self, address: usize, bytes: usize, free: bool) {
        let area = self
            .areas
            .iter_mut()
            .find(|area| (area.base..area.base + area.free.len() * area.unit).contains(&address))
            .expect("inside a region");
        let first = (address - area.base) / area.unit;
        for state in &mut area.free[first..first + bytes / area.unit] {
            assert_ne!(*state, free, "overlap at {address:#x}");
            *state = free;
        }
    }

    fn out(&mut self, unit: &Unit, order: u8) {
        let (address, bytes) = span(unit);
        assert_eq!(bytes, self.unit << order);
        assert_eq!(address % bytes, 0, "not aligned to its size");
        assert_eq!((unit.descriptor().order(), unit.descriptor().recycling()), (order, Recycling::Allowed));
        self.set(address, bytes, false);
        assert_eq!(self.live.insert(address, bytes), None);
    }

    fn home(&mut self, unit: &Unit) {
        let (address, bytes) = span(unit);
        assert_eq!(self.live.remove(&address), Some(bytes));
        self.set(address, bytes, true);
    }
}

fn run(shapes: &[Shape], steps: &[Step]) {
    let buddy = shapes
        .iter()
        .fold(Buddy::builder(), |builder, shape| {
            let unit = 1usize << shape.unit_shift;
            let memory = Heap::new(shape.units * unit, unit << shape.max_order, shape.offset_units * unit);
            // SAFETY: nobody else knows the memory.
            unsafe { builder.unit_bytes(unit).max_order(shape.max_order).exclusive_memory(memory) }
        })
        .build()
        .unwrap();
    let mut model = Model::new(&buddy, shapes);
    let initial = buddy.buddyinfo();
    let mut units = Vec::new();
    for step in steps {
        match step {
            Step::Alloc { order, count } => {
                let possible = if *order <= buddy.geometry().max_order { model.available(*order) } else { 0 };
                let got = alloc(&*buddy, *order, *count);
                assert_eq!(got.len(), possible.min(*count), "order {order}");
                for unit in got {
                    model.out(&unit, *order);
                    units.push(unit);
                }
            }
            Step::Release { which } if !units.is_empty() => {
                let unit = units.swap_remove(which.index(units.len()));
                model.home(&unit);
                buddy.release(unit);
            }
            Step::ReleaseBulk { from, count } if !units.is_empty() => {
                let from = from.index(units.len());
                let some: Vec<_> = units.drain(from..(from + count).min(units.len())).collect();
                some.iter().for_each(|unit| model.home(unit));
                release_bulk(&*buddy, some);
            }
            Step::Release { .. } | Step::ReleaseBulk { .. } => {}
        }
        let info = &buddy.buddyinfo()[0];
        assert_eq!(info.blocks, model.blocks(), "after {step:?}");
        assert!((0.0..=1.0).contains(&buddy.fragmentation_index()));
        let out: usize = model.live.values().map(|bytes| bytes / model.unit).sum();
        assert_eq!(info.free_units + out, info.total_units, "conservation");
    }
    units.iter().for_each(|unit| model.home(unit));
    release_bulk(&*buddy, units);
    assert_eq!(buddy.buddyinfo(), initial, "everything home is everything joined");
    assert_eq!((buddy.stray_releases(), buddy.fragmentation_index()), (0, 0.0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_set_of_free_units(shape in shape(), steps in vec(step(), 1..80)) {
        run(&[shape], &steps);
    }

    #[test]
    fn regions_of_different_base_units_on_one_node(shapes in vec(shape(), 2..=3), steps in vec(step(), 1..80)) {
        run(&shapes, &steps);
    }
}

#[test]
fn every_base_unit_goes_out_and_joins_again() {
    for unit_shift in 11..=16 {
        let shape = Shape { unit_shift, units: 32, max_order: 5, offset_units: 0 };
        let all = |order| Step::Alloc { order, count: 64 };
        let back = Step::ReleaseBulk { from: first(), count: 64 };
        let steps: Vec<_> = (0..=5).flat_map(|order| [all(order), back.clone()]).collect();
        run(&[shape], &steps);
    }
}

/// An index that picks the first of whatever there is.
fn first() -> prop::sample::Index {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut value = any::<prop::sample::Index>().new_tree(&mut runner).unwrap();
    while value.simplify() {}
    value.current()
}
