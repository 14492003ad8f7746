//! A driver's receive loop, before and after it was moved onto a pool.
//!
//! Both are files of `examples/converting`, compiled and put to the same test (`tests/converting.rs`). The loop itself stays
//! what it was; what goes is the code around it that kept track of buffers.
//!
//! | before | after |
//! |---|---|
//! | a mapping, cut by hand | a provider, chosen by name; another one is another name |
//! | a stack of free indexes, and a channel for those that come back | the pool's cache and ring |
//! | `Packet`: a pointer, an index and a way home | `Packet`: a page, which knows its way home |
//! | `impl Drop`: sends the index home | dropping the page is that |
//! | a channel operation a packet: a lock, or several atomic operations | one read-modify-write; for the driver's own returns none |
//! | nobody else has this index "or so the channel is trusted" | a page has one owner, or it does not compile |
//! | packets that outlive the driver: the mapping must stay for ever | the last one home frees it |
//! | how many are out: counted by looking | `stats()`, at any time, from any thread |
//! | five `unsafe` blocks, an `unsafe impl` | none |
//!
//! # Before
//!
//! ```ignore
#![doc = include_str!("../examples/converting/before.rs")]
//! ```
//!
//! # After
//!
//! ```ignore
#![doc = include_str!("../examples/converting/after.rs")]
//! ```
