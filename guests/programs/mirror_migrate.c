// /dev/hmm_dmirror*: pages that move to a device's memory and back: mirror_migrate [storm]. Needs the device.
#include "guest.h"
#include "guest/dmirror.h"
#include "guest/threads.h"

enum { PAGES = 1024, SIZE = PAGES * 4096, HALF = SIZE / 2 };

static int fd, other;
static char *mine, *theirs;

static void fresh(int flags)
{
    CHECK_EQ(mmap6(mine, SIZE, RW, flags | MAP_FIXED, -1, 0), mine);
    fill(mine, SIZE, 1000);
    memset(theirs, 0, SIZE);
}

static void to_device(int device, unsigned start)
{
    CHECK_ALL(device, DMIRROR_MIGRATE_TO_DEV, mine, theirs, PAGES);
    CHECK_FILLED(theirs, SIZE, start);
}

// How many pages of a range the pagemap says are elsewhere.
static long swapped(char *address, long pages)
{
    int pagemap = (int)sys(openat, AT_FDCWD, "/proc/self/pagemap", O_RDONLY, 0);
    long count = 0;
    for (long i = 0; i < pages; i++) {
        uint64_t entry = 0;
        CHECK_EQ(sys(pread64, pagemap, &entry, 8, ((uintptr_t)address / PAGE + (unsigned long)i) * 8), 8);
        count += (entry >> 62 & 1) && !(entry >> 63);
    }
    sys(close, pagemap);
    return count;
}

static void check_there_and_back(void)
{
    fresh(ANONYMOUS);
    to_device(fd, 1000);
    CHECK_EQ(swapped(mine, 64), 64);
    CHECK_SNAPSHOT(fd, mine, 2, PROT_OF_LOCAL | PROT_OF_WRITE, PROT_OF_LOCAL | PROT_OF_WRITE);
    CHECK_SNAPSHOT(other, mine, 2, PROT_OF_NONE, PROT_OF_NONE);
    CHECK_FILLED(mine, SIZE, 1000);
    CHECK_EQ(swapped(mine, 64), 0);
    CHECK_SNAPSHOT(fd, mine, 2, PROT_OF_WRITE, PROT_OF_WRITE);
    passed("there and back");

    // Half comes back by itself, then all goes again.
    fresh(ANONYMOUS);
    to_device(fd, 1000);
    fill(mine, HALF, 1);
    CHECK_FILLED(mine, HALF, 1);
    CHECK_ALL(fd, DMIRROR_MIGRATE_TO_DEV, mine, theirs, PAGES);
    CHECK_FILLED(theirs, HALF, 1);
    CHECK_EQ(swapped(mine, PAGES), PAGES);
    CHECK_FILLED(mine, HALF, 1);
    passed("half and all");

    fresh(ANONYMOUS);
    to_device(fd, 1000);
    CHECK_ALL(fd, DMIRROR_MIGRATE_TO_SYS, mine, theirs, PAGES);
    CHECK_EQ(swapped(mine, PAGES), 0);
    CHECK_FILLED(mine, SIZE, 1000);
    CHECK_EQ(dmirror(fd, DMIRROR_MIGRATE_TO_SYS, mine, theirs, PAGES), 0);
    CHECK_EQ(last.done, 0);
    passed("asked to come back");

    for (unsigned i = 0; i < 10; i++) {
        CHECK_EQ(mmap6(mine, SIZE, RW, ANONYMOUS | MAP_FIXED, -1, 0), mine);
        fill(mine, SIZE, i);
        to_device(fd, i);
        if (i & 1)
            CHECK_ALL(fd, DMIRROR_MIGRATE_TO_SYS, mine, theirs, PAGES);
        CHECK_FILLED(mine, SIZE, i);
    }
    passed("again and again");
}

