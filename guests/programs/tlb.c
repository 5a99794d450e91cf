// Threads map, unmap, protect and move pages under each other and verify what they touch: tlb [THREADS] [ROUNDS].
// Every page carries a stamp that says what it is; a stale translation shows the stamp of another page.
#include "guest.h"
#include "guest/signals.h"
#include "guest/threads.h"

enum { MOST = 64, SLOTS = 16, PAGES = 8 };

static int count;
static long rounds;

static void run_all(thread_body body)
{
    thread *threads[MOST];
    for (long i = 0; i < count; i++)
        threads[i] = thread_start(body, (void *)i);
    for (int i = 0; i < count; i++)
        thread_join(threads[i]);
}

static uint64_t stamp(long owner, long round, long page)
{
    return 0xace0000000000000 | (uint64_t)owner << 40 | (uint64_t)round << 8 | (uint64_t)page;
}

// Each thread maps, stamps, checks and unmaps on its own, all in one address space: frames go round between them.
static void remap_own(void *argument)
{
    long me = (long)argument;
    for (long round = 0; round < rounds; round++) {
        volatile uint64_t *pages = map_pages(PAGES * PAGE, PROT_READ | PROT_WRITE);
        for (long i = 0; i < PAGES; i++) {
            CHECK_EQ(pages[i * 512], 0);
            pages[i * 512] = stamp(me, round, i);
        }
        if (round % 8 == 0)
            thread_yield();
        for (long i = 0; i < PAGES; i++)
            CHECK_EQ(pages[i * 512], stamp(me, round, i));
        sys(munmap, (void *)pages, PAGES * PAGE);
    }
}

// A shared set of slots: whoever holds a slot's lock replaces its page at the same address; everybody else reads along.
static struct { mutex lock; volatile uint64_t *page; uint64_t stamp; } slots[SLOTS];

