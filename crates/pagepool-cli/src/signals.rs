//! Ctrl-C: once to end in good order, twice to end.

use std::io::{self, IsTerminal, Write};
use std::process;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use pp_netdev::StopFlag;
use pp_netdev::port::remove_unfinished;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;

/// What a shell reports of a program that SIGINT ended.
const INTERRUPTED: i32 = 128 + 2;

/// What comes so soon after the first signal is the same one, told twice: `timeout` signals the process and its group.
/// A run that has not ended by then is waiting for somebody.
const PATIENCE: Duration = Duration::from_secs(1);

/// Makes Ctrl-C, SIGTERM and SIGHUP set `stop`; a second one ends the process on the spot.
///
/// And makes a file that reaches the limit of its size an error of the write that does, like a full disk.
///
/// # Errors
///
/// The system has no place for a handler, or no thread to wait for signals.
pub(crate) fn stop_on_ctrl_c(stop: &StopFlag) -> io::Result<()> {
    // Nobody looks at the flag: a signal that is caught does not end the process, and that is enough.
    signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let stop = stop.clone();
    let wait = move || {
        let mut first = None;
        for _ in signals.forever() {
            match first {
                None => {
                    first = Some(Instant::now());
                    stop.set();
                    // Where there is no thread there is no hint.
                    let _ = thread::Builder::new().name("hint".to_owned()).spawn(hint);
                }
                Some(first) if first.elapsed() < PATIENCE => {}
                Some(_) => {
                    remove_unfinished();
                    process::exit(INTERRUPTED);
                }
            }
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(wait).map(drop)
}

/// Says what a run that does not end is waiting for.
fn hint() {
    thread::sleep(PATIENCE);
    let mut out = io::stderr().lock();
    // On a terminal the line of the progress stands there already.
    let before = if out.is_terminal() { "\n" } else { "" };
    let _ = writeln!(
        out,
        "{before}pagepool: waiting for the output, or for the kernel to give queues up; Ctrl-C again ends at once, and leaves no output"
    );
}