static void check_access_there(void)
{
    // The device reads and writes its own memory without bringing anything back.
    fresh(ANONYMOUS);
    to_device(fd, 1000);
    fill(theirs, SIZE, 5);
    CHECK_ALL(fd, DMIRROR_WRITE, mine, theirs, PAGES);
    CHECK_EQ(last.faults, 0);
    memset(theirs, 0, SIZE);
    CHECK_ALL(fd, DMIRROR_READ, mine, theirs, PAGES);
    CHECK_FILLED(theirs, SIZE, 5);
    CHECK_EQ(swapped(mine, PAGES), PAGES);
    // Another file of the same device finds them there too; the other device has them brought back.
    int second = dmirror_open(0);
    CHECK_ACCESS(second, DMIRROR_READ, mine, theirs, PAGES);
    CHECK_FILLED(theirs, SIZE, 5);
    CHECK_EQ(swapped(mine, PAGES), PAGES);
    CHECK_EQ(sys(close, second), 0);
    CHECK_ACCESS(other, DMIRROR_READ, mine, theirs, PAGES);
    CHECK_FILLED(theirs, SIZE, 5);
    CHECK_EQ(swapped(mine, PAGES), 0);
    passed("access in the device");

    // Without write permission on the way there, none there; the kernel's copy of the rule is mprotect's.
    fresh(ANONYMOUS);
    to_device(fd, 1000);
    CHECK_EQ(sys(mprotect, mine, SIZE, PROT_READ), 0);
    CHECK_SNAPSHOT(fd, mine, 1, PROT_OF_LOCAL | PROT_OF_READ);
    CHECK_EQ(dmirror(fd, DMIRROR_WRITE, mine, theirs, 1), -EFAULT);
    CHECK_FILLED(mine, SIZE, 1000);
    CHECK_EQ(sys(mprotect, mine, SIZE, RW), 0);
    mine[0]++;
    passed("permissions in the device");
}

static void check_refusals(void)
{
    fresh(SHARED);
    CHECK_EQ(dmirror(fd, DMIRROR_MIGRATE_TO_DEV, mine, theirs, PAGES), -ENOENT);
    CHECK_FILLED(mine, SIZE, 1000);
    // What is under way elsewhere stays: 2 is zeroes, 3 read-only, 4 and 5 are written.
    CHECK_EQ(mmap6(mine, SIZE, PROT_NONE, ANONYMOUS | MAP_FIXED, -1, 0), mine);
    CHECK_EQ(dmirror(fd, DMIRROR_MIGRATE_TO_DEV, mine, theirs, 6), -EINVAL);
    CHECK_EQ(sys(mprotect, mine, 6 * PAGE, RW), 0);
    CHECK_EQ(sys(munmap, mine + PAGE, PAGE), 0);
    CHECK_EQ(dmirror(fd, DMIRROR_MIGRATE_TO_DEV, mine, theirs, 6), -EINVAL);
    char *p = mine + 2 * PAGE;
    CHECK_EQ(*(volatile int *)p, 0);
    fill(p + PAGE, 3 * PAGE, 50);
    CHECK_EQ(sys(mprotect, p + PAGE, PAGE, PROT_READ), 0);
    CHECK_ALL(other, DMIRROR_MIGRATE_TO_DEV, p, theirs, 4);
    for (unsigned long i = 0; i < PAGE; i++)
        REQUIRE(theirs[i] == 0);
    CHECK_FILLED(theirs + PAGE, 3 * PAGE, 50);
    CHECK_SNAPSHOT(other, p, 4, PROT_OF_LOCAL | PROT_OF_WRITE, PROT_OF_LOCAL | PROT_OF_READ, PROT_OF_LOCAL | PROT_OF_WRITE, PROT_OF_LOCAL | PROT_OF_WRITE);
    // What is in one device does not go to another.
    CHECK_EQ(dmirror(fd, DMIRROR_MIGRATE_TO_DEV, p + 3 * PAGE, theirs, 1), -ENOENT);
    CHECK_FILLED(p + PAGE, 3 * PAGE, 50);
    CHECK_EQ(*(volatile int *)p, 0);
    // Devices 2 and 3 have no memory.
    int poor = dmirror_open(2);
    CHECK_EQ(dmirror(poor, DMIRROR_MIGRATE_TO_DEV, p, theirs, 1), -ENOENT);
    CHECK_EQ(sys(close, poor), 0);
    passed("what does not move");

    int file = (int)sys(memfd_create, "file", 0);
    CHECK_EQ(sys(ftruncate, file, SIZE), 0);
    CHECK_EQ(mmap6(mine, SIZE, RW, MAP_PRIVATE | MAP_FIXED, file, 0), mine);
    CHECK_EQ(dmirror(fd, DMIRROR_MIGRATE_TO_DEV, mine, theirs, PAGES), -ENOENT);
    fill(mine, SIZE, 9);
    to_device(fd, 9);
    CHECK_FILLED(mine, SIZE, 9);
    to_device(fd, 9);
    sys(close, file);
    passed("private pages of a file");
}

