//! What is a chunk, and what providers may do that no UMEM can use.
#![cfg(all(feature = "af-xdp", target_os = "linux", not(any(loom, shuttle))))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

use pp_core::doc::Heap;
use pp_core::{
    Backing, Description, Geometry, Home, Host, MemoryProvider, PagePool, ProvideError, Recycling, Region, Request,
    Unit, UnitSink,
};
use pp_xdp::af_xdp::{RefillError, Umem, UmemError, model};

/// Hands out what a heap has, each unit as this function makes it.
struct Reshaped {
    heap: Heap,
    shape: Shape,
}

/// From where a unit begins to where its page does, and how long that is.
type Shape = fn(*mut u8) -> (*mut u8, u32);

// SAFETY: the heap's promises; what is handed out lies in the heap's unit, or is as long as one and in front of a unit that this
// provider never hands out beside it.
unsafe impl MemoryProvider for Reshaped {
    fn alloc_bulk(&self, request: &Request, units: &mut UnitSink<'_>) -> Result<(), ProvideError> {
        let mut places = [core::mem::MaybeUninit::uninit(); 1];
        let mut one = UnitSink::new(&mut places);
        self.heap.alloc_bulk(request, &mut one)?;
        // SAFETY: the heap has pushed one unit, and nobody else has it.
        unsafe {
            let descriptor = places[0].assume_init().as_ref();
            let whole = self.heap.regions()[0].address(self.heap.regions()[0].index_of(descriptor).unwrap()).unwrap();
            let (addr, len) = (self.shape)(whole.as_ptr());
            descriptor.reshape(addr, len, 0, Recycling::Allowed);
            units.push(Unit::new(descriptor));
        }
        Ok(())
    }
    fn release(&self, unit: Unit) {
        self.heap.release(unit);
    }
    fn geometry(&self) -> Geometry {
        self.heap.geometry()
    }
    fn describe(&self) -> Description {
        self.heap.describe()
    }
    fn regions(&self) -> &[Region] {
        self.heap.regions()
    }
}

// SAFETY: the heap's memory is host memory.
unsafe impl Backing for Reshaped {
    type Access = Host;
}

/// The kernel writes whole chunks: a page that begins in the middle of one, or ends before it does, is none.
#[test]
fn a_page_that_is_no_whole_chunk_is_not_given_away() {
    let shapes: [(Shape, usize); 3] =
        [(|unit| (unit, 4096), 8), (|unit| (unit.wrapping_add(64), 4096 - 64), 0), (|unit| (unit, 2048), 0)];
    for (shape, chunks) in shapes {
        let home = Home::new(Reshaped { heap: Heap::new(4096, 64), shape });
        let umem = Umem::new(home.clone()).unwrap();
        let mut pool = PagePool::builder(home.clone()).build().unwrap();
        assert_eq!(umem.contains(&pool.alloc().unwrap()), chunks > 0);
        let (mut queue, kernel) = model::queue(&umem, 8).unwrap();
        let given = queue.rx.refill(&mut pool);
        assert_eq!(given, if chunks > 0 { Ok(chunks) } else { Err(RefillError::NotInUmem) });
        drop(queue);
        kernel.quiet();
    }
}

/// A page of another provider that lies in a chunk of this one: its address says nothing.
#[test]
fn a_page_within_a_page_is_its_own_providers() {
    struct Inner(*mut u8);
    // SAFETY: the outer page is this test's, and outlives what is made of it.
    unsafe impl Send for Inner {}
    // SAFETY: as above.
    unsafe impl Sync for Inner {}
    // SAFETY: 4096 initialised bytes that nobody else uses, as below.
    unsafe impl pp_core::RegionMemory for Inner {
        fn base(&self) -> *mut u8 {
            self.0
        }
        fn bytes(&self) -> usize {
            4096
        }
    }
    let outer = Home::new(Heap::new(4096, 8));
    let umem = Umem::new(outer.clone()).unwrap();
    let mut pool = PagePool::builder(outer).build().unwrap();
    let mut page = pool.alloc().unwrap();
    let region = Region::new(Inner(page.as_mut_ptr()), 4096, pp_core::NodeId(0)).unwrap();
    // SAFETY: nobody has handed it out.
    let unit = unsafe { region.unit(0) };
    assert_eq!(unit.descriptor().addr(), page.as_mut_ptr());
    // Asked of the descriptor alone, as of a page's.
    let inner: pp_core::Page = {
        use core::ptr::NonNull;
        // SAFETY: of this test's own unit, and never put.
        unsafe { pp_core::Page::from_raw(NonNull::from(unit.descriptor())) }
    };
    let inner = core::mem::ManuallyDrop::new(inner);
    assert!(umem.contains(&page) && !umem.contains(&inner));
}

#[test]
fn units_that_an_unaligned_address_has_no_room_for() {
    let error = Umem::builder(Home::new(Heap::new(128 << 10, 4))).unaligned(4096).build().unwrap_err();
    assert_eq!(error, UmemError::UnitBytes { unit_bytes: 128 << 10 });
    assert_eq!(
        error.to_string(),
        "units of 131072 bytes are too long for unaligned chunks; use a provider of units of 65536 or less"
    );
    let umem = Umem::builder(Home::new(Heap::new(64 << 10, 4))).unaligned(4096).build().unwrap();
    assert_eq!((umem.chunks(), umem.chunk_bytes()), (4, 4096));
}
