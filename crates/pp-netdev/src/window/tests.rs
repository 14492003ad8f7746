use std::sync::atomic::AtomicBool;

use pp_core::NodeId;

use super::*;

/// A unit in a buffer of its own, reached through raw pointers only.
struct Memory {
    base: *mut u8,
    len: usize,
    unit: Descriptor,
}

// SAFETY: the tests order their accesses by the window's locks.
unsafe impl Sync for Memory {}

impl Memory {
    fn new(len: usize) -> Self {
        let base = Box::into_raw(vec![0u8; len].into_boxed_slice()).cast::<u8>();
        Memory { base, len, unit: Descriptor::new(base, len as u32, NodeId(0)) }
    }

    fn bytes(&self) -> Vec<u8> {
        // SAFETY: valid for `len`, and no device runs when tests look.
        unsafe { std::slice::from_raw_parts(self.base, self.len) }.to_vec()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: made by `Box::into_raw` in `new`.
        drop(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(self.base, self.len)) });
    }
}

fn write(window: &DmaWindow, addr: DmaAddr, offset: usize, bytes: &[u8]) -> Result<(), FaultKind> {
    // SAFETY: in the tests a unit's memory outlives its mapping, and nobody looks at it while a device accesses it.
    unsafe { window.write(addr, offset, bytes) }.map_err(|fault| fault.kind)
}

fn read(window: &DmaWindow, addr: DmaAddr, offset: usize, len: usize) -> Result<Vec<u8>, FaultKind> {
    let mut into = vec![0xee; len];
    // SAFETY: as above.
    match unsafe { window.read(addr, offset, &mut into) } {
        Ok(()) => Ok(into),
        Err(fault) => {
            assert!(into.iter().all(|byte| *byte == 0xee), "a refused read copied something");
            Err(fault.kind)
        }
    }
}

#[test]
fn a_device_writes_and_reads_through_an_address_that_is_none_of_the_cpu() {
    let (window, memory) = (DmaWindow::new(4, 4096).unwrap(), Memory::new(4096));
    let addr = window.map(&memory.unit, DmaDirection::Bidirectional).unwrap();
    assert_ne!(addr.0, memory.base.addr() as u64);
    assert_ne!(addr.0 >> 63, (memory.base.addr() as u64) >> 63);
    write(&window, addr, 4094, &[1, 2]).unwrap();
    write(&window, DmaAddr(addr.0 + 10), 2, &[7]).unwrap();
    assert_eq!(read(&window, addr, 4093, 3), Ok(vec![0, 1, 2]));
    assert_eq!(memory.bytes()[12], 7);
    assert_eq!(window.faults(), Faults::default());
}

#[test]
fn an_address_that_was_never_given_out_faults() {
    let (window, memory) = (DmaWindow::new(4, 4096).unwrap(), Memory::new(4096));
    let addr = window.map(&memory.unit, DmaDirection::Bidirectional).unwrap();
    let other = DmaWindow::new(4, 4096).unwrap();
    for wrong in [DmaAddr(0), DmaAddr(memory.base.addr() as u64), DmaAddr(addr.0 + 4096), DmaAddr(addr.0 | 1 << 40)] {
        assert_eq!(write(&window, wrong, 0, &[1]), Err(FaultKind::NeverMapped), "{wrong}");
    }
    assert_eq!(read(&other, addr, 0, 1), Err(FaultKind::NeverMapped));
    assert_eq!(window.faults().never_mapped, 4);
    assert_eq!(window.faults().total(), 4);
    assert_eq!(other.faults().never_mapped, 1);
    assert_eq!(memory.bytes(), vec![0; 4096]);
}

#[test]
fn an_access_after_unmap_faults_also_when_the_entry_is_used_again() {
    let window = DmaWindow::new(1, 4096).unwrap();
    let (first, second) = (Memory::new(4096), Memory::new(4096));
    let addr = window.map(&first.unit, DmaDirection::Bidirectional).unwrap();
    window.unmap(addr, 4096, DmaDirection::Bidirectional);
    assert_eq!(write(&window, addr, 0, &[1]), Err(FaultKind::Unmapped));
    let again = window.map(&second.unit, DmaDirection::Bidirectional).unwrap();
    assert_ne!(addr, again);
    assert_eq!(write(&window, addr, 0, &[1]), Err(FaultKind::Unmapped));
    assert_eq!(read(&window, addr, 0, 1), Err(FaultKind::Unmapped));
    assert_eq!(window.faults(), Faults { unmapped: 3, ..Faults::default() });
    assert_eq!((first.bytes(), second.bytes()), (vec![0; 4096], vec![0; 4096]));
}

#[test]
fn reading_what_is_mapped_from_device_faults() {
    let (window, memory) = (DmaWindow::new(1, 4096).unwrap(), Memory::new(4096));
    let addr = window.map(&memory.unit, DmaDirection::FromDevice).unwrap();
    assert_eq!(read(&window, addr, 0, 1), Err(FaultKind::WrongDirection));
    write(&window, addr, 0, &[1]).unwrap();
    assert_eq!(window.faults(), Faults { wrong_direction: 1, ..Faults::default() });
}

