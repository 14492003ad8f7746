//! What the suite holds of a provider, and what it knows of each unit.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::any::TypeId;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use super::{Broken, Obligation};
use crate::access::{Device, Host};
use crate::descriptor::Descriptor;
use crate::dma::DmaAddr;
use crate::provider::{Backing, NodeId, ProvideError, Request, Unit, UnitDrain, UnitSink};
use crate::sync::Ordering;

/// What a unit looked like when it was handed out.
#[derive(Clone, Copy, PartialEq)]
struct Look {
    addr: usize,
    len: usize,
    order: u8,
    node: NodeId,
}

impl Look {
    fn at(descriptor: &Descriptor) -> Self {
        Look {
            addr: descriptor.addr().addr(),
            len: descriptor.unit_bytes(),
            order: descriptor.order(),
            node: descriptor.node(),
        }
    }
}

impl core::fmt::Debug for Look {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Look { addr, len, order, node } = self;
        write!(f, "{len} bytes at {addr:#x} of order {order} on {node}")
    }
}

/// A unit that is out, in the suite's hands.
#[derive(Debug)]
pub(super) struct Held {
    descriptor: NonNull<Descriptor>,
    look: Look,
    premapped: Option<DmaAddr>,
    tag: u8,
}

// SAFETY: the right to a unit, as `Unit` is.
unsafe impl Send for Held {}

impl Held {
    pub(super) fn descriptor(&self) -> &Descriptor {
        // SAFETY: readable until the provider is dropped, which whoever holds units keeps alive.
        unsafe { self.descriptor.as_ref() }
    }

    pub(super) fn is_premapped(&self) -> bool {
        self.premapped.is_some()
    }

    /// What every byte of it was written with.
    pub(super) fn tag(&self) -> u8 {
        self.tag
    }

    /// The right to the unit, without a last look.
    pub(super) fn into_unit(self) -> NonNull<Descriptor> {
        self.descriptor
    }

    fn key(&self) -> usize {
        self.descriptor.as_ptr().addr()
    }
}

/// What the suite writes while a unit is out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Writes {
    /// Nothing: where units are only counted, and there are many.
    Nothing,
    /// All of its memory, as far as the CPU reaches it.
    Memory,
    /// The home words as well.
    MemoryAndWords,
}

/// Addresses that are taken, each with its length.
#[derive(Debug, Default)]
pub(super) struct Spans(BTreeMap<u64, u64>);

impl Spans {
    /// Adds a span; `Err` is one that it overlaps.
    pub(super) fn add(&mut self, start: u64, len: usize) -> Result<(), (u64, u64)> {
        let end = start.saturating_add(len as u64);
        let before = self.0.range(..end).next_back().map(|(at, len)| (*at, *len));
        match before {
            Some((at, len)) if at.saturating_add(len) > start => Err((at, len)),
            _ => {
                self.0.insert(start, len as u64);
                Ok(())
            }
        }
    }

    pub(super) fn remove(&mut self, start: u64) {
        self.0.remove(&start);
    }
}

/// What is known of all units that are out. One for all threads of a part, behind a lock.
#[derive(Debug)]
pub(super) struct Ledger {
    out: BTreeMap<usize, Look>,
    memory: Spans,
    premapped: Spans,
    writes: Writes,
    tag: u8,
    nodes: Option<NodeId>,
}

impl Ledger {
    pub(super) fn new(writes: Writes) -> Self {
        Ledger {
            out: BTreeMap::new(),
            memory: Spans::default(),
            premapped: Spans::default(),
            writes,
            tag: 0,
            nodes: None,
        }
    }
}

/// Asks `provider` once, without writing anything down: so that other threads can be inside at the same time.
#[allow(clippy::type_complexity, reason = "what alloc_bulk left, and what it said")]
pub(super) fn ask<P: Backing>(
    provider: &P,
    request: &Request,
    room: usize,
) -> (Vec<NonNull<Descriptor>>, Result<(), ProvideError>) {
    let mut places = alloc::vec![MaybeUninit::uninit(); room];
    let mut sink = UnitSink::new(&mut places);
    let answer = provider.alloc_bulk(request, &mut sink);
    let len = sink.len();
    // SAFETY: the sink has filled that many.
    (places[..len].iter().map(|place| unsafe { place.assume_init() }).collect(), answer)
}

impl Ledger {
    /// Writes down what `ask` brought, and examines it.
    pub(super) fn enter<P: Backing>(
        &mut self,
        provider: &P,
        request: &Request,
        units: Vec<NonNull<Descriptor>>,
    ) -> Result<Vec<Held>, Broken> {
        units.into_iter().map(|unit| self.enter_one(provider, request, unit)).collect()
    }

