// The window of a mirror lies in a region whose page tables the target shares with others: what anybody changes there, the mirror sees, and it
// writes where they read.
#include "../mshare/msharefs.h"
#include "remote.h"
#include "guest/threads.h"

enum { PAGES = 16 };

static volatile unsigned *turn;

// The two sides take turns: the target changes something, the client looks.
static void pass_on(unsigned next)
{
    __atomic_store_n(turn, next, __ATOMIC_SEQ_CST);
}

static void await(unsigned mine)
{
    while (__atomic_load_n(turn, __ATOMIC_SEQ_CST) != mine)
        thread_yield();
}

static unsigned long seen(char *mirror, int page)
{
    unsigned long value;
    CHECK_EQ(try_read(mirror + page * PAGE, &value), 0);
    return value;
}

static void client(long target)
{
    unsigned long value;
    int device = remote_open(REMOTE_MIRROR_DEVICE);
    CHECK_EQ(mirror_attach(device, target, BASE, PAGES * PAGE), 0);
    char *mirror = (char *)mmap6(NULL, PAGES * PAGE, RW, MAP_SHARED, device, 0);
    REQUIRE(is_address((long)mirror));
    for (int page = 0; page < PAGES; page++)
        CHECK_EQ(seen(mirror, page), page + 1);
    CHECK_EQ(try_write(mirror + 8, 77), 0);
    pass_on(2);

    await(3);
    CHECK_EQ(try_read(mirror + PAGE, &value), SIGBUS);
    CHECK_EQ(seen(mirror, 2), 3);
    CHECK_EQ(try_write(mirror + 2 * PAGE, 1), SIGBUS);
    CHECK_EQ(seen(mirror, 3), 0);
    CHECK_EQ(seen(mirror, 4), 5);
    pass_on(4);

    await(5);
    CHECK_EQ(seen(mirror, 1), 1000);
    CHECK_EQ(try_write(mirror + 2 * PAGE, 2000), 0);
    pass_on(6);

    await(7);
    for (int page = 0; page < PAGES; page++)
        CHECK_EQ(try_read(mirror + page * PAGE, &value), SIGBUS);
    exit_group(failures());
}

int main(int argc, char **argv, char **envp)
{
    (void)argc;
    (void)argv;
    (void)envp;
    catch_faults();
    turn = map_anonymous(NULL, PAGE, MAP_SHARED);
    int region = region_make("/sys/fs/mshare/mirrored", BASE, UNIT);
    CHECK_EQ(region_put(region, BASE, PAGES * PAGE, READ_WRITE, ANON_SHARED, -1, 0), 0);
    CHECK_EQ(region_map(region, BASE, UNIT, READ_WRITE, MAP_SHARED, 0), BASE);
    for (int page = 0; page < PAGES; page++)
        WORD(BASE + page * PAGE) = (unsigned long)page + 1;
    long target = sys(getpid), child = sys(fork);
    if (child == 0)
        client(target);

    await(2);
    CHECK_EQ(WORD(BASE + 8), 77);
    CHECK_EQ(region_unmap(region, BASE + PAGE, PAGE), 0);
    CHECK_EQ(region_protect(region, BASE + 2 * PAGE, PAGE, PROT_READ), 0);
    WORD(BASE + 3 * PAGE) = 0;
    CHECK_EQ(sys(madvise, BASE + 4 * PAGE, PAGE, MADV_PAGEOUT), 0);
    pass_on(3);

    await(4);
    CHECK_EQ(region_put(region, BASE + PAGE, PAGE, READ_WRITE, ANON_SHARED, -1, 0), 0);
    WORD(BASE + PAGE) = 1000;
    CHECK_EQ(region_protect(region, BASE + 2 * PAGE, PAGE, READ_WRITE), 0);
    pass_on(5);

    await(6);
    CHECK_EQ(WORD(BASE + 2 * PAGE), 2000);
    CHECK_EQ(sys(munmap, BASE, UNIT), 0);
    pass_on(7);
    int status = -1;
    CHECK_EQ(sys(wait4, child, &status, 0, NULL), child);
    CHECK_EQ(status, 0);
    CHECK_EQ(sys(close, region), 0);
    CHECK_EQ(sys(unlink, "/sys/fs/mshare/mirrored"), 0);
    passed("region");
    return report();
}
