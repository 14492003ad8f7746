//! How a window's addresses are made.

use pp_core::DmaAddr;

use super::WindowError;

/// Bits of an address. All of them where a word is as wide as an address; elsewhere what the pool's descriptors can
/// keep of one (they drop the lowest eleven bits, so a unit is at least 2 KiB there).
const ADDRESS_BITS: u32 = if usize::BITS < 64 { 43 } else { 64 };

/// Bits that tell windows apart. Each one more halves the life of them all (see [`DmaWindow`](super::DmaWindow)).
const WINDOW_BITS: u32 = if usize::BITS < 64 { 4 } else { 10 };

/// How many windows one process can make; their numbers are never given out twice.
pub(super) const WINDOWS: usize = 1 << WINDOW_BITS;

/// What is left for one window's own addresses, without the top bit.
const INNER_BITS: u32 = ADDRESS_BITS - 1 - WINDOW_BITS;

/// Fewer generations than this would wear a window out too soon.
const MIN_GENERATION_BITS: u32 = 12;

/// No unit's span is smaller, so that an address without its low bits is still the unit's.
const MIN_SPAN_BITS: u32 = 11;

/// The layout of one window's addresses, from the top:
///
/// | bits | meaning |
/// |---|---|
/// | 1 | always set: no user-space CPU address has it, so the two are never mistaken for each other |
/// | window | which window |
/// | generation | how often the slot was mapped before: an address is never given out twice |
/// | slot | the place in the window's table |
/// | span | the byte within the unit |
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    window: u64,
    slot_bits: u32,
    span_bits: u32,
}

/// An address taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) generation: u64,
    pub(super) slot: usize,
    /// The byte within the span.
    pub(super) within: usize,
}

impl Layout {
    pub(super) fn new(window: usize, units: usize, unit_bytes: usize) -> Result<Self, WindowError> {
        let impossible = WindowError::Shape { units, unit_bytes };
        let (Some(slots), Some(span)) = (units.checked_next_power_of_two(), unit_bytes.checked_next_power_of_two())
        else {
            return Err(impossible);
        };
        let layout = Layout {
            window: window as u64,
            slot_bits: slots.trailing_zeros(),
            span_bits: span.trailing_zeros().max(MIN_SPAN_BITS),
        };
        let possible = units > 0 && layout.slot_bits + layout.span_bits + MIN_GENERATION_BITS <= INNER_BITS;
        if possible { Ok(layout) } else { Err(impossible) }
    }

    /// The largest unit that can be mapped.
    pub(super) fn span(&self) -> usize {
        1 << self.span_bits
    }

    /// How often one slot can be mapped in its life.
    pub(super) fn generations(&self) -> u64 {
        1 << (INNER_BITS - self.slot_bits - self.span_bits)
    }

    pub(super) fn join(&self, parts: Parts) -> DmaAddr {
        let inner = (parts.generation << self.slot_bits | parts.slot as u64) << self.span_bits | parts.within as u64;
        DmaAddr(self.prefix() << INNER_BITS | inner)
    }

    /// The parts of `addr`, if it is one of this window's.
    pub(super) fn split(&self, addr: DmaAddr) -> Option<Parts> {
        if addr.0 >> INNER_BITS != self.prefix() {
            return None;
        }
        let inner = addr.0 & ((1 << INNER_BITS) - 1);
        let below = |bits: u32| (1u64 << bits) - 1;
        Some(Parts {
            generation: inner >> (self.slot_bits + self.span_bits),
            slot: (inner >> self.span_bits & below(self.slot_bits)) as usize,
            within: (inner & below(self.span_bits)) as usize,
        })
    }

    fn prefix(&self) -> u64 {
        1 << WINDOW_BITS | self.window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_survive_the_way_through_an_address() {
        let layout = Layout::new(5, 1000, 4096).unwrap();
        for generation in [0, 1, layout.generations() - 1] {
            for slot in [0, 999, 1023] {
                for within in [0, 1, 4095] {
                    let parts = Parts { generation, slot, within };
                    assert_eq!(layout.split(layout.join(parts)), Some(parts));
                }
            }
        }
    }

    #[test]
    fn an_address_of_another_window_is_not_ours() {
        let (ours, theirs) = (Layout::new(1, 8, 4096).unwrap(), Layout::new(2, 8, 4096).unwrap());
        let parts = Parts { generation: 0, slot: 3, within: 0 };
        assert_eq!(ours.split(theirs.join(parts)), None);
        assert_eq!(ours.split(DmaAddr(0)), None);
        assert_eq!(ours.split(DmaAddr(0x7fff_ffff_f000)), None);
    }

    #[test]
    fn a_shape_that_leaves_no_generations_is_refused() {
        assert!(Layout::new(0, 0, 4096).is_err());
        assert!(Layout::new(0, 1 << 30, 1 << 30).is_err());
        assert!(Layout::new(0, usize::MAX, 4096).is_err());
    }
}
