// What /proc/self/mem, pagemap and smaps say of a window of memory in known states.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096L
#define BASE ((char *)0x100000000000L)

static int pagemap, memory;

// Present, swapped, of a file, exclusive: the bits that depend on nothing but what the program did.
static void pages(const char *what, int count)
{
    uint64_t entries[16];
    memset(entries, 0, sizeof entries);
    long got = pread(pagemap, entries, (size_t)count * 8, (off_t)((unsigned long)BASE / PAGE * 8));
    printf("%s: %ld", what, got);
    for (int i = 0; i < count; i++)
        printf(" %s%s%s%s", entries[i] >> 63 & 1 ? "P" : "-", entries[i] >> 62 & 1 ? "S" : "-", entries[i] >> 61 & 1 ? "F" : "-", entries[i] >> 56 & 1 ? "X" : "-");
    printf("\n");
}

static void figures(const char *what)
{
    static const char *const shown[] = { "Size:", "KernelPageSize:", "MMUPageSize:", "Rss:", "Pss:", "Pss_Dirty:", "Shared_Clean:", "Shared_Dirty:", "Private_Clean:", "Private_Dirty:", "Referenced:", "Anonymous:", "KSM:", "LazyFree:", "AnonHugePages:", "Swap:", "SwapPss:", "Locked:" };
    FILE *file = fopen("/proc/self/smaps", "r");
    char line[512];
    int here = 0;
    printf("%s\n", what);
    while (fgets(line, sizeof line, file)) {
        unsigned long start, end;
        char mode[8];
        if (sscanf(line, "%lx-%lx %7s", &start, &end, mode) == 3) {
            here = start >= (unsigned long)BASE && start < (unsigned long)BASE + 64 * PAGE;
            if (here)
                printf(" %lx-%lx %s\n", start - (unsigned long)BASE, end - (unsigned long)BASE, mode);
        } else if (here)
            for (unsigned i = 0; i < sizeof shown / sizeof *shown; i++)
                if (!strncmp(line, shown[i], strlen(shown[i])))
                    printf("  %s", line);
    }
    fclose(file);
}

static void access_memory(void)
{
    char text[32] = "";
    long r = pread(memory, text, 5, (off_t)BASE);
    printf("read %ld %s\n", r, text);
    r = pwrite(memory, "forced", 6, (off_t)BASE);
    printf("write to read-only private: %ld %.6s\n", r, BASE);
    errno = 0;
    r = pread(memory, text, 5, (off_t)BASE + 40 * PAGE);
    printf("read of a hole: %ld %d\n", r, errno);
    errno = 0;
    r = pread(memory, text, 20, (off_t)BASE + 8 * PAGE - 10);
    printf("read over the end: %ld %d\n", r, errno);
    errno = 0;
    r = (long)lseek(memory, 0, SEEK_END);
    printf("seek to the end: %ld %d\n", r, errno);
    r = (long)(lseek(memory, (off_t)BASE + 16, SEEK_SET) - (off_t)BASE);
    printf("seek: %ld\n", r);
    r = write(memory, "more", 4);
    printf("write at the offset: %ld %.4s %ld\n", r, BASE + 16, (long)(lseek(memory, 0, SEEK_CUR) - (off_t)BASE));
    errno = 0;
    r = pread(pagemap, text, 5, 0);
    printf("odd pagemap: %ld %d\n", r, errno);
    errno = 0;
    r = pread(pagemap, text, 8, 3);
    printf("odd pagemap: %ld %d\n", r, errno);
    r = pread(pagemap, text, 8, (off_t)(0x7ffffffff000 / PAGE * 8));
    printf("pagemap at the end: %ld\n", r);
}

int main(void)
{
    pagemap = open("/proc/self/pagemap", O_RDONLY);
    memory = open("/proc/self/mem", O_RDWR);
    if (pagemap < 0 || memory < 0)
        return 1;
    mmap(BASE, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    pages("untouched", 8);
    BASE[0] = 'h', BASE[1] = 'e', BASE[2] = 'l', BASE[3] = 'l', BASE[4] = 'o';
    volatile char read = BASE[PAGE];
    BASE[2 * PAGE] = 1;
    (void)read;
    pages("written, read, written", 8);
    figures("anonymous");
    mprotect(BASE, PAGE, PROT_READ);
    mprotect(BASE + 2 * PAGE, PAGE, PROT_NONE);
    pages("protected", 8);
    access_memory();

    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        BASE[3 * PAGE] = 1;
        pages("child", 8);
        figures("child");
        fflush(stdout);
        _exit(0);
    }
    waitpid(child, 0, 0);
    pages("after the child", 8);

    int file = memfd_create("pages", 0);
    if (ftruncate(file, 8 * PAGE) || pwrite(file, "x", 1, 3 * PAGE) != 1)
        return 1;
    mmap(BASE, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0);
    mmap(BASE + 4 * PAGE, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, file, 0);
    BASE[PAGE] = 1;
    BASE[5 * PAGE] = 2;
    read = BASE[6 * PAGE];
    pages("a file, shared and private", 8);
    figures("file");
    mlock(BASE, 2 * PAGE);
    figures("locked");
    munmap(BASE, 8 * PAGE);
    pages("unmapped", 8);
    return 0;
}
