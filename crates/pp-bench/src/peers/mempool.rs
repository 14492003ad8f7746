//! DPDK's rte_mempool, through the C file in `csrc`, where build.rs found libdpdk.

use crate::lineup::Absent;
use crate::loops::Direct;

/// The largest number of objects that are asked for at once.
pub(crate) const CHUNK: usize = 64;

/// The loops that are written in C.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Loop {
    Single,
    Napi64,
    Bulk16,
    Bulk64,
}

#[cfg(dpdk)]
pub(crate) use with::{Attendance, Mempool};
#[cfg(not(dpdk))]
pub(crate) use without::{Attendance, Mempool};

#[cfg(dpdk)]
mod with {
    use core::ffi::{c_int, c_uint, c_void};
    use core::marker::PhantomData;
    use core::ptr::{NonNull, null_mut};
    use std::sync::OnceLock;

    use super::{Absent, CHUNK, Loop};
    use crate::cores;

    #[repr(C)]
    struct RteMempool(c_void);

    unsafe extern "C" {
        fn pp_mempool_start(cpu: c_uint) -> c_int;
        fn pp_mempool_create(count: c_uint, bytes: c_uint, cache: c_uint) -> *mut RteMempool;
        fn pp_mempool_destroy(pool: *mut RteMempool);
        fn pp_mempool_attend() -> c_int;
        fn pp_mempool_leave();
        fn pp_mempool_get(pool: *mut RteMempool, objects: *mut *mut c_void, count: c_uint) -> c_int;
        fn pp_mempool_put(pool: *mut RteMempool, objects: *mut *mut c_void, count: c_uint);
        fn pp_mempool_single(pool: *mut RteMempool, count: usize) -> u64;
        fn pp_mempool_napi64(pool: *mut RteMempool, count: usize) -> u64;
        fn pp_mempool_bulk16(pool: *mut RteMempool, count: usize) -> u64;
        fn pp_mempool_bulk64(pool: *mut RteMempool, count: usize) -> u64;
    }

    /// A mempool of its own, which `self` frees.
    pub(crate) struct Mempool(NonNull<RteMempool>);

    // SAFETY: a mempool is made to be used by many threads; those that are DPDK's have caches, others go past them.
    unsafe impl Send for Mempool {}
    // SAFETY: as above.
    unsafe impl Sync for Mempool {}

    /// Starts DPDK, once, on the thread that first asks.
    fn start() -> Result<(), Absent> {
        static STARTED: OnceLock<c_int> = OnceLock::new();
        let error = *STARTED.get_or_init(|| {
            let before = cores::allowed();
            // SAFETY: called once. It pins this thread to its processor, which is where it is pinned already.
            let error = unsafe { pp_mempool_start(before.first().copied().unwrap_or_default() as c_uint) };
            cores::allow(&before);
            error
        });
        match error {
            0 => Ok(()),
            error => Err(Absent(format!("DPDK does not start here (rte_errno {error})"))),
        }
    }

    impl Mempool {
        /// Of `count` objects of `bytes` each. With caches of `cache` objects for each core, or without when that is 0.
        pub(crate) fn new(count: usize, bytes: usize, cache: usize) -> Result<Self, Absent> {
            start()?;
            // SAFETY: started. The numbers are a caller's of this program, and small.
            let pool = unsafe { pp_mempool_create(count as c_uint, bytes as c_uint, cache as c_uint) };
            NonNull::new(pool)
                .map(Mempool)
                .ok_or(Absent(format!("DPDK makes no mempool of {count} objects of {bytes} B")))
        }

        /// Moves `count` objects by one of the loops.
        pub(crate) fn run(&self, by: Loop, count: usize) {
            let run = match by {
                Loop::Single => pp_mempool_single,
                Loop::Napi64 => pp_mempool_napi64,
                Loop::Bulk16 => pp_mempool_bulk16,
                Loop::Bulk64 => pp_mempool_bulk64,
            };
            // SAFETY: our pool.
            if unsafe { run(self.0.as_ptr(), count) } > 0 {
                crate::loops::empty();
            }
        }