    fn enter_one<P: Backing>(
        &mut self,
        provider: &P,
        request: &Request,
        unit: NonNull<Descriptor>,
    ) -> Result<Held, Broken> {
        // SAFETY: handed out, so readable.
        let look = Look::at(unsafe { unit.as_ref() });
        let geometry = provider.geometry();
        Obligation::Uniqueness.check(!self.out.contains_key(&unit.as_ptr().addr()), || {
            format!("the unit at {:#x} was handed out while it was out", look.addr)
        })?;
        Obligation::Order.check(look.order == request.order, || {
            format!("order {} was asked for, and a unit of order {} came", request.order, look.order)
        })?;
        Obligation::Order.check(look.len == geometry.unit_bytes << request.order, || {
            format!("a unit of order {} has {} bytes, {} in the geometry", look.order, look.len, geometry.unit_bytes)
        })?;
        let first = *self.nodes.get_or_insert(look.node);
        Obligation::Order.check(geometry.nodes > 1 || look.node == first, || {
            format!("the geometry knows one node, and units are on {first} and {}", look.node)
        })?;
        // Nothing is promised of the address of `Device` memory: it may be null, or a token that several units share.
        let reachable = TypeId::of::<P::Access>() != TypeId::of::<Device>();
        if reachable {
            Obligation::Memory.check(look.addr != 0, || "a unit that the CPU can reach has no address".into())?;
            self.memory.add(look.addr as u64, look.len).map_err(|(at, len)| {
                let Look { addr, len: bytes, .. } = look;
                Obligation::Uniqueness
                    .broken(format!("{bytes} bytes at {addr:#x} were handed out while {len} bytes at {at:#x} were out"))
            })?;
        }
        let premapped = provider.premapped(&Unit::from_raw(unit));
        if let Some(addr) = premapped {
            self.premapped.add(addr.0, look.len).map_err(|(at, len)| {
                let text = format!("{addr} for {} bytes reaches into the unit of {len} bytes at {at:#x}", look.len);
                Obligation::Premapped.broken(text)
            })?;
        }
        self.tag = self.tag.wrapping_add(1);
        let held = Held { descriptor: unit, look, premapped, tag: self.tag };
        if self.writes == Writes::MemoryAndWords {
            for word in held.descriptor().home_words() {
                word.store(u32::from(self.tag), Ordering::Relaxed);
            }
        }
        if reachable && self.writes != Writes::Nothing {
            // SAFETY: memory that the CPU reaches is valid for writes of its length while the unit is out (`Backing`).
            unsafe { held.descriptor().addr().write_bytes(held.tag, look.len) };
        }
        self.out.insert(held.key(), look);
        Ok(held)
    }

    /// Writes down that a unit is about to go home, and examines it for the last time.
    pub(super) fn leave<P: Backing>(&mut self, provider: &P, held: Held) -> Result<NonNull<Descriptor>, Broken> {
        let now = Look::at(held.descriptor());
        Obligation::Stability
            .check(now == held.look, || format!("a unit was handed out as {:?}, and is now {now:?}", held.look))?;
        let premapped = provider.premapped(&Unit::from_raw(held.descriptor));
        Obligation::Premapped.check(premapped == held.premapped, || {
            let text = |addr: Option<DmaAddr>| addr.map_or("nothing".into(), |addr| addr.to_string());
            format!("a unit was premapped at {}, and is now at {}", text(held.premapped), text(premapped))
        })?;
        if TypeId::of::<P::Access>() == TypeId::of::<Host>() && self.writes != Writes::Nothing {
            // SAFETY: as in `enter_one`, for reads; all of it was written there.
            let bytes = unsafe { core::slice::from_raw_parts(held.descriptor().addr(), now.len) };
            // The same byte all through, in one comparison: units may be large.
            let alone = bytes.first() == Some(&held.tag) && bytes[1..] == bytes[..bytes.len() - 1];
            Obligation::Memory.check(alone, || {
                let other = bytes.iter().position(|byte| *byte != held.tag).unwrap_or(0);
                format!("byte {other} of the unit at {:#x} was written by somebody else", now.addr)
            })?;
        }
        self.out.remove(&held.key());
        self.memory.remove(now.addr as u64);
        if let Some(addr) = held.premapped {
            self.premapped.remove(addr.0);
        }
        Ok(held.descriptor)
    }
}

/// Asks for up to `room` units, and enters them.
pub(super) fn take<P: Backing>(
    provider: &P,
    ledger: &mut Ledger,
    request: &Request,
    room: usize,
) -> Result<Vec<Held>, Broken> {
    let (units, _) = ask(provider, request, room);
    ledger.enter(provider, request, units)
}

/// Gives one unit back, and looks at its descriptor once more.
pub(super) fn release<P: Backing>(provider: &P, unit: NonNull<Descriptor>) {
    provider.release(Unit::from_raw(unit));
    // SAFETY: the descriptor stays readable until the provider is dropped; under Miri or the sanitizer this shows it.
    core::hint::black_box(unsafe { unit.as_ref() }.order());
}

/// Gives many back in one call.
pub(super) fn release_bulk<P: Backing>(provider: &P, units: &[NonNull<Descriptor>]) {
    // SAFETY: units that the suite holds and gives up.
    provider.release_bulk(unsafe { UnitDrain::new(units) });
}
