//! The registry of allocators: which number is whose.
//!
//! | an id is | meaning | who leaves it |
//! |---|---|---|
//! | free | nobody's | `register` |
//! | registered | an allocator's; can be looked up | its `Registration`'s drop |
//! | leaving | no allocator's any more, but somebody who looked it up is not done | the last [`MemRef`]'s drop, to free |
//!
//! So an id means one allocator for as long as anybody has it in hand, which is what RCU's grace period is to the kernel's. All
//! of it happens under one lock, for registering is rare and a frame does not need the registry to return; shares are
//! dropped outside of it. What merely carries the number, as a frame does, does not keep the id.
//!
//! Kernel counterpart: `mem_id_ht`, `mem_id_pool` and their mutex (Linux 7.3, `net/core/xdp.c`). There an entry was once removed
//! without the mutex, and an id lost where an insertion failed.

use alloc::collections::BTreeMap;

use pp_core::lock::{Locked, SpinLock};
use pp_core::sync::{Mutant, mutant};
use pp_core::{GivenBack, PoolState};

use crate::frame::XdpFrame;
use crate::mem_type::{MemId, MemInfo, MemType};
use crate::memory::{KeptShare, MemModel};
use crate::sync::Arc;

/// Numbers of allocators, for any number of threads: `Clone` is another handle to the same registry.
///
/// # Examples
///
/// ```
/// # use pp_core::{Home, PagePool, PoolState, doc::Heap};
/// use pp_xdp::{IdsExhausted, LookupError, MemId, Memory, Registry};
/// let registry = Registry::new();
/// let pool = PagePool::builder(Home::new(Heap::new(4096, 8))).build()?;
/// let registration = registry.register(pool.model())?;
/// let id = registration.info().id.expect("pools have one");
/// let found = registry.lookup(id)?;
/// assert_eq!(found.state(), PoolState::Open);
/// drop(registration); // `xdp_unreg_mem_model`
/// assert_eq!(registry.lookup(id).unwrap_err(), LookupError::Leaving { id });
/// drop(found);
/// assert_eq!(registry.lookup(id).unwrap_err(), LookupError::Unknown { id });
/// assert_eq!(registry.ids_in_use(), 0);
///
/// // All ids in use.
/// let only = MemId::new(9).expect("an id");
/// let registry = Registry::with_ids(only, only);
/// let first = registry.register(pool.model())?;
/// assert_eq!(registry.register(pool.model()).unwrap_err(), IdsExhausted);
/// assert_eq!(first.mem_ref().expect("registered").info(), first.info());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Registry(Arc<Locked<SpinLock, Table>>);

struct Table {
    first: MemId,
    last: MemId,
    /// Where to look for a free id first.
    next: MemId,
    slots: BTreeMap<MemId, Slot>,
}

struct Slot {
    mem_type: MemType,
    /// `None`: leaving.
    share: Option<KeptShare>,
    /// [`MemRef`]s.
    refs: usize,
}

/// An allocator's place in a registry, of which it has one. Dropping it unregisters: lookups fail from then on, and the
/// registry's share is dropped (`xdp_unreg_mem_model`). Unregistering twice does not compile. [`Registry`] shows one.
#[must_use = "a registration that is not kept unregisters at once"]
pub struct Registration {
    registry: Registry,
    info: MemInfo,
}

/// An allocator that was looked up. Its id names nobody else while this is there. [`Registry`] shows one.
pub struct MemRef {
    registry: Registry,
    id: MemId,
    mem_type: MemType,
    share: KeptShare,
}

/// All ids are in use (kernel: ENOSPC), as [`Registry`] shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdsExhausted;

impl core::fmt::Display for IdsExhausted {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("every memory id is in use; unregister queues, or let go of what was looked up")
    }
}

impl core::error::Error for IdsExhausted {}

/// Why an id names nobody, as [`Registry`] shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LookupError {
    /// It is nobody's.
    Unknown {
        /// The id.
        id: MemId,
    },
    /// Its allocator was unregistered; somebody still looks at it.
    Leaving {
        /// The id.
        id: MemId,
    },
}

