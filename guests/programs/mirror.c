// /dev/hmm_dmirror*: reading and writing our memory through the device, and snapshots of it. Needs the device.
#include "guest.h"
#include "guest/dmirror.h"
#include "guest/threads.h"

enum { PAGES = 1024, SIZE = PAGES * 4096 };

static int fd, other;
static char *mine, *theirs;     // our memory, and what the device copies to and from

static void check_commands(void)
{
    for (int i = 0; i < 4; i++) {
        int one = dmirror_open(i), two = dmirror_open(i);
        CHECK(one >= 0 && two >= 0 && one != two);
        CHECK_EQ(sys(close, one), 0);
        CHECK_EQ(sys(close, two), 0);
    }
    CHECK_EQ(dmirror(fd, DMIRROR_READ, mine + 1, theirs, 1), -EINVAL);
    CHECK_EQ(last.done, 77);
    CHECK_EQ(dmirror(fd, DMIRROR_READ, mine, theirs, 0), -EINVAL);
    CHECK_EQ(dmirror(fd, DMIRROR_READ, mine, theirs, 1l << 52), -EINVAL);
    CHECK_EQ(dmirror(fd, DMIRROR_READ, (void *)0xfffffffffffff000, theirs, 1), -EINVAL);
    CHECK_EQ(dmirror(fd, DMIRROR_READ, mine, theirs, 1l << 40), -ENOMEM);
    CHECK_EQ(dmirror(fd, DMIRROR_READ, (void *)0x800000000000, theirs, 1), -EFAULT);
    CHECK_EQ(dmirror(fd, DMIRROR_READ, mine, (void *)8, 1), -EFAULT);
    CHECK_EQ(dmirror(fd, DMIRROR_WRITE, mine, (void *)8, 1), -EFAULT);
    CHECK_EQ(dmirror(fd, DMIRROR_SNAPSHOT, mine, (void *)8, 1), -EFAULT);
    CHECK_EQ(dmirror(fd, 0xc0284899, mine, theirs, 1), -EINVAL);
    CHECK_EQ(sys(ioctl, fd, DMIRROR_READ, 8), -EFAULT);
    char byte;
    CHECK_EQ(sys(read, fd, &byte, 1), -EINVAL);
    passed("commands");
}

// Single pages, which are missing one by one.
static char *fresh(long flags)
{
    CHECK_EQ(mmap6(mine, SIZE, RW, (int)flags | MAP_FIXED, -1, 0), mine);
    sys(madvise, mine, SIZE, MADV_NOHUGEPAGE);
    return mine;
}

static void check_reads(void)
{
    // Two pages never written, one of them read: zeroes.
    fresh(ANONYMOUS);
    CHECK_EQ(*(volatile int *)mine, 0);
    fill(mine + 2 * PAGE, SIZE - 2 * PAGE, 5);
    CHECK_EQ(sys(mprotect, mine, SIZE, PROT_READ), 0);
    CHECK_ACCESS(fd, DMIRROR_READ, mine, theirs, PAGES);
    for (unsigned long i = 0; i < 2 * PAGE; i++)
        REQUIRE(theirs[i] == 0);
    CHECK_FILLED(theirs + 2 * PAGE, SIZE - 2 * PAGE, 5);
    // Known by now.
    CHECK_ALL(fd, DMIRROR_READ, mine, theirs, PAGES);
    CHECK_EQ(last.faults, 0);
    passed("reading");

    fill(theirs, SIZE, 99);
    CHECK_EQ(sys(mprotect, mine, SIZE, PROT_NONE), 0);
    CHECK_EQ(dmirror(fd, DMIRROR_READ, mine, theirs, PAGES), -EFAULT);
    CHECK_FILLED(theirs, SIZE, 99);
    // One page out of reach: nothing of the others is given out either.
    CHECK_EQ(sys(mprotect, mine, SIZE, RW), 0);
    CHECK_EQ(sys(munmap, mine + 3 * PAGE, PAGE), 0);
    CHECK_EQ(dmirror(fd, DMIRROR_READ, mine, theirs, PAGES), -EFAULT);
    CHECK_FILLED(theirs, SIZE, 99);
    passed("reading what nobody may");

    for (unsigned i = 0; i < 10; i++) {
        fresh(ANONYMOUS);
        fill(mine, SIZE, i);
        CHECK_ACCESS(fd, DMIRROR_READ, mine, theirs, PAGES);
        CHECK_FILLED(theirs, SIZE, i);
    }
    passed("reading new mappings at an old place");
}

