//! Why there is no fragment.

use pp_core::AllocError;

/// Why [`FragCache::alloc`](crate::FragCache::alloc) gave none. Cache and pool can go on.
///
/// # Examples
///
/// ```
/// # use pp_core::{Home, PagePool, doc::Heap};
/// # use pp_frag::{FragCache, FragError};
/// # let mut pool = PagePool::builder(Home::new(Heap::new(4096, 8))).build()?;
/// # let mut cache = FragCache::new();
/// let error = cache.alloc(&mut pool, 5000).unwrap_err();
/// assert_eq!(error, FragError::TooLarge { size: 5000, page_bytes: 4096 });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FragError {
    /// A fragment of no bytes was asked for.
    Empty,
    /// More was asked for than a page has (kernel: a warning and null).
    TooLarge {
        /// Bytes that were asked for.
        size: usize,
        /// Bytes in one of the pool's pages.
        page_bytes: usize,
    },
    /// The pool has no page.
    Alloc(AllocError),
}

impl From<AllocError> for FragError {
    fn from(error: AllocError) -> Self {
        FragError::Alloc(error)
    }
}

impl core::fmt::Display for FragError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            FragError::Empty => f.write_str("a fragment of 0 bytes was asked for; ask for at least 1"),
            FragError::TooLarge { size, page_bytes } => {
                write!(
                    f,
                    "a fragment of {size} bytes does not fit a page of {page_bytes}; ask for less or use larger pages"
                )
            }
            FragError::Alloc(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for FragError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            FragError::Alloc(error) => Some(error),
            FragError::Empty | FragError::TooLarge { .. } => None,
        }
    }
}
