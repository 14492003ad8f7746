//! A bounded mailbox of pages: one stage of a pipeline sends, the next receives.
//!
//! Nothing is copied and nothing is allocated: a place holds the page itself, as the pointer that [`Page::into_raw`] gives. When the
//! receiver goes, it closes every place, so no page is left in a mailbox that nobody reads: a late sender gets its page
//! back.
//!
//! # Examples
//!
//! ```
//! # #[cfg(not(feature = "loom"))] { // loom's types work inside of a model only
//! use mailbox::{Refused, mailbox};
//! use page_pool::{Buddy, PagePool};
//!
//! let mut pool = PagePool::builder(Buddy::anonymous(1 << 20)?).build()?;
//! let (mut sender, mut receiver) = mailbox::<1>();
//! sender.send(pool.alloc()?).unwrap();
//! let Err(Refused::Full(page)) = sender.send(pool.alloc()?) else { panic!("there is one place") };
//! assert!(receiver.receive().is_some() && receiver.receive().is_none());
//! drop(receiver);
//! assert!(matches!(sender.send(page), Err(Refused::Closed(_))));
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::ptr::{self, NonNull};
use std::sync::Arc;

use page_pool::sync::{AtomicPtr, Mutant, Ordering, mutant};
use page_pool::{Descriptor, Page};

/// One place.
///
/// | state | meaning | who leaves it |
/// |---|---|---|
/// | null | empty | the sender to a page, the receiver to closed |
/// | a page | sent | the receiver, to null or closed |
/// | `closed()` | there is no receiver | nobody |
type Place = AtomicPtr<Descriptor>;

/// What no page's address is.
fn closed() -> *mut Descriptor {
    ptr::without_provenance_mut(1)
}

/// The sending end.
pub struct Sender<const PLACES: usize> {
    places: Arc<[Place; PLACES]>,
    next: usize,
}

/// The receiving end.
pub struct Receiver<const PLACES: usize> {
    places: Arc<[Place; PLACES]>,
    next: usize,
}

/// A page that was not sent, and why.
#[derive(Debug)]
pub enum Refused {
    /// Every place holds a page.
    Full(Page),
    /// The receiver is gone.
    Closed(Page),
}

/// An empty mailbox for `PLACES` pages.
pub fn mailbox<const PLACES: usize>() -> (Sender<PLACES>, Receiver<PLACES>) {
    const { assert!(PLACES > 0, "a mailbox needs a place") };
    let places = Arc::new(std::array::from_fn(|_| AtomicPtr::new(ptr::null_mut())));
    (Sender { places: places.clone(), next: 0 }, Receiver { places, next: 0 })
}

impl<const PLACES: usize> Sender<PLACES> {
    /// Sends `page`. Never waits.
    ///
    /// # Errors
    ///
    /// The page, when there is no room or nobody to read it.
    pub fn send(&mut self, page: Page) -> Result<(), Refused> {
        let raw = page.into_raw();
        // Release: what was written into the page happens before it is read. Pairs with the Acquire in `take`.
        let release = if mutant(Mutant::Named("relaxed send")) { Ordering::Relaxed } else { Ordering::Release };
        match self.places[self.next].compare_exchange(ptr::null_mut(), raw.as_ptr(), release, Ordering::Relaxed) {
            Ok(_) => {
                self.next = (self.next + 1) % PLACES;
                Ok(())
            }
            Err(found) => {
                // SAFETY: made into a pointer above, and nobody got it.
                let page = unsafe { Page::from_raw(raw) };
                Err(if found == closed() { Refused::Closed(page) } else { Refused::Full(page) })
            }
        }
    }
}

impl<const PLACES: usize> Receiver<PLACES> {
    /// The page that was sent first, if there is one. Never waits.
    pub fn receive(&mut self) -> Option<Page> {
        let page = self.take(self.next, ptr::null_mut())?;
        self.next = (self.next + 1) % PLACES;
        Some(page)
    }

    /// Takes what is in a place and leaves `state` there.
    fn take(&self, place: usize, state: *mut Descriptor) -> Option<Page> {
        // Acquire pairs with the Release in `send`.
        let acquire = if mutant(Mutant::Named("relaxed receive")) { Ordering::Relaxed } else { Ordering::Acquire };
        let page = NonNull::new(self.places[place].swap(state, acquire))?;
        // SAFETY: not closed, since only we close; so it is what `send` put there, and the swap gave it to us alone.
        Some(unsafe { Page::from_raw(page) })
    }
}

impl<const PLACES: usize> Drop for Receiver<PLACES> {
    /// Puts what was sent and not received, and turns everything later away.
    fn drop(&mut self) {
        let state = if mutant(Mutant::Named("close without closing")) { ptr::null_mut() } else { closed() };
        for place in 0..PLACES {
            drop(self.take(place, state));
        }
    }
}
