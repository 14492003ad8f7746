/* One pool, one page, there and back. */
#include <stdio.h>
#include <string.h>

#include "page_pool.h"

static int fail(const char *what, pp_status status) {
    char why[256];
    pp_last_error(why, sizeof why);
    fprintf(stderr, "%s: %s: %s\n", what, pp_status_text(status), why);
    return 1;
}

int main(void) {
    pp_buddy_options memory = {.bytes = 8 << 20};                  /* 8 MiB in units of 4 KiB */
    pp_pool_options options = {.name = "rx0", .limit = 1024};      /* the rest as usual */
    pp_buddy *buddy;
    pp_pool *pool;
    pp_page *page;
    pp_stats stats;
    pp_status status;

    if ((status = pp_buddy_create(&memory, sizeof memory, &buddy)) != PP_STATUS_OK)
        return fail("no memory", status);
    status = pp_pool_create(buddy, &options, sizeof options, &pool);
    pp_buddy_destroy(buddy);                                       /* the pool keeps the memory */
    if (status != PP_STATUS_OK)
        return fail("no pool", status);

    if ((status = pp_pool_alloc(pool, &page)) != PP_STATUS_OK)
        return fail("no page", status);
    memcpy(pp_page_data(page), "ping", 5);
    printf("%s, %zu bytes\n", (const char *)pp_page_data(page), pp_page_bytes(page));
    pp_pool_recycle(pool, page);                                   /* straight back; other threads: pp_page_put */

    pp_pool_stats(pool, &stats, sizeof stats);
    printf("recycled %zu, in use %zu\n", stats.recycle_cached, stats.in_use);
    pp_pool_destroy(pool);
    return 0;
}
