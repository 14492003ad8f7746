//! Every verb of a page as a function of its own. The panic handler calls a function that does not exist: linking one of these
//! alone fails exactly if a panic can be reached from it. `cargo xtask bare` links each of them.
#![no_std]
#![allow(dead_code, reason = "shares files with the program")]

extern crate alloc;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use pp_provider_buddy::BuddyProvider;

#[path = "../src/mem.rs"]
mod mem;
#[path = "../src/sys.rs"]
mod sys;

use sys::irq;

include!("../../crates/pp-core/docs/own_provider.rs");

use pp_frag::{Frag, FragCache};

#[global_allocator]
static HEAP: mem::Bump = mem::Bump;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        fn a_panic_can_be_reached() -> !;
    }
    // SAFETY: it does not exist, so a program that gets here was not linked.
    unsafe { a_panic_can_be_reached() }
}

type Place = MaybeUninit<NonNull<Descriptor>>;
type Buddy = BuddyProvider<IrqLock, Host>;
const ANY: Request = Request::new(0, None);

macro_rules! verbs {
    ($($name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)? $body:block)*) => {
        $(#[unsafe(no_mangle)]
        fn $name($($argument: $type),*) $(-> $result)? $body)*
    };
}

verbs! {
    // Out: from the cache, and out of line from the ring, Returners and the provider.
    verb_alloc(pool: &mut PagePool) -> Result<Page, AllocError> { pool.alloc() }
    verb_alloc_into(pool: &mut PagePool, batch: &mut PageBatch<64>) -> usize { pool.alloc_into(batch) }
    verb_alloc_batch(pool: &mut PagePool) -> PageBatch<16> { pool.alloc_batch() }

    // Back, by the consumer.
    verb_recycle_direct(pool: &mut PagePool, page: Page) { pool.recycle_direct(page) }
    verb_recycle_direct_synced(pool: &mut PagePool, page: Page, len: usize) { pool.recycle_direct_synced(page, len) }
    verb_recycle_batch(pool: &mut PagePool, batch: &mut PageBatch<64>) { pool.recycle_batch(batch) }

    // Back, by anybody; with the provider, the teardown and the frees that may follow.
    verb_drop(page: Page) { drop(page) }
    verb_drop_device(page: Page<Device>) { drop(page) }
    verb_drop_exposed(page: Page<Exposed>) { drop(page) }
    verb_drop_netmem(page: NetMem) { drop(page) }
    verb_try_put(page: Page) -> Result<(), Page> { page.try_put() }
    verb_put_synced(page: Page, len: usize) { page.put_synced(len) }
    verb_drop_batch(batch: PageBatch<64>) { drop(batch) }
    verb_put_batch(pool: &PoolHandle, batch: &mut PageBatch<64>) { pool.put_batch(batch) }
    verb_returner_put(returner: &mut Returner, page: Page) { returner.put(page) }
    verb_returner_put_batch(returner: &mut Returner, batch: &mut PageBatch<64>) { returner.put_batch(batch) }
    verb_drop_shared(page: Shared) { drop(page) }
    verb_try_unshare(page: Shared) -> Result<Page, Shared> { page.try_unshare() }

    // Pages in parts.
    verb_fragment(page: Page) -> Fragmented { Fragmented::from(page) }
    verb_cut(page: &mut Fragmented, bytes: usize) -> Option<PagePart> { page.cut(bytes).ok() }
    verb_rejoin(page: &mut Fragmented, part: PagePart) { drop(page.rejoin(part)) }
    verb_renew(pool: &mut PagePool, page: Fragmented) -> Option<Fragmented> { pool.renew(page) }
    verb_recycle_fragmented(pool: &mut PagePool, page: Fragmented) { pool.recycle_fragmented(page) }
    verb_recycle_part(pool: &mut PagePool, part: PagePart) { pool.recycle_part(part) }
    verb_drop_fragmented(page: Fragmented) { drop(page) }
    verb_drop_part(part: PagePart) { drop(part) }
    verb_drop_shared_part(part: SharedPart) { drop(part) }
    verb_part_bytes(part: &mut PagePart) -> &mut [u8] { part }
    verb_frag_alloc(cache: &mut FragCache, pool: &mut PagePool, size: usize) -> Option<Frag> { cache.alloc(pool, size).ok() }
    verb_frag_recycle(cache: &mut FragCache, pool: &mut PagePool, frag: Frag) { cache.recycle(pool, frag) }
    verb_frag_drop(frag: Frag) { drop(frag) }
    verb_frag_bytes(frag: &mut Frag) -> &mut [u8] { frag }
    verb_frag_split_off(frag: &mut Frag, at: usize) -> Option<Frag> { frag.split_off(at).ok() }

    // What else a driver does with a page in its hands.
    verb_share(page: Page) -> Shared { page.share() }
    verb_bytes(page: &mut Page) -> &mut [u8] { page }
    verb_raw(page: Page) -> Page {
        let raw = page.into_raw();
        // SAFETY: from `into_raw`, just now.
        unsafe { Page::from_raw(raw) }
    }
    verb_dma_sync_for_cpu(pool: &PagePool, page: &Page, offset: usize, len: usize) {
        pool.dma_sync_for_cpu(page, DmaRange { offset, len })
    }
    verb_stats(pool: &PoolHandle) -> Stats { pool.stats() }
    verb_inflight(pool: &PoolHandle) -> usize { pool.inflight() }
    verb_drop_pool(pool: PagePool) { drop(pool) }

    // Providers, which the verbs above reach through `dyn` only: the recipe's, and the buddy.
    provider_alloc_bulk(banks: &Banks, places: &mut [Place]) { let _ = banks.alloc_bulk(&ANY, &mut UnitSink::new(places)); }
    provider_release(banks: &Banks, unit: Unit) { banks.release(unit) }
    provider_release_bulk(banks: &Banks, units: UnitDrain<'_>) { banks.release_bulk(units) }
    provider_premapped(banks: &Banks, unit: &Unit) -> Option<DmaAddr> { banks.premapped(unit) }
    provider_buddy_alloc_bulk(buddy: &Buddy, request: &Request, places: &mut [Place]) {
        let _ = buddy.alloc_bulk(request, &mut UnitSink::new(places));
    }
    provider_buddy_release(buddy: &Buddy, unit: Unit) { buddy.release(unit) }
    provider_buddy_release_bulk(buddy: &Buddy, units: UnitDrain<'_>) { buddy.release_bulk(units) }

    // The control: must fail.
    control_panics(pages: &[Page], at: usize) -> &Page { &pages[at] }
}
