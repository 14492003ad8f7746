//! Where a pool's memory comes from.
//!
//! A provider hands out [`Unit`]s and takes them back. The pool calls it once in a refill of 64 pages and never on
//! the fast path, so it may lock. Kernel counterpart: `struct memory_provider_ops` (Linux 7.3,
//! `include/net/page_pool/memory_provider.h`).

use core::mem::MaybeUninit;
use core::ptr::NonNull;

use crate::access::Access;
use crate::descriptor::{Descriptor, owner};
use crate::dma::DmaAddr;
use crate::region::Region;
use crate::sync::Ordering;

/// A memory node, as the operating system numbers them. See [`MemoryProvider`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u16);

impl core::fmt::Display for NodeId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "node {}", self.0)
    }
}

/// What a pool asks its provider for. See [`UnitSink`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// log2 of the number of base units in one unit. The same in every request of one pool.
    pub order: u8,
    /// The node the units should lie on; others are acceptable when it has none. `None`: any.
    pub node: Option<NodeId>,
}

impl Request {
    /// Units of 2^`order` base units, preferably on `node`. See [`UnitSink`].
    pub const fn new(order: u8, node: Option<NodeId>) -> Self {
        Request { order, node }
    }
}

/// Why a provider handed out nothing. See [`premapped`](MemoryProvider::premapped).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProvideError {
    /// No unit of that order is free now; one may be later.
    OutOfMemory,
    /// The device or memory behind the provider is gone for good.
    DeviceLost,
}

impl core::fmt::Display for ProvideError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            ProvideError::OutOfMemory => {
                "the provider has no free unit; return pages, shrink the pool or give the provider more memory"
            }
            ProvideError::DeviceLost => "the memory behind the provider is gone; drop the pool",
        })
    }
}

impl core::error::Error for ProvideError {}

/// The units a provider can hand out. See [`MemoryProvider`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Bytes in a unit of order 0: a power of two.
    pub unit_bytes: usize,
    /// The largest order it can hand out.
    pub max_order: u8,
    /// How many memory nodes its units lie on. 1 lets the pool skip the node check.
    pub nodes: u16,
}

/// What a provider says of itself, for people and tables. See [`MemoryProvider`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Description {
    /// Its kind, one lower-case word: `buddy`, `passthrough`.
    pub name: &'static str,
    /// Base units it has in all, as far as it knows.
    pub total_units: usize,
    /// Of those, how many are home.
    pub free_units: usize,
    /// How broken up the free memory is: 0 is one piece, towards 1 is all single units. `None` where that means nothing.
    pub fragmentation_index: Option<f32>,
}

impl Description {
    /// A provider called `name` that has `free_units` of `total_units` at home. See [`MemoryProvider`].
    pub const fn new(name: &'static str, total_units: usize, free_units: usize) -> Self {
        Description { name, total_units, free_units, fragmentation_index: None }
    }

    /// Adds the fragmentation index.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pp_core::Description;
    /// let buddy = Description::new("buddy", 1024, 512).with_fragmentation(0.25);
    /// assert_eq!((buddy.name, buddy.fragmentation_index), ("buddy", Some(0.25)));
    /// ```
    pub const fn with_fragmentation(mut self, index: f32) -> Self {
        self.fragmentation_index = Some(index);
        self
    }
}

