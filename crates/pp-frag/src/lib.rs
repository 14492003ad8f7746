//! Several packets to a page.
//!
//! A page a packet is fast and simple, and wastes half of a page on most packets. A *fragment* is a part of a page, with an
//! owner of its own; the page goes back to its pool when its last fragment is dropped, by the same decision as any page.
//!
//! | to | use |
//! |---|---|
//! | have buffers of any size up to a page | [`FragCache::alloc`]: the count of fragments is its business |
//! | hold one, write it, cut it, join it | [`Frag`] |
//! | let several read one | [`SharedFrag`], by [`Frag::share`] |
//! | keep count oneself, as drivers do that split a page after mapping it | [`Page::fragment`](pp_core::Page::fragment), [`Fragmented`] |
//! | drop many at once | [`drop_all`], [`FragCache::recycle_all`] |
//! | hand them to code that takes [`bytes`](https://docs.rs/bytes) | feature `bytes` |
//!
//! Nothing here is unsafe but the word in front of `impl BufMut`: that no two fragments overlap, and that the last one puts the page, is seen to by
//! [`PagePart`] and [`Fragmented`] of `pp-core`.
//!
//! # Two ways back
//!
//! Dropping a fragment works on any thread and costs one atomic read-modify-write, because nobody knows who else drops one of
//! the same page at that moment. Whoever has the cache at hand gives fragments back by [`FragCache::recycle`], which is to
//! them what `recycle_direct` is to pages: a few instructions, none of them atomic.
//!
//! # With the `bytes` crate
//!
//! Behind the feature `bytes`, and counted by a test of it:
//!
//! | what | costs |
//! |---|---|
//! | `Buf` on [`Frag`] and [`SharedFrag`], `BufMut` on [`Frag`] | no allocation, no copy |
//! | `Bytes` from a [`SharedFrag`] | no copy, one heap allocation for the owner's box, none for clones and slices |
//!
//! `Bytes` has no other way to be given an owner of memory that is not its own (`Bytes::from_owner`); who cannot pay for
//! it on each packet passes the fragment itself along, which is a `Buf` as well.
//!
//! Kernel counterparts: `page_pool_alloc_frag`, `page_pool_alloc`, `pp_ref_count` (Linux 7.3).
#![cfg_attr(docsrs, feature(doc_cfg))]
#![no_std]
#![deny(unsafe_code)]

#[cfg(feature = "bytes")]
mod bytes;
mod cache;
mod error;
mod frag;
mod shared;
mod view;

pub use cache::{FRAG_ALIGN, FragCache};
pub use error::FragError;
pub use frag::{Frag, drop_all};
pub use pp_core::{BIAS_MAX, BiasError, CutError, Fragmented, GivenBack, OutOfRange, PagePart, PartError, SharedPart};
pub use shared::SharedFrag;
