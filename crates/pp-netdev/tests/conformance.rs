//! The DMA window keeps pp-core's contract, with the device's own eyes.
#![cfg(not(any(loom, shuttle)))]

use pp_core::DmaAddr;
use pp_core::conformance::{self, Obligation};
use pp_netdev::DmaWindow;

/// What a device on the window reads.
fn look(window: &DmaWindow, addr: DmaAddr, offset: usize) -> Option<u8> {
    let mut byte = [0];
    // SAFETY: the suite writes no unit while it is mapped, and unmaps it before it frees it.
    unsafe { window.read(addr, offset, &mut byte) }.ok().map(|()| byte[0])
}

#[test]
fn the_window_conforms() {
    let passed = conformance::dma_with_device(|| DmaWindow::new(48, 4096).unwrap(), look).unwrap();
    assert_eq!(
        (passed.capacity, passed.not_shown),
        (48, vec![(Obligation::Reach, "it maps nothing larger than 4 KiB")])
    );
}

#[test]
fn a_window_with_larger_entries_and_more_of_them_conforms() {
    // Units of 4 and 8 KiB end at their own length, not at the entry's; units of 64 KiB fill one.
    let passed = conformance::dma_with_device(|| DmaWindow::new(300, 1 << 16).unwrap(), look).unwrap();
    assert_eq!(passed.not_shown, [(Obligation::Failure, "it was never full")]);
}