impl core::fmt::Display for LookupError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            LookupError::Unknown { id } => write!(f, "memory id {id} is nobody's; drop what names it"),
            LookupError::Leaving { id } => write!(f, "the allocator of memory id {id} has gone; drop what names it"),
        }
    }
}

impl core::error::Error for LookupError {}

impl Registry {
    /// An empty registry.
    pub fn new() -> Self {
        Registry::with_ids(MemId::MIN, MemId::MAX)
    }

    /// One that hands out the ids from `first` to `last` only, both included: several registries that share a range, or
    /// a test that wants to see it end.
    pub fn with_ids(first: MemId, last: MemId) -> Self {
        Registry(Arc::new(Locked::new(Table { first, last, next: first, slots: BTreeMap::new() })))
    }

    /// Registers an allocator, under the next id that is free, cyclically (`xdp_reg_mem_model`). A type without an allocator
    /// needs no id and gets none.
    ///
    /// # Errors
    ///
    /// [`IdsExhausted`]; the registry is as it was.
    pub fn register(&self, model: MemModel) -> Result<Registration, IdsExhausted> {
        let mem_type = model.mem_type();
        let id = match model.into_share() {
            Some(share) => {
                let slot = Slot { mem_type, share: Some(share), refs: 0 };
                // The slot comes back with the refusal, to be dropped out here.
                Some(self.0.with(|table| table.insert(slot)).map_err(|_slot| IdsExhausted)?)
            }
            None => None,
        };
        Ok(Registration { registry: self.clone(), info: MemInfo { mem_type, id } })
    }

    /// The allocator of this id, which nobody else gets as long as the answer is kept.
    ///
    /// # Errors
    ///
    /// [`LookupError`] when there is none.
    pub fn lookup(&self, id: MemId) -> Result<MemRef, LookupError> {
        let (mem_type, share) = self.0.with(|table| table.look(id))?;
        Ok(MemRef { registry: self.clone(), id, mem_type, share })
    }

    /// Returns a frame while its id is registered, and gives it back otherwise: for who wants to hear of frames that
    /// outlive their queue. A dropped frame finds its way either way.
    ///
    /// Only the number is looked at: a frame whose allocator was unregistered is returned all the same once its id is another
    /// allocator's. That is harmless, because a frame owns its memory and goes home to where it is from, not to who has the number.
    ///
    /// Kernel counterpart: `xdp_return_frame` until 6.1, which looked for the pool by its id and could only leak or warn.
    ///
    /// # Errors
    ///
    /// The frame, and why its id names nobody.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pp_core::{Home, PagePool, doc::Heap};
    /// # use pp_xdp::{Memory, Registry, RxqInfo, RxqParams};
    /// # let mut pool = PagePool::builder(Home::new(Heap::new(4096, 256))).build()?;
    /// # let registry = Registry::new();
    /// # let mut rxq = RxqInfo::new();
    /// # rxq.reg(RxqParams::new(1, 0))?;
    /// # rxq.reg_mem_model(&registry, pool.model())?;
    /// let buff = rxq.prepare(pool.alloc()?, 256, 60).map_err(|error| error.reason)?;
    /// let frame = buff.into_frame().map_err(|error| error.reason)?;
    /// rxq.unreg()?;
    /// let late = registry.return_frame(frame).expect_err("nobody is registered").buffer;
    /// drop(late); // home all the same
    /// assert_eq!(pool.stats().in_use(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn return_frame(&self, frame: XdpFrame) -> Result<(), GivenBack<XdpFrame, LookupError>> {
        let held = match frame.mem().id.map(|id| self.lookup(id)).transpose() {
            Ok(held) => held,
            Err(reason) => return Err(GivenBack { buffer: frame, reason }),
        };
        drop(frame);
        drop(held);
        Ok(())
    }

    /// How many ids are in use, those that are leaving included.
    pub fn ids_in_use(&self) -> usize {
        self.0.with(|table| table.slots.len())
    }
}

