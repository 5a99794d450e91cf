// Many processes share a region at once: crowd [PROCESSES]. Each adds to what all see, and none sees what has been taken away.
#include "msharefs.h"

#include <linux/futex.h>
#include <linux/wait.h>

#include "guest/threads.h"

static const char name[] = "/sys/fs/mshare/crowd";

enum { PAGES = 64 };

struct board { uint32_t arrived, go, sum, wrong; };

static void member(long number)
{
    if (number % 3 == 0) {
        // One's own mapping instead of the inherited one.
        int fd = (int)sys(openat, AT_FDCWD, name, O_RDWR, 0);
        CHECK_EQ(sys(munmap, BASE, UNIT), 0);
        CHECK_EQ(region_map(fd, BASE, UNIT, READ_WRITE, MAP_SHARED, 0), BASE);
        CHECK_EQ(sys(close, fd), 0);
    }
    struct board *board = (struct board *)BASE;
    unsigned long at = BASE + PAGE * (unsigned long)(1 + number % (PAGES - 1));
    CHECK_EQ(WORD(at), (at - BASE) / PAGE);
    ADD(&board->sum, (uint32_t)number);
    ADD(&board->arrived, 1);
    futex_wake(&board->arrived, 1);
    while (LOAD_ACQUIRE(&board->go) == 0)
        futex_wait(&board->go, 0, NULL);
    if (at == BASE + PAGE)
        CHECK_UNMAPPED(at);
    else if (at == BASE + 2 * PAGE)
        CHECK_EQ(WORD(at), 0);
    else
        CHECK_EQ(WORD(at), (at - BASE) / PAGE);
    exit_group(failures());
}

int main(int argc, char **argv, char **envp)
{
    (void)envp;
    catch_faults();
    long count = arg_number(argc, argv, 1, 100);
    int region = region_make(name, BASE, UNIT);
    CHECK_EQ(region_put(region, BASE, PAGES * PAGE, READ_WRITE, ANON_SHARED, -1, 0), 0);
    CHECK_EQ(region_map(region, BASE, UNIT, READ_WRITE, MAP_SHARED, 0), BASE);
    for (unsigned long i = 1; i < PAGES; i++)
        WORD(BASE + i * PAGE) = i;
    struct board *board = (struct board *)BASE;
    for (long i = 0; i < count; i++) {
        long pid = sys(fork);
        if (pid == 0)
            member(i);
        REQUIRE(pid > 0);
    }
    for (uint32_t arrived; (arrived = LOAD_ACQUIRE(&board->arrived)) < count;)
        futex_wait(&board->arrived, arrived, NULL);
    CHECK_EQ(board->sum, (uint32_t)(count * (count - 1) / 2));
    // One page goes, another is replaced, while all have them mapped.
    CHECK_EQ(region_unmap(region, BASE + PAGE, 2 * PAGE), 0);
    CHECK_EQ(region_put(region, BASE + 2 * PAGE, PAGE, READ_WRITE, ANON_SHARED, -1, 0), 0);
    STORE_RELEASE(&board->go, 1);
    futex_wake(&board->go, (int)count);
    for (long i = 0; i < count; i++) {
        int status = -1;
        CHECK(sys(wait4, -1, &status, 0, 0) > 0);
        CHECK_EQ(status, EXITED(0));
    }
    CHECK_EQ(sys(unlink, name), 0);
    passed("crowd");
    return report();
}
