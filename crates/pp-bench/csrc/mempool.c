/*
 * DPDK's rte_mempool as a contender: starting DPDK inside another program, and the loops of the cases.
 *
 * The loops of one thread are here and not in Rust because getting and putting are inline functions of DPDK's headers: called one by one
 * from another language, each would pay for a call that no user of DPDK pays for. Between threads a call a chunk is paid: one or two
 * nanoseconds of what one object takes there. After each call stands the same barrier for
 * the compiler that the Rust loops have.
 *
 * Built by build.rs against libdpdk, where pkg-config finds that.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_mempool.h>

#define BATCH 64
#define clobber() __asm__ volatile("" ::: "memory")

/* Starts DPDK with the calling thread as its only core, on processor `cpu`. 0, or the error's number. */
int pp_mempool_start(unsigned cpu)
{
	char core[32];
	snprintf(core, sizeof core, "--lcores=0@%u", cpu);
	char *args[] = {
		"pp-bench", core, "--no-huge", "-m", "512", "--no-pci", "--no-telemetry", "--no-shconf", "--log-level=1", NULL,
	};
	if (rte_eal_init((int)(sizeof args / sizeof *args) - 1, args) < 0)
		return rte_errno ? rte_errno : -1;
	return 0;
}

/* A pool of `count` objects of `bytes` each, with caches for so many objects or without. */
struct rte_mempool *pp_mempool_create(unsigned count, unsigned bytes, unsigned cache)
{
	static unsigned number;
	char name[32];
	snprintf(name, sizeof name, "pp-bench-%u", number++);
	return rte_mempool_create(name, count, bytes, cache, 0, NULL, NULL, NULL, NULL, SOCKET_ID_ANY, 0);
}

void pp_mempool_destroy(struct rte_mempool *pool)
{
	rte_mempool_free(pool);
}

/* Makes the calling thread one of DPDK's, with caches of its own: 1 if it was that already, negative if it cannot be. */
int pp_mempool_attend(void)
{
	return rte_lcore_id() != LCORE_ID_ANY ? 1 : rte_thread_register();
}

void pp_mempool_leave(void)
{
	rte_thread_unregister();
}

/* The sizes that are asked for are constants, so that copies are unrolled as for any user. */
int pp_mempool_get(struct rte_mempool *pool, void **objects, unsigned count)
{
	switch (count) {
	case 1:
		return rte_mempool_get(pool, objects);
	case 16:
		return rte_mempool_get_bulk(pool, objects, 16);
	case 64:
		return rte_mempool_get_bulk(pool, objects, 64);
	default:
		return rte_mempool_get_bulk(pool, objects, count);
	}
}

void pp_mempool_put(struct rte_mempool *pool, void **objects, unsigned count)
{
	switch (count) {
	case 1:
		rte_mempool_put(pool, *objects);
		break;
	case 16:
		rte_mempool_put_bulk(pool, objects, 16);
		break;
	case 64:
		rte_mempool_put_bulk(pool, objects, 64);
		break;
	default:
		rte_mempool_put_bulk(pool, objects, count);
	}
}

/* Each loop moves `count` objects and says how many times there was none. */
uint64_t pp_mempool_single(struct rte_mempool *pool, size_t count)
{
	uint64_t failed = 0;
	void *object;
	for (size_t i = 0; i < count; i++) {
		if (rte_mempool_get(pool, &object) < 0) {
			failed++;
			continue;
		}
		clobber();
		rte_mempool_put(pool, object);
		clobber();
	}
	return failed;
}

uint64_t pp_mempool_napi64(struct rte_mempool *pool, size_t count)
{
	void *objects[BATCH];
	for (size_t i = 0; i < count / BATCH; i++) {
		for (unsigned j = 0; j < BATCH; j++) {
			if (rte_mempool_get(pool, &objects[j]) < 0)
				return 1;
			clobber();
		}
		for (unsigned j = 0; j < BATCH; j++) {
			rte_mempool_put(pool, objects[j]);
			clobber();
		}
	}
	return 0;
}

#define BULK_LOOP(size)                                                                                                \
	uint64_t pp_mempool_bulk##size(struct rte_mempool *pool, size_t count)                                         \
	{                                                                                                              \
		void *objects[size] __attribute__((aligned(64)));                                                      \
		for (size_t i = 0; i < count / (size); i++) {                                                          \
			if (rte_mempool_get_bulk(pool, objects, size) < 0)                                             \
				return 1;                                                                              \
			clobber();                                                                                     \
			rte_mempool_put_bulk(pool, objects, size);                                                     \
			clobber();                                                                                     \
		}                                                                                                      \
		return 0;                                                                                              \
	}

BULK_LOOP(16)
BULK_LOOP(64)
