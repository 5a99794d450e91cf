/* Memory that is brought in ahead of its use: what is there then, what it holds, and where it ends. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#define P 4096UL
#define RW (PROT_READ | PROT_WRITE)
#define PAGES 1300UL /* parts of three tables */

static void show(const char *what, long r) { printf("%-66s %ld %s\n", what, r, r < 0 ? strerror(errno) : ""); }
#define T(call) do { errno = 0; show(#call, (long)(call)); } while (0)

/* How many pages are in core, and how many of the range pagemap calls present. */
static void count(const char *what, char *p, unsigned long pages)
{
    static unsigned char core[PAGES];
    static unsigned long entries[PAGES];
    unsigned long in_core = 0, present = 0;
    if (mincore(p, pages * P, core) != 0)
        printf("mincore: %s\n", strerror(errno));
    int fd = open("/proc/self/pagemap", O_RDONLY);
    if (pread(fd, entries, pages * 8, (long)((unsigned long)p / P * 8)) != (long)(pages * 8))
        printf("pagemap: %s\n", strerror(errno));
    close(fd);
    for (unsigned long i = 0; i < pages; i++) {
        in_core += core[i] & 1;
        present += entries[i] >> 63;
    }
    printf("  %s: %lu in core, %lu mapped\n", what, in_core, present);
}

static unsigned long sum(const char *p, unsigned long pages)
{
    unsigned long s = 0;
    for (unsigned long i = 0; i < pages; i++)
        s = s * 31 + (unsigned char)p[i * P + i % P];
    return s;
}

static long blocks(int fd)
{
    struct stat st;
    fstat(fd, &st);
    return st.st_blocks / 8;
}

static char *map(unsigned long pages, int flags, int fd)
{
    char *p = mmap(0, pages * P, RW, flags | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);
    if (p != MAP_FAILED)
        madvise(p, pages * P, MADV_NOHUGEPAGE);
    return p;
}

static void anonymous(int flags)
{
    char *p = map(PAGES, flags, -1);
    count("fresh", p, PAGES);
    for (unsigned long i = 3; i < PAGES; i += 97)
        p[i * P + i % P] = (char)i;
    unsigned long before = sum(p, PAGES);
    printf("a read here, too: %d\n", p[700 * P]);
    T(madvise(p, 600 * P, MADV_POPULATE_READ));
    count("600 for reading", p, 600);
    T(madvise(p, PAGES * P, MADV_POPULATE_WRITE));
    count("all for writing", p, PAGES);
    printf("contents kept: %d\n", sum(p, PAGES) == before);
    memset(p, 7, PAGES * P);
    T(madvise(p + 100 * P, 1000 * P, MADV_DONTNEED));
    T(madvise(p, PAGES * P, MADV_POPULATE_READ));
    count("again", p, PAGES);
    printf("sum %lu\n", sum(p, PAGES));
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        T(madvise(p, PAGES * P, MADV_POPULATE_WRITE));
        memset(p, 9, PAGES * P);
        printf("child's sum %lu\n", sum(p, PAGES));
        fflush(stdout);
        _exit(0);
    }
    waitpid(child, 0, 0);
    printf("sum %lu\n", sum(p, PAGES));
    T(munmap(p + 50 * P, P));
    T(madvise(p, 60 * P, MADV_POPULATE_WRITE));
    T(mprotect(p, 10 * P, PROT_READ));
    T(madvise(p, 20 * P, MADV_POPULATE_WRITE));
    T(madvise(p, 20 * P, MADV_POPULATE_READ));
    T(mprotect(p, 10 * P, PROT_NONE));
    T(madvise(p, 20 * P, MADV_POPULATE_READ));
    munmap(p, PAGES * P);
}

static void file(int flags)
{
    int fd = memfd_create("populated", 0);
    T(ftruncate(fd, 1000 * P + 100));
    T(pwrite(fd, "data", 4, 500 * P));
    T(fallocate(fd, FALLOC_FL_KEEP_SIZE, 20 * P, 30 * P));
    printf("blocks %ld\n", blocks(fd));
    char *p = map(PAGES, flags, fd);
    T(madvise(p + 10 * P, 30 * P, MADV_POPULATE_READ));
    printf("blocks %ld\n", blocks(fd));
    T(madvise(p, 800 * P, MADV_POPULATE_WRITE));
    count("800 for writing", p, 800);
    printf("blocks %ld\n", blocks(fd));
    printf("'%.4s'\n", p + 500 * P);
    memset(p + 790 * P, 'x', 10 * P);
    char back[4] = "";
    T(pread(fd, back, 4, 790 * P));
    printf("'%.4s'\n", back);
    T(madvise(p, PAGES * P, MADV_POPULATE_WRITE));
    count("up to the end", p, 1001);
    T(madvise(p + 1001 * P, P, MADV_POPULATE_READ));
    T(ftruncate(fd, 300 * P));
    count("shorter", p, 300);
    printf("blocks %ld\n", blocks(fd));
    T(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 100 * P, 100 * P));
    printf("blocks %ld\n", blocks(fd));
    T(madvise(p, 300 * P, MADV_POPULATE_READ));
    printf("blocks %ld\n", blocks(fd));
    count("punched and filled", p, 300);
    printf("sum %lu\n", sum(p, 300));
    munmap(p, PAGES * P);
    p = mmap(0, 300 * P, RW, flags | MAP_POPULATE, fd, 0);
    count("MAP_POPULATE", p, 300);
    munmap(p, 300 * P);
    p = mmap(0, 300 * P, PROT_READ, flags, fd, 0);
    T(madvise(p, 300 * P, MADV_POPULATE_WRITE));
    T(madvise(p, 300 * P, MADV_POPULATE_READ));
    count("for reading", p, 300);
    close(fd);
    munmap(p, 300 * P);
}

int main(void)
{
    printf("- private\n");
    anonymous(MAP_PRIVATE);
    printf("- shared\n");
    anonymous(MAP_SHARED);
    printf("- file, private\n");
    file(MAP_PRIVATE);
    printf("- file, shared\n");
    file(MAP_SHARED);
    fflush(stdout);
    return 0;
}