/// Memory for pools.
///
/// # Safety
///
/// In one paragraph: a unit is handed out to one caller at a time, stays valid and unmoved with its descriptor until
/// the provider is dropped, and is taken back from any thread. In detail, an implementation promises:
///
/// 1. **Uniqueness.** A [`Unit`] pushed into a sink is home at that moment, and is not pushed again before it was
///    [released](MemoryProvider::release). No two units overlap.
/// 2. **Stability.** A unit's descriptor is readable, and its address and length mean the same memory, from the moment
///    it is handed out until the provider is dropped. The *descriptor* stays readable after the release too (a
///    closing pool may still look whether it has the unit mapped); the memory itself need not.
/// 3. **Conservation.** A released unit can be handed out again; none is lost.
/// 4. **Any thread.** `release` and `release_bulk` are called from whatever thread dropped a page, also at the same
///    time as `alloc_bulk`. They may lock. They must not call back into the pool, and must not panic.
/// 5. **Order.** Every unit handed out for `request` has `request.order`, and `geometry` never changes.
/// 6. **Premapped.** The address that [`premapped`](MemoryProvider::premapped) returns reaches this unit and nothing
///    else while it is out.
/// 7. **Regions.** What [`regions`](MemoryProvider::regions) returns is the same until the provider is dropped. Memory in a region is handed
///    out as units of that region only, and stays the same physical memory, also while it is home: whoever registered it with a device
///    has it pinned.
///
/// What the unit's address may be used for is the promise of [`Backing`]. The module `conformance` (a feature) checks an
/// implementation and names the promise that it breaks.
///
/// # Examples
///
/// A provider over one [`Region`](crate::Region), the smallest that is of use:
///
/// ```
/// extern crate alloc;
/// use pp_core::lock::{Locked, SpinLock};
/// use pp_core::*;
///
/// /// Hands out the units of a region, last in first out.
/// struct Stack { region: Region, free: Locked<SpinLock, Vec<u32>> }
///
/// // SAFETY: (1) an index is in `free` exactly while its unit is home; (2) the region lives as long as `self`;
/// // (3) `release` pushes what `alloc_bulk` popped; (4) both lock; (5) only order 0 exists.
/// unsafe impl MemoryProvider for Stack {
///     fn alloc_bulk(&self, _: &Request, units: &mut UnitSink<'_>) -> Result<(), ProvideError> {
///         self.free.with(|free| {
///             while units.room() > 0 {
///                 let Some(index) = free.pop() else { break };
///                 // SAFETY: the index was in `free`, so the unit is home, and it no longer is.
///                 units.push(unsafe { self.region.unit(index) });
///             }
///         });
///         Ok(())
///     }
///     fn release(&self, unit: Unit) {
///         let index = self.region.index_of(unit.descriptor()).expect("a unit of this region");
///         unit.consume();
///         self.free.with(|free| free.push(index));
///     }
///     fn geometry(&self) -> Geometry {
///         Geometry { unit_bytes: self.region.unit_bytes(), max_order: 0, nodes: 1 }
///     }
///     fn describe(&self) -> Description {
///         Description::new("stack", self.region.units() as usize, self.free.with(|free| free.len()))
///     }
/// }
///
/// // SAFETY: the region is ordinary memory that nobody else writes.
/// unsafe impl Backing for Stack { type Access = Host; }
///
/// let region = Region::new(StaticMemory::new(Box::leak(vec![0u8; 1 << 16].into_boxed_slice())), 4096, NodeId(0))?;
/// let free = Locked::new((0..region.units()).collect());
/// let mut pool = PagePool::builder(Home::new(Stack { region, free })).build()?;
/// let page = pool.alloc()?;
/// assert_eq!(page.len(), 4096);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub unsafe trait MemoryProvider: Send + Sync + 'static {
    /// Pushes up to `units.room()` units that answer `request`. Fewer is normal; none needs no error.
    ///
    /// # Errors
    ///
    /// Why there was none, for the caller's message. Units pushed before the error count.
    fn alloc_bulk(&self, request: &Request, units: &mut UnitSink<'_>) -> Result<(), ProvideError>;

    /// Takes a unit back.
    fn release(&self, unit: Unit);

    /// Takes many back; one lock for all of them is the point. See [`UnitSink`].
    fn release_bulk(&self, units: UnitDrain<'_>) {
        for unit in units {
            self.release(unit);
        }
    }

    /// What can be asked for.
    fn geometry(&self) -> Geometry;

    /// Names and figures for people.
    fn describe(&self) -> Description;

    /// The address under which a device already reaches `unit`, for memory that comes mapped. The pool then neither
    /// maps nor unmaps it (obligation 6).
    ///
    /// # Examples
    ///
    /// ```
    /// # use pp_core::{Backing, Description, Geometry, Home, Host, PagePool, UnitSink, doc::Heap};
    /// use core::sync::atomic::{AtomicBool, Ordering};
    /// use pp_core::{DmaAddr, MemoryProvider, ProvideError, Request, Unit};
    ///
    /// /// Memory that a device has mapped in one piece, until the device is gone.
    /// struct OnDevice { units: Heap, lost: AtomicBool }
    ///
    /// // SAFETY: the heap's promises; the device sees each unit at its CPU address (6).
    /// unsafe impl MemoryProvider for OnDevice {
    ///     fn alloc_bulk(&self, request: &Request, units: &mut UnitSink<'_>) -> Result<(), ProvideError> {
    ///         if self.lost.load(Ordering::Relaxed) {
    ///             return Err(ProvideError::DeviceLost);
    ///         }
    ///         self.units.alloc_bulk(request, units)
    ///     }
    ///     fn premapped(&self, unit: &Unit) -> Option<DmaAddr> {
    ///         Some(DmaAddr(unit.descriptor().addr().addr() as u64))
    ///     }
    ///     fn device_lost(&self) {
    ///         self.lost.store(true, Ordering::Relaxed);
    ///     }
    /// #   fn release(&self, unit: Unit) { self.units.release(unit) }
    /// #   fn geometry(&self) -> Geometry { self.units.geometry() }
    /// #   fn describe(&self) -> Description { self.units.describe() }
    ///     // `release`, `geometry` and `describe` as ever
    /// }
    /// # // SAFETY: the heap's memory is host memory.
    /// # unsafe impl Backing for OnDevice { type Access = Host; }
    ///
    /// let home = Home::new(OnDevice { units: Heap::new(4096, 8), lost: AtomicBool::new(false) });
    /// let mut pool = PagePool::builder(home.clone()).cache(1).build()?;
    /// let page = pool.alloc()?;
    /// assert!(page.dma_addr().is_some()); // without a `Dma` of the pool's own
    /// home.device_lost();
    /// assert!(pool.alloc().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn premapped(&self, unit: &Unit) -> Option<DmaAddr> {
        let _ = unit;
        None
    }

    /// The memory in whole pieces, for whoever registers all of it with a device or the kernel (an AF_XDP area, an IOMMU): none
    /// unless said otherwise. A unit's address lies in one of them, or the unit is not to be used there (obligation 7).
    ///
    /// # Examples
    ///
    /// ```
    /// use pp_core::{Home, MemoryProvider, doc::Heap};
    /// let home = Home::new(Heap::new(4096, 8));
    /// assert_eq!((home.regions().len(), home.regions()[0].bytes()), (1, 32768));
    /// ```
    fn regions(&self) -> &[Region] {
        &[]
    }

    /// The device behind the memory is gone: forget it now, answer later requests with
    /// [`DeviceLost`](ProvideError::DeviceLost), and go on taking units back (`uninstall` in the kernel).
    ///
    /// [`premapped`](MemoryProvider::premapped) shows one that heeds it.
    fn device_lost(&self) {}
}

