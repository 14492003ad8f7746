//! What an allocator of packet memory does, whatever its type.

use alloc::sync::Arc;

use pp_core::{Access, AllocError, PoolHandle, PoolState};

use crate::buffer::Buffer;
use crate::mem_type::MemType;

/// An allocator of packet memory, held by the one context that receives into it.
///
/// What any thread does with its buffers is [`Buffer`]'s: drop them. This is the consumer's side.
///
/// # Examples
///
/// One of the user-defined type, over pages of any provider:
///
/// ```
/// use std::sync::Arc;
/// use pp_core::{AllocError, Home, Page, PagePool, PoolHandle, doc::Heap, lock::{Locked, SpinLock}};
/// use pp_xdp::{Buffer, MemModel, MemType, Memory, UserBuffer};
///
/// type Shelf = Arc<Locked<SpinLock, Vec<Box<Lent>>>>;
///
/// struct Lent { page: Page, shelf: Shelf }
///
/// impl UserBuffer for Lent {
///     fn bytes(&self) -> &[u8] { &self.page }
///     fn bytes_mut(&mut self) -> &mut [u8] { &mut self.page }
///     fn give_back(self: Box<Self>) {
///         let shelf = self.shelf.clone();
///         shelf.with(|shelf| shelf.push(self));
///     }
/// }
///
/// /// Keeps every page it ever got.
/// struct Hoard { pages: PagePool, shelf: Shelf }
///
/// impl Memory for Hoard {
///     fn model(&self) -> MemModel { MemModel::new(MemType::User, self.pages.handle()) }
///     fn alloc(&mut self) -> Result<Buffer, AllocError> {
///         if let Some(lent) = self.shelf.with(|shelf| shelf.pop()) {
///             return Ok(lent.into());
///         }
///         let lent = Lent { page: self.pages.alloc()?, shelf: self.shelf.clone() };
///         Ok(Box::new(lent).into())
///     }
///     fn recycle(&mut self, buffer: Buffer) { drop(buffer) } // no shorter way than everybody's
/// }
///
/// impl Drop for Hoard {
///     fn drop(&mut self) { self.shelf.with(std::mem::take); } // the pages on it go home
/// }
///
/// let pages = PagePool::builder(Home::new(Heap::new(4096, 64))).build()?;
/// let mut hoard = Hoard { pages, shelf: Arc::new(Locked::new(Vec::new())) };
/// let buffer = hoard.alloc()?;
/// drop(buffer);
/// hoard.alloc()?;
/// assert_eq!(hoard.pages.stats().allocations(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Memory {
    /// Its type, and the share of it that a [`Registry`](crate::Registry) keeps.
    fn model(&self) -> MemModel;

    /// A buffer to receive into.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when there is none now.
    fn alloc(&mut self) -> Result<Buffer, AllocError>;

    /// Takes a buffer back on the consumer's side: straight to where [`alloc`](Memory::alloc) takes from if it is this
    /// allocator's and there is room, and as if it was dropped if not.
    fn recycle(&mut self, buffer: Buffer);
}

/// What a registry keeps of an allocator: enough to say whether it is still there, and no more than that alive.
///
/// The kernel counts a pool's users, driver and registry, because either may be the one to destroy it last. Here the allocator
/// is one value, whose drop is its end; so a share keeps neither memory nor provider, dropping it never waits, and driver and
/// registry may let go in either order. A pool's share is its [`PoolHandle`].
///
/// # Examples
///
/// See [`Memory`].
pub trait Share: Send + Sync + 'static {
    /// `Open` while the allocator is there. Afterwards `Closing` while it is known that memory is out, and `Closed` when all is
    /// home, or when nobody counts: [`MemRef::state`](crate::MemRef::state) says which types do.
    fn state(&self) -> PoolState;
}

impl<A: Access> Share for PoolHandle<A> {
    fn state(&self) -> PoolState {
        PoolHandle::state(self)
    }
}

/// What a queue registers: a type, and a share of the allocator if there is one (the arguments of `xdp_rxq_info_reg_mem_model`).
/// An allocator makes its own, as the one of [`Memory`] does.
///
/// # Examples
///
/// ```
/// use pp_xdp::{MemModel, MemType};
/// let model = MemModel::without_allocator(MemType::PageOrder0);
/// assert_eq!((model.mem_type(), model.has_allocator()), (MemType::PageOrder0, false));
/// ```
#[derive(Clone)]
pub struct MemModel {
    mem_type: MemType,
    share: Option<KeptShare>,
}

/// A share as a registry keeps it.
pub(crate) type KeptShare = Arc<dyn Share>;

impl MemModel {
    /// An allocator of this type.
    pub fn new(mem_type: MemType, share: impl Share) -> Self {
        MemModel { mem_type, share: Some(Arc::new(share)) }
    }

    /// A type whose buffers find their way without anybody's help. Pool types cannot be registered so.
    pub const fn without_allocator(mem_type: MemType) -> Self {
        MemModel { mem_type, share: None }
    }

    /// The type.
    pub fn mem_type(&self) -> MemType {
        self.mem_type
    }

    /// Whether there is an allocator behind it.
    pub fn has_allocator(&self) -> bool {
        self.share.is_some()
    }

    pub(crate) fn into_share(self) -> Option<KeptShare> {
        self.share
    }
}

impl core::fmt::Debug for MemModel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let state = self.share.as_ref().map(|share| share.state());
        f.debug_struct("MemModel").field("mem_type", &self.mem_type).field("allocator", &state).finish()
    }
}
