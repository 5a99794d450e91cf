// Where mmap puts mappings that say nothing of the place, or little: differences of addresses, in pages, without randomisation.
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <unistd.h>

#define PAGE 4096L
#define MIB (1L << 20)

static char *top;

static char *place(const char *what, char *hint, long length, int flags, int file)
{
    char *at = mmap(hint, (size_t)length, PROT_READ | PROT_WRITE, flags | (file < 0 ? MAP_ANONYMOUS : 0), file, 0);
    if (at == MAP_FAILED) {
        printf("%s: error %d\n", what, errno);
        return 0;
    }
    if (!top)
        top = at + length;
    if (hint && at == hint)
        printf("%s: at the hint\n", what);
    else if ((uintptr_t)at < 1UL << 32)
        printf("%s: low %lx\n", what, (long)at >> 12);
    else
        printf("%s: %ld\n", what, (top - at) / PAGE);
    return at;
}

static void limited(int resource, const char *name, long bytes, char *what, long length)
{
    struct rlimit old, less;
    getrlimit(resource, &old);
    less = old;
    less.rlim_cur = (rlim_t)bytes;
    setrlimit(resource, &less);
    errno = 0;
    void *p = mmap(0, (size_t)length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    printf("%s %s: %d\n", name, what, p == MAP_FAILED ? errno : 0);
    if (p != MAP_FAILED)
        munmap(p, (size_t)length);
    setrlimit(resource, &old);
}

int main(int argc, char **argv)
{
    if (!(personality(0xffffffff) & ADDR_NO_RANDOMIZE)) {
        personality(ADDR_NO_RANDOMIZE);
        execv("/proc/self/exe", argv);
        return 1;
    }
    (void)argc;
    int private = MAP_PRIVATE, file = memfd_create("f", 0);
    if (ftruncate(file, 8 * MIB))
        return 1;
    place("one page", 0, PAGE, private, -1);
    char *hole = place("ten pages", 0, 10 * PAGE, private, -1);
    place("one more", 0, PAGE, private, -1);
    munmap(hole + PAGE, 3 * PAGE);
    munmap(hole + 6 * PAGE, 2 * PAGE);
    place("two pages into the higher hole", 0, 2 * PAGE, private, -1);
    place("two pages into the other", 0, 2 * PAGE, private, -1);
    char *low = place("five pages below", 0, 5 * PAGE, private, -1);
    // What follows depends on where the top is within 2 MiB.
    long above = (long)((uintptr_t)low & (2 * MIB - 1)) - 5 * PAGE;
    mmap(0, (size_t)(above <= 0 ? above + 2 * MIB : above), PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    top = low - (above <= 0 ? above + 2 * MIB : above);
    place("2 MiB, aligned", 0, 2 * MIB, private, -1);
    place("2 MiB again", 0, 2 * MIB, private, -1);
    place("3 MiB, not aligned", 0, 3 * MIB, private, -1);
    place("4 MiB", 0, 4 * MIB, private, -1);
    place("4 MiB of a stack", 0, 4 * MIB, private | MAP_STACK, -1);
    place("4 MiB shared", 0, 4 * MIB, MAP_SHARED, -1);
    place("4 MiB of a file", 0, 4 * MIB, MAP_SHARED, file);
    place("4 MiB of a file, private", 0, 4 * MIB, private, file);
    // The holes above are of sizes that the C library decides about.
    char *lowest = place("the same", 0, 4 * MIB, private, file), *at;
    do
        at = mmap(0, PAGE, PROT_READ, private | MAP_ANONYMOUS, -1, 0);
    while (at > lowest);
    top = at;
    low = place("32-bit", 0, 4 * PAGE, private | MAP_32BIT, -1);
    place("32-bit again", 0, 4 * PAGE, private | MAP_32BIT, -1);
    place("32-bit, 2 MiB", 0, 2 * MIB, private | MAP_32BIT, -1);
    place("32-bit, too long", 0, 1L << 31, private | MAP_32BIT, -1);
    place("hint in use", low, PAGE, private, -1);
    place("free hint", (char *)0x200000000000L, PAGE, private, -1);
    place("hint off a page", (char *)0x200000010008L, PAGE, private, -1);
    place("hint too near below", (char *)0x200000000000L - PAGE, 2 * PAGE, private, -1);
    place("low hint", (char *)PAGE, PAGE, private, -1);
    place("hint beyond", (char *)0x7ffffffff000L, PAGE, private, -1);
    place("fixed off a page", (char *)0x200000000008L, PAGE, private | MAP_FIXED, -1);
    place("fixed beyond", (char *)0x7ffffffff000L, PAGE, private | MAP_FIXED, -1);
    place("fixed, the last page", (char *)0x7fffffffe000L, PAGE, private | MAP_FIXED_NOREPLACE, -1);
    place("no replacing", (char *)0x200000000000L, PAGE, private | MAP_FIXED_NOREPLACE, -1);
    place("no replacing, nothing there", (char *)0x210000000000L, PAGE, private | MAP_FIXED_NOREPLACE, -1);
    place("everything", 0, 1L << 47, private, -1);
    place("more than everything", 0, -PAGE, private, -1);
    place("nothing", 0, 0, private, -1);
    char *stack = place("growing down", (char *)0x300000000000L, 4 * PAGE, private | MAP_GROWSDOWN, -1);
    place("inside its guard", stack - 16 * PAGE, PAGE, private, -1);
    stack[-8] = 1;
    printf("grew: %d\n", stack[-8]);
    place("no kind", 0, PAGE, 0, -1);
    place("both kinds", 0, PAGE, 3, -1);
    place("validated, unknown flag", 0, PAGE, MAP_SHARED_VALIDATE | 0x8000000, file);
    limited(RLIMIT_AS, "RLIMIT_AS", 64 * MIB, "above", 80 * MIB);
    limited(RLIMIT_AS, "RLIMIT_AS", 256 * MIB, "below", 16 * MIB);
    limited(RLIMIT_DATA, "RLIMIT_DATA", 64 * MIB, "above", 80 * MIB);
    limited(RLIMIT_DATA, "RLIMIT_DATA", 128 * MIB, "below", 16 * MIB);
    return 0;
}
