// Promises of memory: what is counted (VmFlags ac) and what is refused when it is more than all memory and swap.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096UL
#define BASE ((char *)0x100000000000L)
#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

static unsigned long total;

static void result(const char *what, long r)
{
    printf("%-44s %s\n", what, r != -1 ? "ok" : errno == ENOMEM ? "ENOMEM" : strerror(errno));
}

#define T(call) result(#call, (long)(call))

// Which parts of the window are counted, which are not reserved.
static void parts(const char *what)
{
    FILE *file = fopen("/proc/self/smaps", "r");
    char line[512], name[64] = "";
    printf("%s:", what);
    while (fgets(line, sizeof line, file)) {
        unsigned long start, end;
        char mode[8];
        if (sscanf(line, "%lx-%lx %7s", &start, &end, mode) == 3) {
            name[0] = 0;
            if (start >= (unsigned long)BASE && start < (unsigned long)BASE + 256 * PAGE)
                snprintf(name, sizeof name, "%lu+%lu %s", (start - (unsigned long)BASE) / PAGE, (end - start) / PAGE, mode);
            else if (strstr(line, "[stack]"))
                strcpy(name, "stack");
            else if (strstr(line, "[heap]"))
                strcpy(name, "heap");
        } else if (name[0] && !strncmp(line, "VmFlags:", 8)) {
            printf(" (%s%s%s)", name, strstr(line, " ac") ? " ac" : "", strstr(line, " nr") ? " nr" : "");
        }
    }
    printf("\n");
    fclose(file);
}

static char *map(unsigned long pages, int prot, int flags)
{
    munmap(BASE, 256 * PAGE);
    return mmap(BASE, pages * PAGE, prot, flags | MAP_FIXED, -1, 0);
}

static void what_is_counted(void)
{
    map(8, RW, ANON);
    parts("written");
    map(8, PROT_READ, ANON);
    parts("read");
    map(8, PROT_NONE, ANON);
    parts("none");
    mprotect(BASE + 2 * PAGE, 2 * PAGE, RW);
    parts("part made writable");
    mprotect(BASE + 2 * PAGE, 2 * PAGE, PROT_READ);
    parts("and back, untouched");
    mprotect(BASE + 2 * PAGE, 2 * PAGE, RW);
    BASE[2 * PAGE] = 1;
    mprotect(BASE + 2 * PAGE, 2 * PAGE, PROT_READ);
    parts("and back, touched");
    map(8, RW, ANON | MAP_NORESERVE);
    parts("not reserved");
    mprotect(BASE, 8 * PAGE, PROT_READ);
    mprotect(BASE, 8 * PAGE, RW);
    parts("not reserved, there and back");
    map(8, RW, MAP_SHARED | MAP_ANONYMOUS);
    parts("shared");
    map(8, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE);
    parts("shared, not reserved");
    int fd = memfd_create("file", 0);
    ftruncate(fd, 16 * PAGE);
    munmap(BASE, 256 * PAGE);
    mmap(BASE, 4 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0);
    mmap(BASE + 8 * PAGE, 4 * PAGE, RW, MAP_PRIVATE | MAP_FIXED, fd, 0);
    mmap(BASE + 16 * PAGE, 4 * PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0);
    parts("of a file");
    mprotect(BASE + 16 * PAGE, PAGE, RW);
    parts("part of a file made writable");
    mprotect(BASE + 16 * PAGE, PAGE, PROT_READ);
    parts("and back, of a file");
    map(4, RW, ANON);
    mremap(BASE, 4 * PAGE, 12 * PAGE, 0);
    parts("grown");
    mremap(BASE, 12 * PAGE, 12 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP | MREMAP_FIXED, BASE + 32 * PAGE);
    parts("moved, and the old one kept");
    fflush(stdout);
    if (!fork()) {
        parts("child");
        fflush(stdout);
        _exit(0);
    }
    wait(NULL);
}

static void *grow_to(unsigned long bytes)
{
    char *p = mmap(0, PAGE, RW, ANON, -1, 0);
    void *grown = mremap(p, PAGE, bytes, MREMAP_MAYMOVE);
    munmap(grown == MAP_FAILED ? p : grown, grown == MAP_FAILED ? PAGE : bytes);
    return grown;
}

static int write_to(unsigned long bytes)
{
    char *p = mmap(0, bytes, PROT_NONE, ANON, -1, 0);
    int r = mprotect(p, bytes, RW), error = errno;
    munmap(p, bytes);
    errno = error;
    return r;
}

static long break_to(unsigned long bytes)
{
    char *old = sbrk(0);
    long r = brk(old + bytes);
    if (r == 0)
        brk(old);
    return r;
}

static int segment(unsigned long bytes, int flags)
{
    int id = shmget(IPC_PRIVATE, bytes, 0600 | flags);
    if (id >= 0)
        shmctl(id, IPC_RMID, NULL);
    return id < 0 ? -1 : 0;
}

static void *try_map(unsigned long bytes, int prot, int flags)
{
    void *p = mmap(0, bytes, prot, flags, -1, 0);
    if (p != MAP_FAILED)
        munmap(p, bytes);
    return p;
}

static void what_is_refused(void)
{
    unsigned long more = total + 256 * PAGE, all = total - 256 * PAGE;
    T(try_map(all, RW, ANON));
    T(try_map(more, RW, ANON));
    T(try_map(more, PROT_READ, ANON));
    T(try_map(more, RW, ANON | MAP_NORESERVE));
    T(try_map(all, RW, MAP_SHARED | MAP_ANONYMOUS));
    T(try_map(more, RW, MAP_SHARED | MAP_ANONYMOUS));
    T(try_map(more, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE));
    T(write_to(all));
    T(write_to(more));
    T(grow_to(all));
    T(grow_to(more));
    T(break_to(all));
    T(break_to(more));
    T(segment(all, 0));
    T(segment(more, 0));
    T(segment(more, SHM_NORESERVE));
    int fd = memfd_create("large", 0);
    T(ftruncate(fd, (long)more));
    void *p = mmap(0, more, RW, MAP_SHARED, fd, 0);
    T(p == MAP_FAILED ? -1 : 0);
    munmap(p, more);
    p = mmap(0, more, RW, MAP_PRIVATE, fd, 0);
    T(p == MAP_FAILED ? -1 : 0);
    // In the place of what is counted already only the difference is asked for.
    char *half = mmap(0, all, RW, ANON, -1, 0);
    T(mmap(half, all, RW, ANON | MAP_FIXED, -1, 0) == half ? 0 : -1);
}

int main(void)
{
    unsigned long kilobytes;
    char line[256];
    FILE *file = fopen("/proc/meminfo", "r");
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "MemTotal: %lu", &kilobytes) == 1 || sscanf(line, "SwapTotal: %lu", &kilobytes) == 1)
            total += kilobytes * 1024;
    fclose(file);
    malloc(1);
    parts("at first");
    what_is_counted();
    what_is_refused();
    return 0;
}