static void check_changes(void)
{
    // Moved, split, thrown away, unmapped while in the device.
    fresh(ANONYMOUS);
    to_device(fd, 1000);
    char *room = map_pages(SIZE, PROT_NONE);
    CHECK_EQ(sys(mremap, mine, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, room), room);
    CHECK_EQ(swapped(room, 64), 64);
    CHECK_ACCESS(fd, DMIRROR_READ, room, theirs, PAGES);
    CHECK_FILLED(theirs, SIZE, 1000);
    CHECK_EQ(swapped(room, 64), 64);
    CHECK_FILLED(room, HALF, 1000);
    CHECK_EQ(sys(madvise, room + HALF, HALF, MADV_DONTNEED), 0);
    CHECK_EQ(swapped(room, PAGES), 0);
    CHECK_EQ(*(volatile int *)(room + HALF), 0);
    CHECK_ALL(fd, DMIRROR_MIGRATE_TO_DEV, room, theirs, PAGES);
    CHECK_EQ(sys(munmap, room + PAGE, HALF), 0);
    CHECK_EQ(dmirror(fd, DMIRROR_READ, room, theirs, 2), -EFAULT);
    CHECK_EQ(sys(munmap, room, SIZE), 0);
    passed("changes meanwhile");

    // A pin wants the page here, and keeps it here.
    fresh(ANONYMOUS);
    to_device(fd, 1000);
    char other_word[4];
    struct { void *base; unsigned long length; } here = { other_word, 4 }, there = { mine, 4 };
    CHECK_EQ(sys(process_vm_readv, process_id(), &here, 1, &there, 1, 0), 4);
    CHECK_EQ(*(unsigned *)other_word, 1000);
    CHECK_EQ(swapped(mine, 2), 1);
    passed("others' access");

    fresh(ANONYMOUS);
    to_device(fd, 1000);
    CHECK_EQ(dmirror(fd, DMIRROR_RELEASE, mine, theirs, PAGES), 0);
    CHECK_EQ(swapped(mine, PAGES), 0);
    CHECK_FILLED(mine, HALF, 1000);
    to_device(fd, 1000);
    CHECK_FILLED(mine, SIZE, 1000);
    passed("release of the device's memory");

    // The file goes, the pages stay where they are until they are needed.
    int second = dmirror_open(1);
    to_device(second, 1000);
    CHECK_EQ(sys(close, second), 0);
    CHECK_FILLED(mine, SIZE, 1000);
    passed("closing the device");

    // Both devices read what neither may write, then one has it and the other asks again.
    CHECK_EQ(sys(mprotect, mine, SIZE, PROT_READ), 0);
    CHECK_ACCESS(fd, DMIRROR_READ, mine, theirs, PAGES);
    CHECK_ACCESS(other, DMIRROR_READ, mine, theirs, PAGES);
    to_device(other, 1000);
    CHECK_ACCESS(fd, DMIRROR_READ, mine, theirs, PAGES);
    CHECK_FILLED(theirs, SIZE, 1000);
    CHECK_EQ(sys(mprotect, mine, SIZE, RW), 0);
    passed("two devices");
}

static int child_reads(void *argument)
{
    (void)argument;
    CHECK_EQ(swapped(mine, 64), 64);
    CHECK_FILLED(mine, HALF, 1000);
    fill(mine, HALF, 2);
    int own = dmirror_open(0);
    CHECK_ALL(own, DMIRROR_READ, mine, theirs, PAGES);
    CHECK_FILLED(theirs, HALF, 2);
    CHECK_FILLED(theirs + HALF, HALF, 1000 + HALF / 4);
    CHECK_ALL(own, DMIRROR_MIGRATE_TO_DEV, mine, theirs, PAGES / 2);
    CHECK_FILLED(theirs, HALF, 2);
    return failures() != 0;
}

