/*
 * Page pools for C: a recycling pool of DMA-ready pages, over a buddy allocator.
 *
 * Made from crates/pp-capi by `cargo xtask capi --bless`; not to be edited.
 *
 * Ownership. What a `create` or an `alloc` hands out is the caller's until it goes into the `destroy` or `put` of
 * the same kind, and is gone then, as after free(): a second time, or any use after it, is undefined. Nothing else
 * is freed by the caller. Buddy, pools, handles, returners and pages may be ended in any order: each keeps what it
 * needs alive, and the memory goes with the last of them.
 *
 * NULL. A `destroy` or `put` of NULL does nothing. A function that returns a status answers PP_STATUS_NULL to a NULL
 * where it needs an object, and then has done nothing. The others say what they do with NULL.
 *
 * Errors. Every failure is a pp_status; pp_status_text() says what it means, pp_last_error() what happened to what and
 * what to do. An out parameter is written on success only, unless its function says otherwise.
 *
 * Threads. A pp_pool and a pp_returner belong to one thread at a time: two calls on the same one must not overlap. They
 * may move to another thread between calls, with the ordering that any hand-over between threads has. Everything else
 * may be used from any thread at any time; above all, any thread may put a page.
 *
 * Signals and interrupts. A signal handler may call pp_page_data(), pp_page_bytes() and pp_page_try_put(), and nothing else.
 *
 * fork(). A child must use none of it: pages that others hold, and other threads' half-done work, do not come along.
 *
 * Panics. None is known. One that happens all the same ends here: as PP_STATUS_PANIC where a status is returned, else by
 * abort(). It never unwinds into C.
 *
 * Versions. Functions and statuses are added, and structs grow at their end. Whoever passes a struct passes its sizeof, so
 * that program and shared library may be of different versions: figures that only the library knows are left out, those
 * that only the program knows are 0, and options that the library does not know are refused unless they are 0.
 *
 * Linking. `cargo build --release -p pp-capi` makes target/release/libpp_capi.a and libpp_capi.so. With the archive:
 * cc -Icrates/pp-capi/include program.c target/release/libpp_capi.a -lpthread -ldl -lm
 */

#ifndef PAGE_POOL_H
#define PAGE_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// How a call ended.
typedef enum pp_status {
  // It did what it says.
  PP_STATUS_OK = 0,
  // A pointer that must not be NULL was.
  PP_STATUS_NULL = 1,
  // An option is out of its range.
  PP_STATUS_INVALID = 2,
  // There is no memory: the provider has no free unit, or the heap is used up.
  PP_STATUS_NO_MEMORY = 3,
  // The pool has as many pages out of its provider as its limit allows.
  PP_STATUS_LIMIT_REACHED = 4,
  // The memory behind the provider is gone.
  PP_STATUS_DEVICE_LOST = 5,
  // No returner is free: all are taken, or the pool was made without.
  PP_STATUS_NO_RETURNER = 6,
  // The operating system refused.
  PP_STATUS_SYSTEM = 7,
  // A bug inside the library; the object it happened to must not be used any more.
  PP_STATUS_PANIC = 8,
} pp_status;

// Where a pool is in its life.
typedef enum pp_pool_state {
  // It can allocate.
  PP_POOL_STATE_OPEN = 0,
  // It was destroyed, and pages of it are still out.
  PP_POOL_STATE_CLOSING = 1,
  // It was destroyed, and all its pages are home.
  PP_POOL_STATE_CLOSED = 2,
} pp_pool_state;

// Memory that pools draw on: a buddy allocator.
typedef struct pp_buddy pp_buddy;

// The side of a pool that any thread may use. Outlives the pool, and then says how it ended.
typedef struct pp_handle pp_handle;

// A page. Whoever holds the pointer owns it and may read and write its bytes.
typedef struct pp_page pp_page;

// A page pool, held by the one thread that allocates.
typedef struct pp_pool pp_pool;

// A bag of its own for one thread that returns much: cheaper than `pp_page_put`.
typedef struct pp_returner pp_returner;

