//! Ctrl-C: once to end in good order, twice to end.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};

use pp_netdev::StopFlag;

/// What a shell reports of a program that SIGINT ended.
const INTERRUPTED: i32 = 128 + 2;

/// Makes Ctrl-C, SIGTERM and SIGHUP set `stop`; a second one ends the process on the spot.
///
/// # Errors
///
/// The system has no place for a handler.
pub(crate) fn stop_on_ctrl_c(stop: &StopFlag) -> Result<(), ctrlc::Error> {
    let stop = stop.clone();
    let asked = AtomicBool::new(false);
    ctrlc::set_handler(move || {
        // Relaxed: only this handler's thread looks at it.
        if asked.swap(true, Ordering::Relaxed) {
            process::exit(INTERRUPTED);
        }
        stop.set();
    })
}
