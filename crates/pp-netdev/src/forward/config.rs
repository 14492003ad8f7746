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

/// A point on the way through a run: whichever comes first. Neither, where nobody can say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// After so many frames came in.
    pub(super) frames: Option<u64>,
    /// After so long.
    pub(super) time: Option<Duration>,
}

impl ForwardConfig {
    /// When one of so many equal parts of the run is over.
    pub(super) fn after_one_of(&self, parts: u32) -> Mark {
        let frames = self.limit.into_iter().chain(self.expected).min();
        Mark {
            frames: frames.map(|frames| frames.get().div_ceil(u64::from(parts))),
            time: self.duration.map(|duration| duration / parts),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_run_is_counted_and_timed_as_far_as_the_end_is_known() {
        let mut config = ForwardConfig::default();
        let frames = |frames| Mark { frames: Some(frames), ..Mark::default() };
        let time = |milliseconds| Mark { time: Some(Duration::from_millis(milliseconds)), ..Mark::default() };
        assert_eq!(config.after_one_of(10), Mark::default());
        config.duration = Some(Duration::from_secs(5));
        assert_eq!(config.after_one_of(10), time(500));
        assert_eq!(config.after_one_of(2), time(2500));
        config.expected = NonZeroU64::new(1000);
        assert_eq!(config.after_one_of(10), Mark { frames: Some(100), ..time(500) }, "whichever comes first");
        config.duration = None;
        config.limit = NonZeroU64::new(55);
        assert_eq!(config.after_one_of(10), frames(6));
        config.limit = NonZeroU64::new(5000);
        assert_eq!(config.after_one_of(10), frames(100));
    }
}
