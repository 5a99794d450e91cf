// A large mapping that is populated and never touched: every page is there, says everybody who is asked. sparse [MIB [shared|private|faults [time]]].
#include "guest.h"

#include <linux/mman.h>
#include <linux/time_types.h>

#define SAMPLES 1024UL

// Bits of a /proc/PID/pagemap entry.
#define PM_FILE (1UL << 61)
#define PM_PRESENT (1UL << 63)

static bool timed;

static long now(void)
{
    struct __kernel_timespec t;
    sys(clock_gettime, 1, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

static void note(const char *what, long since, unsigned long pages)
{
    long ns = now() - since;
    if (timed)
        print("%s: %ld us, %ld ns a page\n", what, ns / 1000, ns / (long)pages);
}

// The number, in kilobytes, of a line of this mapping's part of /proc/self/smaps.
static unsigned long smaps_number(const char *mapping, const char *name)
{
    static char text[1 << 16];
    char head[32];
    format_into(head, sizeof head, "%lx-", (unsigned long)mapping);
    long fd = sys(open, "/proc/self/smaps", O_RDONLY), length = 0, got;
    while (length < (long)sizeof text - 1 && (got = sys(read, fd, text + length, sizeof text - 1 - (unsigned long)length)) > 0)
        length += got;
    sys(close, fd);
    text[length] = 0;
    const char *at = strstr(text, head);
    REQUIRE(at != NULL);
    at = strstr(at, name);
    REQUIRE(at != NULL);
    unsigned long value = 0;
    for (; *at < '0' || *at > '9'; at++) {
    }
    for (; *at >= '0' && *at <= '9'; at++)
        value = value * 10 + (unsigned long)(*at - '0');
    return value;
}

// Counts what mincore and pagemap say of pages spread over the mapping.
static void count_samples(const char *memory, unsigned long pages, unsigned long *resident, unsigned long *present)
{
    long pagemap = sys(open, "/proc/self/pagemap", O_RDONLY);
    *resident = *present = 0;
    for (unsigned long i = 0; i < SAMPLES; i++) {
        unsigned long page = pages / SAMPLES * i + i % (pages / SAMPLES), entry = 0;
        unsigned char in_core = 0;
        sys(mincore, memory + page * PAGE, PAGE, &in_core);
        sys(pread64, pagemap, &entry, 8, ((unsigned long)memory / PAGE + page) * 8);
        *resident += in_core & 1;
        *present += (entry & PM_PRESENT) != 0;
    }
    sys(close, pagemap);
}

// Every page was populated, or none.
static void check(const char *memory, unsigned long pages, bool all)
{
    unsigned long resident, present;
    count_samples(memory, pages, &resident, &present);
    CHECK_EQ(resident, all ? SAMPLES : 0);
    CHECK_EQ(present, all ? SAMPLES : 0);
    long start = now();
    CHECK_EQ(smaps_number(memory, "Rss:"), all ? pages * PAGE >> 10 : 0);
    note("smaps", start, pages);
}

int main(int argc, char **argv, char **envp)
{
    (void)envp;
    unsigned long pages = (unsigned long)arg_number(argc, argv, 1, 64) << 8, bytes = pages * PAGE;
    const char *kind = argc > 2 ? argv[2] : "shared";
    bool faults = strcmp(kind, "faults") == 0;
    timed = argc > 3;

    long start = now();
    long mapped = mmap6(NULL, bytes, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_NORESERVE | (strcmp(kind, "private") == 0 ? MAP_PRIVATE : MAP_SHARED), -1, 0);
    REQUIRE(is_address(mapped));
    note("create", start, pages);
    char *memory = (char *)mapped;
    CHECK_EQ(sys(madvise, memory, bytes, MADV_NOHUGEPAGE), 0);
    check(memory, pages, false);
    passed("nothing is there before");

    start = now();
    unsigned long sum = 0;
    if (faults) {
        for (unsigned long page = 0; page < pages; page++)
            sum += *(volatile unsigned char *)(memory + page * PAGE);
    } else {
        CHECK_EQ(sys(madvise, memory, bytes, MADV_POPULATE_WRITE), 0);
    }
    note(faults ? "faults" : "populate", start, pages);
    CHECK_EQ(sum, 0);
    check(memory, pages, true);
    passed("everything is there once populated");

    memory[0] = 1;
    memory[bytes / 2] = 2;
    memory[bytes - 1] = 3;
    start = now();
    CHECK_EQ(sys(madvise, memory, bytes, MADV_POPULATE_READ), 0);
    note("populate again", start, pages);
    CHECK_EQ(memory[0] * 100 + memory[bytes / 2] * 10 + memory[bytes - 1], 123);
    passed("populating again changes nothing");

    start = now();
    CHECK_EQ(sys(munmap, memory, bytes), 0);
    note("unmap", start, pages);
    return report();
}
