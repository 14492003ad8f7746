#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![no_std]

pub use pp_core::*;

#[cfg(feature = "frag")]
#[doc(inline)]
pub use pp_frag::{self as frag, Frag, FragCache, SharedFrag};
#[cfg(feature = "netdev")]
#[doc(inline)]
pub use pp_netdev as netdev;
#[cfg(feature = "buddy")]
#[doc(inline)]
pub use pp_provider_buddy::{self as buddy, Buddy};
#[cfg(feature = "passthrough")]
#[doc(inline)]
pub use pp_provider_passthrough::{self as passthrough, PassThrough};
#[cfg(feature = "xdp")]
#[doc(inline)]
pub use pp_xdp as xdp;