// What a buddy will be. All zeros but `bytes` is a good one.
typedef struct pp_buddy_options {
  // How much memory.
  size_t bytes;
  // Bytes in a unit, which is what a page of a pool of order 0 has: a power of two from 2048 to 65536. 0 means 4096.
  size_t unit_bytes;
  // Units kept for when nothing else is left; pages from there are not recycled.
  size_t reserve_units;
  // NULL for fresh, zeroed memory of the operating system (Linux). Otherwise `bytes` initialised bytes that the buddy
  // takes over for the rest of the process: nobody else may touch or free them again. Units begin at multiples of their
  // size; what lies before the first and behind the last is lost.
  void *memory;
} pp_buddy_options;

// What a buddy has.
typedef struct pp_buddy_info {
  // Bytes in a unit.
  size_t unit_bytes;
  // Units in all.
  size_t total_units;
  // Of those, how many are free. Pools hold units in their caches: `pp_pool_trim` gives those back.
  size_t free_units;
} pp_buddy_info;

// A snapshot of a pool. Exact when nobody is inside a call; otherwise each figure is one that was true shortly before.
//
// Exact figures obey: puts = recycle_cached + recycle_ring + recycle_ring_full + recycle_released_refcnt +
// recycle_released_closed; allocations = alloc_fast + alloc_refill + alloc_slow + alloc_slow_high_order; hold = released +
// in_cache + in_ring + in_use.
typedef struct pp_stats {
  // Pages handed out of the cache.
  size_t alloc_fast;
  // Pages handed out after a refill from the provider.
  size_t alloc_slow;
  // The same of order over 0.
  size_t alloc_slow_high_order;
  // Times the ring had nothing.
  size_t alloc_empty;
  // Pages handed out after a refill from the ring.
  size_t alloc_refill;
  // Pages from another node that a refill gave back.
  size_t alloc_waive;
  // Pages put straight into the cache.
  size_t recycle_cached;
  // Attempts at it that found the cache full.
  size_t recycle_cache_full;
  // Pages put into the ring or by a returner.
  size_t recycle_ring;
  // Pages that went to the provider because the ring was full.
  size_t recycle_ring_full;
  // Pages that left because their provider wants them back.
  size_t recycle_released_refcnt;
  // Pages that went to the provider because the pool was destroyed.
  size_t recycle_released_closed;
  // Pages that ever entered from the provider.
  size_t hold;
  // Pages that ever left.
  size_t released;
  // Pages in the cache.
  size_t in_cache;
  // Pages in the ring and in bags.
  size_t in_ring;
  // Pages that somebody has.
  size_t in_use;
  // Refills that the limit cut to nothing.
  size_t limit_hits;
  // Times the provider was asked.
  size_t provider_calls;
  // Times it gave nothing.
  size_t provider_failures;
} pp_stats;

// What a pool will be. All zeros is a good one.
typedef struct pp_pool_options {
  // What tables call the pool, in UTF-8; copied. NULL for none.
  const char *name;
  // log2 of the buddy's units in one page.
  uint8_t order;
  // Whether pages are cleared when they come from the provider and when another thread returned them.
  bool zeroing;
  // Slots in the ring through which other threads return pages, clamped to 16384. 0 means 1024.
  size_t ring;
  // Pages in the consumer's cache, 4096 at most. 0 means 128.
  size_t cache;
  // Pages fetched from the provider at a time, as many as the cache at most. 0 means half the cache, 64 at most.
  size_t refill;
  // Pages out of the provider at most. 0 means no limit.
  size_t limit;
  // How many returners there can be at a time, 64 at most.
  size_t returners;
  // Pages that each returner has room for, 16384 at most. 0 means 1024.
  size_t returner_room;
} pp_pool_options;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Makes a buddy, which goes to `*buddy`. `size` is `sizeof *options`.
//
// Fails with `PP_STATUS_INVALID` for options out of range and memory too small for a unit, and with `PP_STATUS_SYSTEM` when
// the operating system refuses the memory.
//
// Safety: `options` is readable for `size` bytes, `buddy` is writable, each or NULL; `options->memory` is as its comment says.
enum pp_status pp_buddy_create(const struct pp_buddy_options *options,
                               size_t size,
                               struct pp_buddy **buddy);

