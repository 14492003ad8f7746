//! One node's memory under one lock.
//!
//! Kernel counterpart: `struct zone` with its `lock`, `free_area` and watermarks (Linux 7.3, `include/linux/mmzone.h`).

use alloc::vec::Vec;

use pp_core::lock::{Locked, RawLock};
use pp_core::{NodeId, Region};

use crate::ORDERS;
use crate::area::Area;
use crate::info::{NodeInfo, Pieces};
use crate::watermark::Watermark;

/// Where a unit is: the place of its region among all, and its index there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) region: usize,
    pub(crate) index: u32,
}

/// Which part of a zone a request may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Only what lies above the min watermark.
    Ordinary,
    /// One block, wherever it lies; only where a watermark is set.
    Reserve,
}

/// The free memory of one node.
// Zones of two nodes never share a line, nor a pair of lines that is fetched together.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Zone<L> {
    node: NodeId,
    state: Locked<L, ZoneState>,
}

/// What the lock protects.
#[derive(Debug)]
pub(crate) struct ZoneState {
    members: Vec<Member>,
    mark: Watermark,
    /// Free and total, in base units of the buddy.
    free: usize,
    total: usize,
}

/// A region of this zone.
#[derive(Debug)]
pub(crate) struct Member {
    region: usize,
    /// log2 of this region's base unit in base units of the buddy.
    shift: u8,
    area: Area,
}

impl Member {
    pub(crate) fn new(region: usize, shift: u8, area: Area) -> Self {
        Member { region, shift, area }
    }
}

impl<L: RawLock> Zone<L> {
    /// The zone of `node` over `members`, keeping `reserve` base units of the buddy.
    pub(crate) fn new(node: NodeId, members: Vec<Member>, reserve: usize) -> Self {
        let total = members.iter().map(|member| (member.area.units() as usize) << member.shift).sum();
        let state = ZoneState { members, mark: Watermark::new(reserve), free: total, total };
        Zone { node, state: Locked::new(state) }
    }

    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    /// Runs `f` with the lock held. Every verb below is called in here.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut ZoneState) -> R) -> R {
        self.state.with(f)
    }

    /// What it has now.
    pub(crate) fn info(&self) -> NodeInfo {
        self.with(|state| {
            let mut blocks = [0; ORDERS];
            for member in &state.members {
                for (order, n) in member.area.blocks().iter().enumerate().filter(|(_, n)| **n > 0) {
                    blocks[order + usize::from(member.shift)] += *n as usize;
                }
            }
            NodeInfo {
                node: self.node,
                total_units: state.total,
                free_units: state.free,
                reserve_units: state.mark.min(),
                blocks,
            }
        })
    }

    pub(crate) fn pieces(&self) -> Pieces {
        self.with(|state| state.members.iter().map(|member| member.area.pieces()).fold(Pieces::default(), Pieces::add))
    }
}

impl ZoneState {
    /// Takes up to `want` blocks of `order`, telling `hand` where each begins. Returns how many.
    ///
    /// The first region that has some serves first, so that later ones stay whole.
    pub(crate) fn take(
        &mut self,
        regions: &[Region],
        order: u8,
        want: usize,
        depth: Depth,
        mut hand: impl FnMut(Place),
    ) -> usize {
        let want = match depth {
            Depth::Ordinary => want.min(self.mark.room(self.free, order)),
            Depth::Reserve => want.min(1).min(self.mark.min()),
        };
        let mut given = 0;
        for member in &mut self.members {
            if given == want {
                break;
            }
            // A region of larger base units has no blocks this small.
            let Some(area_order) = order.checked_sub(member.shift) else { continue };
            let region = member.region;
            let Some(memory) = regions.get(region) else { continue };
            given += member.area.take(memory, area_order, want - given, |index| hand(Place { region, index }));
        }
        self.free -= given << order;
        given
    }

    /// Takes the block at `place` back. False if none that is out begins there; then nothing changed.
    pub(crate) fn put(&mut self, regions: &[Region], place: Place) -> bool {
        let Some(member) = self.members.iter_mut().find(|member| member.region == place.region) else { return false };
        let order = regions.get(place.region).and_then(|memory| member.area.put(memory, place.index));
        let Some(order) = order else { return false };
        self.free += 1usize << (order + member.shift);
        debug_assert!(member.area.free() <= member.area.units());
        true
    }
}
