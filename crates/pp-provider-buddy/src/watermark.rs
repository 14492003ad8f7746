//! When the reserve begins.
//!
//! Kernel counterparts: `WMARK_MIN`, `__zone_watermark_ok`, and the mark that pages from below it carry
//! (`page_is_pfmemalloc`; Linux 7.3, `mm/page_alloc.c`, `include/linux/mm.h`).

/// How many base units of a zone are kept for when nothing else is left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watermark {
    min: usize,
}

impl Watermark {
    pub(crate) fn new(min: usize) -> Self {
        Watermark { min }
    }

    pub(crate) fn min(self) -> usize {
        self.min
    }

    /// How many blocks of `order` may go out before `free` units would fall below the mark.
    pub(crate) fn room(self, free: usize, order: u8) -> usize {
        free.saturating_sub(self.min) >> order
    }
}

#[cfg(test)]
mod tests {
    use super::Watermark;

    #[test]
    fn room_ends_at_the_mark() {
        let mark = Watermark::new(4);
        assert_eq!(mark.min(), 4);
        assert_eq!(mark.room(10, 0), 6);
        assert_eq!(mark.room(10, 1), 3);
        assert_eq!(mark.room(7, 2), 0); // a block of 4 would leave 3
        assert_eq!(mark.room(4, 0), 0);
        assert_eq!(mark.room(1, 0), 0);
        assert_eq!(Watermark::new(0).room(5, 0), 5);
    }
}
