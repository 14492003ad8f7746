//! An allocator of the user-defined type.

use std::sync::{Arc, Mutex};

use pp_core::{AllocError, Backing, DmaAddr, Home, Host, Page, PagePool, PoolState};
use pp_xdp::{Buffer, MemModel, MemType, Memory, Share, UserBuffer};

#[derive(Default)]
#[allow(clippy::vec_box, reason = "the boxes go round with what is in them")]
struct Shelf {
    gone: bool,
    lents: Vec<Box<Lent>>,
}

struct Lent {
    page: Page<Host>,
    shelf: Arc<Mutex<Shelf>>,
}

impl UserBuffer for Lent {
    fn bytes(&self) -> &[u8] {
        &self.page
    }
    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.page
    }
    fn dma_addr(&self) -> Option<DmaAddr> {
        self.page.dma_addr()
    }
    fn give_back(self: Box<Self>) {
        let shelf = self.shelf.clone();
        let mut shelf = shelf.lock().unwrap();
        if !shelf.gone {
            shelf.lents.push(self);
        }
    }
}

/// Keeps every page it ever drew, each in a box of its own.
pub(crate) struct Hoard {
    pages: PagePool,
    shelf: Arc<Mutex<Shelf>>,
}

struct Known(Arc<Mutex<Shelf>>);

impl Share for Known {
    fn state(&self) -> PoolState {
        if self.0.lock().unwrap().gone { PoolState::Closed } else { PoolState::Open }
    }
}

impl Hoard {
    pub(crate) fn new<P: Backing<Access = Host>>(home: impl Into<Home<P>>) -> Self {
        Hoard { pages: PagePool::builder(home).build().expect("a pool"), shelf: Arc::default() }
    }

    pub(crate) fn shelved(&self) -> usize {
        self.shelf.lock().unwrap().lents.len()
    }
}

impl Memory for Hoard {
    fn model(&self) -> MemModel {
        MemModel::new(MemType::User, Known(self.shelf.clone()))
    }

    fn alloc(&mut self) -> Result<Buffer, AllocError> {
        if let Some(lent) = self.shelf.lock().unwrap().lents.pop() {
            return Ok(lent.into());
        }
        Ok(Box::new(Lent { page: self.pages.alloc()?, shelf: self.shelf.clone() }).into())
    }

    fn recycle(&mut self, buffer: Buffer) {
        match buffer {
            Buffer::User(user) => match user.downcast::<Lent>() {
                Ok(lent) => lent.give_back(),
                Err(others) => drop(others),
            },
            other => drop(other),
        }
    }
}

impl Drop for Hoard {
    fn drop(&mut self) {
        let mut shelf = self.shelf.lock().unwrap();
        shelf.gone = true;
        shelf.lents.clear();
    }
}