        /// Fills `objects`, or leaves them as they are and says no.
        #[inline(always)]
        pub(crate) fn get(&self, objects: &mut [*mut c_void]) -> bool {
            debug_assert!(objects.len() <= CHUNK);
            // SAFETY: our pool, and room for as many.
            unsafe { pp_mempool_get(self.0.as_ptr(), objects.as_mut_ptr(), objects.len() as c_uint) >= 0 }
        }

        /// Gives `objects` back, all of which came from `get`.
        #[inline(always)]
        pub(crate) fn put(&self, objects: &mut [*mut c_void]) {
            // SAFETY: our pool and its objects.
            unsafe { pp_mempool_put(self.0.as_ptr(), objects.as_mut_ptr(), objects.len() as c_uint) };
        }

        pub(crate) fn get_one(&self) -> Option<usize> {
            let mut object = [null_mut()];
            self.get(&mut object).then(|| object[0].expose_provenance())
        }

        pub(crate) fn put_one(&self, object: usize) {
            self.put(&mut [core::ptr::with_exposed_provenance_mut(object)]);
        }
    }

    impl Drop for Mempool {
        fn drop(&mut self) {
            // SAFETY: ours, and not used again.
            unsafe { pp_mempool_destroy(self.0.as_ptr()) };
        }
    }

    /// The calling thread is one of DPDK's, and has caches, as long as this lives.
    pub(crate) struct Attendance {
        leaves: bool,
        /// Neither `Send` nor `Sync`: it is about this thread.
        _thread: PhantomData<*const ()>,
    }

    impl Attendance {
        pub(crate) fn new(_: &Mempool) -> Self {
            // SAFETY: DPDK has been started, or there would be no mempool.
            let answer = unsafe { pp_mempool_attend() };
            assert!(
                answer >= 0,
                "DPDK takes no more threads, and without one the mempool would be measured without caches"
            );
            Attendance { leaves: answer == 0, _thread: PhantomData }
        }
    }

    impl Drop for Attendance {
        fn drop(&mut self) {
            if self.leaves {
                // SAFETY: on the thread that was registered.
                unsafe { pp_mempool_leave() };
            }
        }
    }
}

#[cfg(not(dpdk))]
mod without {
    use core::convert::Infallible;
    use core::ffi::c_void;

    use super::{Absent, Loop};

    /// There is none in this build.
    pub(crate) struct Mempool(Infallible);

    impl Mempool {
        pub(crate) fn new(_: usize, _: usize, _: usize) -> Result<Self, Absent> {
            let why = env!("PP_NO_DPDK");
            Err(Absent(format!("{why}; `cargo xtask bench --install` installs it")))
        }
        pub(crate) fn run(&self, _: Loop, _: usize) {
            match self.0 {}
        }
        pub(crate) fn get(&self, _: &mut [*mut c_void]) -> bool {
            match self.0 {}
        }
        pub(crate) fn put(&self, _: &mut [*mut c_void]) {
            match self.0 {}
        }
        pub(crate) fn get_one(&self) -> Option<usize> {
            match self.0 {}
        }
        pub(crate) fn put_one(&self, _: usize) {
            match self.0 {}
        }
    }

    pub(crate) struct Attendance(());

    impl Attendance {
        pub(crate) fn new(pool: &Mempool) -> Self {
            match pool.0 {}
        }
    }

    impl Drop for Attendance {
        fn drop(&mut self) {}
    }
}

impl Direct for Mempool {
    /// An object's address.
    type Item = usize;
    #[inline(always)]
    fn get(&mut self) -> Option<usize> {
        self.get_one()
    }
    #[inline(always)]
    fn put(&mut self, object: usize) {
        self.put_one(object);
    }
}
