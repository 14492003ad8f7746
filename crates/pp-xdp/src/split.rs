//! Memory type page-shared: pages that are split, and counted.

use alloc::vec::Vec;

use pp_core::{AllocError, Backing, BuildError, Fragmented, Home, Host};
use pp_frag::FRAG_ALIGN;

use crate::buffer::Buffer;
use crate::mem_type::MemType;
use crate::memory::{MemModel, Memory};
use crate::returns::room;
use crate::source::Source;

/// A driver's own pages, several packets to each, with no pool behind them.
///
/// A page's references are taken at once, the *bias*, and handed out with its bytes. Whoever drops a buffer drops one
/// (`page_frag_free`); the driver goes round its pages and begins one anew whose count is back at the bias, as igb and ixgbe do.
/// So pages recycle without ever being given back, and the way back of a buffer is one read-modify-write on its page.
///
/// # Examples
///
/// ```
/// # use pp_core::{Home, doc::Heap};
/// use pp_xdp::{Memory, SplitPages};
/// let mut pages = SplitPages::new(Home::new(Heap::new(4096, 8)), 2048, 4)?; // at most 4 pages, 8 buffers
/// let (one, two, three) = (pages.alloc()?, pages.alloc()?, pages.alloc()?);
/// assert_eq!(pages.pages(), 2);
/// std::thread::spawn(move || drop((one, two, three))).join().unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SplitPages {
    /// The page that buffers are cut from is `pages[at]`.
    pages: Vec<Fragmented<Host>>,
    at: usize,
    /// Pages at most.
    most: usize,
    /// Bytes in a buffer.
    bytes: usize,
    source: Source,
}

/// Why pages cannot be split so: from `new` of [`SplitPages`] and [`PoolFrags`](crate::PoolFrags).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SplitError {
    /// A buffer of no bytes, or of more than a page has.
    BufferSize {
        /// What was asked for.
        bytes: usize,
        /// Bytes in a page.
        page_bytes: usize,
    },
    /// There is nothing to draw pages with, or no memory to list them.
    Build(BuildError),
}

impl SplitError {
    pub(crate) fn check(bytes: usize, page_bytes: usize) -> Result<(), Self> {
        if (1..=page_bytes).contains(&bytes) { Ok(()) } else { Err(SplitError::BufferSize { bytes, page_bytes }) }
    }
}

impl core::fmt::Display for SplitError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            SplitError::BufferSize { bytes, page_bytes } => {
                write!(f, "a page of {page_bytes} bytes has no buffers of {bytes}; use 1 to {page_bytes}")
            }
            SplitError::Build(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for SplitError {}

impl From<BuildError> for SplitError {
    fn from(error: BuildError) -> Self {
        SplitError::Build(error)
    }
}

impl SplitPages {
    /// Buffers of `bytes`, each beginning at a multiple of [`FRAG_ALIGN`], from at most `pages` pages of `home`, which are drawn when
    /// they are needed and kept.
    ///
    /// # Errors
    ///
    /// [`SplitError`].
    pub fn new<P: Backing<Access = Host>>(
        home: impl Into<Home<P>>,
        bytes: usize,
        pages: usize,
    ) -> Result<Self, SplitError> {
        let source = Source::new(home, "page-shared")?;
        SplitError::check(bytes, source.page_bytes())?;
        // Never over a page: that is a multiple as well.
        let bytes = bytes.next_multiple_of(FRAG_ALIGN);
        Ok(SplitPages { pages: room(pages)?, at: 0, most: pages, bytes, source })
    }

    /// Pages that were drawn.
    pub fn pages(&self) -> usize {
        self.pages.len()
    }

    fn cut(&mut self) -> Option<Buffer> {
        let part = self.pages.get_mut(self.at)?.cut(self.bytes).ok()?;
        Some(Buffer::Shared(part))
    }
}

impl Memory for SplitPages {
    fn model(&self) -> MemModel {
        MemModel::new(MemType::PageShared, self.source.handle())
    }

    /// The next of the current page; else of the first that is whole again, looking once round; else of another.
    #[cfg_attr(feature = "leak-trace", track_caller)]
    fn alloc(&mut self) -> Result<Buffer, AllocError> {
        if let Some(buffer) = self.cut() {
            return Ok(buffer);
        }
        for _ in 0..self.pages.len() {
            self.at = (self.at + 1) % self.pages.len();
            if self.pages[self.at].renew_detached() {
                return self.cut().ok_or(AllocError::OutOfMemory);
            }
        }
        if self.pages.len() == self.most {
            return Err(AllocError::LimitReached);
        }
        let page = self.source.page()?;
        self.at = self.pages.len();
        self.pages.push(Fragmented::from(page));
        self.cut().ok_or(AllocError::OutOfMemory)
    }

    /// A buffer of the page that is being cut costs no atomic operation.
    fn recycle(&mut self, buffer: Buffer) {
        match (buffer, self.pages.get_mut(self.at)) {
            // What somebody split off at an odd place must not be where the next buffer begins.
            (Buffer::Shared(part), Some(page)) if part.offset().is_multiple_of(self.bytes) => drop(page.rejoin(part)),
            (other, _) => drop(other),
        }
    }
}
