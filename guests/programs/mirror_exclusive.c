// /dev/hmm_dmirror*: pages that a device has for itself for atomic operations. Needs the device.
#include "guest.h"
#include "guest/dmirror.h"
#include "guest/threads.h"

enum { PAGES = 256, SIZE = PAGES * 4096 };

static int fd, other;
static char *mine, *theirs;

static void increment(void)
{
    unsigned *words = (unsigned *)mine;
    for (unsigned i = 0; i < SIZE / sizeof(*words); i++)
        words[i]++;
}

static void fresh(unsigned start)
{
    CHECK_EQ(mmap6(mine, SIZE, RW, ANONYMOUS | MAP_FIXED, -1, 0), mine);
    fill(mine, SIZE, start);
    memset(theirs, 0, SIZE);
}

static void take(unsigned start)
{
    CHECK_ALL(fd, DMIRROR_EXCLUSIVE, mine, theirs, PAGES);
    CHECK_FILLED(theirs, SIZE, start);
}

static void check_taking(void)
{
    fresh(100);
    take(100);
    CHECK_EQ(dmirror(fd, DMIRROR_CHECK_EXCLUSIVE, mine, theirs, PAGES), -EPERM);
    // A snapshot brings nothing back, and sees nothing.
    CHECK_SNAPSHOT(fd, mine, 2, PROT_OF_NONE, PROT_OF_NONE);
    increment();
    CHECK_EQ(dmirror(fd, DMIRROR_CHECK_EXCLUSIVE, mine, theirs, PAGES), 0);
    CHECK_FILLED(mine, SIZE, 101);
    passed("taking and getting back");

    // One page back is one page less for the device.
    take(101);
    CHECK_EQ(*(volatile unsigned *)(mine + 3 * PAGE), 101 + 3 * PAGE / 4);
    CHECK_EQ(dmirror(fd, DMIRROR_CHECK_EXCLUSIVE, mine + 3 * PAGE, theirs, 1), 0);
    CHECK_EQ(dmirror(fd, DMIRROR_CHECK_EXCLUSIVE, mine + 4 * PAGE, theirs, 1), -EPERM);
    CHECK_ALL(fd, DMIRROR_READ, mine, theirs, PAGES);
    CHECK_EQ(last.faults, 1);
    CHECK_FILLED(theirs, SIZE, 101);
    passed("one page");

    // Memory never touched is given pages; the other device takes them from the first.
    CHECK_EQ(mmap6(mine, SIZE, RW, ANONYMOUS | MAP_FIXED, -1, 0), mine);
    CHECK_ALL(fd, DMIRROR_EXCLUSIVE, mine, theirs, PAGES);
    CHECK_ALL(other, DMIRROR_EXCLUSIVE, mine, theirs, PAGES);
    CHECK_EQ(dmirror(fd, DMIRROR_CHECK_EXCLUSIVE, mine, theirs, PAGES), 0);
    CHECK_EQ(dmirror(other, DMIRROR_CHECK_EXCLUSIVE, mine, theirs, PAGES), -EPERM);
    fill(theirs, SIZE, 8);
    CHECK_ACCESS(fd, DMIRROR_WRITE, mine, theirs, PAGES);
    CHECK_FILLED(mine, SIZE, 8);
    passed("two devices");

    fresh(5);
    take(5);
    CHECK_EQ(dmirror(fd, DMIRROR_MIGRATE_TO_SYS, mine, theirs, PAGES), 0);
    CHECK_EQ(last.done, 0);
    CHECK_EQ(dmirror(fd, DMIRROR_CHECK_EXCLUSIVE, mine, theirs, PAGES), -EPERM);
    passed("nothing to migrate");
}

static void check_refusals(void)
{
    CHECK_EQ(mmap6(mine, SIZE, RW, SHARED | MAP_FIXED, -1, 0), mine);
    CHECK_EQ(dmirror(fd, DMIRROR_EXCLUSIVE, mine, theirs, PAGES), -EBUSY);
    CHECK_EQ(mmap6(mine, SIZE, PROT_READ, ANONYMOUS | MAP_FIXED, -1, 0), mine);
    CHECK_EQ(dmirror(fd, DMIRROR_EXCLUSIVE, mine, theirs, PAGES), -EBUSY);
    fresh(1);
    CHECK_EQ(sys(munmap, mine + 2 * PAGE, PAGE), 0);
    CHECK_EQ(dmirror(fd, DMIRROR_EXCLUSIVE, mine, theirs, PAGES), -EBUSY);
    CHECK_EQ(*(volatile unsigned *)mine, 1);
    passed("what cannot be taken");
}

