// What /dev/remote-map and /dev/remote-mirror refuse, and what becomes of their mappings when things are closed, forked and ended in every order.
// Argument: how often devices are opened, used and closed at the end.
#include "remote.h"
#include "guest/threads.h"

enum { PAGES = 8, SIZE = PAGES * PAGE, STAMP = 0x5a };

// A process that waits, with stamped memory where its parent had it: private at `memory`, shared at `shared`.
static char *memory, *shared;
static volatile unsigned *go;

static long start_target(void)
{
    *go = 0;
    long child = sys(fork);
    REQUIRE(child >= 0);
    if (child != 0)
        return child;
    for (int i = 0; i < PAGES; i++)
        memory[i * PAGE] = (char)(STAMP + i);
    *go = 1;
    while (*go != 2)
        thread_yield();
    // What the inspector has written is there.
    exit_group(memory[100]);
}

static void await_target(void)
{
    while (*go != 1)
        thread_yield();
}

static int end_target(long target)
{
    int status = -1;
    *go = 2;
    CHECK_EQ(sys(wait4, target, &status, 0, NULL), target);
    return status >> 8;
}

static void kill_target(long target)
{
    int status;
    sys(kill, target, SIGKILL);
    CHECK_EQ(sys(wait4, target, &status, 0, NULL), target);
}

static long counter(const char *name)
{
    char path[96], text[32] = "";
    format_into(path, sizeof(path), REMOTE_MAP_COUNTERS "%s", name);
    long fd = sys(openat, AT_FDCWD, path, O_RDONLY, 0);
    REQUIRE(fd >= 0 && sys(read, fd, text, sizeof(text) - 1) > 0);
    sys(close, fd);
    long value = 0;
    for (const char *at = text; *at >= '0' && *at <= '9'; at++)
        value = value * 10 + (*at - '0');
    return value;
}

static void check_no_counts(void)
{
    CHECK_EQ(counter("map_count"), 0);
    CHECK_EQ(counter("pdb_count"), 0);
    CHECK_EQ(counter("rpg_count"), 0);
}

static char *place(void)
{
    return map_anonymous(NULL, PAGE, MAP_PRIVATE | MAP_POPULATE);
}

