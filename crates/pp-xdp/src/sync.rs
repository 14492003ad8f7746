//! Shared ownership that loom sees: its own `Arc` under it, `alloc`'s otherwise. Locks and atomics are `pp_core::sync`'s.
//!
//! Not for `Arc<dyn Share>`, which loom's cannot be: that one is only cloned and dropped, and nothing is read on the strength of it.

#[cfg(not(all(loom, feature = "loom")))]
pub(crate) use alloc::sync::Arc;
#[cfg(all(loom, feature = "loom"))]
pub(crate) use loom::sync::Arc;