// Gives the caller's share of the buddy up. Pools on it, and pages that are out, keep the memory.
//
// Safety: `buddy` is from `pp_buddy_create`, was not destroyed and no other thread is using it, or NULL.
void pp_buddy_destroy(struct pp_buddy *buddy);

// Writes into `*info` what the buddy has now. `size` is `sizeof *info`.
//
// Safety: `buddy` is a buddy, `info` is writable for `size` bytes, each or NULL.
enum pp_status pp_buddy_get_info(const struct pp_buddy *buddy, struct pp_buddy_info *info, size_t size);

// Makes a handle to `pool`, which goes to `*handle`.
//
// Safety: `pool` is a pool that no other thread is using, `handle` is writable, each or NULL.
enum pp_status pp_handle_create(const struct pp_pool *pool, struct pp_handle **handle);

// Ends a handle; the pool does not notice.
//
// Safety: `handle` is from `pp_handle_create`, was not destroyed and no other thread is using it, or NULL.
void pp_handle_destroy(struct pp_handle *handle);

// Writes into `*stats` what happened in the pool so far. `size` is `sizeof *stats`.
//
// Safety: `handle` is a handle, `stats` is writable for `size` bytes, each or NULL.
enum pp_status pp_handle_stats(const struct pp_handle *handle, struct pp_stats *stats, size_t size);

// Pages on the pool's books: in use, in its cache, in its ring; 0 for NULL.
//
// Safety: `handle` is a handle, or NULL.
size_t pp_handle_inflight(const struct pp_handle *handle);

// Where the pool is in its life; `PP_POOL_STATE_CLOSED` for NULL.
//
// Safety: `handle` is a handle, or NULL.
enum pp_pool_state pp_handle_state(const struct pp_handle *handle);

// Sets the limit on pages out of the provider; 0 lifts it. Counts from the next refill; what is out stays out.
//
// Safety: `handle` is a handle, or NULL.
enum pp_status pp_handle_set_limit(const struct pp_handle *handle, size_t pages);

// The page's bytes; NULL for NULL. Valid until the page is put.
//
// Safety: `page` is a page that the caller owns, or NULL.
void *pp_page_data(const struct pp_page *page);

// How many bytes the page has; 0 for NULL.
//
// Safety: As for `pp_page_data`.
size_t pp_page_bytes(const struct pp_page *page);

// Puts a page: back to its own pool, from any thread. Never fails, never blocks but on the provider's lock.
//
// Safety: `page` is a page that the caller owns and gives up, or NULL.
void pp_page_put(struct pp_page *page);

// Puts `count` pages, of one pool or of several, from any thread. Places that hold NULL are skipped.
//
// Safety: `pages` is readable for `count` pointers, or NULL; each is a page that the caller owns and gives up, or NULL.
void pp_page_put_bulk(struct pp_page *const *pages, size_t count);

// Puts a page if that takes neither a lock nor the provider, as a signal handler needs it.
//
// True: the page is gone. False, when the ring is full, the pool destroyed, or the page not one that is recycled: it is
// still the caller's, who puts it later. False for NULL.
//
// Safety: As for `pp_page_put`; on false the page is not given up.
bool pp_page_try_put(struct pp_page *page);

// Makes a pool on `buddy`, which goes to `*pool`. `size` is `sizeof *options`; `options` may be NULL for all zeros. Several
// pools may share a buddy.
//
// Fails with `PP_STATUS_INVALID` for options out of range, and with `PP_STATUS_NO_MEMORY` without memory for the pool's tables.
//
// Safety: `buddy` is a buddy, `options` is readable for `size` bytes and the name in it readable, `pool` is writable, each or NULL.
enum pp_status pp_pool_create(const struct pp_buddy *buddy,
                              const struct pp_pool_options *options,
                              size_t size,
                              struct pp_pool **pool);

// Ends a pool. Does not wait: pages that are out stay valid, and the last one to be put frees what is left.
//
// Safety: `pool` is from `pp_pool_create`, was not destroyed and no other thread is using it, or NULL.
void pp_pool_destroy(struct pp_pool *pool);

