//! The C interface of the page pool: pools, pages, bulk and statistics over the buddy provider.
//!
//! The header is `include/page_pool.h`; it states who owns what, what NULL does, which thread may call what, and what
//! becomes of a panic. `cargo xtask capi` makes it from this crate by cbindgen, refuses a stale one, and runs
//! `examples/ping.c` and `tests/*.c` under AddressSanitizer. From Rust use `page-pool`; this crate is for everybody else.
//!
//! | C | here | Rust |
//! |---|---|---|
//! | `pp_buddy` | [`Buddy`] | `pp_provider_buddy::Buddy` |
//! | `pp_pool` | [`Pool`] | [`pp_core::PagePool`] |
//! | `pp_page` | [`Page`] | [`pp_core::Page`], by `into_raw` and `from_raw` |
//! | `pp_handle` | [`Handle`] | [`pp_core::PoolHandle`] |
//! | `pp_returner` | [`Returner`] | [`pp_core::Returner`] |
//! | `pp_stats` | [`Stats`] | [`pp_core::Stats`] |
//!
//! # Examples
//!
#![doc = concat!("```c\n", include_str!("../examples/ping.c"), "```")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod buddy;
mod handle;
mod object;
mod page;
mod pool;
mod returner;
mod sized;
mod stats;
mod status;

pub use buddy::{Buddy, BuddyInfo, BuddyOptions, pp_buddy_create, pp_buddy_destroy, pp_buddy_get_info};
pub use handle::{
    Handle, PoolState, pp_handle_create, pp_handle_destroy, pp_handle_inflight, pp_handle_set_limit, pp_handle_state,
    pp_handle_stats,
};
pub use page::{Page, pp_page_bytes, pp_page_data, pp_page_put, pp_page_put_bulk, pp_page_try_put};
pub use pool::{
    Pool, PoolOptions, pp_pool_alloc, pp_pool_alloc_bulk, pp_pool_create, pp_pool_destroy, pp_pool_page_bytes,
    pp_pool_recycle, pp_pool_recycle_bulk, pp_pool_stats, pp_pool_trim,
};
pub use returner::{Returner, pp_returner_create, pp_returner_destroy, pp_returner_put, pp_returner_put_bulk};
pub use stats::Stats;
pub use status::{Status, pp_last_error, pp_status_text};
