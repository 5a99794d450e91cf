// Whose memory a region is: the OOM killer counts it as its owner's and takes it away with the owner, and it has another owner when one exits.
// For a machine of 64 MiB: emulator --memory 64M owner.elf [times]
#include "msharefs.h"

#include <linux/sysinfo.h>
#include <linux/time.h>
#include <linux/wait.h>

static const char name[] = "/sys/fs/mshare/owned";

enum { MEGABYTES = 24 };

static int pipes[2][2];

static void tell(int to)
{
    CHECK_EQ(sys(write, pipes[to][1], "x", 1), 1);
}

static void await(int from)
{
    char c;
    CHECK_EQ(sys(read, pipes[from][0], &c, 1), 1);
}

static long score(void)
{
    char text[16] = "";
    int fd = (int)sys(openat, AT_FDCWD, "/proc/self/oom_score", O_RDONLY, 0);
    sys(read, fd, text, sizeof(text) - 1);
    sys(close, fd);
    long value = 0;
    for (const char *at = text; *at >= '0' && *at <= '9'; at++)
        value = value * 10 + (*at - '0');
    return value;
}

static void fill(unsigned long megabytes)
{
    for (unsigned long at = BASE; at < BASE + (megabytes << 20); at += PAGE)
        WORD(at) = at;
}

static int begin(void)
{
    int region = region_make(name, BASE, UNIT);
    CHECK_EQ(region_put(region, BASE, UNIT, READ_WRITE, ANON_SHARED, -1, 0), 0);
    CHECK_EQ(region_map(region, BASE, UNIT, READ_WRITE, MAP_SHARED, 0), BASE);
    return region;
}

static void attach(void)
{
    int region = (int)sys(openat, AT_FDCWD, name, O_RDWR, 0);
    CHECK_EQ(region_map(region, BASE, UNIT, READ_WRITE, MAP_SHARED, 0), BASE);
    CHECK_EQ(sys(close, region), 0);
}

static int exits(void)
{
    long poor = score();
    begin();
    fill(MEGABYTES);
    CHECK(score() > poor + 100);
    tell(0);
    await(1);
    return failures();
}

static void inherited(void)
{
    long owner = sys(fork);
    if (owner == 0)
        exit_group(exits());
    await(0);
    long poor = score();
    attach();
    CHECK_EQ(WORD(BASE), BASE);
    // Sharing costs nothing while somebody else owns it.
    CHECK(score() < poor + 50);
    tell(1);
    int status = -1;
    CHECK_EQ(sys(wait4, owner, &status, 0, 0), owner);
    CHECK_EQ(status, EXITED(0));
    CHECK(score() > poor + 100);
    CHECK_EQ(WORD(BASE + (1 << 20)), BASE + (1 << 20));
    CHECK_EQ(sys(munmap, BASE, UNIT), 0);
    CHECK_EQ(sys(unlink, name), 0);
    CHECK(score() < poor + 50);
    passed("inherited");
}

static int loses(void)
{
    attach();
    CHECK_EQ(WORD(BASE), BASE);
    tell(1);
    struct __kernel_timespec soon = { 0, 1000000 };
    fault f;
    while ((f = fault_of_read((void *)BASE)).signal == 0)
        sys(nanosleep, &soon, NULL);
    CHECK_EQ(f.signal, SIGSEGV);
    CHECK_EQ(f.code, SEGV_MAPERR);
    return failures();
}

static void killed(void)
{
    long owner = sys(fork);
    if (owner == 0) {
        begin();
        fill(1);
        tell(0);
        await(1);
        fill(1024);
        exit_group(0);
    }
    await(0);
    long sharer = sys(fork);
    if (sharer == 0)
        exit_group(loses());
    int status = -1;
    CHECK_EQ(sys(wait4, owner, &status, 0, 0), owner);
    CHECK_EQ(status, SIGKILL);
    CHECK_EQ(sys(wait4, sharer, &status, 0, 0), sharer);
    CHECK_EQ(status, EXITED(0));
    CHECK_EQ(sys(unlink, name), 0);
    passed("killed");
}

int main(int argc, char **argv, char **envp)
{
    (void)envp;
    long times = arg_number(argc, argv, 1, 1);
    struct sysinfo info;
    REQUIRE(sys(sysinfo, &info) == 0);
    unsigned long memory = info.totalram * info.mem_unit;
    if (memory > 256UL << 20 || memory < 40UL << 20) {
        print_to(2, "owner fills all memory, and 24 MiB first: run it on a small machine (emulator --memory 64M)\n");
        return 2;
    }
    catch_faults();
    CHECK_EQ(sys(pipe2, pipes[0], 0), 0);
    CHECK_EQ(sys(pipe2, pipes[1], 0), 0);
    inherited();
    // Again and again: the owner may be gone before the killer has seen to what it owns.
    while (times-- > 0)
        killed();
    return report();
}