static void check_fork(void)
{
    fresh(ANONYMOUS);
    to_device(fd, 1000);
    CHECK_EQ(status_of_child(child_reads, NULL), EXITED(0));
    CHECK_FILLED(mine, SIZE, 1000);
    passed("fork while in the device");

    // Shared with a child that is gone, the parent's writes bring its pages back, for itself alone.
    to_device(fd, 1000);
    long child = sys(fork);
    if (child == 0)
        exit_group(0);
    fill(mine, SIZE, 7);
    CHECK_SNAPSHOT(fd, mine, 4, PROT_OF_WRITE, PROT_OF_WRITE, PROT_OF_WRITE, PROT_OF_WRITE);
    CHECK_EQ(sys(wait4, child, NULL, 0, NULL), child);
    CHECK_FILLED(mine, SIZE, 7);
    passed("copies on write");
}

// Threads that count in pages of their own while others send all of them away.
enum { WORKERS = 3, ROUNDS = 60, SHARED_PAGES = 48 };
static uint32_t running;

static void count(void *argument)
{
    long worker = (long)argument;
    for (int round = 0; round < ROUNDS; round++) {
        for (long page = worker; page < SHARED_PAGES; page += WORKERS) {
            volatile unsigned *word = (volatile unsigned *)(mine + page * PAGE);
            word[worker]++;
            word[500]++;
        }
    }
    ADD(&running, -1);
}

static void send_away(void *argument)
{
    int device = *(int *)argument;
    char *buffer = map_pages(SHARED_PAGES * PAGE, RW);
    for (unsigned i = 0; LOAD_ACQUIRE(&running); i++) {
        unsigned command = (unsigned[]){ DMIRROR_MIGRATE_TO_DEV, DMIRROR_MIGRATE_TO_SYS, DMIRROR_READ, DMIRROR_MIGRATE_TO_DEV, DMIRROR_EXCLUSIVE, DMIRROR_SNAPSHOT }[i % 6];
        struct dmirror_command c = { (uint64_t)mine, (uint64_t)buffer, SHARED_PAGES, 0, 0 };
        long result = sys(ioctl, device, command, &c);
        CHECK(result == 0 || result == -ENOENT || result == -EBUSY);
        if (i % 8 == 7) {
            long child = sys(fork);
            if (child == 0) {
                for (long page = 0; page < SHARED_PAGES; page += 3)
                    ++*(volatile unsigned *)(mine + page * PAGE + 400);
                exit_group(0);
            }
            CHECK_EQ(sys(wait4, child, NULL, 0, NULL), child);
        }
        if (i % 16 == 11)
            CHECK_EQ(sys(ioctl, device, DMIRROR_RELEASE, &c), 0);
        thread_yield();
    }
    sys(munmap, buffer, SHARED_PAGES * PAGE);
}

static void check_storm(void)
{
    CHECK_EQ(mmap6(mine, SIZE, RW, ANONYMOUS | MAP_FIXED, -1, 0), mine);
    running = WORKERS;
    thread *threads[WORKERS + 2];
    for (long i = 0; i < WORKERS; i++)
        threads[i] = thread_start(count, (void *)i);
    threads[WORKERS] = thread_start(send_away, &fd);
    threads[WORKERS + 1] = thread_start(send_away, &other);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        thread_join(threads[i]);
    for (long page = 0; page < SHARED_PAGES; page++) {
        unsigned *words = (unsigned *)(mine + page * PAGE);
        CHECK_EQ(words[page % WORKERS], ROUNDS);
        CHECK_EQ(words[500], ROUNDS);
        CHECK_EQ(words[100], 0);
    }
    passed("storm");
}

int main(int argc, char **argv, char **envp)
{
    (void)envp;
    fd = dmirror_open(0);
    other = dmirror_open(1);
    REQUIRE(fd >= 0 && other >= 0);
    mine = map_pages(SIZE, RW);
    theirs = map_pages(SIZE, RW);
    if (argc > 1 && !strcmp(argv[1], "storm")) {
        check_storm();
        return report();
    }
    check_there_and_back();
    check_access_there();
    check_refusals();
    check_changes();
    check_fork();
    check_storm();
    return report();
}
