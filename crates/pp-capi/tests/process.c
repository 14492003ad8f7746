/* What a signal handler may call, and that a child which uses nothing of it does no harm. */
#define _POSIX_C_SOURCE 200809L
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "page_pool.h"

#define CHECK(condition)                                                       \
    do {                                                                       \
        if (!(condition)) {                                                    \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);    \
            abort();                                                           \
        }                                                                      \
    } while (0)

/* What the handler has, and how far it came. */
static pp_page *volatile inbox;
static volatile sig_atomic_t reached;

static void interrupt(int signal) {
    pp_page *page = inbox;
    (void)signal;
    inbox = NULL;
    if (memcmp(pp_page_data(page), "ping", 5) != 0 || pp_page_bytes(page) != 4096)
        return;
    reached = 1;
    if (pp_page_try_put(page))
        reached = 2;
    else
        inbox = page; /* still ours */
}

int main(void) {
    pp_buddy_options memory = {.bytes = 1 << 20};
    pp_buddy *buddy;
    pp_buddy_info info;
    pp_pool *pool;
    pp_page *pages[8];
    pp_stats stats;
    size_t got;
    int status;

    CHECK(pp_buddy_create(&memory, sizeof memory, &buddy) == PP_STATUS_OK);
    CHECK(pp_pool_create(buddy, NULL, 0, &pool) == PP_STATUS_OK);

    /* Back to the ring from a handler; and to a pool that is no more, not. */
    struct sigaction action = {.sa_handler = interrupt};
    CHECK(sigemptyset(&action.sa_mask) == 0 && sigaction(SIGUSR1, &action, NULL) == 0);
    CHECK(pp_pool_alloc_bulk(pool, pages, 2, &got) == PP_STATUS_OK);
    for (int i = 0; i < 2; i++)
        memcpy(pp_page_data(pages[i]), "ping", 5);
    inbox = pages[0];
    CHECK(raise(SIGUSR1) == 0 && reached == 2 && inbox == NULL);
    CHECK(pp_pool_stats(pool, &stats, sizeof stats) == PP_STATUS_OK && stats.recycle_ring == 1);
    pp_pool_destroy(pool);
    inbox = pages[1];
    CHECK(raise(SIGUSR1) == 0 && reached == 1 && inbox == pages[1]);
    pp_page_put(pages[1]);

    /* A child comes and goes while pages are out and in the caches. */
    CHECK(pp_pool_create(buddy, NULL, 0, &pool) == PP_STATUS_OK);
    CHECK(pp_pool_alloc_bulk(pool, pages, 8, &got) == PP_STATUS_OK);
    memset(pp_page_data(pages[0]), 1, 4096);
    pp_page_put_bulk(pages + 4, 4);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        _exit(7);
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 7);
    CHECK(((unsigned char *)pp_page_data(pages[0]))[4095] == 1);
    pp_pool_recycle_bulk(pool, pages, 4);
    pp_pool_destroy(pool);
    CHECK(pp_buddy_get_info(buddy, &info, sizeof info) == PP_STATUS_OK && info.free_units == info.total_units);
    pp_buddy_destroy(buddy);
    puts("a handler and a child did no harm");
    return 0;
}
