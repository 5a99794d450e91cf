// What one invalidation costs: punch [SHARERS [ROUNDS [PAGES [WORK [busy|idle]]]]].
// SHARERS processes share a region with a file of memory in it. In each round pages are punched out of the file, which must reach the
// TLBs of all sharers; then the pages are written anew and every sharer looks for the new stamps. Each has WORK pages of its own in use
// besides, which the holes are not about. Busy sharers run, as far as there are vCPUs, while the hole is punched; idle ones sleep.
// The holes are what is measured.
#include "region.h"
#include "guest/measure.h"
#include "guest/threads.h"

#include <linux/falloc.h>
#include <linux/wait.h>

static struct {
    uint32_t round, done, over;
} *board;

static long pages, work;
static bool busy;

static uint64_t stamp(uint32_t round, long page)
{
    return (uint64_t)round << 32 | (uint64_t)page | 1UL << 63;
}

// A busy sharer works for a while before it lets others run, so that a hole finds vCPUs in the midst of sharers that use the pages.
// What it reads there it must not judge: a hole, or a stamp.
static void use(volatile uint64_t *own, const volatile uint64_t *shared, long instructions)
{
    for (long left = instructions; left > 0; left -= 4 * (work + pages)) {
        for (long i = 0; i < work; i++)
            own[i * 512]++;
        for (long i = 0; i < pages; i++)
            (void)shared[i * 512];
    }
}

static void share(void)
{
    volatile uint64_t *shared = (uint64_t *)region_attach((unsigned long)pages * PAGE), *own = map_pages((unsigned long)work * PAGE, PROT_READ | PROT_WRITE);
    uint32_t seen = 0;
    while (!LOAD_ACQUIRE(&board->over)) {
        uint32_t round = LOAD_ACQUIRE(&board->round);
        bool news = round != seen && !LOAD_ACQUIRE(&board->over);
        use(own, shared, busy && !news ? 20000 : 1);
        if (news) {
            for (long i = 0; i < pages; i++)
                CHECK_EQ(shared[i * 512], stamp(round, i));
            seen = round;
            (void)ADD(&board->done, 1);
        }
        if (busy)
            thread_yield();
        else
            futex_wait(&board->round, seen, NULL);
    }
    exit_group(failures());
}

int main(int argc, char **argv, char **envp)
{
    (void)envp;
    long sharers = arg_number(argc, argv, 1, 4), rounds = arg_number(argc, argv, 2, 8);
    pages = arg_number(argc, argv, 3, 8);
    work = arg_number(argc, argv, 4, 32);
    busy = argc < 6 || strcmp(argv[5], "busy") == 0;
    REQUIRE(sharers >= 1 && rounds >= 1 && pages >= 1 && work >= 1);
    board = (void *)mmap6(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int file = (int)sys(memfd_create, "punched", 0);
    REQUIRE(sys(ftruncate, file, pages * (long)PAGE) == 0);
    int region = region_create((unsigned long)pages * PAGE, file, 0);
    for (long i = 0; i < sharers; i++)
        if (sys(fork) == 0)
            share();
    volatile uint64_t *shared = (uint64_t *)region_map(region, (unsigned long)pages * PAGE);
    for (uint32_t round = 1; round <= (uint32_t)rounds + 1; round++) {
        for (long i = 0; i < pages; i++) {
            CHECK_EQ(shared[i * 512], 0);
            shared[i * 512] = stamp(round, i);
        }
        STORE_RELEASE(&board->done, 0);
        STORE_RELEASE(&board->round, round);
        futex_wake(&board->round, 1 << 30);
        while (LOAD_ACQUIRE(&board->done) < (uint32_t)sharers)
            thread_yield();
        if (round > (uint32_t)rounds)
            break;
        measure_begin();
        CHECK_EQ(sys(fallocate, file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, pages * (long)PAGE), 0);
        measure_end();
    }
    STORE_RELEASE(&board->over, 1);
    STORE_RELEASE(&board->round, 0);
    futex_wake(&board->round, 1 << 30);
    for (long i = 0; i < sharers; i++) {
        int status = -1;
        while (sys(wait4, -1, &status, 0, NULL) == -EINTR) {
        }
        CHECK_EQ(status, 0);
    }
    passed("holes reach all sharers");
    return report();
}
