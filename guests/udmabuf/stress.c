// Memfds change under a buffer without pause: one thread punches holes and fills them with new stamps, while others look through the buffer's mapping and through
// a device, a third one has the engine write, and a fourth attaches a device that keeps its mapping, again and again. A stamp says its page and its round. Whoever
// reads one of another page has been given somebody else's memory; whoever reads one that is older than one that was there before he began has been shown old
// data. The device that keeps its mapping may see old data, by design, but not of a page that nobody has touched since it was attached.
// Arguments: rounds, seed, and `huge` if half of the buffer's pages are to be of hugetlb. Fails if anything of that was seen.
#include "guest/udmabuf.h"
#include "guest/threads.h"
#include "dmabuf_importer.h"

enum { PAGES = 16, HALF = PAGES / 2, SCRATCH = 2048, LOOKERS = 4 };

static long rounds;
static bool huge;
static int memfds[2], buffer, importers[3];
static unsigned handles[3];
static char *files[2], *shown;
static volatile bool stop;
static volatile int ready;

// For each page: the stamp that readers must not fall below, and a count that is odd while the page is changed.
static volatile unsigned long least[PAGES], changes[PAGES];
static volatile long stale, foreign, failed;

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

// The second half of the buffer is a page out of each page of the second file.
static unsigned long step_of(unsigned page)
{
    return page >= HALF && huge ? HUGE : PAGE;
}

static unsigned long offset_of(unsigned page)
{
    return page % HALF * step_of(page);
}

// A device that found the buffer moving away for a whole second says so, and is asked again.
static long device_call(int importer, unsigned long command, void *argument)
{
    long result;
    do
        result = sys(ioctl, importer, command, argument);
    while (result == -EBUSY && !stop);
    if (result != 0 && result != -EBUSY)
        add(&failed);
    return result;
}

static void judge(unsigned page, unsigned long floor, unsigned long before, unsigned long seen)
{
    unsigned long after = __atomic_load_n(&changes[page], __ATOMIC_SEQ_CST);
    bool changing = (before & 1) != 0 || before != after;
    if (seen != 0 && seen % PAGES != page)
        add(&foreign);
    else if (seen < floor && !(seen == 0 && changing))
        add(&stale);
}

static void fill(unsigned page, unsigned long stamp, bool by_write)
{
    if (!by_write)
        *(volatile unsigned long *)(files[page / HALF] + offset_of(page)) = stamp;
    else if (sys(pwrite64, memfds[page / HALF], &stamp, sizeof(stamp), offset_of(page)) != sizeof(stamp))
        add(&failed);
}

static void puncher(void *argument)
{
    unsigned long random = (unsigned long)argument * 77 + 1;
    while (ready < LOOKERS)
        thread_yield();
    for (long round = 1; round <= rounds; round++) {
        unsigned first = (unsigned)(next_random(&random) % PAGES), count = 1 + (unsigned)(next_random(&random) % 4);
        if (first % HALF + count > HALF)
            count = HALF - first % HALF;
        for (unsigned i = first; i < first + count; i++)
            __atomic_fetch_add(&changes[i], 1, __ATOMIC_SEQ_CST);
        if (sys(fallocate, memfds[first / HALF], PUNCH, offset_of(first), count * step_of(first)) != 0)
            add(&failed);
        bool by_write = (next_random(&random) & 1) != 0 && step_of(first) == PAGE;
        for (unsigned i = first; i < first + count; i++) {
            unsigned long stamp = (unsigned long)round * PAGES + i;
            fill(i, stamp, by_write);
            __atomic_store_n(&least[i], stamp, __ATOMIC_SEQ_CST);
            __atomic_fetch_add(&changes[i], 1, __ATOMIC_SEQ_CST);
        }
    }
    stop = true;
}

static unsigned long see(unsigned page)
{
    return *(volatile unsigned long *)(shown + page * PAGE);
}

static bool see_by(int importer, unsigned handle, unsigned page, unsigned long *seen)
{
    struct dmabuf_importer_transfer transfer = {
        .handle = handle, .op = DMABUF_IMPORTER_READ, .offset = page * PAGE, .length = sizeof(*seen), .pointer = (unsigned long)seen,
    };
    return device_call(importer, DMABUF_IMPORTER_TRANSFER, &transfer) == 0;
}

static void look(unsigned page, bool by_device)
{
    unsigned long before = __atomic_load_n(&changes[page], __ATOMIC_SEQ_CST), floor = __atomic_load_n(&least[page], __ATOMIC_SEQ_CST);
    unsigned long seen = 0;
    if (!by_device)
        seen = see(page);
    else if (!see_by(importers[1], handles[1], page, &seen))
        return;
    judge(page, floor, before, seen);
}

