//! A device that keeps books on every mapping and remembers every breach of the contract.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pp_core::{Descriptor, Dma, DmaAddr, DmaDirection, DmaError, DmaRange};

use super::{key, seen_at};

type Plan = Box<dyn Fn(usize) -> Result<(), DmaError> + Send>;

struct State {
    /// Address to length.
    mapped: BTreeMap<u64, usize>,
    calls: usize,
    maps: usize,
    unmaps: usize,
    for_device: Vec<(u64, DmaRange)>,
    for_cpu: Vec<(u64, DmaRange)>,
    plan: Plan,
    gone: bool,
    /// What should not have happened.
    breaches: Vec<String>,
}

/// See the module. Device addresses come from the addresses of descriptors.
pub(crate) struct Window {
    needs_sync: bool,
    state: Mutex<State>,
}

impl Window {
    pub(crate) fn new(needs_sync: bool) -> Self {
        Window {
            needs_sync,
            state: Mutex::new(State {
                mapped: BTreeMap::new(),
                calls: 0,
                maps: 0,
                unmaps: 0,
                for_device: Vec::new(),
                for_cpu: Vec::new(),
                plan: Box::new(|_| Ok(())),
                gone: false,
                breaches: Vec::new(),
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides how each call of `map` from now on goes; they are numbered from 1.
    pub(crate) fn plan(&self, plan: impl Fn(usize) -> Result<(), DmaError> + Send + 'static) {
        let mut state = self.state();
        state.calls = 0;
        state.plan = Box::new(plan);
    }

    /// The device is taken away: any call from now on is a breach.
    pub(crate) fn remove(&self) {
        self.state().gone = true;
    }

    pub(crate) fn mapped(&self) -> usize {
        self.state().mapped.len()
    }

    pub(crate) fn maps(&self) -> usize {
        self.state().maps
    }

    pub(crate) fn unmaps(&self) -> usize {
        self.state().unmaps
    }

    /// The syncs for the device since the last call, as descriptor address, offset and length.
    pub(crate) fn drain_for_device(&self) -> Vec<(usize, usize, usize)> {
        units(core::mem::take(&mut self.state().for_device))
    }

    /// The same for syncs for the CPU.
    pub(crate) fn drain_for_cpu(&self) -> Vec<(usize, usize, usize)> {
        units(core::mem::take(&mut self.state().for_cpu))
    }

    /// Panics if anything happened that should not have.
    pub(crate) fn verify(&self) {
        let breaches = core::mem::take(&mut self.state().breaches);
        assert!(breaches.is_empty(), "the device saw: {breaches:?}");
    }
}

/// Syncs with the unit's key in place of its address.
fn units(syncs: Vec<(u64, DmaRange)>) -> Vec<(usize, usize, usize)> {
    let unit = |addr: u64| (addr / seen_at(1)) as usize;
    syncs.into_iter().map(|(addr, range)| (unit(addr), range.offset, range.len)).collect()
}

impl State {
    fn expect(&mut self, fine: bool, breach: impl FnOnce() -> String) {
        if !fine {
            self.breaches.push(breach());
        }
    }

    fn sync(&mut self, addr: DmaAddr, range: DmaRange) {
        let len = self.mapped.get(&addr.0).copied();
        let inside = len.is_some_and(|len| range.offset + range.len <= len);
        self.expect(inside, || format!("a sync of {range:?} at {addr}, where {len:?} bytes are mapped"));
    }
}

// SAFETY: no device reaches anything.
unsafe impl Dma for Window {
    fn map(&self, unit: &Descriptor, _: DmaDirection) -> Result<DmaAddr, DmaError> {
        let mut state = self.state();
        state.calls += 1;
        (state.plan)(state.calls)?;
        let gone = state.gone;
        state.expect(!gone, || "a map on a device that is gone".into());
        let addr = seen_at(key(unit));
        let before = state.mapped.insert(addr, unit.unit_bytes());
        state.expect(before.is_none(), || format!("{addr:#x} mapped twice"));
        state.maps += 1;
        Ok(DmaAddr(addr))
    }

    fn unmap(&self, addr: DmaAddr, unit_bytes: usize, _: DmaDirection) {
        let mut state = self.state();
        let gone = state.gone;
        state.expect(!gone, || "an unmap on a device that is gone".into());
        let len = state.mapped.remove(&addr.0);
        state.expect(len == Some(unit_bytes), || format!("an unmap of {unit_bytes} at {addr}, where {len:?} was"));
        state.unmaps += 1;
    }

    fn sync_for_device(&self, addr: DmaAddr, range: DmaRange, _: DmaDirection) {
        let mut state = self.state();
        state.sync(addr, range);
        state.for_device.push((addr.0, range));
    }

    fn sync_for_cpu(&self, addr: DmaAddr, range: DmaRange, _: DmaDirection) {
        let mut state = self.state();
        state.sync(addr, range);
        state.for_cpu.push((addr.0, range));
    }

    fn needs_sync(&self) -> bool {
        self.needs_sync
    }
}