static void check_map_refusals(void)
{
    long target = start_target();
    await_target();
    int device = remote_open(REMOTE_MAP_DEVICE);
    char *at = place(), *other = place();
    unsigned long requested = (unsigned long)memory;
    CHECK_EQ(sys(ioctl, device, 0x7203, 0), -ENOTTY);
    CHECK_EQ(sys(ioctl, device, REMOTE_MAP, 1), -EFAULT);
    CHECK_EQ(remote_map(device, target, requested, (void *)0xffff800000000000), -EINVAL);
    CHECK_EQ(remote_map(device, target, requested, (void *)0x7ffffffff000), -EINVAL);
    CHECK_EQ(remote_map(device, target, requested + 8, at), -EINVAL);
    CHECK_EQ(remote_map(device, target, requested, at + 8), -EINVAL);
    CHECK_EQ(remote_map(device, 0x3fffff, requested, at), -ESRCH);
    CHECK_EQ(remote_map(device, 0xffffffff, requested, at), -ESRCH);
    CHECK_EQ(remote_map(device, target, 0x10000, at), -EFAULT);
    CHECK_EQ(remote_map(device, target, (unsigned long)shared, at), -EINVAL);
    CHECK_EQ(remote_map(device, target, requested, (void *)0x10000), -ENOENT);
    CHECK_EQ(remote_map(device, target, requested, shared), -EINVAL);
    // A page table that is not there yet.
    char *empty = (char *)0x200000000000;
    map_anonymous(empty, PAGE, MAP_PRIVATE | MAP_FIXED);
    CHECK_EQ(remote_map(device, target, requested, empty), -EFAULT);
    check_no_counts();
    CHECK_EQ(remote_map(device, target, requested, at), 0);
    CHECK_EQ(at[0], STAMP);
    CHECK_EQ(counter("map_count"), 1);
    CHECK_EQ(counter("pdb_count"), 1);
    CHECK_EQ(counter("rpg_count"), 1);
    CHECK_EQ(remote_map(device, target, requested, at), -EALREADY);
    CHECK_EQ(remote_map(device, target, requested + PAGE, at), -EALREADY);
    CHECK_EQ(remote_map(device, target, requested, other), -EALREADY);
    CHECK_EQ(remote_unmap(device, at + 8), -EINVAL);
    CHECK_EQ(remote_unmap(device, (void *)0xffff800000000000), -EINVAL);
    CHECK_EQ(remote_unmap(device, other), -ENOENT);
    // Another address space: a child with the descriptor, and one with a device of its own.
    long child = sys(fork);
    if (child == 0) {
        CHECK_EQ(at[0], STAMP);
        at[0] = 1;
        CHECK_EQ(remote_map(device, target, requested + PAGE, other), -EINVAL);
        CHECK_EQ(remote_unmap(device, at), -EINVAL);
        int own = remote_open(REMOTE_MAP_DEVICE);
        CHECK_EQ(remote_map(own, target, requested + PAGE, other), -EINVAL);
        exit_group(failures());
    }
    int status = -1;
    sys(wait4, child, &status, 0, NULL);
    CHECK_EQ(status, 0);
    CHECK_EQ(at[0], STAMP);
    at[100] = 42;
    CHECK_EQ(remote_unmap(device, at), 0);
    CHECK_EQ(at[0], 0);
    CHECK_EQ(remote_unmap(device, at), -ENOENT);
    CHECK_EQ(end_target(target), 42);
    CHECK_EQ(remote_map(device, target, requested, at), -ESRCH);
    check_no_counts();
    sys(close, device);
    sys(munmap, at, PAGE);
    sys(munmap, other, PAGE);
    sys(munmap, empty, PAGE);
    passed("remote-map: refusals");
}

// Who goes first: the target, the client's memory, the descriptor, or the mapping by its own call.
static void check_map_orders(void)
{
    for (int order = 0; order < 16; order++) {
        long target = start_target();
        await_target();
        int device = remote_open(REMOTE_MAP_DEVICE);
        char *at = place();
        CHECK_EQ(remote_map(device, target, (unsigned long)memory + PAGE, at), 0);
        CHECK_EQ(at[0], STAMP + 1);
        bool unmapped = false;
        if (order & 1)
            kill_target(target);
        if (order & 2) {
            unmapped = true;
            sys(munmap, at, PAGE);
        } else {
            CHECK_EQ(at[0], STAMP + 1);
        }
        if (order & 4)
            CHECK_EQ(remote_unmap(device, at), 0);
        sys(close, device);
        check_no_counts();
        if (!unmapped) {
            CHECK_EQ(at[0], 0);
            sys(munmap, at, PAGE);
        }
        if (!(order & 1))
            kill_target(target);
        if (order & 8)
            continue;
        // A client that ends with everything open.
        target = start_target();
        await_target();
        long client = sys(fork);
        if (client == 0) {
            device = remote_open(REMOTE_MAP_DEVICE);
            at = place();
            CHECK_EQ(remote_map(device, target, (unsigned long)memory, at), 0);
            char *moved = (char *)0x240000000000;
            CHECK_EQ(sys(mremap, at, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, moved), moved);
            CHECK_EQ(moved[0], STAMP);
            moved[100] = 7;
            if (order & 1)
                CHECK_EQ(remote_unmap(device, at), 0);
            exit_group(failures());
        }
        int status = -1;
        sys(wait4, client, &status, 0, NULL);
        CHECK_EQ(status, 0);
        check_no_counts();
        CHECK_EQ(end_target(target), 7);
    }
    passed("remote-map: every order");
}

