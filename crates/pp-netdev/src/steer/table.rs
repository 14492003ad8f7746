//! From a frame to the queue it belongs in.

use std::num::NonZeroU16;

use thiserror::Error;

use super::flow::Flow;
use super::matching::Match;
use super::toeplitz::{HashKey, Toeplitz};

/// Places of the indirection table where nothing else is asked for: what most devices have.
const PLACES: usize = 128;

/// A table that would send frames to a queue that there is not. See [`SteeringTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SteeringError {
    /// The device has fewer queues.
    #[error("there is no queue {queue}, the device has {queues}, counted from 0; name one of those")]
    NoSuchQueue {
        /// What was asked for.
        queue: u16,
        /// How many there are.
        queues: NonZeroU16,
    },
    /// The indirection table's length is 0 or no power of two.
    #[error("an indirection table of {places} places can't be indexed by a hash's low bits; give a power of two")]
    Places {
        /// What was given.
        places: usize,
    },
}

/// Which queue a frame goes to: the first rule that it meets says so, for all others the hash over their flow.
///
/// # Examples
///
/// ```
/// use pp_netdev::steer::{Flow, HashKey, Match, SteeringError, SteeringTable};
///
/// let mut table = SteeringTable::new(4.try_into()?);
/// table.add_rule(Match { ethertype: Some(0x0806), ..Match::ANY }, 3)?; // ARP to the last queue
/// assert_eq!(table.queue_of(b"\xff\xff\xff\xff\xff\xffsource\x08\x06..."), 3);
/// assert!(matches!(table.add_rule(Match::ANY, 4), Err(SteeringError::NoSuchQueue { .. })));
///
/// table.set_key(HashKey([0x5a; 40])); // a secret of your own
/// table.set_indirection(&[0, 1, 0, 2])?; // half of what no rule knows to queue 0, none to the last
/// let mut web = Flow::default(); // or what `Flow::of` found in a frame
/// (web.protocol, web.ports) = (Some(6), Some((50_000, 443)));
/// assert!(table.queue_of_flow(&web) < table.queues().get());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct SteeringTable {
    queues: NonZeroU16,
    rules: Vec<(Match, u16)>,
    hash: Toeplitz,
    /// A power of two of them.
    places: Box<[u16]>,
}

impl SteeringTable {
    /// Spreads flows evenly over so many queues (the kernel's `ethtool_rxfh_indir_default`), by the [default
    /// key](HashKey::DEFAULT).
    #[must_use]
    pub fn new(queues: NonZeroU16) -> Self {
        // Each queue has a place, or as many as fit a hash's low bits.
        let places = PLACES.max(usize::from(queues.get()).next_power_of_two());
        SteeringTable {
            queues,
            rules: Vec::new(),
            hash: Toeplitz::new(HashKey::DEFAULT),
            places: (0..places).map(|place| (place % usize::from(queues.get())) as u16).collect(),
        }
    }

    /// How many queues it knows.
    #[must_use]
    pub fn queues(&self) -> NonZeroU16 {
        self.queues
    }

    /// Hashes by this key from now on: flows may change queues.
    pub fn set_key(&mut self, key: HashKey) {
        self.hash = Toeplitz::new(key);
    }

    /// Which queue each value of the hash's low bits means.
    ///
    /// # Errors
    ///
    /// [`SteeringError`]; the table stays as it was.
    pub fn set_indirection(&mut self, places: &[u16]) -> Result<(), SteeringError> {
        if !places.len().is_power_of_two() {
            return Err(SteeringError::Places { places: places.len() });
        }
        places.iter().try_for_each(|queue| self.check(*queue))?;
        self.places = places.into();
        Ok(())
    }

    /// Sends what matches to `queue`, unless an earlier rule matches too.
    ///
    /// # Errors
    ///
    /// [`SteeringError::NoSuchQueue`].
    pub fn add_rule(&mut self, rule: Match, queue: u16) -> Result<(), SteeringError> {
        self.check(queue)?;
        self.rules.push((rule, queue));
        Ok(())
    }