// Takes a page, which goes to `*page`. Its bytes are what their last holder left unless the pool zeroes.
//
// Fails with `PP_STATUS_NO_MEMORY` or `PP_STATUS_LIMIT_REACHED` when there is none now; pages in use will come back.
//
// Safety: `pool` is a pool that no other thread is using, `page` is writable, each or NULL.
enum pp_status pp_pool_alloc(struct pp_pool *pool, struct pp_page **page);

// Takes `count` pages, which go to the first places of `pages`, and writes into `*allocated` how many it were.
//
// All of them: `PP_STATUS_OK`. Fewer: why there are no more, and those that were got are the caller's all the same.
//
// Safety: `pool` is a pool that no other thread is using, `pages` is writable for `count` pointers, `allocated` is writable, each
// or NULL.
enum pp_status pp_pool_alloc_bulk(struct pp_pool *pool,
                                  struct pp_page **pages,
                                  size_t count,
                                  size_t *allocated);

// Puts a page straight into the cache of `pool`: what its own thread does with a page that it is done with. A page of
// another pool goes to its own; with NULL for the pool it is the same as `pp_page_put`.
//
// Safety: `pool` is a pool that no other thread is using, or NULL; `page` is a page that the caller owns and gives up, or NULL.
void pp_pool_recycle(struct pp_pool *pool, struct pp_page *page);

// Puts `count` pages straight into the cache of `pool`, as far as they fit. Places that hold NULL are skipped.
//
// Safety: `pool` is as for `pp_pool_recycle`, `pages` as for `pp_page_put_bulk`.
void pp_pool_recycle_bulk(struct pp_pool *pool, struct pp_page *const *pages, size_t count);

// Gives idle pages back to the buddy until at most `keep` are left, and returns how many went; 0 for NULL.
//
// Safety: `pool` is a pool that no other thread is using, or NULL.
size_t pp_pool_trim(struct pp_pool *pool, size_t keep);

// Bytes in each page of the pool; 0 for NULL.
//
// Safety: `pool` is a pool that no other thread is using, or NULL.
size_t pp_pool_page_bytes(const struct pp_pool *pool);

// Writes into `*stats` what happened so far. `size` is `sizeof *stats`. From other threads: `pp_handle_stats`.
//
// Safety: `pool` is a pool that no other thread is using, `stats` is writable for `size` bytes, each or NULL.
enum pp_status pp_pool_stats(const struct pp_pool *pool, struct pp_stats *stats, size_t size);

// Takes one of the pool's returners, which goes to `*returner`.
//
// Fails with `PP_STATUS_NO_RETURNER` when all are taken, or the pool was made without.
//
// Safety: `handle` is a handle, `returner` is writable, each or NULL.
enum pp_status pp_returner_create(const struct pp_handle *handle, struct pp_returner **returner);

// Frees the returner for another thread; pages that lie in it stay for the pool.
//
// Safety: `returner` is from `pp_returner_create`, was not destroyed and no other thread is using it, or NULL.
void pp_returner_destroy(struct pp_returner *returner);

// Puts a page. A page of another pool goes to its own; with NULL for the returner it is the same as `pp_page_put`.
//
// Safety: `returner` is a returner that no other thread is using, or NULL; `page` is a page that the caller owns and gives up, or
// NULL.
void pp_returner_put(struct pp_returner *returner,
                     struct pp_page *page);

// Puts `count` pages. Places that hold NULL are skipped.
//
// Safety: `returner` is as for `pp_returner_put`, `pages` as for `pp_page_put_bulk`.
void pp_returner_put_bulk(struct pp_returner *returner, struct pp_page *const *pages, size_t count);

// What a status means, in one line. Static text, never NULL; a number that is no status has a text too.
const char *pp_status_text(int32_t status);

// Says in words what the last failing call of this thread ran into, and what to do about it.
//
// Writes at most `size` bytes into `text`, the closing NUL included, and returns the length of the whole text, as snprintf()
// does; 0 when no call of this thread has failed. `text` may be NULL when `size` is 0. A success does not reset it.
//
// Safety: `text` is valid for writes of `size` bytes.
size_t pp_last_error(char *text,
                     size_t size);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* PAGE_POOL_H */