// At the end each looks at every page once more, when nothing changes: what is out of date then is seen for certain.
static void looker(void *argument)
{
    bool by_device = argument == &importers[1];
    unsigned long random = by_device ? 55 : 99;
    look(0, by_device);
    __atomic_fetch_add(&ready, 1, __ATOMIC_SEQ_CST);
    while (!stop)
        look((unsigned)(next_random(&random) % PAGES), by_device);
    for (unsigned page = 0; page < PAGES; page++)
        look(page, by_device);
}

static void device_writer(void *argument)
{
    unsigned long random = (unsigned long)argument * 33 + 3;
    __atomic_fetch_add(&ready, 1, __ATOMIC_SEQ_CST);
    while (!stop) {
        // Behind the stamps, which are not to be written over.
        struct dmabuf_importer_transfer fill = {
            .handle = handles[2], .op = DMABUF_IMPORTER_FILL, .offset = next_random(&random) % PAGES * PAGE + SCRATCH, .length = 512, .value = 0xee,
        };
        if (device_call(importers[2], DMABUF_IMPORTER_SUBMIT, &fill) != 0)
            continue;
        struct dmabuf_importer_wait wait = { .job = fill.job, .timeout_ms = 600000 };
        if (sys(ioctl, importers[2], DMABUF_IMPORTER_WAIT, &wait) != 0 || wait.error != 0)
            add(&failed);
    }
}

// 0: the buffer moved away for too long.
static unsigned attach(int importer)
{
    struct dmabuf_importer_attach attach = { .fd = buffer };
    return device_call(importer, DMABUF_IMPORTER_ATTACH, &attach) == 0 ? attach.handle : 0;
}

static void keeper(void *argument)
{
    unsigned long random = (unsigned long)argument * 21 + 7;
    __atomic_fetch_add(&ready, 1, __ATOMIC_SEQ_CST);
    while (!stop) {
        unsigned long before[PAGES], floor[PAGES];
        for (unsigned page = 0; page < PAGES; page++) {
            before[page] = __atomic_load_n(&changes[page], __ATOMIC_SEQ_CST);
            floor[page] = __atomic_load_n(&least[page], __ATOMIC_SEQ_CST);
        }
        unsigned handle = attach(importers[0]);
        if (handle == 0)
            break;
        for (unsigned i = 0; i < 4; i++) {
            unsigned page = (unsigned)(next_random(&random) % PAGES);
            unsigned long seen = 0;
            if (!see_by(importers[0], handle, page, &seen))
                continue;
            bool touched = (before[page] & 1) != 0 || before[page] != __atomic_load_n(&changes[page], __ATOMIC_SEQ_CST);
            judge(page, touched ? 0 : floor[page], before[page], seen);
        }
        if (sys(ioctl, importers[0], DMABUF_IMPORTER_DETACH, &handle) != 0)
            add(&failed);
    }
}

static void make_buffer(void)
{
    struct {
        struct udmabuf_create_list head;
        struct udmabuf_create_item items[PAGES];
    } list = { .head.count = PAGES };
    for (unsigned i = 0; i < 2; i++) {
        unsigned long size = HALF * step_of(i * HALF);
        memfds[i] = memfd_sealed(size, i == 1 && huge ? MFD_HUGETLB : 0);
        REQUIRE(memfds[i] >= 0);
        files[i] = map_shared(memfds[i], size);
    }
    for (unsigned page = 0; page < PAGES; page++)
        list.items[page] = (struct udmabuf_create_item){ .memfd = (unsigned)memfds[page / HALF], .offset = offset_of(page), .size = PAGE };
    buffer = (int)sys(ioctl, udmabuf_open(), UDMABUF_CREATE_LIST, &list);
    REQUIRE(buffer >= 0);
    shown = map_shared(buffer, PAGES * PAGE);
}

int main(int argc, char **argv, char **envp)
{
    (void)envp;
    rounds = arg_number(argc, argv, 1, 200);
    long seed = arg_number(argc, argv, 2, 1);
    huge = argc > 3;
    make_buffer();
    static const char *const names[] = { DMABUF_IMPORTER_STATIC, DMABUF_IMPORTER_DYNAMIC, DMABUF_IMPORTER_ENGINE };
    for (int i = 0; i < 3; i++) {
        importers[i] = (int)sys(openat, AT_FDCWD, names[i], O_RDWR, 0);
        REQUIRE(importers[i] >= 0);
        if (i > 0)
            handles[i] = attach(importers[i]);
    }
    thread *threads[] = {
        thread_start(looker, &importers[0]), thread_start(looker, &importers[1]), thread_start(device_writer, (void *)seed), thread_start(keeper, (void *)seed),
        thread_start(puncher, (void *)seed),
    };
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        thread_join(threads[i]);
    CHECK_EQ(failed, 0);
    if (stale != 0)
        print("somebody was shown old data\n");
    if (foreign != 0)
        print("somebody was shown another page\n");
    CHECK_EQ(stale != 0 || foreign != 0, false);
    passed("stress");
    return report();
}
