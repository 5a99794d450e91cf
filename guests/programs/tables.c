// Page tables come and go while another thread, or nobody, runs on the processors that know them: tables [ROUNDS]. The other thread sleeps
// while whole 2 MiB are unmapped, so that what its processor remembers of their tables is all that is left of them.
#include "guest.h"
#include "guest/threads.h"

#include <linux/futex.h>

#define SPAN (2UL << 20)

enum { REGIONS = 6, TOUCHED = 3 };

static char *area;
static long rounds;
static uint32_t turn; // even: the mapper's; odd: the reader's

static void wait_for(uint32_t parity)
{
    for (uint32_t now; ((now = __atomic_load_n(&turn, __ATOMIC_ACQUIRE)) & 1) != parity;)
        sys(futex, &turn, FUTEX_WAIT_PRIVATE, now, NULL, NULL, 0);
}

static void hand_over(void)
{
    __atomic_fetch_add(&turn, 1, __ATOMIC_RELEASE);
    sys(futex, &turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static volatile uint64_t *word(int region, int page)
{
    return (volatile uint64_t *)(area + (unsigned long)region * SPAN + (unsigned long)page * 37 * PAGE);
}

static uint64_t stamp(long round, int region, int page)
{
    return (uint64_t)round << 16 | (uint64_t)region << 8 | (uint64_t)page;
}

static void map_region(long round, int region)
{
    mmap6(area + (unsigned long)region * SPAN, SPAN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    // A huge page has no table, and this is about tables.
    sys(madvise, area + (unsigned long)region * SPAN, SPAN, MADV_NOHUGEPAGE);
    for (int page = 0; page < TOUCHED; page++) {
        CHECK_EQ(*word(region, page), 0);
        *word(region, page) = stamp(round, region, page);
    }
}

static void read_along(void *argument)
{
    (void)argument;
    for (long round = 0; round < rounds; round++) {
        wait_for(1);
        for (int region = 0; region < REGIONS; region++)
            for (int page = 0; page < TOUCHED; page++)
                CHECK_EQ(*word(region, page), stamp(round, region, page));
        hand_over();
    }
}

int main(int argc, char **argv, char **envp)
{
    (void)envp;
    rounds = arg_number(argc, argv, 1, 40);
    // A space of its own between the regions' neighbours, so that their tables belong to nobody else.
    char *raw = map_pages((REGIONS + 2) * SPAN, PROT_NONE);
    area = (char *)(((unsigned long)raw + SPAN - 1) & ~(SPAN - 1)) + SPAN;
    sys(munmap, raw, (REGIONS + 2) * SPAN);
    for (int region = 0; region < REGIONS; region++)
        map_region(0, region);
    thread *reader = thread_start(read_along, NULL);
    for (long round = 0; round < rounds; round++) {
        hand_over();
        wait_for(0);
        for (int region = 0; region < REGIONS; region++) {
            // The whole at once or in two parts: tables go with the last.
            char *start = area + (unsigned long)region * SPAN;
            if (region % 2 == 0)
                sys(munmap, start, SPAN);
            else {
                sys(munmap, start + SPAN / 2, SPAN / 2);
                sys(munmap, start, SPAN / 2);
            }
            map_region(round + 1, region);
        }
    }
    thread_join(reader);
    passed("tables come and go");
    return report();
}