static void check_writes(void)
{
    fresh(ANONYMOUS);
    fill(theirs, SIZE, 7);
    CHECK_ACCESS(fd, DMIRROR_WRITE, mine, theirs, PAGES);
    CHECK_FILLED(mine, SIZE, 7);
    passed("writing");

    CHECK_EQ(mmap6(mine, SIZE, PROT_READ, ANONYMOUS | MAP_FIXED, -1, 0), mine);
    CHECK_ACCESS(fd, DMIRROR_READ, mine, theirs + SIZE - PAGE, 1);
    CHECK_EQ(dmirror(fd, DMIRROR_WRITE, mine, theirs, PAGES), -EPERM);
    CHECK_EQ(*(volatile int *)mine, 0);
    CHECK_EQ(sys(mprotect, mine, SIZE, RW), 0);
    fill(theirs, SIZE, 11);
    CHECK_ACCESS(fd, DMIRROR_WRITE, mine, theirs, PAGES);
    CHECK_FILLED(mine, SIZE, 11);
    passed("writing what is read-only");

    // What the device may only read must be asked for again.
    CHECK_ACCESS(fd, DMIRROR_READ, fresh(ANONYMOUS), theirs, 4);
    CHECK_ACCESS(fd, DMIRROR_WRITE, mine, theirs, 4);
    CHECK_ALL(fd, DMIRROR_READ, mine, theirs, 4);
    CHECK_EQ(last.faults, 0);
    // Two places that are missing, with one between that is not: asked twice, or once for all that follows.
    CHECK_EQ(sys(madvise, mine, PAGE, MADV_DONTNEED), 0);
    CHECK_ACCESS(fd, DMIRROR_READ, mine, theirs, 8);
    passed("asking for what is missing");

    CHECK_EQ(sys(madvise, mine, SIZE, MADV_HUGEPAGE), 0);
    char *huge = (char *)(((uintptr_t)mine + 0x1fffff) & ~0x1ffffful);
    fill(theirs, 0x200000, 3);
    CHECK_EQ(sys(madvise, huge, 0x200000, MADV_DONTNEED), 0);
    CHECK_ACCESS(fd, DMIRROR_WRITE, huge, theirs, 512);
    CHECK_FILLED(huge, 0x200000, 3);
    passed("writing a huge page");
}

// The child's device writes; what its parent sees is said by whether the memory is shared.
static int child_writes(void *argument)
{
    (void)argument;
    int own = dmirror_open(0);
    CHECK(own >= 0);
    fill(theirs, SIZE, 200);
    CHECK_ACCESS(own, DMIRROR_WRITE, mine, theirs, PAGES);
    CHECK_FILLED(mine, SIZE, 200);
    // The descriptor from before the fork still stands for the parent's address space.
    return failures() != 0;
}

static void check_children(void)
{
    fresh(ANONYMOUS);
    fill(mine, SIZE, 100);
    CHECK_EQ(status_of_child(child_writes, NULL), EXITED(0));
    CHECK_FILLED(mine, SIZE, 100);
    fresh(SHARED);
    fill(mine, SIZE, 100);
    CHECK_EQ(status_of_child(child_writes, NULL), EXITED(0));
    CHECK_FILLED(mine, SIZE, 200);
    passed("children");
}

static int child_uses_parents_device(void *argument)
{
    (void)argument;
    fill(mine, SIZE, 300);
    CHECK_ALL(fd, DMIRROR_READ, mine, theirs, PAGES);
    CHECK_FILLED(theirs, SIZE, 100);
    return failures() != 0;
}

static void check_inheritance(void)
{
    fresh(ANONYMOUS);
    fill(mine, SIZE, 100);
    CHECK_EQ(status_of_child(child_uses_parents_device, NULL), EXITED(0));
    passed("a device from before the fork");
}

