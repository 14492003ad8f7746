//! A provider that keeps books on every unit and fails when told to.

use core::alloc::Layout;
use core::marker::PhantomData;
use std::alloc::{alloc_zeroed, dealloc};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pp_core::{
    Access, Backing, Description, Device, DmaAddr, Exposed, Geometry, Host, MemoryProvider, NodeId, ProvideError,
    Recycling, Region, RegionMemory, Request, Unit, UnitSink,
};

use super::{key, seen_at};

/// Zeroed memory that goes with its owner.
pub(crate) struct Memory {
    base: *mut u8,
    layout: Layout,
}

// SAFETY: the allocation is this value's own until it is dropped; null stands for memory without an address.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    pub(crate) fn new(layout: Layout, addressable: bool) -> Self {
        if !addressable {
            return Memory { base: core::ptr::null_mut(), layout };
        }
        // SAFETY: no test asks for 0 bytes.
        let base = unsafe { alloc_zeroed(layout) };
        assert!(!base.is_null(), "memory for a test");
        Memory { base, layout }
    }
}

// SAFETY: zeroed memory from the allocator, exclusive and unmoved until the drop; or null.
unsafe impl RegionMemory for Memory {
    fn base(&self) -> *mut u8 {
        self.base
    }
    fn bytes(&self) -> usize {
        self.layout.size()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if !self.base.is_null() {
            // SAFETY: allocated with this layout in `new`.
            unsafe { dealloc(self.base, self.layout) };
        }
    }
}

/// What a depot has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) unit_bytes: usize,
    /// Base units on each node.
    pub(crate) units: usize,
    pub(crate) nodes: u16,
    pub(crate) max_order: u8,
    /// How many units at the end of each node are its emergency reserve.
    pub(crate) reserve: usize,
}

impl Shape {
    pub(crate) fn plain(unit_bytes: usize, units: usize) -> Self {
        Shape { unit_bytes, units, nodes: 1, max_order: 0, reserve: 0 }
    }
}

/// How one call of `alloc_bulk` goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Give {
    All,
    AtMost(usize),
    Fail(ProvideError),
}

struct State {
    /// For each unit of each node: whether it is out, and how often it was handed out.
    taken: Vec<Vec<(bool, usize)>>,
    out: usize,
    calls: usize,
    plan: Box<dyn Fn(usize) -> Give + Send>,
    premap: bool,
    lost: bool,
}

/// See the module. Units come and go lowest first, in groups of any order up to the shape's.
pub(crate) struct Depot<A: Access = Host> {
    shape: Shape,
    regions: Vec<Region>,
    state: Mutex<State>,
    _access: PhantomData<fn(A)>,
}

