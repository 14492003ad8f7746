//! Processors: which ones there are, staying on one, and waiting for the thread on the other.

/// The processors this process may run on. Where that cannot be asked, numbers without a meaning for [`pin`].
pub(crate) fn allowed() -> Vec<usize> {
    #[cfg(target_os = "linux")]
    if let Ok(set) = rustix::thread::sched_getaffinity(None) {
        return (0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect();
    }
    (0..std::thread::available_parallelism().map_or(1, usize::from)).collect()
}

/// Keeps the calling thread on `cpu`. Says whether that worked; measuring goes on either way.
pub(crate) fn pin(cpu: usize) -> bool {
    allow(&[cpu])
}

/// The same for several.
pub(crate) fn allow(cpus: &[usize]) -> bool {
    #[cfg(target_os = "linux")]
    if cpus.iter().all(|cpu| *cpu < rustix::thread::CpuSet::MAX_CPU) {
        let mut set = rustix::thread::CpuSet::new();
        cpus.iter().for_each(|cpu| set.set(*cpu));
        return rustix::thread::sched_setaffinity(None, &set).is_ok();
    }
    let _ = cpus;
    false
}

/// Waits in a loop: spins as long as the other side is likely to be running, then lets others run.
#[derive(Default)]
pub(crate) struct Patience(u32);

impl Patience {
    const SPINS: u32 = 20_000;

    /// Once a turn of the loop.
    #[inline]
    pub(crate) fn lose(&mut self) {
        self.0 += 1;
        if self.0 < Self::SPINS {
            core::hint::spin_loop();
        } else {
            self.0 = 0;
            std::thread::yield_now();
        }
    }
}
