//! Pages straight from a provider.

use pp_core::{AllocError, Backing, BuildError, Home, Host, Page, PagePool, PoolHandle};

/// Units the provider is asked for at once.
const AT_ONCE: usize = 16;

/// Where allocators that are no pools get their pages: on no pool's books, and home when they are dropped (`alloc_page`).
///
/// Asking in bulk is a pool's work, so one does it; no page ever comes back to it, and it maps and syncs nothing. Its pages are
/// detached at once, so it does not count what is out.
#[derive(Debug)]
pub(crate) struct Source(PagePool<Host>);

impl Source {
    pub(crate) fn new<P: Backing<Access = Host>>(home: impl Into<Home<P>>, name: &str) -> Result<Self, BuildError> {
        let builder = PagePool::builder(home).name(name).pool_size(1).cache(AT_ONCE).refill(AT_ONCE);
        builder.build().map(Source)
    }

    #[cfg_attr(feature = "leak-trace", track_caller)]
    pub(crate) fn page(&mut self) -> Result<Page<Host>, AllocError> {
        self.0.alloc().map(Page::detach)
    }

    pub(crate) fn page_bytes(&self) -> usize {
        self.0.page_bytes()
    }

    /// Says whether the allocator is there, and no more: with no page on its books the pool never is `Closing`.
    pub(crate) fn handle(&self) -> PoolHandle<Host> {
        self.0.handle()
    }

    /// Gives back to the provider what was asked for and not needed.
    pub(crate) fn trim(&mut self) {
        self.0.trim(0);
    }
}
