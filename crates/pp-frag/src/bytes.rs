//! Fragments where code wants the types of the `bytes` crate. What that costs, the crate's documentation says.

use ::bytes::buf::UninitSlice;
use ::bytes::{Buf, BufMut, Bytes};
use pp_core::Host;

use crate::frag::Frag;
use crate::shared::SharedFrag;

impl Buf for Frag<Host> {
    fn remaining(&self) -> usize {
        self.len()
    }

    fn chunk(&self) -> &[u8] {
        self
    }

    /// # Panics
    ///
    /// When `count` is over [`remaining`](Buf::remaining), as the trait wants it.
    fn advance(&mut self, count: usize) {
        self.trim_front(count).expect("no more than remains");
    }
}

impl Buf for SharedFrag<Host> {
    fn remaining(&self) -> usize {
        self.len()
    }

    fn chunk(&self) -> &[u8] {
        self
    }

    /// # Panics
    ///
    /// When `count` is over [`remaining`](Buf::remaining), as the trait wants it.
    fn advance(&mut self, count: usize) {
        self.trim_front(count).expect("no more than remains");
    }
}

#[expect(unsafe_code, reason = "the trait is unsafe to implement; everything inside is safe")]
// SAFETY: `chunk_mut` is the bytes behind those in use, `advance_mut` counts them as in use, and the two agree with
// `remaining_mut`.
unsafe impl BufMut for Frag<Host> {
    /// The room behind the bytes in use. A fragment does not grow.
    fn remaining_mut(&self) -> usize {
        self.capacity() - self.len()
    }

    /// # Panics
    ///
    /// When `count` is over [`remaining_mut`](BufMut::remaining_mut), as the trait wants it.
    unsafe fn advance_mut(&mut self, count: usize) {
        self.set_len(self.len().saturating_add(count)).expect("no more than there is room for");
    }

    fn chunk_mut(&mut self) -> &mut UninitSlice {
        UninitSlice::new(self.room_mut())
    }
}

impl From<SharedFrag<Host>> for Bytes {
    /// The same bytes, not copied, for one heap allocation.
    fn from(shared: SharedFrag<Host>) -> Self {
        Bytes::from_owner(shared)
    }
}
