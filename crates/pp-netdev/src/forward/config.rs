//! How a run is set up.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use crate::nic::OnNoBuffer;
use crate::rx_queue::Buffers;
use crate::stop::StopFlag;

/// Descriptors in a ring where nothing else is said: enough for a device to go on while its driver is scheduled out,
/// and few enough that the pages in it stay in a core's second-level cache.
const RING: NonZeroU32 = NonZeroU32::new(512).unwrap();

/// The settings of a [`Forwarder`](super::Forwarder). Start from `default()` and change what should differ.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ForwardConfig {
    /// Descriptors in the receive ring: so many pages the device has at most.
    pub rx_ring: NonZeroU32,
    /// Descriptors in the transmit ring.
    pub tx_ring: NonZeroU32,
    /// What the receive ring is filled with at first.
    pub buffers: Buffers,
    /// And with what from half of the run on, while packets go on coming; `None` for no change.
    pub change_to: Option<Buffers>,
    /// What the receiving device does when no buffer is posted.
    pub on_no_buffer: OnNoBuffer,
    /// End after so many frames were taken from the source.
    pub limit: Option<NonZeroU64>,
    /// End after so long.
    pub duration: Option<Duration>,
    /// How many frames the source has, if that is known and `limit` does not say it: what 10 per cent of the run are.
    pub expected: Option<NonZeroU64>,
    /// How often the observer is called, at most once a millisecond.
    pub observe_every: Duration,
    /// Ends the run when set. The run itself never sets it.
    pub stop: StopFlag,
}

impl Default for ForwardConfig {
    fn default() -> Self {
        ForwardConfig {
            rx_ring: RING,
            tx_ring: RING,
            buffers: Buffers::Pages,
            change_to: None,
            on_no_buffer: OnNoBuffer::Wait,
            limit: None,
            duration: None,
            expected: None,
            observe_every: Duration::from_secs(1),
            stop: StopFlag::new(),
        }
    }
}

/// A point on the way through a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// After so many packets.
    Packets(u64),
    /// After so long.
    Time(Duration),
    /// Nobody can say.
    Unknown,
}

impl ForwardConfig {
    /// When one of so many equal parts of the run is over.
    pub(super) fn after_one_of(&self, parts: u32) -> Mark {
        match (self.limit.into_iter().chain(self.expected).min(), self.duration) {
            (Some(packets), _) => Mark::Packets(packets.get().div_ceil(u64::from(parts))),
            (None, Some(duration)) => Mark::Time(duration / parts),
            (None, None) => Mark::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_counted_where_the_count_is_known_and_timed_otherwise() {
        let mut config = ForwardConfig::default();
        assert_eq!(config.after_one_of(10), Mark::Unknown);
        config.duration = Some(Duration::from_secs(5));
        assert_eq!(config.after_one_of(10), Mark::Time(Duration::from_millis(500)));
        assert_eq!(config.after_one_of(2), Mark::Time(Duration::from_millis(2500)));
        config.expected = NonZeroU64::new(1000);
        assert_eq!(config.after_one_of(10), Mark::Packets(100));
        config.limit = NonZeroU64::new(55);
        assert_eq!(config.after_one_of(10), Mark::Packets(6));
        config.limit = NonZeroU64::new(5000);
        assert_eq!(config.after_one_of(10), Mark::Packets(100));
    }
}
