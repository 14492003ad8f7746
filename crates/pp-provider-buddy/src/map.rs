//! What each unit is at this moment: one byte a unit, in memory that no page holder can reach.
//!
//! Descriptors are readable, and their free-list words writable, for more code than this crate. The map is not: it is
//! the only witness that decides whether a block may be handed out, taken back or merged.

use alloc::boxed::Box;
use alloc::vec;

/// One byte for each unit.
///
/// | byte | the unit is |
/// |---|---|
/// | 0 | inside a block, not its first unit |
/// | `FREE` + k | the first unit of a free block of order k |
/// | `OUT` + k | the first unit of a block of order k that is out |
#[derive(Debug)]
pub(crate) struct UnitMap(Box<[u8]>);

const BODY: u8 = 0;
const FREE: u8 = 0x40;
const OUT: u8 = 0x80;
const ORDER: u8 = 0x1f;

impl UnitMap {
    /// `units` units, all inside a block that does not exist yet.
    pub(crate) fn new(units: u32) -> Self {
        UnitMap(vec![BODY; units as usize].into_boxed_slice())
    }

    /// How many units.
    pub(crate) fn units(&self) -> u32 {
        self.0.len() as u32
    }

    /// Whether a free block of `order` starts at `index`; false also for an `index` that is none.
    #[inline]
    pub(crate) fn is_free(&self, index: u32, order: u8) -> bool {
        self.0.get(index as usize) == Some(&(FREE | order))
    }

    /// The order of the block that is out and starts at `index`, if one does.
    #[inline]
    pub(crate) fn out_order(&self, index: u32) -> Option<u8> {
        self.0.get(index as usize).filter(|state| **state & OUT != 0).map(|state| state & ORDER)
    }

    /// A free block of `order` starts at `index`.
    #[inline]
    pub(crate) fn set_free(&mut self, index: u32, order: u8) {
        self.set(index, FREE | order);
    }

    /// A block of `order` that starts at `index` is out.
    #[inline]
    pub(crate) fn set_out(&mut self, index: u32, order: u8) {
        self.set(index, OUT | order);
    }

    /// Nothing starts at `index`.
    #[inline]
    pub(crate) fn set_body(&mut self, index: u32) {
        self.set(index, BODY);
    }

    /// Always of a unit that there is; asked for all the same, because a provider must not panic.
    #[inline]
    fn set(&mut self, index: u32, state: u8) {
        if let Some(unit) = self.0.get_mut(index as usize) {
            *unit = state;
        }
    }
}
