// A memfd changes under a buffer without pause: one thread punches holes and fills them with new stamps, while others look through the buffer's mapping and through
// a device, and a third one has the engine write. Whoever reads a stamp that is older than one that was there before the read began has been shown old data.
// Arguments: rounds, seed. Prints how many were shown old data, and fails if any was.
#include "guest/udmabuf.h"
#include "guest/threads.h"
#include "dmabuf_importer.h"

enum { PAGES = 16, SIZE = PAGES * PAGE, SCRATCH = 2048 };

static long rounds;
static int memfd, importers[2];
static unsigned handles[2];
static char *file, *shown;
static volatile bool stop;

// For each page: the stamp that readers must not fall below, and a count that is odd while the page is changed.
static volatile unsigned long least[PAGES], changes[PAGES];
static volatile long stale, failed;

static unsigned long next_random(unsigned long *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void add(volatile long *counter)
{
    __atomic_fetch_add(counter, 1, __ATOMIC_SEQ_CST);
}

static void judge(unsigned page, unsigned long floor, unsigned long before, unsigned long seen)
{
    unsigned long after = __atomic_load_n(&changes[page], __ATOMIC_SEQ_CST);
    bool changing = (before & 1) != 0 || before != after;
    if (seen < floor && !(seen == 0 && changing))
        add(&stale);
}

static void puncher(void *argument)
{
    unsigned long random = (unsigned long)argument * 77 + 1;
    for (long round = 1; round <= rounds; round++) {
        unsigned first = (unsigned)(next_random(&random) % PAGES), count = 1 + (unsigned)(next_random(&random) % 4);
        if (first + count > PAGES)
            count = PAGES - first;
        for (unsigned i = first; i < first + count; i++)
            __atomic_fetch_add(&changes[i], 1, __ATOMIC_SEQ_CST);
        if (sys(fallocate, memfd, PUNCH, first * PAGE, count * PAGE) != 0)
            add(&failed);
        bool by_write = (next_random(&random) & 1) != 0;
        for (unsigned i = first; i < first + count; i++) {
            unsigned long stamp = (unsigned long)round;
            if (!by_write)
                *(volatile unsigned long *)(file + i * PAGE) = stamp;
            else if (sys(pwrite64, memfd, &stamp, sizeof(stamp), i * PAGE) != sizeof(stamp))
                add(&failed);
            __atomic_store_n(&least[i], stamp, __ATOMIC_SEQ_CST);
            __atomic_fetch_add(&changes[i], 1, __ATOMIC_SEQ_CST);
        }
    }
    stop = true;
}

static void looker(void *argument)
{
    unsigned long random = (unsigned long)argument * 99 + 5;
    while (!stop) {
        unsigned page = (unsigned)(next_random(&random) % PAGES);
        unsigned long before = __atomic_load_n(&changes[page], __ATOMIC_SEQ_CST), floor = __atomic_load_n(&least[page], __ATOMIC_SEQ_CST);
        judge(page, floor, before, *(volatile unsigned long *)(shown + page * PAGE));
    }
}

static void device_looker(void *argument)
{
    unsigned long random = (unsigned long)argument * 55 + 9;
    while (!stop) {
        unsigned page = (unsigned)(next_random(&random) % PAGES);
        unsigned long before = __atomic_load_n(&changes[page], __ATOMIC_SEQ_CST), floor = __atomic_load_n(&least[page], __ATOMIC_SEQ_CST), seen = 0;
        struct dmabuf_importer_transfer transfer = {
            .handle = handles[0], .op = DMABUF_IMPORTER_READ, .offset = page * PAGE, .length = sizeof(seen), .pointer = (unsigned long)&seen,
        };
        if (sys(ioctl, importers[0], DMABUF_IMPORTER_TRANSFER, &transfer) == 0)
            judge(page, floor, before, seen);
        else
            add(&failed);
    }
}

static void device_writer(void *argument)
{
    unsigned long random = (unsigned long)argument * 33 + 3;
    while (!stop) {
        // Behind the stamps, which are not to be written over.
        struct dmabuf_importer_transfer fill = {
            .handle = handles[1], .op = DMABUF_IMPORTER_FILL, .offset = next_random(&random) % PAGES * PAGE + SCRATCH, .length = 512, .value = 0xee,
        };
        if (sys(ioctl, importers[1], DMABUF_IMPORTER_SUBMIT, &fill) != 0) {
            add(&failed);
            continue;
        }
        struct dmabuf_importer_wait wait = { .job = fill.job, .timeout_ms = 60000 };
        if (sys(ioctl, importers[1], DMABUF_IMPORTER_WAIT, &wait) != 0 || wait.error != 0)
            add(&failed);
    }
}

int main(int argc, char **argv, char **envp)
{
    (void)envp;
    rounds = arg_number(argc, argv, 1, 200);
    long seed = arg_number(argc, argv, 2, 1);
    int device = udmabuf_open();
    memfd = memfd_sealed(SIZE, 0);
    file = map_shared(memfd, SIZE);
    long buffer = udmabuf_create(device, memfd, 0, SIZE);
    REQUIRE(buffer >= 0);
    shown = map_shared((int)buffer, SIZE);
    const char *names[2] = { DMABUF_IMPORTER_DYNAMIC, DMABUF_IMPORTER_ENGINE };
    for (int i = 0; i < 2; i++) {
        importers[i] = (int)sys(openat, AT_FDCWD, names[i], O_RDWR, 0);
        struct dmabuf_importer_attach attach = { .fd = (int)buffer };
        REQUIRE(sys(ioctl, importers[i], DMABUF_IMPORTER_ATTACH, &attach) == 0);
        handles[i] = attach.handle;
    }
    static const thread_body bodies[] = { puncher, looker, device_looker, device_writer };
    thread *threads[COUNT_OF(bodies)];
    for (unsigned i = 0; i < COUNT_OF(bodies); i++)
        threads[i] = thread_start(bodies[i], (void *)(seed + i));
    for (unsigned i = 0; i < COUNT_OF(bodies); i++)
        thread_join(threads[i]);
    CHECK_EQ(failed, 0);
    if (stale != 0)
        print("somebody was shown old data\n");
    CHECK_EQ(stale != 0, false);
    passed("stress");
    return report();
}
