//! General allocators, and mappings.
//!
//! Pages are asked of an allocator with a page's alignment, because that is what a device wants; fragments with 8.

use core::alloc::{GlobalAlloc, Layout};
use core::hint::black_box;
use core::ptr::{null_mut, with_exposed_provenance_mut};

use crate::lineup::Absent;
use crate::loops::Direct;

/// Any allocator of the language, asked for one layout.
pub(crate) struct Malloc<A>(A, Layout);

impl<A: GlobalAlloc> Malloc<A> {
    /// Of `size` bytes, aligned to 8.
    pub(crate) fn new(allocator: A, size: usize) -> Self {
        Malloc(allocator, Layout::from_size_align(size, 8).expect("a size that fits"))
    }

    /// Of `bytes` bytes, aligned as a page.
    pub(crate) fn pages(allocator: A, bytes: usize) -> Self {
        Malloc(allocator, Layout::from_size_align(bytes, 4096).expect("a size that fits"))
    }

    /// An address: pointers are not `Send`.
    #[inline(always)]
    pub(crate) fn allocate(&self) -> Option<usize> {
        // SAFETY: the size is not 0.
        let start = unsafe { self.0.alloc(self.1) };
        // Or the compiler, which knows what allocators do, leaves both calls out.
        (!black_box(start).is_null()).then(|| start.expose_provenance())
    }

    /// Frees what [`allocate`](Malloc::allocate) gave.
    #[inline(always)]
    pub(crate) fn free(&self, start: usize) {
        // SAFETY: from `allocate`, with the same layout, once.
        unsafe { self.0.dealloc(with_exposed_provenance_mut(start), self.1) };
    }
}

impl<A: GlobalAlloc> Direct for Malloc<A> {
    type Item = usize;
    #[inline(always)]
    fn get(&mut self) -> Option<usize> {
        self.allocate()
    }
    #[inline(always)]
    fn put(&mut self, start: usize) {
        self.free(start);
    }
}

/// The system's jemalloc, loaded at run time and asked by its own names, so that nothing else of this program uses it.
#[derive(Clone, Copy)]
pub(crate) struct Jemalloc {
    mallocx: Mallocx,
    sdallocx: Sdallocx,
}

type Mallocx = unsafe extern "C" fn(usize, i32) -> *mut u8;
type Sdallocx = unsafe extern "C" fn(*mut u8, usize, i32);

impl Jemalloc {
    #[cfg(target_os = "linux")]
    #[allow(clippy::disallowed_methods, reason = "there is no cast from a symbol's address to a function")]
    pub(crate) fn load() -> Result<Self, Absent> {
        use core::ffi::{CStr, c_void};
        use core::mem::transmute;
        // SAFETY: a C string; the library's constructors set up its own data only. It stays loaded.
        let library = unsafe { libc::dlopen(c"libjemalloc.so.2".as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if library.is_null() {
            // SAFETY: null or a C string that lives until the next such call of this thread.
            let said = unsafe { libc::dlerror() };
            // SAFETY: as above.
            let said = (!said.is_null()).then(|| unsafe { CStr::from_ptr(said) }.to_string_lossy());
            let said = said.unwrap_or_default();
            let cure = if said.contains("static TLS") {
                "run it by `cargo xtask bench`, which makes the loader leave room for it"
            } else {
                "install it, for instance by `cargo xtask bench --install`"
            };
            return Err(Absent(format!("libjemalloc.so.2 cannot be loaded ({said}); {cure}")));
        }
        let symbol = |name: &CStr| {
            // SAFETY: a library of ours, and a C string.
            let symbol = unsafe { libc::dlsym(library, name.as_ptr()) };
            if symbol.is_null() { Err(Absent(format!("libjemalloc.so.2 has no {name:?}"))) } else { Ok(symbol) }
        };
        let (mallocx, sdallocx) = (symbol(c"mallocx")?, symbol(c"sdallocx")?);
        // SAFETY: addresses of functions, and these are jemalloc's documented signatures.
        unsafe {
            Ok(Jemalloc {
                mallocx: transmute::<*mut c_void, Mallocx>(mallocx),
                sdallocx: transmute::<*mut c_void, Sdallocx>(sdallocx),
            })
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn load() -> Result<Self, Absent> {
        Err(Absent("it is loaded on Linux only".into()))
    }

    /// `MALLOCX_LG_ALIGN`, where the default would not do.
    #[inline(always)]
    fn flags(layout: Layout) -> i32 {
        if layout.align() <= 16 { 0 } else { layout.align().trailing_zeros() as i32 }
    }
}

// SAFETY: the two functions are an allocator's, with the layout's alignment in their flags.
unsafe impl GlobalAlloc for Jemalloc {
    #[inline(always)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the size is not 0, by the caller's promise.
        unsafe { (self.mallocx)(layout.size(), Jemalloc::flags(layout)) }
    }
    #[inline(always)]
    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: from `alloc` with the same layout, by the caller's promise.
        unsafe { (self.sdallocx)(start, layout.size(), Jemalloc::flags(layout)) }
    }
}

/// A mapping of its own for each page: from the kernel and back to it.
#[derive(Clone, Copy)]
pub(crate) struct Mapping;

// SAFETY: anonymous private mappings are exclusive, page-aligned memory.
#[cfg(target_os = "linux")]
unsafe impl GlobalAlloc for Mapping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping, at an address of the kernel's choice.
        unsafe { mmap_anonymous(null_mut(), layout.size(), access, MapFlags::PRIVATE) }
            .map_or(null_mut(), |start| start.cast())
    }
    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: mapped by `alloc` with this length, and given up by the caller.
        let _ = unsafe { rustix::mm::munmap(start.cast(), layout.size()) };
    }
}

// SAFETY: it never has any.
#[cfg(not(target_os = "linux"))]
unsafe impl GlobalAlloc for Mapping {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        null_mut()
    }
    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}