/// A provider whose units are all of one kind of memory.
///
/// # Safety
///
/// While a unit is out,
///
/// * [`Host`](crate::Host): its address is valid for reads and writes of its length, initialised, and nobody but
///   the holder writes it;
/// * [`Exposed`](crate::Exposed): its address is valid for reads and writes of its length; others may write it;
/// * [`Device`](crate::Device): nothing is promised of its address.
///
/// See [`MemoryProvider`].
pub unsafe trait Backing: MemoryProvider {
    /// The kind of its memory. See [`MemoryProvider`].
    type Access: Access;
}

/// One unit between a provider and a pool: the right to hand it out, or the duty to take it back.
///
/// Dropping it loses the unit (it is never handed out again), which is safe and rarely meant. See [`UnitSink`].
#[must_use = "a unit that is dropped is never handed out again"]
#[derive(Debug)]
pub struct Unit(NonNull<Descriptor>);

// SAFETY: a unit is a unique right to a descriptor; descriptors are `Sync` and tied to no thread.
unsafe impl Send for Unit {}

impl Unit {
    /// The unit of `descriptor`.
    ///
    /// # Safety
    ///
    /// The unit is home, no other `Unit` for it exists, and the descriptor stays readable until the provider that is
    /// about to hand it out is dropped.
    pub unsafe fn new(descriptor: &Descriptor) -> Self {
        Unit(NonNull::from(descriptor))
    }

