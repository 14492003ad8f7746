//! Figures: what is free, in how many pieces, on which node.

use core::fmt;

use pp_core::NodeId;

use crate::ORDERS;

/// What one node has, in the manner of a line of `/proc/buddyinfo`.
///
/// All figures count *base units of the buddy*: the smallest base unit among its regions
/// ([`Geometry::unit_bytes`](pp_core::Geometry::unit_bytes)).
///
/// # Examples
///
/// ```
/// # #[cfg(all(feature = "std", target_os = "linux"))] {
/// use pp_provider_buddy::{Buddy, ORDERS};
/// let node = &Buddy::anonymous(1 << 20)?.buddyinfo()[0];
/// assert_eq!((node.blocks.len(), node.blocks[8]), (ORDERS, 1)); // all of it in one piece
/// assert_eq!(node.to_string(), "node 0 free 256/256 blocks 0 0 0 0 0 0 0 0 1");
/// # }
/// # Ok::<(), pp_provider_buddy::BuddyError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeInfo {
    /// The node.
    pub node: NodeId,
    /// Base units in all.
    pub total_units: usize,
    /// Of those, how many are free.
    pub free_units: usize,
    /// The min watermark: so many base units are kept for when nothing else is left.
    pub reserve_units: usize,
    /// Free blocks of each order.
    pub blocks: [usize; ORDERS],
}

impl fmt::Display for NodeInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} free {}/{} blocks", self.node, self.free_units, self.total_units)?;
        let used = self.blocks.iter().rposition(|blocks| *blocks > 0).map_or(0, |last| last + 1);
        self.blocks[..used].iter().try_for_each(|blocks| write!(f, " {blocks}"))
    }
}

/// What the fragmentation index is made of; see [`Buddy::fragmentation_index`](crate::Buddy::fragmentation_index).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pieces {
    /// Free blocks there are.
    have: usize,
    /// Free blocks there would be at least, for as many free units.
    fewest: usize,
    /// Free units, which is the most free blocks there could be.
    most: usize,
}

impl Pieces {
    /// Of one region with these free `blocks`, whose blocks would be `whole` with everything free.
    pub(crate) fn new(blocks: &[u32; ORDERS], whole: &[u32; ORDERS]) -> Self {
        let units = |blocks: &[u32; ORDERS]| blocks.iter().enumerate().map(|(order, n)| (*n as usize) << order).sum();
        let free: usize = units(blocks);
        let (mut fewest, mut missing, mut halves) = (0, free, 0);
        // As many of the largest as fit; what is not taken whole can be cut in halves.
        for (order, n) in whole.iter().enumerate().rev() {
            let there = *n as usize + 2 * halves;
            let taken = there.min(missing >> order);
            fewest += taken;
            missing -= taken << order;
            halves = there - taken;
        }
        Pieces { have: blocks.iter().map(|n| *n as usize).sum(), fewest, most: free }
    }

    pub(crate) fn add(self, other: Pieces) -> Self {
        Pieces { have: self.have + other.have, fewest: self.fewest + other.fewest, most: self.most + other.most }
    }

    /// (have - fewest) / (most - fewest); 0 where that is 0 / 0.
    pub(crate) fn index(self) -> f32 {
        let range = self.most.saturating_sub(self.fewest);
        if range == 0 { 0.0 } else { self.have.saturating_sub(self.fewest) as f32 / range as f32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(blocks: &[u32]) -> [u32; ORDERS] {
        let mut all = [0; ORDERS];
        all[..blocks.len()].copy_from_slice(blocks);
        all
    }

    fn index(blocks: &[u32], whole: &[u32]) -> f32 {
        Pieces::new(&all(blocks), &all(whole)).index()
    }

    #[test]
    fn index_follows_its_formula() {
        let eight = &[0, 0, 0, 1];
        assert_eq!(index(eight, eight), 0.0); // one piece
        assert_eq!(index(&[8], eight), 1.0); // eight singles: (8 - 1) / (8 - 1)
        assert_eq!(index(&[0, 4], eight), 3.0 / 7.0); // four pairs: (4 - 1) / (8 - 1)
        assert_eq!(index(&[1, 1, 1], eight), 0.0); // seven units cannot be fewer than three pieces
        assert_eq!(index(&[3, 0, 1], eight), (4.0 - 3.0) / (7.0 - 3.0)); // seven as 4 + 1 + 1 + 1
        assert_eq!(index(&[], eight), 0.0); // nothing free
        assert_eq!(index(&[1], eight), 0.0);
    }

    #[test]
    fn untouched_memory_is_in_as_few_pieces_as_it_can_be() {
        for whole in [&[0, 0, 0, 4][..], &[2, 1, 2], &[1, 0, 1, 7], &[5]] {
            assert_eq!(index(whole, whole), 0.0, "{whole:?}");
        }
        // A ragged region: 1 + 4 + 1 units. Four of its units are one piece at best, five are two.
        assert_eq!(index(&[4], &[2, 0, 1]), 1.0);
        assert_eq!(index(&[1, 2], &[2, 0, 1]), (3.0 - 2.0) / (5.0 - 2.0));
    }

    #[test]
    fn regions_add_up() {
        let eight = all(&[0, 0, 0, 1]);
        let broken = Pieces::new(&all(&[8]), &eight);
        assert_eq!(broken.add(Pieces::new(&eight, &eight)).index(), 7.0 / 14.0);
        assert_eq!(Pieces::default().index(), 0.0);
    }

    #[test]
    fn display_is_a_line_of_buddyinfo() {
        let mut blocks = [0; ORDERS];
        blocks[0] = 3;
        blocks[2] = 1;
        let info = NodeInfo { node: NodeId(1), total_units: 16, free_units: 7, reserve_units: 0, blocks };
        assert_eq!(std::format!("{info}"), "node 1 free 7/16 blocks 3 0 1");
    }
}
