// Uses up all memory in a child, beside one that needs little: who is killed? oom [ADJ [WAY]], the greedy child's oom_score_adj, and how it is
// greedy: touch (its own memory), shared (memory), tables (of pages far apart), file (one that it writes and never maps).
// Not to be run on a host.
#include "guest.h"

#include <linux/mman.h>
#include <linux/wait.h>

static void write_file(const char *path, const char *text)
{
    long fd = sys(open, path, O_RDWR, 0);
    CHECK_EQ(fd >= 0, 1);
    CHECK_EQ(sys(write, fd, text, strlen(text)), (long)strlen(text));
    sys(close, fd);
}

static char *take(unsigned long pages)
{
    char *memory = (char *)sys(mmap, 0, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (unsigned long page = 0; page < pages; page++)
        memory[page * PAGE] = (char)page;
    return memory;
}

static void be_greedy(const char *way)
{
    static char block[16 * PAGE];
    unsigned long apart = 512 * PAGE;
    if (!strcmp(way, "shared")) {
        for (;;) {
            char *memory = (char *)sys(mmap, 0, 256 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
            for (unsigned long page = 0; page < 256; page++)
                memory[page * PAGE] = 1;
        }
    } else if (!strcmp(way, "tables")) {
        char *memory = (char *)sys(mmap, 0, apart << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        for (volatile char *at = memory;; at += apart)
            (void)*at;
    } else if (!strcmp(way, "file")) {
        long fd = sys(memfd_create, "greedy", 0);
        while (sys(write, fd, block, sizeof block) > 0) {
        }
    } else {
        for (;;)
            take(256);
    }
}

static int wait_for(long pid)
{
    int status = -1;
    while (sys(wait4, pid, &status, 0, NULL) == -EINTR) {
    }
    return status;
}

int main(int argc, char **argv, char **envp)
{
    (void)envp;
    int ready[2];
    char byte = 0;
    sys(pipe, ready);
    long small = sys(fork);
    if (small == 0) {
        take(1024);
        sys(write, ready[1], &byte, 1);
        for (;;)
            sys(pause);
    }
    sys(read, ready[0], &byte, 1);
    long greedy = sys(fork);
    if (greedy == 0) {
        if (argc > 1)
            write_file("/proc/self/oom_score_adj", argv[1]);
        be_greedy(argc > 2 ? argv[2] : "touch");
        sys(exit, 1);
    }
    print("greedy ends by signal %d\n", wait_for(greedy) & 0x7f);
    print("small lives: %d\n", sys(kill, small, 0) == 0 && sys(wait4, small, NULL, WNOHANG, NULL) == 0);
    sys(kill, small, 9);
    wait_for(small);
    return failures();
}
