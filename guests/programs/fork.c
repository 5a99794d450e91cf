// fork and copy-on-write: what is private stays private, what is shared is shared, and how children end: fork [STORM].
// STORM is the number of processes forked and reaped at the end.
#include "guest.h"
#include "guest/signals.h"
#include "guest/threads.h"

#include <linux/wait.h>

static int initialised = 11;
static int zeroed[2048];

static long wait_for(long pid, int *status, int options)
{
    long result;
    while ((result = sys(wait4, pid, status, options, NULL)) == -EINTR) {
    }
    return result;
}

typedef struct { char *heap; volatile int *local; } places;

static int change_everything(void *argument)
{
    places *p = argument;
    CHECK_EQ(initialised, 11);
    CHECK_EQ(p->heap[5 * PAGE], 5);
    CHECK_EQ(*p->local, 77);
    initialised = 12;
    zeroed[1024] = 13;
    for (int i = 0; i < 64; i++)
        p->heap[i * PAGE] = (char)(100 + i);
    *p->local = 78;
    for (int i = 0; i < 64; i++)
        CHECK_EQ(p->heap[i * PAGE], (char)(100 + i));
    return failures();
}

static void check_isolation(void)
{
    volatile int local = 77;
    char *heap = map_pages(64 * PAGE, PROT_READ | PROT_WRITE);
    for (int i = 0; i < 64; i++)
        heap[i * PAGE] = (char)i;
    places p = { heap, &local };
    for (int round = 0; round < 3; round++) {
        CHECK_EQ(status_of_child(change_everything, &p), 0);
        CHECK_EQ(initialised, 11);
        CHECK_EQ(zeroed[1024], 0);
        CHECK_EQ(local, 77);
        for (int i = 0; i < 64; i++)
            CHECK_EQ(heap[i * PAGE], (char)i);
    }
    sys(munmap, heap, 64 * PAGE);
    passed("isolation");
}

// The parent writes while the child still reads the old contents.
static void check_parent_writes(void)
{
    char *page = map_pages(16 * PAGE, PROT_READ | PROT_WRITE);
    uint32_t *flag = (uint32_t *)mmap6(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 16; i++)
        page[i * PAGE] = 1;
    long child = sys(fork);
    if (!child) {
        while (!LOAD_ACQUIRE(flag))
            futex_wait(flag, 0, NULL);
        for (int i = 0; i < 16; i++)
            CHECK_EQ(page[i * PAGE], 1);
        exit_group(failures());
    }
    for (int i = 0; i < 16; i++)
        page[i * PAGE] = 2;
    STORE_RELEASE(flag, 1);
    futex_wake(flag, 1);
    int status = -1;
    wait_for(child, &status, 0);
    CHECK_EQ(status, 0);
    for (int i = 0; i < 16; i++)
        CHECK_EQ(page[i * PAGE], 2);
    sys(munmap, page, 16 * PAGE);
    sys(munmap, flag, PAGE);
    passed("parent writes");
}

static long *tree_sum;

static int grow(void *argument)
{
    long level = (long)argument;
    initialised += (int)level;
    int mine = initialised;
    __atomic_add_fetch(tree_sum, 1, __ATOMIC_SEQ_CST);
    if (level)
        for (int i = 0; i < 2; i++)
            if (status_of_child(grow, (void *)(level - 1)) != EXITED(0))
                return 1;
    return initialised == mine ? 0 : 2;
}

