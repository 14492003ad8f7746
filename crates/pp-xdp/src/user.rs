//! Memory of whatever kind: the type that anybody implements.

use alloc::boxed::Box;
use core::any::Any;

use pp_core::DmaAddr;

/// A buffer of a user-defined allocator, on its heap box.
///
/// The box is the buffer's for its whole life: [`give_back`](UserBuffer::give_back) gets it, so an allocator keeps box and
/// memory together in its free list, and nothing is allocated for a packet.
///
/// # Examples
///
/// ```
/// use std::sync::mpsc;
/// use pp_xdp::{Buffer, UserBuffer};
///
/// struct Lent { bytes: [u8; 2048], home: mpsc::Sender<Box<Lent>> }
///
/// impl UserBuffer for Lent {
///     fn bytes(&self) -> &[u8] { &self.bytes }
///     fn bytes_mut(&mut self) -> &mut [u8] { &mut self.bytes }
///     fn dma_addr(&self) -> Option<pp_core::DmaAddr> { None } // what it is without being said
///     fn give_back(self: Box<Self>) {
///         let home = self.home.clone();
///         let _ = home.send(self); // if nobody waits for it any more, that was its end
///     }
/// }
///
/// let (home, shelf) = mpsc::channel();
/// let buffer = Buffer::from(Box::new(Lent { bytes: [0; 2048], home }));
/// assert_eq!(buffer.len(), 2048);
/// drop(buffer);
/// assert!(shelf.try_recv().is_ok());
/// ```
pub trait UserBuffer: Any + Send {
    /// Its bytes. Should always be the same ones; if they are fewer all of a sudden, packets in it read as empty.
    fn bytes(&self) -> &[u8];

    /// Its bytes, for writing.
    fn bytes_mut(&mut self) -> &mut [u8];

    /// Where a device finds the first byte; `None` when it is not mapped.
    fn dma_addr(&self) -> Option<DmaAddr> {
        None
    }

    /// Takes the buffer back: called once, from whatever thread dropped the packet.
    fn give_back(self: Box<Self>);
}

/// A [`UserBuffer`], which shows one, in a packet. Dropping it [gives it back](UserBuffer::give_back).
#[must_use = "a buffer that is not kept goes back to its allocator"]
pub struct UserBuff(Option<Box<dyn UserBuffer>>);

impl UserBuff {
    /// Wraps a buffer.
    pub fn new(buffer: Box<dyn UserBuffer>) -> Self {
        UserBuff(Some(buffer))
    }

    /// The buffer as what it is, for its allocator, which can put it back where it takes from.
    ///
    /// # Errors
    ///
    /// The buffer, if it is another allocator's.
    ///
    /// # Examples
    ///
    /// ```
    /// use pp_xdp::{UserBuff, UserBuffer};
    ///
    /// struct Lent([u8; 64]);
    ///
    /// impl UserBuffer for Lent {
    ///     fn bytes(&self) -> &[u8] { &self.0 }
    ///     fn bytes_mut(&mut self) -> &mut [u8] { &mut self.0 }
    ///     fn give_back(self: Box<Self>) {}
    /// }
    ///
    /// let lent = UserBuff::new(Box::new(Lent([7; 64]))).downcast::<Lent>().unwrap();
    /// assert_eq!(lent.0[63], 7);
    /// ```
    pub fn downcast<T: UserBuffer>(mut self) -> Result<Box<T>, Self> {
        match self.0.take() {
            Some(buffer) if <dyn Any>::is::<T>(&*buffer) => {
                let buffer: Box<dyn Any> = buffer;
                buffer.downcast().map_err(|_| self)
            }
            other => Err(UserBuff(other)),
        }
    }

    pub(crate) fn get(&self) -> Option<&dyn UserBuffer> {
        self.0.as_deref()
    }

    pub(crate) fn get_mut(&mut self) -> Option<&mut dyn UserBuffer> {
        self.0.as_deref_mut()
    }
}

impl Drop for UserBuff {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(UserBuffer::give_back);
    }
}

impl core::fmt::Debug for UserBuff {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "UserBuff({:?} bytes)", self.get().map(|buffer| buffer.bytes().len()))
    }
}