static void check_mirror_refusals(void)
{
    long target = start_target();
    await_target();
    unsigned long start = (unsigned long)memory;
    int device = remote_open(REMOTE_MIRROR_DEVICE);
    struct remote_mirror_stats stats;
    CHECK_EQ(sys(ioctl, device, 0x7212, 0), -ENOTTY);
    CHECK_EQ(sys(ioctl, device, REMOTE_MIRROR_ATTACH, 1), -EFAULT);
    CHECK_EQ(sys(ioctl, device, REMOTE_MIRROR_STATS, &stats), -EINVAL);
    CHECK_EQ(mmap6(NULL, PAGE, RW, MAP_SHARED, device, 0), -ENODEV);
    struct remote_mirror_attach flags = { .pid = (unsigned)target, .flags = 1, .start = start, .length = SIZE };
    CHECK_EQ(sys(ioctl, device, REMOTE_MIRROR_ATTACH, &flags), -EINVAL);
    CHECK_EQ(mirror_attach(device, target, start, 0), -EINVAL);
    CHECK_EQ(mirror_attach(device, target, start + 1, SIZE), -EINVAL);
    CHECK_EQ(mirror_attach(device, target, start, SIZE + 1), -EINVAL);
    CHECK_EQ(mirror_attach(device, target, start, -PAGE), -EINVAL);
    CHECK_EQ(mirror_attach(device, target, 0xffff800000000000, PAGE), -EINVAL);
    CHECK_EQ(mirror_attach(device, 0x3fffff, start, SIZE), -ESRCH);
    CHECK_EQ(mirror_attach(device, process_id(), start, SIZE), -EINVAL);
    CHECK_EQ(mirror_attach(device, target, start, SIZE), 0);
    CHECK_EQ(mirror_attach(device, target, start, SIZE), -EBUSY);
    CHECK_EQ(mmap6(NULL, PAGE, RW, MAP_PRIVATE, device, 0), -EINVAL);
    CHECK_EQ(mmap6(NULL, SIZE + PAGE, RW, MAP_SHARED, device, 0), -EINVAL);
    CHECK_EQ(mmap6(NULL, PAGE, RW, MAP_SHARED, device, SIZE), -EINVAL);
    char *at = (char *)mmap6(NULL, SIZE, RW, MAP_SHARED, device, 0), *tail = (char *)mmap6(NULL, PAGE, PROT_READ, MAP_SHARED, device, SIZE - PAGE);
    REQUIRE(is_address((long)at) && is_address((long)tail));
    for (int i = 0; i < PAGES; i++)
        CHECK_EQ(at[i * PAGE], (char)(STAMP + i));
    CHECK_EQ(tail[0], STAMP + PAGES - 1);
    CHECK_EQ(fault_of_write(tail).signal, SIGSEGV);
    at[100] = 43;
    // Not for the kernel's own hands: write(2) copies, a mirror of the mirror finds nothing.
    int pipes[2];
    REQUIRE(sys(pipe2, pipes, 0) == 0);
    CHECK_EQ(sys(write, pipes[1], at, 1), 1);
    long child = sys(fork);
    if (child == 0) {
        CHECK_EQ(fault_of_read(at).signal, SIGBUS);
        CHECK_EQ(sys(write, pipes[1], at, 1), -EFAULT);
        CHECK_EQ(sys(ioctl, device, REMOTE_MIRROR_STATS, &stats), -EINVAL);
        int second = remote_open(REMOTE_MIRROR_DEVICE);
        long parent = sys(getppid);
        CHECK_EQ(mirror_attach(second, parent, (unsigned long)at, SIZE), 0);
        char *again = (char *)mmap6(NULL, SIZE, RW, MAP_SHARED, second, 0);
        CHECK_EQ(fault_of_read(again).signal, SIGBUS);
        exit_group(failures());
    }
    int status = -1;
    sys(wait4, child, &status, 0, NULL);
    CHECK_EQ(status, 0);
    CHECK_EQ(sys(ioctl, device, REMOTE_MIRROR_STATS, &stats), 0);
    CHECK(stats.inserts >= PAGES && stats.lookups >= PAGES);
    // Moved, cut and protected as any mapping is.
    char *moved = (char *)0x280000000000;
    CHECK_EQ(sys(mremap, at, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, moved), moved);
    CHECK_EQ(moved[PAGE], STAMP + 1);
    CHECK_EQ(sys(mprotect, moved, PAGE, PROT_NONE), 0);
    CHECK_EQ(fault_of_read(moved).signal, SIGSEGV);
    CHECK_EQ(sys(mprotect, moved, PAGE, RW), 0);
    CHECK_EQ(moved[0], STAMP);
    CHECK_EQ(sys(munmap, moved + 2 * PAGE, PAGE), 0);
    sys(close, device);
    CHECK_EQ(moved[3 * PAGE], STAMP + 3);
    CHECK_EQ(end_target(target), 43);
    CHECK_EQ(fault_of_read(moved).signal, SIGBUS);
    CHECK_EQ(fault_of_write(moved + 4 * PAGE).signal, SIGBUS);
    sys(munmap, moved, SIZE);
    sys(munmap, tail, PAGE);
    sys(close, pipes[0]);
    sys(close, pipes[1]);
    passed("remote-mirror: refusals and mappings");
}

