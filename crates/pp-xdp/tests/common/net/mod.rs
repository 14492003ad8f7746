//! What tests at real interfaces share.
//!
//! | part | what it is |
//! |---|---|
//! | [`namespace`] | a network namespace for each test |
//! | [`foreign`] | somebody else's XDP programs |
//! | [`rights`] | what a thread may do |
#![allow(dead_code, reason = "each test binary uses its own part")]

pub(crate) mod foreign;
pub(crate) mod namespace;
pub(crate) mod rights;