    /// The queue of a frame, whatever its bytes are: below [`queues`](SteeringTable::queues).
    #[inline]
    #[must_use]
    pub fn queue_of(&self, frame: &[u8]) -> u16 {
        // There is nothing to decide, so nothing is looked at.
        if self.queues == NonZeroU16::MIN { 0 } else { self.queue_of_flow(&Flow::of(frame)) }
    }

    /// The queue of a flow.
    #[must_use]
    pub fn queue_of_flow(&self, flow: &Flow) -> u16 {
        match self.rules.iter().find(|(rule, _)| rule.is_met_by(flow)) {
            Some((_, queue)) => *queue,
            None => self.places[self.hash.hash(flow) as usize & (self.places.len() - 1)],
        }
    }

    fn check(&self, queue: u16) -> Result<(), SteeringError> {
        if queue < self.queues.get() { Ok(()) } else { Err(SteeringError::NoSuchQueue { queue, queues: self.queues }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(port: u16) -> Flow {
        Flow {
            ethertype: Some(0x0800),
            addresses: Some(([10, 0, 0, 1].into(), [10, 0, 0, 2].into())),
            protocol: Some(6),
            ports: Some((port, 80)),
        }
    }

    #[test]
    fn flows_spread_evenly_and_stay_where_they_are() {
        for queues in [1, 2, 3, 4, 7, 16, 300] {
            let table = SteeringTable::new(NonZeroU16::new(queues).unwrap());
            let mut seen = vec![0; usize::from(queues)];
            for port in 0..=u16::MAX {
                let queue = table.queue_of_flow(&flow(port));
                assert_eq!(queue, table.queue_of_flow(&flow(port)));
                seen[usize::from(queue)] += 1;
            }
            let fair = 65_536 / usize::from(queues);
            assert!(seen.iter().all(|flows| (fair / 3..=2 * fair).contains(flows)), "{queues}: {seen:?}");
        }
    }

    #[test]
    fn the_first_rule_that_matches_decides_and_the_hash_the_rest() {
        let mut table = SteeringTable::new(NonZeroU16::new(4).unwrap());
        table.add_rule(Match { destination_port: Some(80), source_port: Some(7), ..Match::ANY }, 1).unwrap();
        table.add_rule(Match { destination_port: Some(80), ..Match::ANY }, 2).unwrap();
        assert_eq!((table.queue_of_flow(&flow(7)), table.queue_of_flow(&flow(8))), (1, 2));
        assert_eq!(table.queue_of_flow(&Flow::default()), 0, "without addresses the hash is 0");
        let mut key = HashKey::DEFAULT;
        key.0.reverse();
        let mut other = SteeringTable::new(NonZeroU16::new(4).unwrap());
        other.set_key(key);
        let before = SteeringTable::new(NonZeroU16::new(4).unwrap());
        assert!((0..100).any(|port| other.queue_of_flow(&flow(port)) != before.queue_of_flow(&flow(port))));
    }

    #[test]
    fn tables_that_point_nowhere_are_refused_and_nothing_changes() {
        let mut table = SteeringTable::new(NonZeroU16::new(2).unwrap());
        let queues = table.queues();
        let nowhere = SteeringError::NoSuchQueue { queue: 2, queues };
        assert_eq!(table.add_rule(Match::ANY, 2), Err(nowhere));
        assert_eq!(table.set_indirection(&[0, 2]), Err(nowhere));
        assert_eq!(table.set_indirection(&[]), Err(SteeringError::Places { places: 0 }));
        assert_eq!(table.set_indirection(&[0, 1, 0]), Err(SteeringError::Places { places: 3 }));
        assert!((0..100).any(|port| table.queue_of_flow(&flow(port)) == 1), "still both");
        table.set_indirection(&[1]).unwrap();
        assert!((0..100).all(|port| table.queue_of_flow(&flow(port)) == 1));
        assert_eq!(nowhere.to_string(), "there is no queue 2, the device has 2, counted from 0; name one of those");
    }
}
