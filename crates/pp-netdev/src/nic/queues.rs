//! Which rings can be the queues of one device.

use std::num::NonZeroU16;
use std::sync::Arc;

use thiserror::Error;

use crate::ring::DeviceEnd;

/// Queues that cannot be those of one device. See [`QueueControl`](crate::QueueControl).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum QueuesError {
    /// Rings and steering table do not fit each other.
    #[error("{rings} rings were given for a steering table of {steered} queues; give one ring a queue")]
    Count {
        /// Rings.
        rings: usize,
        /// Queues of the table.
        steered: NonZeroU16,
    },
    /// A ring's doorbell wakes somebody else.
    #[error("the rings of a device must share its bell, that of queue {queue} is another; make them with one")]
    Bells {
        /// Which one.
        queue: usize,
    },
}

/// A device sleeps on one bell, so all its rings must ring that one.
pub(super) fn check_bells<'a>(mut rings: impl Iterator<Item = &'a DeviceEnd>) -> Result<(), QueuesError> {
    let Some(first) = rings.next() else { return Ok(()) };
    let other = rings.position(|ring| !Arc::ptr_eq(&ring.bells().device, &first.bells().device));
    other.map_or(Ok(()), |after_first| Err(QueuesError::Bells { queue: after_first + 1 }))
}