#[test]
fn an_access_beyond_the_unit_faults() {
    let (window, memory) = (DmaWindow::new(1, 8192).unwrap(), Memory::new(4096));
    let addr = window.map(&memory.unit, DmaDirection::Bidirectional).unwrap();
    assert_eq!(write(&window, addr, 4095, &[1, 2]), Err(FaultKind::OutOfBounds));
    assert_eq!(write(&window, addr, usize::MAX, &[1]), Err(FaultKind::OutOfBounds));
    assert_eq!(read(&window, addr, 0, 4097), Err(FaultKind::OutOfBounds));
    assert_eq!(read(&window, DmaAddr(addr.0 + 4096), 0, 1), Err(FaultKind::OutOfBounds));
    assert_eq!(window.faults(), Faults { out_of_bounds: 4, ..Faults::default() });
    assert_eq!(memory.bytes(), vec![0; 4096]);
}

#[test]
fn a_stray_unmap_is_counted_and_harmless() {
    let (window, memory) = (DmaWindow::new(2, 4096).unwrap(), Memory::new(4096));
    let addr = window.map(&memory.unit, DmaDirection::FromDevice).unwrap();
    window.unmap(DmaAddr(0), 4096, DmaDirection::FromDevice);
    window.unmap(addr, 4096, DmaDirection::FromDevice);
    window.unmap(addr, 4096, DmaDirection::FromDevice);
    assert_eq!(window.faults(), Faults { stray_unmaps: 2, ..Faults::default() });
    assert_eq!((window.mapped(), lock_std(&window.free).entries.len()), (0, 2));
}

#[test]
fn a_full_window_and_units_it_cannot_hold_are_refused() {
    let (window, memory) = (DmaWindow::new(1, 4096).unwrap(), Memory::new(8192));
    let small = Memory::new(4096);
    let absent = Descriptor::new(std::ptr::null_mut(), 4096, NodeId(0));
    assert_eq!(window.map(&memory.unit, DmaDirection::FromDevice), Err(DmaError::Refused));
    assert_eq!(window.map(&absent, DmaDirection::FromDevice), Err(DmaError::Refused));
    window.map(&small.unit, DmaDirection::FromDevice).unwrap();
    assert_eq!(window.map(&small.unit, DmaDirection::FromDevice), Err(DmaError::Full));
}

#[test]
fn a_window_whose_addresses_are_used_up_is_exhausted_and_not_just_full() {
    // The largest unit a window can have leaves it the shortest life.
    let largest = |bits: u32| DmaWindow::new(2, 1usize.checked_shl(bits)?).ok();
    let window = (12..usize::BITS).rev().find_map(largest).unwrap();
    let memory = Memory::new(4096);
    let map = || window.map(&memory.unit, DmaDirection::FromDevice);
    let held = map().unwrap();
    let others = (0..window.layout.generations()).map(|_| {
        let addr = map().unwrap();
        assert_eq!(map(), Err(DmaError::Full), "the other entry is mapped, and none is worn");
        window.unmap(addr, 4096, DmaDirection::FromDevice);
        addr
    });
    assert!(others.collect::<Vec<_>>().is_sorted_by(|a, b| a < b), "an address was given out twice");
    assert_eq!(map(), Err(DmaError::Exhausted));
    assert_eq!(write(&window, held, 0, &[1]), Ok(()), "what is mapped stays mapped");
    window.unmap(held, 4096, DmaDirection::FromDevice);
    assert_ne!(map().unwrap(), held);
    assert_eq!(window.faults(), Faults::default());
}

/// The race the entry's lock is for: once `unmap` has returned, the device must not write the unit any more.
#[test]
fn nothing_is_written_after_unmap_returned() {
    let rounds = if cfg!(miri) { 4 } else { 200 };
    let (window, memory) = (DmaWindow::new(1, 4096).unwrap(), Memory::new(4096));
    for _ in 0..rounds {
        let addr = window.map(&memory.unit, DmaDirection::FromDevice).unwrap();
        let started = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut value = 1;
                while write(&window, addr, 0, &[value; 4096]).is_ok() {
                    value = value.wrapping_add(1);
                    // Release: pairs with the Acquire below; the unmap must meet a device that is writing.
                    started.store(true, Ordering::Release);
                }
            });
            while !started.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            window.unmap(addr, 4096, DmaDirection::FromDevice);
            // A copy that was still under way would show as two looks that differ, or as a torn page.
            let (first, second) = (memory.bytes(), memory.bytes());
            assert_eq!(first, second);
            assert!(first.iter().all(|byte| *byte == first[0]), "a copy was cut in half");
        });
    }
    assert_eq!(window.faults(), Faults { unmapped: rounds, ..Faults::default() });
}
