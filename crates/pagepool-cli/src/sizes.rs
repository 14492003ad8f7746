//! How many pages there are, and where they can be at once.
//!
//! One pool a queue feeds both devices. A page is in the receive ring, in the transmit ring, in the pool's cache, in its ring, in
//! the bag of the thread that cleans up after transmission or the one for batches, or in somebody's hands; all of these are bounded, and what
//! is idle is taken before the provider is asked, so the provider never needs more than the sum of the others.

use std::num::{NonZeroU16, NonZeroU32};

use crate::args::ForwardArgs;
use crate::failure::Failure;

/// Pages in the pool's cache: twice a poll's budget.
pub(crate) const CACHE: usize = 128;
/// Pages in the bag of the one thread that returns.
pub(crate) const BAG: usize = 64;
/// One poll's budget in hands, with a refill on its way.
const IN_HANDS: usize = 128;

/// Descriptors that a device can't do without: half a poll's budget, so that it has work while the other half is done.
const SMALLEST_RING: u64 = 32;
/// More would not be used: the devices are threads of this machine.
const LARGEST_RING: u64 = 512;
/// The same of a socket, which must hold what comes in while its thread does not run.
const LARGEST_SOCKET_RING: u64 = 2048;
/// Places in a pool's ring where nothing else is said.
const POOL: u64 = 1024;
/// The same of a socket's pool: enough for its largest rings.
const SOCKET_POOL: u64 = 2 * LARGEST_SOCKET_RING;
/// Places in a pool's ring at most, as in the kernel.
const LARGEST_POOL: u64 = 16384;

/// The sizes of a run: how many queues, and what each of them has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) queues: NonZeroU16,
    /// Places in the pool's ring.
    pub(crate) pool: usize,
    /// Descriptors in each of the devices' rings.
    pub(crate) ring: NonZeroU32,
    /// Pages that there can be at once.
    pub(crate) pages: usize,
    /// Pages that can be outside the pool at once: in both devices' rings, and in the hands that return them.
    pub(crate) outside: usize,
    /// Bytes of each.
    pub(crate) page: usize,
    /// The most pages from the provider.
    pub(crate) limit: Option<usize>,
    /// Bytes of the fragments that the run begins with.
    pub(crate) split: Option<NonZeroU32>,
}

impl Sizes {
    /// # Errors
    ///
    /// The pool or the limit is too small for the rings, or too large.
    pub(crate) fn new(args: &ForwardArgs) -> Result<Self, Failure> {
        let pages = pool_size(args);
        let (ring, limit) = ring(args, pages, LARGEST_RING)?;
        let (split, page) = (args.split.map(|split| split.0), args.page_size.bytes());
        if let Some(split) = split.filter(|split| split.get() as usize > page) {
            return Err(Failure::SplitTooLarge { split: split.get(), page });
        }
        let pool = pages as usize;
        Ok(Self {
            queues: args.queues.get(),
            pool,
            outside: (2 * ring as usize + BAG).min(limit.unwrap_or(usize::MAX)),
            // The conversion can't fail: from 32 to 512.
            ring: NonZeroU32::try_from(ring as u32).unwrap_or(NonZeroU32::MIN),
            pages: pool + 2 * ring as usize + CACHE + BAG + IN_HANDS,
            page,
            limit,
            split,
        })
    }

    /// The sizes of an AF_XDP port's queues.
    ///
    /// A page is in the fill ring, in the receive ring, on its way out and back through the other port's rings, or in the pool; what
    /// is not in the fill ring at first is in the pool, which has places for it.
    ///
    /// # Errors
    ///
    /// The pool or the limit is too small for the rings, or too large.
    pub(crate) fn of_sockets(args: &ForwardArgs) -> Result<Self, Failure> {
        let pages = args.pool_size.map_or(SOCKET_POOL, |pages| pages.0);
        let (ring, limit) = ring(args, pages, LARGEST_SOCKET_RING)?;
        Ok(Self {
            queues: args.queues.get(),
            pool: pages as usize,
            outside: 2 * ring as usize,
            ring: NonZeroU32::try_from(ring as u32).unwrap_or(NonZeroU32::MIN),
            pages: 3 * ring as usize + CACHE + IN_HANDS,
            page: args.page_size.bytes(),
            limit,
            split: None,
        })
    }

    /// Pages that there can be at once in all queues.
    pub(crate) fn all_pages(&self) -> usize {
        self.pages * usize::from(self.queues.get())
    }
}

/// Places in a pool's ring.
pub(crate) fn pool_size(args: &ForwardArgs) -> u64 {
    args.pool_size.map_or(POOL, |pages| pages.0)
}

/// Descriptors in a ring for a pool of so many pages, and the pool's limit.
fn ring(args: &ForwardArgs, pages: u64, largest: u64) -> Result<(u64, Option<usize>), Failure> {
    let (least, most) = (2 * SMALLEST_RING, LARGEST_POOL);
    if pages < least {
        return Err(Failure::PoolTooSmall { pages, least });
    }
    if pages > most {
        return Err(Failure::PoolTooLarge { pages, most });
    }
    // Half the pool for each device, so that both can be full at the same time.
    let ring = (1 << (pages / 2).ilog2()).min(largest);
    let limit = args.limit.map(|limit| limit.0);
    if let Some(limit) = limit.filter(|limit| *limit < ring) {
        return Err(Failure::LimitTooSmall { limit, least: ring });
    }
    Ok((ring, limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX))))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn sizes(options: &[&str]) -> Result<Sizes, String> {
        let Command::Forward(args) = Cli::parse_from(["pagepool", "forward"].iter().chain(options)).command else {
            panic!("the words say forward")
        };
        Sizes::new(&args).map_err(|failure| failure.to_string())
    }

    #[test]
    fn rings_are_powers_of_two_that_fit_the_pool_twice() {
        for (pool, ring) in [("64", 32), ("127", 32), ("128", 64), ("1000", 256), ("1024", 512), ("16384", 512)] {
            let sizes = sizes(&["--pool-size", pool]).unwrap();
            assert_eq!(sizes.ring.get(), ring, "{pool}");
            assert!(sizes.pages >= sizes.pool + 2 * ring as usize);
        }
    }

    #[test]
    fn what_is_too_small_or_too_large_says_what_fits() {
        let error = |options: &[&str]| sizes(options).unwrap_err();
        assert_eq!(
            error(&["--pool-size", "63"]),
            "a pool of 63 pages is too small, the devices' rings alone hold 64; give --pool-size 64 or more"
        );
        assert_eq!(
            error(&["--pool-size", "16385"]),
            "a pool of 16385 pages is too large, its ring has at most 16384 places; give --pool-size 16384 or less"
        );
        assert_eq!(
            error(&["--limit", "511"]),
            "a limit of 511 pages is too small, the receive ring alone holds 512; \
             give --limit 512 or more, or a smaller --pool-size"
        );
        assert_eq!(
            error(&["--split", "4097"]),
            "fragments of 4097 bytes do not fit a page of 4096; give --split 4096 or less, or a larger --page-size"
        );
        assert!(sizes(&["--split", "4096"]).is_ok() && sizes(&["--split", "1"]).is_ok());
        assert!(sizes(&["--limit", "512"]).is_ok());
        assert!(sizes(&["--limit", "32", "--pool-size", "64"]).is_ok());
    }
}
