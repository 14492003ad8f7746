//! Early demux: which receive queue a frame goes to, decided by the device before anything is allocated for it.
//!
//! | part | what it is | in the kernel |
//! |---|---|---|
//! | [`Flow`] | what a frame's headers say | `struct flow_keys` |
//! | [`Match`] | a rule: these fields must be equal | an ethtool n-tuple filter |
//! | [`Toeplitz`] | the hash over a flow that no rule knows | RSS |
//! | [`SteeringTable`] | rules first, then hash and indirection table | `ethtool -N`, `ethtool -X` |
//!
//! All frames of a flow go to one queue, and a queue keeps their order.

mod flow;
mod matching;
mod table;
mod toeplitz;

pub use flow::Flow;
pub use matching::Match;
pub use table::{SteeringError, SteeringTable};
pub use toeplitz::{HashKey, Toeplitz};
