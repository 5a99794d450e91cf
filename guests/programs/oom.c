// Uses up all memory in a child, beside one that needs little: who is killed? oom [ADJ], the greedy child's oom_score_adj.
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
        for (;;)
            take(256);
    }
    print("greedy ends by signal %d\n", wait_for(greedy) & 0x7f);
    print("small lives: %d\n", sys(kill, small, 0) == 0 && sys(wait4, small, NULL, WNOHANG, NULL) == 0);
    sys(kill, small, 9);
    wait_for(small);
    return failures();
}
