// getrusage and wait4: page faults and the largest resident set, of the thread, the process and its children.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef RUSAGE_THREAD
#define RUSAGE_THREAD 1
#endif

enum { MIB = 1 << 20, PAGES = 16 * MIB / 4096 };

static void touch(size_t size)
{
    volatile char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise((void *)p, size, MADV_NOHUGEPAGE);
    for (size_t i = 0; i < size; i += 4096)
        p[i] = 1;
    munmap((void *)p, size);
}

int main(void)
{
    struct rusage before, after, thread, children, waited;
    getrusage(RUSAGE_SELF, &before);
    touch(16 * MIB);
    getrusage(RUSAGE_SELF, &after);
    getrusage(RUSAGE_THREAD, &thread);
    long faults = after.ru_minflt - before.ru_minflt;
    printf("faults %d\n", faults >= PAGES && faults < PAGES + 200);
    printf("resident %d\n", after.ru_maxrss >= 16 * 1024);
    printf("thread %d %d\n", thread.ru_minflt >= after.ru_minflt, thread.ru_maxrss >= after.ru_maxrss);
    getrusage(RUSAGE_CHILDREN, &children);
    printf("children %ld %ld\n", children.ru_minflt, children.ru_maxrss);
    fflush(stdout);

    int pid = fork();
    if (pid == 0) {
        touch(48 * MIB);
        _exit(0);
    }
    int status;
    wait4(pid, &status, 0, &waited);
    getrusage(RUSAGE_CHILDREN, &children);
    getrusage(RUSAGE_SELF, &after);
    // Kernels count a short-lived child's resident pages per processor, and may miss some.
    printf("waited %d\n", waited.ru_minflt >= 3 * PAGES);
    printf("children %d %d\n", children.ru_minflt == waited.ru_minflt, children.ru_maxrss == waited.ru_maxrss);
    return 0;
}