impl<A: Access> Depot<A> {
    pub(crate) fn new(shape: Shape) -> Self {
        let align = shape.unit_bytes << shape.max_order;
        let layout = Layout::from_size_align(shape.unit_bytes * shape.units, align).expect("a size that fits");
        let region = |node| {
            let memory = Memory::new(layout, A::NAME != Device::NAME);
            Region::new(memory, shape.unit_bytes, NodeId(node)).expect("a region")
        };
        Depot {
            shape,
            regions: (0..shape.nodes).map(region).collect(),
            state: Mutex::new(State {
                taken: vec![vec![(false, 0); shape.units]; usize::from(shape.nodes)],
                out: 0,
                calls: 0,
                plan: Box::new(|_| Give::All),
                premap: false,
                lost: false,
            }),
            _access: PhantomData,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides how each call from now on goes; they are numbered from 1.
    pub(crate) fn plan(&self, plan: impl Fn(usize) -> Give + Send + 'static) {
        let mut state = self.state();
        state.calls = 0;
        state.plan = Box::new(plan);
    }

    /// Whether units come mapped.
    pub(crate) fn premap(&self, premap: bool) {
        self.state().premap = premap;
    }

    /// Base units that are out.
    pub(crate) fn out(&self) -> usize {
        self.state().out
    }

    /// Calls of `alloc_bulk` since the plan.
    pub(crate) fn calls(&self) -> usize {
        self.state().calls
    }

    /// Free groups of `order`.
    pub(crate) fn free(&self, order: u8) -> usize {
        let state = self.state();
        let group = |units: &[(bool, usize)]| units.len() == 1 << order && units.iter().all(|(taken, _)| !taken);
        state.taken.iter().map(|node| node.chunks(1 << order).filter(|units| group(units)).count()).sum()
    }

    /// How often the unit with this descriptor address was handed out.
    pub(crate) fn stay(&self, unit: usize) -> usize {
        let index_in = |region: &Region| {
            let offset = unit.checked_sub(key(region.descriptor(0)?))?;
            Some(offset / size_of::<pp_core::Descriptor>()).filter(|index| *index < self.shape.units)
        };
        let place = |(node, region)| Some((node, index_in(region)?));
        let (node, index) = self.regions.iter().enumerate().find_map(place).expect("a unit of this provider");
        self.state().taken[node][index].1
    }

    fn place(&self, unit: &pp_core::Descriptor) -> (usize, usize) {
        let place = |(node, region): (usize, &Region)| region.index_of(unit).map(|index| (node, index as usize));
        self.regions.iter().enumerate().find_map(place).expect("a unit of this provider")
    }

    fn hand_out(&self, state: &mut State, node: usize, order: u8) -> Option<Unit> {
        let free = |units: &[(bool, usize)]| units.len() == 1 << order && units.iter().all(|(taken, _)| !taken);
        let first = state.taken[node].chunks(1 << order).position(free)? << order;
        for place in &mut state.taken[node][first..first + (1 << order)] {
            *place = (true, place.1 + 1);
        }
        state.out += 1 << order;
        let region = &self.regions[node];
        let reserve = first + (1 << order) > self.shape.units - self.shape.reserve;
        let recycling = if reserve { Recycling::Never } else { Recycling::Allowed };
        let descriptor = region.descriptor(first as u32).expect("a unit");
        let len = (self.shape.unit_bytes << order) as u32;
        let addr = region.address(first as u32).map_or(core::ptr::null_mut(), |addr| addr.as_ptr());
        // What a free list would leave there: numbers that mean nothing to the pool.
        descriptor.home_words()[0].store(7, core::sync::atomic::Ordering::Relaxed);
        descriptor.home_words()[1].store(!(first as u32), core::sync::atomic::Ordering::Relaxed);
        // SAFETY: none of the group was taken, so all of it is home; the group's memory is the region's.
        unsafe {
            descriptor.reshape(addr, len, order, recycling);
            Some(region.unit(first as u32))
        }
    }
}

// SAFETY: (1) a unit is handed out only when its `taken` is false, and then it is true; (2) the regions are fields;
// (3) `release` makes `taken` false again; (4) both lock; a panic here is a failed test; (5) as `hand_out` is asked.
unsafe impl<A: Access> MemoryProvider for Depot<A> {
    fn alloc_bulk(&self, request: &Request, units: &mut UnitSink<'_>) -> Result<(), ProvideError> {
        let mut state = self.state();
        state.calls += 1;
        if state.lost {
            return Err(ProvideError::DeviceLost);
        }
        let (most, end) = match (state.plan)(state.calls) {
            Give::All => (usize::MAX, Ok(())),
            Give::AtMost(most) => (most, Ok(())),
            Give::Fail(error) => (0, Err(error)),
        };
        let mut nodes: Vec<usize> = (0..usize::from(self.shape.nodes)).collect();
        if let Some(preferred) = request.node {
            nodes.sort_by_key(|node| *node != usize::from(preferred.0));
        }
        while units.room() > 0 && units.len() < most {
            let unit = nodes.iter().find_map(|node| self.hand_out(&mut state, *node, request.order));
            let Some(unit) = unit else { return Err(ProvideError::OutOfMemory) };
            units.push(unit);
        }
        end
    }

    fn release(&self, unit: Unit) {
        let (node, first) = self.place(unit.descriptor());
        let count = 1usize << unit.descriptor().order();
        let mut state = self.state();
        for place in &mut state.taken[node][first..first + count] {
            assert!(place.0, "a unit came home twice");
            place.0 = false;
        }
        state.out -= count;
        for word in unit.descriptor().home_words() {
            word.store(u32::MAX, core::sync::atomic::Ordering::Relaxed);
        }
        unit.consume();
    }

    fn geometry(&self) -> Geometry {
        let Shape { unit_bytes, nodes, max_order, .. } = self.shape;
        Geometry { unit_bytes, max_order, nodes }
    }

    fn describe(&self) -> Description {
        let total = self.shape.units * usize::from(self.shape.nodes);
        Description::new("depot", total, total - self.out())
    }

    fn premapped(&self, unit: &Unit) -> Option<DmaAddr> {
        self.state().premap.then(|| DmaAddr(seen_at(key(unit.descriptor()))))
    }

    fn device_lost(&self) {
        self.state().lost = true;
    }
}

// SAFETY: ordinary memory of this process, the pages' own while they are out.
unsafe impl Backing for Depot<Host> {
    type Access = Host;
}
// SAFETY: as above; that nobody else writes it is more than was promised.
unsafe impl Backing for Depot<Exposed> {
    type Access = Exposed;
}
// SAFETY: nothing is promised.
unsafe impl Backing for Depot<Device> {
    type Access = Device;
}

impl<A: Access> Drop for Depot<A> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.out(), 0, "the provider is freed under pages that are out");
        }
    }
}
