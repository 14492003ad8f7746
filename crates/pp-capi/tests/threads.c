/*
 * One consumer, several threads that return, every way of returning, and the books at the end.
 *
 * Built by `cargo xtask capi` with AddressSanitizer, which also reports what is left allocated. With -DFORGET one object is
 * left over on purpose, and the run must fail.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "page_pool.h"

#define THREADS 4
#define BATCH 32
#define ROUNDS 2000
#define MEMORY ((size_t)4 << 20)

#define CHECK(condition)                                                                  \
    do {                                                                                  \
        if (!(condition)) {                                                               \
            char why[256];                                                                \
            pp_last_error(why, sizeof why);                                               \
            fprintf(stderr, "%s:%d: %s (last error: %s)\n", __FILE__, __LINE__, #condition, why); \
            abort();                                                                      \
        }                                                                                 \
    } while (0)

/* What goes from the consumer to one thread: a batch at a time, full or empty. */
struct lane {
    pthread_t thread;
    unsigned number;
    pp_handle *handle;
    pp_page *pages[BATCH];
    size_t count;
    atomic_int full; /* 1: the thread's turn; 0: the consumer's; 2: the end */
    size_t returned;
};

static void stamp(pp_page *page, unsigned tag) {
    memset(pp_page_data(page), (int)(tag & 0xff), pp_page_bytes(page));
}

static void verify(pp_page *page, unsigned tag) {
    const unsigned char *bytes = pp_page_data(page);
    size_t last = pp_page_bytes(page) - 1;
    CHECK(bytes[0] == (tag & 0xff) && bytes[last / 2] == (tag & 0xff) && bytes[last] == (tag & 0xff));
}

static void *give_back(void *argument) {
    struct lane *lane = argument;
    pp_returner *returner = NULL;
    pp_stats stats;
    int turn;

    if (lane->number == 0)
        CHECK(pp_returner_create(lane->handle, &returner) == PP_STATUS_OK);
    for (;;) {
        while ((turn = atomic_load_explicit(&lane->full, memory_order_acquire)) == 0)
            sched_yield();
        if (turn == 2)
            break;
        for (size_t i = 0; i < lane->count; i++) {
            verify(lane->pages[i], lane->number);
            stamp(lane->pages[i], 0xee);
        }
        switch (lane->number) {
        case 0:
            pp_returner_put_bulk(returner, lane->pages, lane->count);
            break;
        case 1:
            pp_page_put_bulk(lane->pages, lane->count);
            break;
        case 2:
            for (size_t i = 0; i < lane->count; i++)
                pp_page_put(lane->pages[i]);
            break;
        default:
            for (size_t i = 0; i < lane->count; i++)
                if (!pp_page_try_put(lane->pages[i]))
                    pp_page_put(lane->pages[i]);
        }
        lane->returned += lane->count;
        CHECK(pp_handle_stats(lane->handle, &stats, sizeof stats) == PP_STATUS_OK);
        CHECK(stats.in_cache <= 128);
        atomic_store_explicit(&lane->full, 0, memory_order_release);
    }
    pp_returner_destroy(returner);
    return NULL;
}

static size_t puts_in(const pp_stats *s) {
    return s->recycle_cached + s->recycle_ring + s->recycle_ring_full + s->recycle_released_refcnt + s->recycle_released_closed;
}

static size_t allocations_in(const pp_stats *s) {
    return s->alloc_fast + s->alloc_refill + s->alloc_slow + s->alloc_slow_high_order;
}

int main(void) {
    pp_buddy_options memory = {.bytes = MEMORY};
    pp_pool_options options = {.name = "rx0", .ring = 128, .limit = 512, .returners = 1, .returner_room = 256};
    pp_buddy *buddy;
    pp_buddy_info info;
    pp_pool *pool;
    pp_handle *handle;
    pp_page *batch[BATCH], *kept;
    pp_stats stats;
    struct lane lanes[THREADS];
    size_t allocated = 0, recycled = 0, got;

    CHECK(pp_buddy_create(&memory, sizeof memory, &buddy) == PP_STATUS_OK);
    CHECK(pp_pool_create(buddy, &options, sizeof options, &pool) == PP_STATUS_OK);
    CHECK(pp_handle_create(pool, &handle) == PP_STATUS_OK);
    for (unsigned i = 0; i < THREADS; i++) {
        lanes[i] = (struct lane){.number = i, .handle = handle};
        CHECK(pthread_create(&lanes[i].thread, NULL, give_back, &lanes[i]) == 0);
    }

    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < THREADS; i++) {
            struct lane *lane = &lanes[i];
            if (atomic_load_explicit(&lane->full, memory_order_acquire) != 0)
                continue;
            pp_status status = pp_pool_alloc_bulk(pool, lane->pages, BATCH, &lane->count);
            CHECK(status == PP_STATUS_OK || status == PP_STATUS_LIMIT_REACHED);
            for (size_t page = 0; page < lane->count; page++)
                stamp(lane->pages[page], lane->number);
            allocated += lane->count;
            atomic_store_explicit(&lane->full, 1, memory_order_release);
        }
        CHECK(pp_pool_alloc_bulk(pool, batch, BATCH, &got) != PP_STATUS_NULL);
        allocated += got;
        recycled += got;
        if (got > 0) {
            pp_pool_recycle(pool, batch[0]);
            pp_pool_recycle_bulk(pool, batch + 1, got - 1);
        }
    }
    for (unsigned i = 0; i < THREADS; i++) {
        while (atomic_load_explicit(&lanes[i].full, memory_order_acquire) != 0)
            sched_yield();
        atomic_store_explicit(&lanes[i].full, 2, memory_order_release);
        CHECK(pthread_join(lanes[i].thread, NULL) == 0);
        recycled += lanes[i].returned;
    }

    /* The law of the statistics, against what was counted here. */
    CHECK(pp_pool_stats(pool, &stats, sizeof stats) == PP_STATUS_OK);
    CHECK(recycled == allocated && allocated >= (size_t)THREADS * BATCH);
    CHECK(allocations_in(&stats) == allocated && puts_in(&stats) == recycled);
    CHECK(stats.in_use == 0 && stats.hold == stats.released + stats.in_cache + stats.in_ring);
    CHECK(stats.recycle_ring > 0 && stats.recycle_cached > 0);

    /* The pool goes before its last page; the page goes home all the same, and nothing else is out. */
    CHECK(pp_pool_alloc(pool, &kept) == PP_STATUS_OK);
    stamp(kept, 7);
    pp_pool_destroy(pool);
    CHECK(pp_handle_state(handle) == PP_POOL_STATE_CLOSING && pp_handle_inflight(handle) == 1);
    verify(kept, 7);
    pp_page_put(kept);
    CHECK(pp_handle_state(handle) == PP_POOL_STATE_CLOSED);
    CHECK(pp_buddy_get_info(buddy, &info, sizeof info) == PP_STATUS_OK);
    CHECK(info.total_units == MEMORY / 4096 && info.free_units == info.total_units);
#ifndef FORGET
    pp_handle_destroy(handle);
#endif
    handle = NULL;
    pp_buddy_destroy(buddy);
    printf("%zu pages went round\n", allocated);
    return 0;
}