impl Table {
    fn insert(&mut self, slot: Slot) -> Result<MemId, Slot> {
        let free = |from, to| {
            // The first number that the taken ones, which come in order, leave out.
            let mut candidate = Some(from);
            for (taken, _) in self.slots.range(from..=to) {
                if candidate != Some(*taken) {
                    break;
                }
                candidate = taken.next();
            }
            candidate.filter(|id| *id <= to)
        };
        let Some(id) = free(self.next, self.last).or_else(|| free(self.first, self.last)) else { return Err(slot) };
        self.next = id.next().filter(|next| *next <= self.last).unwrap_or(self.first);
        self.slots.insert(id, slot);
        Ok(id)
    }

    fn look(&mut self, id: MemId) -> Result<(MemType, KeptShare), LookupError> {
        let slot = self.slots.get_mut(&id).ok_or(LookupError::Unknown { id })?;
        let share = slot.share.clone().ok_or(LookupError::Leaving { id })?;
        if !mutant(Mutant::Named("a lookup that is not counted")) {
            slot.refs += 1;
        }
        Ok((slot.mem_type, share))
    }

    /// One `MemRef` less. Whether the id is free now is nobody's business.
    fn leave(&mut self, id: MemId) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.refs = slot.refs.saturating_sub(1);
            if slot.refs == 0 && slot.share.is_none() {
                self.slots.remove(&id);
            }
        }
    }

    fn unregister(&mut self, id: MemId) -> Option<KeptShare> {
        let slot = self.slots.get_mut(&id)?;
        let share = slot.share.take();
        if slot.refs == 0 || mutant(Mutant::Named("an id that is freed under a lookup")) {
            self.slots.remove(&id);
        }
        share
    }
}

impl Registration {
    /// Type and id.
    pub fn info(&self) -> MemInfo {
        self.info
    }

    /// Another look at the same allocator, to be attached to further queues. `None` for types that were registered without one.
    pub fn mem_ref(&self) -> Option<MemRef> {
        // Registered as long as we are there.
        self.info.id.and_then(|id| self.registry.lookup(id).ok())
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let Some(id) = self.info.id else { return };
        // Dropped out here.
        let _share = self.registry.0.with(|table| table.unregister(id));
    }
}

impl MemRef {
    /// Type and id.
    pub fn info(&self) -> MemInfo {
        MemInfo { mem_type: self.mem_type, id: Some(self.id) }
    }

    /// Whether the allocator is there; if not, and it is a pool, whether all its memory is home.
    ///
    /// | memory | `Closing` | `Closed` |
    /// |---|---|---|
    /// | page-pool, device | the pool has gone, pages are out | the pool has gone, all pages are home |
    /// | page-shared, page-order0, xsk-buff-pool | never | the allocator has gone; memory may be out, which nobody counts |
    /// | user-defined | as its [`Share`](crate::Share) says | as its [`Share`](crate::Share) says |
    ///
    /// # Examples
    ///
    /// ```
    /// # use pp_core::{Home, PoolState, doc::Heap};
    /// use pp_xdp::{Memory, Order0Pages, Registry};
    /// let mut pages = Order0Pages::new(Home::new(Heap::new(4096, 8)), 8)?;
    /// let registration = Registry::new().register(pages.model())?;
    /// let found = registration.mem_ref().expect("registered");
    /// let page = pages.page()?;
    /// drop(pages);
    /// assert_eq!(found.state(), PoolState::Closed); // though a page is out
    /// drop(page); // goes home all the same
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn state(&self) -> PoolState {
        self.share.state()
    }
}

impl Drop for MemRef {
    fn drop(&mut self) {
        self.registry.0.with(|table| table.leave(self.id));
    }
}

impl Default for Registry {
    fn default() -> Self {
        Registry::new()
    }
}

impl core::fmt::Debug for Registry {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Registry").field("ids_in_use", &self.ids_in_use()).finish()
    }
}

impl core::fmt::Debug for Registration {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Registration").field(&self.info).finish()
    }
}

impl core::fmt::Debug for MemRef {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("MemRef").field("info", &self.info()).field("state", &self.state()).finish()
    }
}