static void replace_shared(void *argument)
{
    long me = (long)argument;
    for (long round = 0; round < rounds; round++) {
        int which = (int)((me * 7 + round * 5) % SLOTS);
        mutex_lock(&slots[which].lock);
        volatile uint64_t *page = slots[which].page;
        CHECK_EQ(page[0], slots[which].stamp);
        CHECK_EQ(page[511], ~slots[which].stamp);
        switch ((me + round) % 4) {
        case 0:
            mmap6((void *)page, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
            CHECK_EQ(page[0], 0);
            break;
        case 1:
            sys(madvise, page, PAGE, MADV_DONTNEED);
            CHECK_EQ(page[511], 0);
            break;
        case 2:
            sys(mprotect, page, PAGE, PROT_READ);
            CHECK_FAULT(fault_of_write((void *)page), SIGSEGV, SEGV_ACCERR, page);
            sys(mprotect, page, PAGE, PROT_READ | PROT_WRITE);
            break;
        default: {
            long moved = sys(mremap, page, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, (char *)page + SLOTS * PAGE);
            CHECK_EQ(moved, (char *)page + SLOTS * PAGE);
            CHECK_EQ(*(volatile uint64_t *)moved, slots[which].stamp);
            sys(mremap, moved, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, page);
            CHECK_EQ(page[0], slots[which].stamp);
        }
        }
        slots[which].stamp = stamp(me, round, which);
        page[0] = slots[which].stamp;
        page[511] = ~slots[which].stamp;
        mutex_unlock(&slots[which].lock);
    }
}

static void check_shared(void)
{
    char *area = map_pages(2 * SLOTS * PAGE, PROT_READ | PROT_WRITE);
    for (int i = 0; i < SLOTS; i++) {
        slots[i].page = (uint64_t *)(area + i * PAGE);
        slots[i].stamp = stamp(0, 0, i);
        slots[i].page[0] = slots[i].stamp;
        slots[i].page[511] = ~slots[i].stamp;
    }
    run_all(replace_shared);
    sys(munmap, area, 2 * SLOTS * PAGE);
    passed("shared slots");
}

// One thread takes pages away; the others touch them all the time and recover from SIGSEGV. A page is either there, with
// its own stamp or fresh zeroes, or it faults.
static volatile uint64_t *arena;
static uint32_t over;

static void touch(void *argument)
{
    volatile uint64_t *page = argument;
    uint64_t seen = page[0];
    if (seen != 0 && seen != stamp(0, 0, (page - arena) / 512))
        CHECK_EQ(seen, 0);
    page[1] = 1;
}

static void take_away(void *argument)
{
    long me = (long)argument;
    if (me == 0) {
        for (long round = 0; round < rounds; round++) {
            long i = round * 3 % PAGES;
            volatile uint64_t *page = arena + i * 512;
            switch (round % 3) {
            case 0: sys(munmap, page, PAGE); break;
            case 1: sys(mprotect, page, PAGE, round & 4 ? PROT_NONE : PROT_READ); break;
            default: sys(madvise, page, PAGE, MADV_DONTNEED); break;
            }
            thread_yield();
            mmap6((void *)page, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
            page[0] = stamp(0, 0, i);
        }
        STORE_RELEASE(&over, 1);
        return;
    }
    while (!LOAD_ACQUIRE(&over)) {
        for (long i = 0; i < PAGES; i++) {
            fault f = fault_of(touch, (void *)(arena + i * 512));
            CHECK(f.signal == 0 || (f.signal == SIGSEGV && (f.address & -PAGE) == (uint64_t)(arena + i * 512)));
        }
        thread_yield();
    }
}

static void check_races(void)
{
    arena = map_pages(PAGES * PAGE, PROT_READ | PROT_WRITE);
    over = 0;
    run_all(take_away);
    sys(munmap, (void *)arena, PAGES * PAGE);
    passed("pages taken away");
}

// After munmap or mprotect has returned, no thread may still reach the page: the promise of a shootdown.
static uint32_t phase, touched;
static volatile uint64_t *victim;

static void wait_phase(uint32_t wanted)
{
    while (LOAD_ACQUIRE(&phase) < wanted)
        thread_yield();
}

static void obey(void *argument)
{
    long me = (long)argument;
    for (uint32_t round = 0; round < (uint32_t)rounds / 4; round++) {
        if (me == 0) {
            victim[0] = round;
            STORE_RELEASE(&phase, round * 2 + 1);
            while (LOAD_ACQUIRE(&touched) < (round * 2 + 1) * ((uint32_t)count - 1))
                thread_yield();
            if (round % 2)
                sys(mprotect, victim, PAGE, PROT_READ);
            else
                sys(mprotect, victim, PAGE, PROT_NONE);
            STORE_RELEASE(&phase, round * 2 + 2);
            while (LOAD_ACQUIRE(&touched) < (round * 2 + 2) * ((uint32_t)count - 1))
                thread_yield();
            sys(mprotect, victim, PAGE, PROT_READ | PROT_WRITE);
        } else {
            wait_phase(round * 2 + 1);
            CHECK_EQ(victim[0], round);
            CHECK_FAULT(fault_of_write((void *)(victim + me)), 0, 0, 0);
            ADD(&touched, 1);
            wait_phase(round * 2 + 2);
            CHECK_FAULT(fault_of_write((void *)(victim + me)), SIGSEGV, SEGV_ACCERR, victim + me);
            ADD(&touched, 1);
        }
    }
}

static void check_shootdown(void)
{
    victim = map_pages(PAGE, PROT_READ | PROT_WRITE);
    phase = touched = 0;
    run_all(obey);
    sys(munmap, (void *)victim, PAGE);
    passed("no access after mprotect returns");
}

int main(int argc, char **argv, char **envp)
{
    (void)envp;
    count = (int)arg_number(argc, argv, 1, 4);
    rounds = arg_number(argc, argv, 2, 200);
    REQUIRE(count >= 2 && count <= MOST);
    catch_faults();
    run_all(remap_own);
    passed("own pages");
    check_shared();
    check_races();
    check_shootdown();
    return report();
}
