// NUMA calls as they are on a machine of one node.
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PAGE = 4096, F_NODE = 1, F_ADDR = 2, F_MEMS_ALLOWED = 4, MOVE = 2, MOVE_ALL = 4 };

static long report(const char *what, long result)
{
    printf("%s: %ld, errno %d\n", what, result, result < 0 ? errno : 0);
    return result;
}

static void move(const char *what, void **pages, int *nodes, unsigned long flags)
{
    int status[5] = {9, 9, 9, 9, 9};
    report(what, syscall(SYS_move_pages, 0, 5ul, pages, nodes, status, flags));
    printf("  %d %d %d %d %d\n", status[0], status[1], status[2], status[3], status[4]);
}

static void policy_of(const char *what, void *address, unsigned long flags, unsigned long bits)
{
    int policy = 77;
    unsigned long nodes[4] = {~0ul, ~0ul, ~0ul, ~0ul};
    report(what, syscall(SYS_get_mempolicy, &policy, nodes, bits, address, flags));
    printf("  policy %d, nodes %lx %lx\n", policy, nodes[0], nodes[1]);
}

int main(void)
{
    char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    p[0] = 1;
    volatile char untouched = p[PAGE];
    void *pages[5] = {p, p + PAGE, p + 2 * PAGE, (void *)0x1000, p + 1};
    int here[5] = {0, 0, 0, 0, 0}, away[5] = {0, 1, 0, 0, 0}, nowhere[5] = {-1, 0, 0, 0, 0};
    move("where", pages, NULL, 0);
    move("here", pages, here, MOVE);
    move("away", pages, away, MOVE);
    move("nowhere", pages, nowhere, MOVE);
    move("bad flags", pages, here, 1);
    report("bad pages", syscall(SYS_move_pages, 0, 1ul, (void *)8, NULL, here, 0));
    report("bad status", syscall(SYS_move_pages, 0, 1ul, pages, NULL, (void *)8, 0));
    report("no process", syscall(SYS_move_pages, 99999999, 1ul, pages, NULL, here, 0));

    unsigned long one = 1, two = 2, none = 0;
    policy_of("policy by default", p, F_ADDR, 64);
    report("mbind bind", syscall(SYS_mbind, p, 2ul * PAGE, 2, &one, 64ul, 0));
    policy_of("policy bound", p, F_ADDR, 128);
    policy_of("policy behind", p + 2 * PAGE, F_ADDR, 64);
    report("mbind default", syscall(SYS_mbind, p, (unsigned long)PAGE, 0, NULL, 0ul, 0));
    policy_of("policy unbound", p, F_ADDR, 64);
    report("mbind no node", syscall(SYS_mbind, p, (unsigned long)PAGE, 2, &none, 64ul, 0));
    report("mbind other node", syscall(SYS_mbind, p, (unsigned long)PAGE, 2, &two, 64ul, 0));
    report("mbind misaligned", syscall(SYS_mbind, p + 1, (unsigned long)PAGE, 2, &one, 64ul, 0));
    report("mbind mode", syscall(SYS_mbind, p, (unsigned long)PAGE, 44, &one, 64ul, 0));
    report("mbind flags", syscall(SYS_mbind, p, (unsigned long)PAGE, 2, &one, 64ul, 64));
    report("mbind mask", syscall(SYS_mbind, p, (unsigned long)PAGE, 2, (void *)8, 64ul, 0));
    munmap(p + PAGE, PAGE);
    report("mbind hole", syscall(SYS_mbind, p, 3ul * PAGE, 2, &one, 64ul, 0));
    report("mbind nothing", syscall(SYS_mbind, p, 0ul, 2, &one, 64ul, 0));

    policy_of("node", p, F_NODE | F_ADDR, 64);
    policy_of("mapped nowhere", (void *)0x1000, F_ADDR, 64);
    policy_of("allowed", NULL, F_MEMS_ALLOWED, 64);
    policy_of("allowed there", p, F_MEMS_ALLOWED | F_ADDR, 64);
    policy_of("address without flag", p, 0, 64);
    policy_of("no bits", p, F_ADDR, 0);
    policy_of("own", NULL, 0, 64);
    policy_of("own node", NULL, F_NODE, 64);
    report("set interleave", syscall(SYS_set_mempolicy, 3, &one, 64ul));
    policy_of("own", NULL, 0, 64);
    policy_of("own node", NULL, F_NODE, 64);
    report("set preferred", syscall(SYS_set_mempolicy, 1, NULL, 0ul));
    policy_of("own", NULL, 0, 64);
    report("set nothing", syscall(SYS_set_mempolicy, 3, &none, 64ul));
    report("set mode", syscall(SYS_set_mempolicy, 99, &one, 64ul));
    report("set default with nodes", syscall(SYS_set_mempolicy, 0, &one, 64ul));
    report("set default", syscall(SYS_set_mempolicy, 0, NULL, 0ul));
    report("migrate here", syscall(SYS_migrate_pages, 0, 64ul, &one, &one));
    report("migrate away", syscall(SYS_migrate_pages, 0, 64ul, &one, &two));
    return untouched;
}