    /// What is known of it.
    pub fn descriptor(&self) -> &Descriptor {
        // SAFETY: readable as long as the provider lives (obligation 2), and a `Unit` is only met in calls on it.
        unsafe { self.0.as_ref() }
    }

    /// Ends the unit's time outside: the provider has it again. To be called before another thread can have it.
    /// Every [`MemoryProvider::release`] ends so: see [`MemoryProvider`].
    pub fn consume(self) {
        debug_assert_eq!(self.descriptor().owner.load(Ordering::Relaxed), owner::HOME, "still somebody's");
    }

    pub(crate) fn from_raw(descriptor: NonNull<Descriptor>) -> Self {
        Unit(descriptor)
    }
}

/// Where a provider puts units: a bounded array that the pool owns, in most cases its cache.
///
/// # Examples
///
/// A provider without a pool, as its own tests would have it:
///
/// ```
/// use core::mem::MaybeUninit;
/// use core::ptr::NonNull;
/// use pp_core::{Descriptor, MemoryProvider, NodeId, Request, Unit, UnitDrain, UnitSink, doc::Heap};
///
/// let provider = Heap::new(4096, 8);
/// let mut places = [MaybeUninit::<NonNull<Descriptor>>::uninit(); 4];
/// let mut units = UnitSink::new(&mut places);
/// assert!(units.is_empty());
/// provider.alloc_bulk(&Request::new(0, Some(NodeId(0))), &mut units)?;
/// assert_eq!((units.len(), units.room(), provider.free_units()), (4, 0, 4));
///
/// // SAFETY: `units` says that all four were written, and nobody else has them.
/// unsafe {
///     let units = places.map(|unit| unit.assume_init());
///     let one = Unit::new(units[0].as_ref());
///     assert_eq!(one.descriptor().unit_bytes(), 4096);
///     provider.release(one);
///     provider.release_bulk(UnitDrain::new(&units[1..]));
/// }
/// assert_eq!(provider.free_units(), 8);
/// # Ok::<(), pp_core::ProvideError>(())
/// ```
#[derive(Debug)]
pub struct UnitSink<'a> {
    /// The places that are free. A slice that gets shorter: whoever asked for the room needs no check at the push, and the
    /// compiler knows it.
    free: &'a mut [MaybeUninit<NonNull<Descriptor>>],
    len: usize,
}

impl<'a> UnitSink<'a> {
    /// A sink over `places`, empty.
    pub fn new(places: &'a mut [MaybeUninit<NonNull<Descriptor>>]) -> Self {
        UnitSink { free: places, len: 0 }
    }

    /// How many more it takes. See [`UnitSink`].
    #[inline]
    pub fn room(&self) -> usize {
        self.free.len()
    }

    /// How many it holds.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a unit; see [`MemoryProvider`].
    ///
    /// # Panics
    ///
    /// If there is no [`room`](UnitSink::room).
    #[inline]
    pub fn push(&mut self, unit: Unit) {
        let (place, free) = core::mem::take(&mut self.free)
            .split_first_mut()
            .expect("a provider pushes no more units than `room` says; ask it before each push");
        *place = MaybeUninit::new(unit.0);
        self.free = free;
        self.len += 1;
    }
}

/// Units on their way home, as an iterator. What is not taken from it is lost. See [`UnitSink`].
#[derive(Debug)]
pub struct UnitDrain<'a> {
    units: core::slice::Iter<'a, NonNull<Descriptor>>,
}

impl<'a> UnitDrain<'a> {
    /// The units of `units`, on their way to the provider that handed them out. For pools, and for whoever drives a
    /// provider without one.
    ///
    /// # Safety
    ///
    /// Each descriptor's unit has left its pool, is owned by the caller, and is given away by this call.
    pub unsafe fn new(units: &'a [NonNull<Descriptor>]) -> Self {
        UnitDrain { units: units.iter() }
    }
}

impl Iterator for UnitDrain<'_> {
    type Item = Unit;

    fn next(&mut self) -> Option<Unit> {
        self.units.next().map(|descriptor| Unit(*descriptor))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.units.size_hint()
    }
}

impl ExactSizeIterator for UnitDrain<'_> {}
