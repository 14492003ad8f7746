//! Processors, and the time that programs use of them.

use std::ops::Sub;
use std::time::Duration;

use crate::error::Error;
use crate::sys::clock;

/// The processor time that a process had used when it was asked: all its threads, in the kernel and outside.
///
/// What the kernel does for a packet inside of a process's system call is that process's time, and so is what it does in an
/// interrupt that strikes it.
///
/// # Examples
///
/// ```
/// # fn main() -> Result<(), pp_testbed::Error> {
/// use pp_testbed::CpuTime;
/// use std::time::Duration;
///
/// let before = CpuTime::of(std::process::id())?;
/// std::thread::sleep(Duration::from_millis(50));
/// let used = CpuTime::of(std::process::id())? - before;
/// assert!(used < Duration::from_millis(50)); // it slept
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CpuTime(Duration);

impl CpuTime {
    /// Asks for the process `pid`.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if there is no such process.
    pub fn of(pid: u32) -> Result<Self, Error> {
        clock::processor_time(pid).map(CpuTime).map_err(Error::system(format!("the processor time of process {pid}")))
    }
}

impl Sub for CpuTime {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// The processors that this process may run on, in rising order; none if that cannot be asked. See [`CpuTime`].
pub fn processors() -> Vec<usize> {
    let set = rustix::thread::sched_getaffinity(None);
    set.map(|set| (0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect()).unwrap_or_default()
}
