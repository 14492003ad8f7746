//! How a run is set up.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use crate::nic::OnNoBuffer;
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
    /// What the receiving device does when no page is posted.
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
            on_no_buffer: OnNoBuffer::Wait,
            limit: None,
            duration: None,
            expected: None,
            observe_every: Duration::from_secs(1),
            stop: StopFlag::new(),
        }
    }
}

/// When a tenth of a run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tenth {
    /// After so many packets.
    Packets(u64),
    /// After so long.
    Time(Duration),
    /// Nobody can say.
    Unknown,
}

impl ForwardConfig {
    pub(super) fn tenth(&self) -> Tenth {
        match (self.limit.into_iter().chain(self.expected).min(), self.duration) {
            (Some(packets), _) => Tenth::Packets(packets.get().div_ceil(10)),
            (None, Some(duration)) => Tenth::Time(duration / 10),
            (None, None) => Tenth::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_is_counted_where_the_count_is_known_and_timed_otherwise() {
        let mut config = ForwardConfig::default();
        assert_eq!(config.tenth(), Tenth::Unknown);
        config.duration = Some(Duration::from_secs(5));
        assert_eq!(config.tenth(), Tenth::Time(Duration::from_millis(500)));
        config.expected = NonZeroU64::new(1000);
        assert_eq!(config.tenth(), Tenth::Packets(100));
        config.limit = NonZeroU64::new(55);
        assert_eq!(config.tenth(), Tenth::Packets(6));
        config.limit = NonZeroU64::new(5000);
        assert_eq!(config.tenth(), Tenth::Packets(100));
    }
}
