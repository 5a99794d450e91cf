// What the page tables of many clients of one large memory cost: clients shared|mshare CLIENTS MIB.
// A server makes the memory and fills its tables; then clients attach one after the other and stay. With `shared` each maps a file
// of memory and has all of it in tables of its own, as after a while of use; with `mshare` each attaches to the same tables. The
// status is 3 if the machine runs out of memory, and kills somebody, before all have come.
#include "region.h"
#include "guest/measure.h"
#include "guest/signals.h"
#include "guest/threads.h"

#include <asm/poll.h>
#include <linux/resource.h>
#include <linux/wait.h>

#define SAMPLES 64UL
enum { OUT_OF_MEMORY = 3 };

// What all see. Every client reports before the next one comes.
static struct {
    uint32_t leave;
    long first_faults, least_faults, most_faults, failed;
} *board;

static bool mshare;
static unsigned long bytes;
static int memory_fd = -1;

static char *map_all(void)
{
    if (mshare)
        return region_attach(bytes);
    long mapped = mmap6(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd, 0);
    REQUIRE(is_address(mapped));
    return (char *)mapped;
}

static volatile uint64_t *sample(char *memory, unsigned long i)
{
    return (volatile uint64_t *)(memory + bytes / SAMPLES * i);
}

static long faults_so_far(void)
{
    struct rusage usage;
    sys(getrusage, RUSAGE_SELF, &usage);
    return usage.ru_minflt;
}

// The number, in kilobytes, of a line of a file of /proc.
static unsigned long number_in(const char *file, const char *name)
{
    static char text[8192];
    long fd = sys(openat, AT_FDCWD, file, O_RDONLY, 0), length = sys(read, fd, text, sizeof text - 1);
    sys(close, fd);
    text[length > 0 ? length : 0] = 0;
    const char *at = strstr(text, name);
    REQUIRE(at != NULL);
    unsigned long value = 0;
    for (; *at < '0' || *at > '9'; at++) {
    }
    for (; *at >= '0' && *at <= '9'; at++)
        value = value * 10 + (unsigned long)(*at - '0');
    return value;
}

static unsigned long page_tables(void)
{
    return number_in("/proc/meminfo", "PageTables:");
}

static void serve(void)
{
    if (mshare) {
        sys(close, region_create(bytes, -1, 0));
    } else {
        memory_fd = (int)sys(memfd_create, "memory", 0);
        REQUIRE(sys(ftruncate, memory_fd, bytes) == 0);
    }
    char *memory = map_all();
    CHECK_EQ(sys(madvise, memory, bytes, MADV_POPULATE_WRITE), 0);
    for (unsigned long i = 0; i < SAMPLES; i++)
        *sample(memory, i) = 0xdb000000 + i;
    sys(munmap, memory, mshare ? region_size(bytes) : bytes);
}

static void be_client(int ready, bool measured)
{
    uint64_t wrong = *(volatile const char *)region_path == 0; // The program's own page: its fault is none of the region's.
    long faults = faults_so_far();
    if (measured)
        measure_begin();
    char *memory = map_all();
    if (!mshare)
        wrong += sys(madvise, memory, bytes, MADV_POPULATE_WRITE) != 0;
    for (unsigned long i = 0; i < SAMPLES; i++)
        wrong += *sample(memory, i) != 0xdb000000 + i;
    if (measured)
        measure_end();
    faults = faults_so_far() - faults;
    if (board->most_faults < 0)
        board->first_faults = board->least_faults = faults;
    if (board->least_faults > faults)
        board->least_faults = faults;
    if (board->most_faults < faults)
        board->most_faults = faults;
    board->failed += wrong != 0;
    sys(write, ready, "", 1);
    while (!LOAD_ACQUIRE(&board->leave))
        futex_wait(&board->leave, 0, NULL);
    exit_group(wrong != 0);
}

// A client has reported: true. Somebody was killed: false.
static bool wait_for_client(int ready)
{
    for (;;) {
        struct pollfd poll = { ready, POLLIN, 0 };
        struct __kernel_timespec patience = { 0, 10 * 1000 * 1000 };
        int status = 0;
        if (sys(wait4, -1, &status, WNOHANG, NULL) > 0 && status == SIGKILL)
            return false;
        if (sys(ppoll, &poll, 1, &patience, NULL, 0) == 1) {
            char byte;
            sys(read, ready, &byte, 1);
            return true;
        }
    }
}

int main(int argc, char **argv, char **envp)
{
    (void)envp;
    long clients = arg_number(argc, argv, 2, 8), attached = 0;
    bytes = (unsigned long)arg_number(argc, argv, 3, 16) << 20;
    mshare = argc < 2 || strcmp(argv[1], "mshare") == 0;
    REQUIRE(mshare || strcmp(argv[1], "shared") == 0);
    board = (void *)mmap6(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    board->most_faults = -1;
    int ends[2];
    REQUIRE(sys(pipe2, ends, 0) == 0);

    serve();
    unsigned long before = page_tables();
    print("%lu MiB of memory, %lu kB of page tables\n", bytes >> 20, before);
    bool alive = true;
    for (; attached < clients && alive; attached += alive) {
        long child = sys(fork);
        if (child == 0)
            be_client(ends[1], attached == clients - 1);
        alive = child > 0 && wait_for_client(ends[0]);
        if (alive && (attached + 1) % 250 == 0)
            print("%ld clients: %lu kB of page tables\n", attached + 1, page_tables());
    }
    if (!alive) {
        print("out of memory when %ld clients had come: %lu kB of page tables\n", attached, page_tables());
        return OUT_OF_MEMORY;
    }
    print("%ld clients: %lu kB of page tables, %lu kB for each\n", clients, page_tables(), (page_tables() - before) / (unsigned long)clients);
    if (mshare)
        print("faults of a client to reach all of it: %ld the first, then %ld to %ld\n", board->first_faults, board->least_faults, board->most_faults);
    CHECK_EQ(board->failed, 0);
    STORE_RELEASE(&board->leave, 1);
    futex_wake(&board->leave, 1 << 30);
    for (long i = 0; i < clients; i++) {
        int status = -1;
        while (sys(wait4, -1, &status, 0, NULL) == -EINTR) {
        }
        CHECK_EQ(status, 0);
    }
    passed("clients");
    return report();
}