static void check_tree(void)
{
    tree_sum = (long *)mmap6(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK_EQ(status_of_child(grow, (void *)4), 0);
    CHECK_EQ(*tree_sum, 31);
    CHECK_EQ(initialised, 11);
    sys(munmap, tree_sum, PAGE);
    passed("nested forks");
}

static void check_shared(void)
{
    int fd = (int)sys(memfd_create, "shared", 0);
    sys(ftruncate, fd, 2 * PAGE);
    char *shared = (char *)mmap6(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *private = (char *)mmap6(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    shared[0] = 1;
    CHECK_EQ(private[0], 1);
    private[1] = 9;
    CHECK_EQ(shared[1], 0);
    long child = sys(fork);
    if (!child) {
        CHECK_EQ(private[1], 9);
        private[1] = 8;
        shared[PAGE] = 5;
        shared[2] = 6;
        sys(pwrite64, fd, "z", 1, 3);
        exit_group(failures());
    }
    int status = -1;
    wait_for(child, &status, 0);
    CHECK_EQ(status, 0);
    CHECK_EQ(shared[PAGE], 5);
    CHECK_EQ(shared[3], 'z');
    CHECK_EQ(private[1], 9);
    CHECK_EQ(private[2], 0);
    CHECK_EQ(private[PAGE], 5);
    sys(munmap, shared, 2 * PAGE);
    sys(munmap, private, 2 * PAGE);
    sys(close, fd);
    passed("shared mappings");
}

static int leave(void *argument)
{
    return (int)(long)argument;
}

static void check_waiting(void)
{
    int status;
    CHECK_EQ(wait_for(-1, &status, 0), -ECHILD);
    CHECK_EQ(wait_for(-1, &status, 64), -EINVAL);
    CHECK_EQ(status_of_child(leave, (void *)0), 0);
    CHECK_EQ(status_of_child(leave, (void *)255), EXITED(255));
    CHECK_EQ(status_of_child(leave, (void *)0x1234), EXITED(0x34));
    long sleeper = sys(fork);
    if (!sleeper)
        for (;;)
            sys(pause);
    CHECK_EQ(wait_for(-1, &status, WNOHANG), 0);
    CHECK_EQ(wait_for(sleeper + 100000, &status, WNOHANG), -ECHILD);
    siginfo_t info = { 0 };
    CHECK_EQ(sys(waitid, P_PID, sleeper, &info, WEXITED | WNOHANG, NULL), 0);
    CHECK_EQ(info.si_pid, 0);
    CHECK_EQ(sys(waitid, P_PID, sleeper, &info, WNOHANG, NULL), -EINVAL);
    CHECK_EQ(sys(kill, sleeper, SIGTERM), 0);
    CHECK_EQ(sys(waitid, P_PID, sleeper, &info, WEXITED | WNOWAIT, NULL), 0);
    CHECK_EQ(info.si_code, CLD_KILLED);
    CHECK_EQ(info.si_status, SIGTERM);
    CHECK_EQ(info.si_signo, SIGCHLD);
    CHECK_EQ(wait_for(sleeper, &status, 0), sleeper);
    CHECK_EQ(status, SIGTERM);
    CHECK_EQ(wait_for(sleeper, &status, 0), -ECHILD);

    signal_set(SIGCHLD, SIG_IGN);
    long unseen = sys(fork);
    if (!unseen)
        exit_group(0);
    CHECK_EQ(wait_for(unseen, &status, 0), -ECHILD);
    signal_set(SIGCHLD, SIG_DFL);
    passed("waiting");
}

static void check_vfork(void)
{
    register volatile int *flag __asm__("r12") = map_pages(PAGE, PROT_READ | PROT_WRITE);
    // CLONE_VM | CLONE_VFORK with a stack of its own: the parent sleeps until the child is gone, and shares its memory.
    char *stack = map_pages(4 * PAGE, PROT_READ | PROT_WRITE);
    long child;
    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "movl $33, (%%r12)\n\t"
                     "mov $4, %%edi\n\t"
                     "mov $231, %%eax\n\t"
                     "syscall\n"
                     "1:"
                     : "=a"(child)
                     : "a"(__NR_clone), "D"(CLONE_VM | CLONE_VFORK | SIGCHLD), "S"(stack + 4 * PAGE), "d"(0), "r"(flag)
                     : "rcx", "r11", "memory");
    int status = 0;
    CHECK(child > 0);
    CHECK_EQ(wait_for(child, &status, 0), child);
    CHECK_EQ(status, EXITED(4));
    CHECK_EQ(*flag, 33);
    sys(munmap, stack, 4 * PAGE);
    passed("vfork");
}

static void storm(long total)
{
    long reaped = 0, sum = 0;
    enum { BATCH = 50 };
    for (long made = 0; made < total; made += BATCH) {
        long batch = total - made < BATCH ? total - made : BATCH;
        for (long i = 0; i < batch; i++) {
            long pid = sys(fork);
            if (!pid)
                exit_group((int)(i + (zeroed[0] += 1)) & 127);
            if (!CHECK(pid > 0))
                return;
        }
        for (long i = 0; i < batch; i++) {
            int status = 0;
            reaped += wait_for(-1, &status, 0) > 0;
            sum += status >> 8;
            CHECK_EQ(status & 0x7f, 0);
        }
    }
    CHECK_EQ(reaped, total);
    CHECK_EQ(wait_for(-1, NULL, 0), -ECHILD);
    print("%ld processes, statuses add up to %ld\n", reaped, sum);
    passed("storm");
}

int main(int argc, char **argv, char **envp)
{
    (void)envp;
    check_isolation();
    check_parent_writes();
    check_tree();
    check_shared();
    check_waiting();
    check_vfork();
    storm(arg_number(argc, argv, 1, 100));
    return report();
}