static void check_files(void)
{
    int file = (int)sys(memfd_create, "file", 0);
    CHECK(file >= 0);
    fill(theirs, SIZE, 42);
    write_all(file, theirs, SIZE);
    memset(theirs, 0, SIZE);
    CHECK_EQ(mmap6(mine, SIZE, PROT_READ, MAP_SHARED | MAP_FIXED, file, 0), mine);
    CHECK_ACCESS(fd, DMIRROR_READ, mine, theirs, PAGES);
    CHECK_FILLED(theirs, SIZE, 42);

    CHECK_EQ(mmap6(mine, SIZE, RW, MAP_SHARED | MAP_FIXED, file, 0), mine);
    fill(theirs, SIZE, 17);
    CHECK_ACCESS(fd, DMIRROR_WRITE, mine, theirs, PAGES);
    memset(theirs, 0, SIZE);
    CHECK_EQ(sys(pread64, file, theirs, SIZE, 0), SIZE);
    CHECK_FILLED(theirs, SIZE, 17);

    // A page that the file does not have.
    CHECK_EQ(sys(ftruncate, file, SIZE - PAGE), 0);
    CHECK_EQ(dmirror(fd, DMIRROR_READ, mine, theirs, PAGES), -EFAULT);
    CHECK_ALL(fd, DMIRROR_READ, mine, theirs, PAGES - 1);
    sys(close, file);
    passed("files");
}

static void check_snapshots(void)
{
    fresh(ANONYMOUS);
    CHECK_EQ(sys(mprotect, mine, PAGE, PROT_NONE), 0);
    CHECK_EQ(sys(munmap, mine + PAGE, PAGE), 0);
    CHECK_EQ(*(volatile int *)(mine + 2 * PAGE), 0);
    mine[3 * PAGE] = mine[4 * PAGE] = 1;
    CHECK_EQ(sys(mprotect, mine + 3 * PAGE, PAGE, PROT_READ), 0);
    CHECK_SNAPSHOT(fd, mine, 6, PROT_OF_ERROR, PROT_OF_ERROR, PROT_OF_ZERO | PROT_OF_READ, PROT_OF_READ, PROT_OF_WRITE, PROT_OF_NONE);
    CHECK_SNAPSHOT(other, mine, 6, PROT_OF_ERROR, PROT_OF_ERROR, PROT_OF_ZERO | PROT_OF_READ, PROT_OF_READ, PROT_OF_WRITE, PROT_OF_NONE);
    passed("snapshots");
}

