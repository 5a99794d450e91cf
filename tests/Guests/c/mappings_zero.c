/* Mappings of /dev/zero: memory of its own, as far as the file was opened for it; and files that only name a place. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef __GLIBC__
#define strerrorname_np strerror
#endif

enum { P = 4096, R = PROT_READ, W = PROT_WRITE };

static sigjmp_buf after;
static void on_fault(int number) { siglongjmp(after, number); }

static const char *touch(volatile char *at, int write)
{
    int fault = sigsetjmp(after, 1);
    if (fault)
        return fault == SIGBUS ? "SIGBUS" : "SIGSEGV";
    if (write)
        *at = 1;
    return *at == (write ? 1 : 0) ? "fine" : "wrong";
}

/* What a child writes is seen if the memory is shared. */
static int shared(volatile char *at)
{
    pid_t child = fork();
    if (child == 0) {
        at[P] = 7;
        _exit(0);
    }
    waitpid(child, NULL, 0);
    return at[P] == 7;
}

static void map(const char *what, int fd, int protection, int flags, unsigned long offset)
{
    errno = 0;
    char *at = mmap(NULL, 2 * P, protection, flags, fd, (off_t)offset);
    printf("%s %x %lx: ", what, (unsigned)flags, offset);
    if (at == MAP_FAILED) {
        puts(strerrorname_np(errno));
        return;
    }
    printf("read %s", touch(at, 0));
    if (mprotect(at, 2 * P, R | W))
        printf(", mprotect %s", strerrorname_np(errno));
    else if (offset == 0 || !(flags & MAP_SHARED))
        printf(", write %s, shared %d", touch(at, 1), shared(at));
    puts("");
    munmap(at, 2 * P);
}

int main(void)
{
    static const struct { const char *name; int flags; } ways[] = {{"read", O_RDONLY}, {"write", O_WRONLY}, {"both", O_RDWR}, {"path", O_PATH}};
    static const int kinds[] = {MAP_PRIVATE, MAP_SHARED, 3, 3 | 0x10000000, 0, MAP_PRIVATE | MAP_GROWSDOWN, MAP_SHARED | MAP_NORESERVE};
    static const unsigned long offsets[] = {0, 5 * P, 0x7ffffffffffff000, 0xfffffffffffff000};
    signal(SIGSEGV, on_fault);
    signal(SIGBUS, on_fault);
    for (unsigned way = 0; way < sizeof ways / sizeof *ways; way++) {
        int fd = open("/dev/zero", ways[way].flags);
        for (unsigned kind = 0; kind < sizeof kinds / sizeof *kinds; kind++)
            for (unsigned offset = 0; offset < sizeof offsets / sizeof *offsets; offset++) {
                map(ways[way].name, fd, R, kinds[kind], offsets[offset]);
                map(ways[way].name, fd, R | W, kinds[kind], offsets[offset]);
            }
        close(fd);
    }
    int place = open("/", O_PATH), nowhere = open("/dev/null", O_RDWR);
    map("a place", place, R, MAP_PRIVATE, 0);
    map("a directory", open("/", O_RDONLY), R, MAP_SHARED, 0);
    map("null", nowhere, R | W, MAP_SHARED, 0);
    return 0;
}
