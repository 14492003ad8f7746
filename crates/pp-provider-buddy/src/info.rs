//! Figures: what is free, in how many pieces, on which node.

use core::fmt;

use pp_core::NodeId;

use crate::ORDERS;

/// What one node has, in the manner of a line of `/proc/buddyinfo`.
///
/// All figures count *base units of the buddy*: the smallest base unit among its regions
/// ([`Geometry::unit_bytes`](pp_core::Geometry::unit_bytes)).
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
    pub(crate) fn new(blocks: &[u32; ORDERS], free: u32, max_order: u8) -> Self {
        let below = free & ((1 << max_order) - 1);
        Pieces {
            have: blocks.iter().map(|blocks| *blocks as usize).sum(),
            fewest: (free >> max_order) as usize + below.count_ones() as usize,
            most: free as usize,
        }
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

    fn pieces(blocks: &[u32], max_order: u8) -> Pieces {
        let mut all = [0; ORDERS];
        all[..blocks.len()].copy_from_slice(blocks);
        let free = blocks.iter().enumerate().map(|(order, n)| n << order).sum();
        Pieces::new(&all, free, max_order)
    }

    #[test]
    fn index_follows_its_formula() {
        assert_eq!(pieces(&[0, 0, 0, 1], 3).index(), 0.0); // one piece
        assert_eq!(pieces(&[8], 3).index(), 1.0); // eight singles: (8 - 1) / (8 - 1)
        assert_eq!(pieces(&[0, 4], 3).index(), 3.0 / 7.0); // four pairs: (4 - 1) / (8 - 1)
        assert_eq!(pieces(&[0, 0, 0, 4], 3).index(), 0.0); // no larger blocks exist than these four
        assert_eq!(pieces(&[1, 1, 1], 3).index(), 0.0); // seven units cannot be fewer than three pieces
        assert_eq!(pieces(&[], 3).index(), 0.0); // nothing free
        assert_eq!(pieces(&[1], 3).index(), 0.0);
        assert_eq!(pieces(&[8], 3).add(pieces(&[0, 0, 0, 1], 3)).index(), 7.0 / 14.0);
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
