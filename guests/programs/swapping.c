// More memory than the machine has, given swap: contents survive, also over fork and in shared memory. swapping [MIB].
#include "guest.h"

#include <linux/mman.h>
#include <linux/wait.h>

static unsigned long pattern(unsigned long page, unsigned long word)
{
    return (page * 0x9E3779B97F4A7C15ul) ^ (word * 0xC2B2AE3D27D4EB4Ful);
}

static void fill(char *memory, unsigned long pages, unsigned long salt)
{
    for (unsigned long page = 0; page < pages; page++) {
        unsigned long *words = (unsigned long *)(memory + page * PAGE);
        for (unsigned long word = 0; word < PAGE / 8; word += 37)
            words[word] = pattern(page ^ salt, word);
    }
}

static unsigned long count_wrong(const char *memory, unsigned long pages, unsigned long salt)
{
    unsigned long wrong = 0;
    for (unsigned long page = 0; page < pages; page++) {
        const unsigned long *words = (const unsigned long *)(memory + page * PAGE);
        for (unsigned long word = 0; word < PAGE / 8; word += 37)
            wrong += words[word] != pattern(page ^ salt, word);
    }
    return wrong;
}

static char *map(unsigned long bytes, int flags)
{
    long mapped = sys(mmap, 0, bytes, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | flags, -1, 0);
    if (!is_address(mapped)) {
        print_to(2, "swapping: no room for %lu MiB: give the machine --memory and --swap\n", bytes >> 20);
        exit_group(2);
    }
    return (char *)mapped;
}

static void check_advice(void)
{
    char *memory = map(16 * PAGE, MAP_PRIVATE), *shared = map(4 * PAGE, MAP_SHARED);
    fill(memory, 16, 5);
    fill(shared, 4, 6);
    CHECK_EQ(sys(madvise, memory, 16 * PAGE, MADV_COLD), 0);
    CHECK_EQ(sys(madvise, memory + 1, PAGE, MADV_COLD), -EINVAL);
    CHECK_EQ(count_wrong(memory, 16, 5), 0);
    CHECK_EQ(sys(madvise, shared, 4 * PAGE, MADV_PAGEOUT), 0);
    CHECK_EQ(count_wrong(shared, 4, 6), 0);
    CHECK_EQ(sys(madvise, shared, 4 * PAGE, MADV_FREE), -EINVAL);
    CHECK_EQ(sys(madvise, memory, 16 * PAGE, MADV_FREE), 0);
    fill(memory, 8, 7);
    CHECK_EQ(sys(madvise, memory, 16 * PAGE, MADV_PAGEOUT), 0);
    CHECK_EQ(count_wrong(memory, 8, 7), 0);
    for (int page = 8; page < 16; page++) {
        unsigned long word = *(unsigned long *)(memory + page * PAGE);
        CHECK_EQ(word == 0 || word == pattern((unsigned long)page ^ 5, 0), 1);
    }
    CHECK_EQ(sys(munmap, memory + 4 * PAGE, PAGE), 0);
    CHECK_EQ(sys(madvise, memory, 16 * PAGE, MADV_PAGEOUT), -ENOMEM);
    CHECK_EQ(sys(madvise, memory, 16 * PAGE, MADV_FREE), -ENOMEM);
    CHECK_EQ(sys(mlock, memory, PAGE), 0);
    CHECK_EQ(sys(madvise, memory, PAGE, MADV_FREE), -EINVAL);
    CHECK_EQ(sys(madvise, memory, PAGE, MADV_COLD), -EINVAL);
    CHECK_EQ(sys(madvise, memory, PAGE, MADV_PAGEOUT), -EINVAL);
    CHECK_EQ(sys(munlock, memory, PAGE), 0);
}

int main(int argc, char **argv, char **envp)
{
    (void)envp;
    unsigned long megabytes = 0;
    for (const char *digit = argc > 1 ? argv[1] : "24"; *digit >= '0' && *digit <= '9'; digit++)
        megabytes = megabytes * 10 + (unsigned long)(*digit - '0');
    unsigned long pages = megabytes << 8, shared_pages = pages / 4;
    check_advice();
    char *memory = map(pages * PAGE, MAP_PRIVATE), *shared = map(shared_pages * PAGE, MAP_SHARED);
    fill(memory, pages, 1);
    fill(shared, shared_pages, 2);
    CHECK_EQ(count_wrong(memory, pages, 1), 0);
    long pid = sys(fork);
    if (pid == 0) {
        CHECK_EQ(count_wrong(memory, pages, 1), 0);
        fill(memory, pages / 2, 3);
        fill(shared, shared_pages, 4);
        CHECK_EQ(count_wrong(memory, pages / 2, 3), 0);
        sys(exit_group, failures());
    }
    int status = -1;
    while (sys(wait4, pid, &status, 0, NULL) == -EINTR) {
    }
    CHECK_EQ(status, 0);
    CHECK_EQ(count_wrong(memory, pages, 1), 0);
    CHECK_EQ(count_wrong(shared, shared_pages, 4), 0);
    CHECK_EQ(sys(madvise, memory, pages * PAGE, MADV_PAGEOUT), 0);
    CHECK_EQ(count_wrong(memory, pages, 1), 0);
    CHECK_EQ(sys(munmap, memory, pages * PAGE), 0);
    print(failures() ? "contents are wrong\n" : "contents are right\n");
    return failures();
}