// Pages that the driver makes for a mapping of its own file.
static void check_driver_pages(void)
{
    char *pages = (char *)mmap6(NULL, 6 * PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
    REQUIRE(is_address((long)pages));
    CHECK_SNAPSHOT(fd, pages, 6, PROT_OF_READ, PROT_OF_READ, PROT_OF_READ, PROT_OF_READ, PROT_OF_READ, PROT_OF_READ);
    CHECK_ACCESS(fd, DMIRROR_READ, pages, theirs, 6);
    for (unsigned long i = 0; i < 6 * PAGE; i++)
        REQUIRE(theirs[i] == 0 && pages[i] == 0);
    CHECK_EQ(dmirror(fd, DMIRROR_WRITE, pages, theirs, 6), -EPERM);
    CHECK_EQ(dmirror(fd, DMIRROR_MIGRATE_TO_DEV, pages, theirs, 6), -EINVAL);
    CHECK_EQ(sys(munmap, pages, 6 * PAGE), 0);

    char *shared = (char *)mmap6(NULL, 2 * PAGE, RW, MAP_SHARED, fd, 0), *again = (char *)mmap6(NULL, 2 * PAGE, RW, MAP_SHARED, fd, 0);
    fill(theirs, 2 * PAGE, 3);
    CHECK_ACCESS(fd, DMIRROR_WRITE, shared, theirs, 2);
    CHECK_FILLED(shared, 2 * PAGE, 3);
    CHECK_EQ(*(volatile int *)(again + 4), 0);
    CHECK_EQ(sys(munmap, shared, 2 * PAGE) | sys(munmap, again, 2 * PAGE), 0);
    passed("pages of the driver");
}

// Pages of 2 MiB, as the tables have them.
static void check_huge_snapshots(void)
{
    char *huge = (char *)mmap6(NULL, 0x400000, RW, ANONYMOUS | MAP_HUGETLB, -1, 0);
    if (is_address((long)huge)) {
        fill(huge, 0x200000, 1);
        CHECK_SNAPSHOT(fd, huge + 0x1ff000, 1, PROT_OF_WRITE | PROT_OF_PMD);
        CHECK_EQ(sys(mprotect, huge, 0x400000, PROT_READ), 0);
        CHECK_SNAPSHOT(fd, huge, 2, PROT_OF_READ | PROT_OF_PMD, PROT_OF_READ | PROT_OF_PMD);
        CHECK_EQ(dmirror(fd, DMIRROR_MIGRATE_TO_DEV, huge, theirs, 1), -EINVAL);
        CHECK_EQ(sys(mprotect, huge, 0x400000, RW), 0);
        fill(theirs, 0x200000, 77);
        CHECK_ALL(fd, DMIRROR_WRITE, huge, theirs, 512);
        CHECK_FILLED(huge, 0x200000, 77);
        CHECK_EQ(sys(munmap, huge, 0x400000), 0);
    }
    passed("pages of the pool");
    fresh(ANONYMOUS);
    CHECK_EQ(sys(madvise, mine, SIZE, MADV_HUGEPAGE), 0);
    char *inside = (char *)(((uintptr_t)mine + 0x1fffff) & ~0x1ffffful);
    CHECK_EQ(sys(madvise, inside, 0x200000, MADV_DONTNEED), 0);
    fill(inside, 0x200000, 6);
    unsigned char byte;
    CHECK_EQ(dmirror(fd, DMIRROR_SNAPSHOT, inside + PAGE, &byte, 1), 0);
    CHECK(byte == PROT_OF_WRITE || byte == (PROT_OF_WRITE | PROT_OF_PMD));
    // A transparent one is taken apart on its way to the device.
    CHECK_ALL(fd, DMIRROR_MIGRATE_TO_DEV, inside, theirs, 512);
    CHECK_FILLED(theirs, 0x200000, 6);
    CHECK_SNAPSHOT(fd, inside + PAGE, 1, PROT_OF_LOCAL | PROT_OF_WRITE);
    CHECK_FILLED(inside, 0x200000, 6);
    CHECK_SNAPSHOT(fd, inside + PAGE, 1, PROT_OF_WRITE);
    passed("transparent pages");
}

// One thread unmaps half of what the device reads: all of it is read, right, or none.
static uint32_t go;

static void unmap_half(void *argument)
{
    (void)argument;
    while (!LOAD_ACQUIRE(&go))
        thread_yield();
    sys(munmap, mine + SIZE / 2, SIZE / 2);
}

static void check_teardown(void)
{
    for (unsigned i = 0; i < 20; i++) {
        fresh(ANONYMOUS);
        fill(mine, SIZE, i);
        STORE(&go, 0);
        thread *unmapper = thread_start(unmap_half, NULL);
        STORE_RELEASE(&go, 1);
        long result = dmirror(fd, DMIRROR_READ, mine, theirs, PAGES);
        CHECK(result == 0 || result == -EFAULT);
        if (result == 0)
            CHECK_FILLED(theirs, SIZE, i);
        thread_join(unmapper);
        CHECK_EQ(dmirror(fd, DMIRROR_READ, mine, theirs, PAGES), -EFAULT);
    }
    passed("unmapping meanwhile");
}

int main(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv, (void)envp;
    fd = dmirror_open(0);
    other = dmirror_open(1);
    REQUIRE(fd >= 0 && other >= 0);
    mine = map_pages(SIZE, RW);
    theirs = map_pages(SIZE, RW);
    check_commands();
    check_reads();
    check_writes();
    check_children();
    check_inheritance();
    check_files();
    check_snapshots();
    check_driver_pages();
    check_huge_snapshots();
    check_teardown();
    return report();
}
