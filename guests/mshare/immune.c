// Fills all memory through a region, beside a process that needs little and has nothing to do with it: who is killed, and what does it give?
// Not to be run on a host.
#include "region.h"

#include <linux/sysinfo.h>
#include <linux/wait.h>

#define AMPLE (1UL << 32)

static unsigned long free_mib(void)
{
    struct sysinfo info;
    REQUIRE(sys(sysinfo, &info) == 0);
    return info.freeram * info.mem_unit >> 20;
}

static void fill(void)
{
    int region = region_create(AMPLE, -1, 0);
    char *memory = region_map(region, AMPLE);
    for (unsigned long at = 0; at < AMPLE; at += PAGE)
        memory[at] = 1;
}

static void take(unsigned long pages)
{
    char *memory = (char *)mmap6(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (unsigned long page = 0; page < pages; page++)
        memory[page * PAGE] = 1;
}

static long start(int *ready, bool fills)
{
    long child = sys(fork);
    if (child != 0)
        return child;
    char byte = 0;
    // Either has more memory of its own than the parent, which is to stay alive.
    take(fills ? 128 : 1024);
    if (fills)
        fill();
    sys(write, ready[1], &byte, 1);
    for (;;)
        sys(pause);
}

int main(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv, (void)envp;
    int ready[2], status = 0;
    char byte;
    sys(pipe, ready);
    long bystander = start(ready, false);
    sys(read, ready[0], &byte, 1);
    unsigned long before = free_mib();
    long filler = start(ready, true);
    while (sys(wait4, filler, &status, 0, NULL) == -EINTR) {
    }
    unsigned long after = free_mib();
    print("filler ends by signal %d\n", status & 0x7f);
    print("bystander is killed: %d\n", sys(wait4, bystander, NULL, WNOHANG, NULL) == bystander);
    print("memory comes back: %d\n", after >= before / 2);
    sys(unlink, region_path);
    print("memory comes back when the file goes: %d\n", free_mib() >= before / 2);
    sys(kill, bystander, 9);
    sys(wait4, bystander, NULL, 0, NULL);
    return 0;
}
