/* What the header says of NULL, of options out of range, and of running out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "page_pool.h"

#define CHECK(condition)                                                       \
    do {                                                                       \
        if (!(condition)) {                                                    \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);    \
            abort();                                                           \
        }                                                                      \
    } while (0)

#define POOL(buddy, pool, ...) pp_pool_create(buddy, &(pp_pool_options){__VA_ARGS__}, sizeof(pp_pool_options), pool)

int main(void) {
    char why[128], cut[8];
    pp_buddy_options memory = {.bytes = 1 << 20};
    pp_buddy *buddy = NULL;
    pp_buddy_info info;
    pp_pool *pool = NULL, *bare = NULL;
    pp_page *page = NULL, *pages[70], *all[300];
    pp_handle *handle = NULL;
    pp_returner *returner = NULL;
    pp_stats stats;
    size_t got = 99;

    /* Nothing has failed yet. */
    CHECK(pp_last_error(NULL, 0) == 0);

    /* Ends of nothing. */
    pp_buddy_destroy(NULL);
    pp_pool_destroy(NULL);
    pp_handle_destroy(NULL);
    pp_returner_destroy(NULL);
    pp_page_put(NULL);
    pp_page_put_bulk(NULL, 3);
    pp_pool_recycle(NULL, NULL);
    pp_pool_recycle_bulk(NULL, NULL, 3);
    pp_returner_put(NULL, NULL);
    pp_returner_put_bulk(NULL, NULL, 3);
    CHECK(!pp_page_try_put(NULL) && pp_page_data(NULL) == NULL && pp_page_bytes(NULL) == 0);
    CHECK(pp_pool_trim(NULL, 0) == 0 && pp_pool_page_bytes(NULL) == 0 && pp_handle_inflight(NULL) == 0);
    CHECK(pp_handle_state(NULL) == PP_POOL_STATE_CLOSED);

    /* NULL where an object is needed. */
    CHECK(pp_buddy_create(NULL, sizeof memory, &buddy) == PP_STATUS_NULL);
    CHECK(pp_buddy_create(&memory, sizeof memory, NULL) == PP_STATUS_NULL);
    CHECK(buddy == NULL);
    CHECK(pp_pool_create(NULL, NULL, 0, &pool) == PP_STATUS_NULL && pool == NULL);
    CHECK(pp_last_error(why, sizeof why) == strlen(why) && strstr(why, "buddy is NULL"));
    CHECK(pp_last_error(cut, sizeof cut) == strlen(why) && strlen(cut) == sizeof cut - 1 && !strncmp(cut, why, 7));

    /* Options out of range. */
    memory.unit_bytes = 1000;
    CHECK(pp_buddy_create(&memory, sizeof memory, &buddy) == PP_STATUS_INVALID);
    CHECK(pp_last_error(why, sizeof why) && strstr(why, "1000"));
    memory = (pp_buddy_options){.bytes = 100};
    CHECK(pp_buddy_create(&memory, sizeof memory, &buddy) == PP_STATUS_INVALID && buddy == NULL);
    memory = (pp_buddy_options){.bytes = (size_t)1 << 46};
    CHECK(pp_buddy_create(&memory, sizeof memory, &buddy) != PP_STATUS_OK && buddy == NULL);

    memory = (pp_buddy_options){.bytes = 1 << 20};
    CHECK(pp_buddy_create(&memory, sizeof memory, &buddy) == PP_STATUS_OK);
    CHECK(pp_buddy_get_info(NULL, &info, sizeof info) == PP_STATUS_NULL);
    CHECK(pp_buddy_get_info(buddy, NULL, sizeof info) == PP_STATUS_NULL);
    CHECK(pp_pool_create(buddy, NULL, 0, NULL) == PP_STATUS_NULL);
    CHECK(POOL(buddy, &pool, .cache = 5000) == PP_STATUS_INVALID);
    CHECK(pp_last_error(why, sizeof why) && strstr(why, "5000"));
    CHECK(POOL(buddy, &pool, .order = 99) == PP_STATUS_INVALID);
    CHECK(POOL(buddy, &pool, .cache = 4, .refill = 5) == PP_STATUS_INVALID);
    CHECK(POOL(buddy, &pool, .returners = 65) == PP_STATUS_INVALID);
    CHECK(POOL(buddy, &pool, .returners = 1, .returner_room = 16385) == PP_STATUS_INVALID);
    CHECK(POOL(buddy, &pool, .name = "\xff") == PP_STATUS_INVALID);
    CHECK(pool == NULL);

    /* Memory of the caller's own: pages lie in it, of order 1 where asked. */
    static unsigned char own[1 << 16];
    pp_buddy *in_own = NULL;
    pp_pool *pairs = NULL;
    memory = (pp_buddy_options){.bytes = SIZE_MAX, .memory = own};
    CHECK(pp_buddy_create(&memory, sizeof memory, &in_own) == PP_STATUS_INVALID);
    memory.bytes = sizeof own;
    CHECK(pp_buddy_create(&memory, sizeof memory, &in_own) == PP_STATUS_OK);
    CHECK(POOL(in_own, &pairs, .order = 1) == PP_STATUS_OK);
    CHECK(pp_pool_alloc(pairs, &page) == PP_STATUS_OK && pp_page_bytes(page) == 8192);
    unsigned char *first = pp_page_data(page);
    CHECK(first >= own && first + 8192 <= own + sizeof own);
    memset(first, 1, 8192);
    pp_pool_recycle(pairs, page);
    CHECK(pp_pool_stats(pairs, &stats, sizeof stats) == PP_STATUS_OK && stats.alloc_slow_high_order == 1);
    pp_pool_destroy(pairs);
    CHECK(pp_buddy_get_info(in_own, &info, sizeof info) == PP_STATUS_OK && info.free_units == info.total_units);
    CHECK(info.total_units >= 15);
    pp_buddy_destroy(in_own);
    page = NULL;

    /* Running into the limit: what was got is ours, and the rest says why not. */
    CHECK(POOL(buddy, &pool, .limit = 66, .returners = 1, .zeroing = true) == PP_STATUS_OK);
    CHECK(pp_pool_page_bytes(pool) == 4096);
    CHECK(pp_pool_alloc(NULL, &page) == PP_STATUS_NULL && pp_pool_alloc(pool, NULL) == PP_STATUS_NULL);
    CHECK(pp_pool_alloc_bulk(pool, NULL, 1, &got) == PP_STATUS_NULL);
    CHECK(pp_pool_alloc_bulk(pool, pages, 1, NULL) == PP_STATUS_NULL);
    CHECK(pp_pool_stats(pool, NULL, sizeof stats) == PP_STATUS_NULL);
    CHECK(pp_pool_stats(NULL, &stats, sizeof stats) == PP_STATUS_NULL);
    CHECK(pp_pool_alloc_bulk(pool, pages, 70, &got) == PP_STATUS_LIMIT_REACHED && got == 66);
    CHECK(pp_pool_alloc(pool, &page) == PP_STATUS_LIMIT_REACHED && page == NULL);
    pages[66] = NULL;
    memset(pp_page_data(pages[0]), 0xff, 4096);
    pp_page_put_bulk(pages, 67); /* places that hold NULL are skipped */

    /* Structs of another version: what the library does not know is 0 or must be, and none was ever smaller. */
    struct { pp_stats known; size_t later, others; } figures = {.later = 7, .others = 7};
    size_t size = sizeof figures - sizeof figures.others;
    CHECK(pp_pool_stats(pool, &figures.known, size) == PP_STATUS_OK && figures.known.alloc_slow > 0);
    CHECK(figures.later == 0 && figures.others == 7);
    CHECK(pp_pool_stats(pool, &stats, sizeof stats - sizeof(size_t)) == PP_STATUS_INVALID);
    CHECK(pp_last_error(why, sizeof why) && strstr(why, "stats") && strstr(why, "sizeof"));
    CHECK(pp_buddy_get_info(buddy, &info, 0) == PP_STATUS_INVALID);
    struct { pp_pool_options known; size_t later; } asks = {.known = {.cache = 4}};
    CHECK(pp_pool_create(buddy, &asks.known, sizeof asks, &bare) == PP_STATUS_OK);
    asks.later = 1;
    CHECK(pp_pool_create(buddy, &asks.known, sizeof asks, &pool) == PP_STATUS_INVALID);
    CHECK(pp_last_error(why, sizeof why) && strstr(why, "options") && strstr(why, "newer"));
    CHECK(pp_buddy_create(&memory, sizeof(size_t), &in_own) == PP_STATUS_INVALID);

    /* The pool that was asked for no returners has none. */
    CHECK(pp_handle_create(bare, &handle) == PP_STATUS_OK);
    CHECK(pp_returner_create(handle, &returner) == PP_STATUS_NO_RETURNER && returner == NULL);
    CHECK(pp_last_error(why, sizeof why) && strstr(why, "ask for more when creating the pool"));
    pp_handle_destroy(handle);
    pp_pool_destroy(bare);

    /* The limit lifted: to the end of the memory. Pages come back cleared. */
    CHECK(pp_handle_create(pool, NULL) == PP_STATUS_NULL && pp_handle_create(NULL, &handle) == PP_STATUS_NULL);
    CHECK(pp_handle_create(pool, &handle) == PP_STATUS_OK);
    CHECK(pp_handle_set_limit(NULL, 1) == PP_STATUS_NULL && pp_handle_set_limit(handle, 0) == PP_STATUS_OK);
    CHECK(pp_handle_stats(handle, NULL, sizeof stats) == PP_STATUS_NULL);
    CHECK(pp_handle_stats(NULL, &stats, sizeof stats) == PP_STATUS_NULL);
    size_t total = 0;
    pp_status status;
    do {
        size_t room = sizeof all / sizeof *all - total;
        status = pp_pool_alloc_bulk(pool, all + total, room < 70 ? room : 70, &got);
        total += got;
    } while (status == PP_STATUS_OK);
    CHECK(status == PP_STATUS_NO_MEMORY && total == 256);
    for (size_t i = 0; i < total; i++)
        CHECK(*(unsigned char *)pp_page_data(all[i]) == 0);
    pp_page_put_bulk(all, total);
    CHECK(pp_pool_trim(pool, 10) == total - 10 && pp_handle_inflight(handle) == 10);

    /* One returner. */
    CHECK(pp_returner_create(NULL, &returner) == PP_STATUS_NULL && pp_returner_create(handle, NULL) == PP_STATUS_NULL);
    CHECK(pp_returner_create(handle, &returner) == PP_STATUS_OK);
    pp_returner *second = NULL;
    CHECK(pp_returner_create(handle, &second) == PP_STATUS_NO_RETURNER && second == NULL);
    CHECK(pp_pool_alloc(pool, &page) == PP_STATUS_OK);
    pp_returner_put(returner, page);
    CHECK(pp_handle_stats(handle, &stats, sizeof stats) == PP_STATUS_OK && stats.in_ring == 1);
    pp_returner_destroy(returner);
    CHECK(pp_returner_create(handle, &second) == PP_STATUS_OK);
    pp_returner_destroy(second);

    /* try_put of a pool that is gone gives the page back. */
    CHECK(pp_pool_alloc(pool, &page) == PP_STATUS_OK);
    pp_pool_destroy(pool);
    CHECK(!pp_page_try_put(page));
    pp_page_put(page);
    pp_handle_destroy(handle);
    pp_buddy_destroy(buddy);
    puts("refused what is refused");
    return 0;
}