static void check_protection(void)
{
    fresh(40);
    take(40);
    CHECK_EQ(sys(mprotect, mine, SIZE, PROT_READ), 0);
    CHECK_EQ(dmirror(fd, DMIRROR_WRITE, mine, theirs, PAGES), -EPERM);
    CHECK_FILLED(mine, SIZE, 40);
    catch_faults();
    CHECK_FAULT(fault_of_write(mine), SIGSEGV, SEGV_ACCERR, mine);
    CHECK_EQ(sys(mprotect, mine, SIZE, RW), 0);
    increment();
    CHECK_FILLED(mine, SIZE, 41);
    passed("mprotect");

    take(41);
    char *room = map_pages(SIZE, PROT_NONE);
    CHECK_EQ(sys(mremap, mine, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, room), room);
    CHECK_FILLED(room, SIZE / 2, 41);
    CHECK_EQ(sys(madvise, room + SIZE / 2, SIZE / 4, MADV_DONTNEED), 0);
    CHECK_EQ(*(volatile int *)(room + SIZE / 2), 0);
    CHECK_EQ(sys(munmap, room, SIZE), 0);
    passed("moving and unmapping");
}

static int child_increments(void *argument)
{
    (void)argument;
    increment();
    CHECK_FILLED(mine, SIZE, 71);
    return failures() != 0;
}

static void check_fork(void)
{
    fresh(70);
    take(70);
    long child = sys(fork);
    if (child == 0)
        exit_group(child_increments(NULL));
    CHECK_EQ(dmirror(fd, DMIRROR_CHECK_EXCLUSIVE, mine, theirs, PAGES), 0);
    increment();
    CHECK_FILLED(mine, SIZE, 71);
    int status;
    CHECK_EQ(sys(wait4, child, &status, 0, NULL), child);
    CHECK_EQ(status, EXITED(0));
    CHECK_FILLED(mine, SIZE, 71);
    take(71);
    passed("fork");
}

// Counting at words of one page, which the device takes away all the time.
enum { WORKERS = 3, ROUNDS = 300 };
static uint32_t running;

static void count(void *argument)
{
    volatile unsigned *words = (volatile unsigned *)mine;
    for (int i = 0; i < ROUNDS; i++) {
        words[(long)argument]++;
        __atomic_fetch_add(words + 64, 1, __ATOMIC_SEQ_CST);
    }
    ADD(&running, -1);
}

static void check_storm(void)
{
    CHECK_EQ(mmap6(mine, SIZE, RW, ANONYMOUS | MAP_FIXED, -1, 0), mine);
    running = WORKERS;
    thread *threads[WORKERS];
    for (long i = 0; i < WORKERS; i++)
        threads[i] = thread_start(count, (void *)i);
    while (LOAD_ACQUIRE(&running)) {
        long result = dmirror(fd, DMIRROR_EXCLUSIVE, mine, theirs, 1);
        CHECK(result == 0 || result == -EBUSY || result == -ENOENT);
        thread_yield();
    }
    for (unsigned i = 0; i < WORKERS; i++)
        thread_join(threads[i]);
    for (int i = 0; i < WORKERS; i++)
        CHECK_EQ(((unsigned *)mine)[i], ROUNDS);
    CHECK_EQ(((unsigned *)mine)[64], WORKERS * ROUNDS);
    passed("storm");
}

int main(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv, (void)envp;
    fd = dmirror_open(0);
    other = dmirror_open(1);
    REQUIRE(fd >= 0 && other >= 0);
    mine = map_pages(SIZE, RW);
    theirs = map_pages(SIZE, RW);
    check_taking();
    check_refusals();
    check_protection();
    check_fork();
    check_storm();
    return report();
}