// Two processes mirror each other, and both change what the other looks at.
static void check_mutual(void)
{
    long parent = process_id(), child;
    *go = 0;
    char *mine = map_anonymous(NULL, SIZE, MAP_PRIVATE);
    child = sys(fork);
    long peer = child == 0 ? parent : child;
    int device = remote_open(REMOTE_MIRROR_DEVICE);
    REQUIRE(mirror_attach(device, peer, (unsigned long)mine, SIZE) == 0);
    volatile char *theirs = (volatile char *)mmap6(NULL, SIZE, RW, MAP_SHARED, device, 0);
    __atomic_fetch_add(go, 1, __ATOMIC_SEQ_CST);
    for (int round = 0; round < 200; round++) {
        int page = round % PAGES;
        mine[page * PAGE] = (char)round;
        sys(madvise, mine + page * PAGE, PAGE, MADV_DONTNEED);
        (void)fault_of_read(theirs + page * PAGE);
        (void)fault_of_write(theirs + (page + 1) % PAGES * PAGE + 8);
    }
    __atomic_fetch_add(go, 1, __ATOMIC_SEQ_CST);
    while (*go != 4)
        thread_yield();
    if (child == 0)
        exit_group(failures());
    int status = -1;
    sys(wait4, child, &status, 0, NULL);
    CHECK_EQ(status, 0);
    sys(munmap, (void *)theirs, SIZE);
    sys(munmap, mine, SIZE);
    sys(close, device);
    passed("mutual mirrors");
}

static void check_cycles(long cycles)
{
    long target = start_target();
    await_target();
    char *at = place();
    for (long i = 0; i < cycles; i++) {
        int map = remote_open(REMOTE_MAP_DEVICE), mirror = remote_open(REMOTE_MIRROR_DEVICE);
        CHECK_EQ(remote_map(map, target, (unsigned long)memory, at), 0);
        CHECK_EQ(mirror_attach(mirror, target, (unsigned long)memory, SIZE), 0);
        char *shown = (char *)mmap6(NULL, SIZE, RW, MAP_SHARED, mirror, 0);
        if (at[0] != STAMP || shown[PAGE] != STAMP + 1)
            CHECK_EQ(at[0], STAMP);
        if (i & 1)
            CHECK_EQ(remote_unmap(map, at), 0);
        sys(close, map);
        sys(munmap, shown, SIZE);
        sys(close, mirror);
    }
    end_target(target);
    check_no_counts();
    sys(munmap, at, PAGE);
    passed("cycles");
}

int main(int argc, char **argv, char **envp)
{
    (void)envp;
    catch_faults();
    memory = map_anonymous(NULL, SIZE, MAP_PRIVATE);
    shared = map_anonymous(NULL, PAGE, MAP_SHARED | MAP_POPULATE);
    go = map_anonymous(NULL, PAGE, MAP_SHARED);
    check_map_refusals();
    check_map_orders();
    check_mirror_refusals();
    check_mutual();
    check_cycles(arg_number(argc, argv, 1, 50));
    return report();
}
