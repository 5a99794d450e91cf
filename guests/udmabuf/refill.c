// What a hole costs a buffer: refill [PAGES [STATIC [DYNAMIC [ENGINES [LOOKERS [ROUNDS [PHASE]]]]]]].
// Devices of each kind are attached to a buffer of PAGES pages, and LOOKERS threads, which run as far as there are vCPUs, keep reading the file's mapping and the
// buffer's. In each round all pages are punched out, filled anew by stores, and got again: the program reads the buffer's mapping, then each device adds it up.
// PHASE says which of it is measured: punch, refill, acquire or all. Says how many views of the buffer were out of date, which is no failure here.
#include "guest/udmabuf.h"
#include "guest/measure.h"
#include "guest/threads.h"
#include "dmabuf_importer.h"

enum { KINDS = 3, MOST = 64 };

static const char *const names[KINDS] = { DMABUF_IMPORTER_STATIC, DMABUF_IMPORTER_DYNAMIC, DMABUF_IMPORTER_ENGINE };

static struct {
    int fd, kind;
    unsigned handle;
} devices[KINDS * MOST];

static long pages, device_count;
static volatile char *file, *shown;
static volatile bool stop;
static unsigned long stale;

static void look(void *argument)
{
    (void)argument;
    while (!stop) {
        for (long i = 0; i < pages; i++) {
            (void)file[i * PAGE];
            (void)shown[i * PAGE];
        }
    }
}

static void attach(int kind, long count, int buffer)
{
    for (long i = 0; i < count; i++, device_count++) {
        devices[device_count].fd = (int)sys(openat, AT_FDCWD, names[kind], O_RDWR, 0);
        devices[device_count].kind = kind;
        struct dmabuf_importer_attach attach = { .fd = buffer };
        REQUIRE(sys(ioctl, devices[device_count].fd, DMABUF_IMPORTER_ATTACH, &attach) == 0);
        devices[device_count].handle = attach.handle;
    }
}

static unsigned long sum_by(long device)
{
    struct dmabuf_importer_transfer sum = { .handle = devices[device].handle, .op = DMABUF_IMPORTER_SUM, .length = (unsigned long)pages * PAGE };
    if (devices[device].kind != 2) {
        REQUIRE(sys(ioctl, devices[device].fd, DMABUF_IMPORTER_TRANSFER, &sum) == 0);
        return sum.value;
    }
    REQUIRE(sys(ioctl, devices[device].fd, DMABUF_IMPORTER_SUBMIT, &sum) == 0);
    struct dmabuf_importer_wait wait = { .job = sum.job, .timeout_ms = 60000 };
    REQUIRE(sys(ioctl, devices[device].fd, DMABUF_IMPORTER_WAIT, &wait) == 0);
    CHECK_EQ(wait.error, 0);
    return wait.value;
}

static void acquire(char stamp)
{
    for (long i = 0; i < pages; i++)
        stale += shown[i * PAGE] != stamp;
    for (long i = 0; i < device_count; i++)
        stale += sum_by(i) != (unsigned long)pages * (unsigned char)stamp;
}

// One part of a round, measured if it is the one that was asked for.
static void begin(const char *phase, const char *name)
{
    if (strcmp(phase, name) == 0)
        measure_begin();
}

static void end(const char *phase, const char *name)
{
    if (strcmp(phase, name) == 0)
        measure_end();
}

int main(int argc, char **argv, char **envp)
{
    (void)envp;
    pages = arg_number(argc, argv, 1, 16);
    long counts[KINDS] = { arg_number(argc, argv, 2, 0), arg_number(argc, argv, 3, 1), arg_number(argc, argv, 4, 0) };
    long lookers = arg_number(argc, argv, 5, 0), rounds = arg_number(argc, argv, 6, 8);
    const char *phase = argc > 7 ? argv[7] : "all";
    REQUIRE(pages >= 1 && lookers >= 0 && lookers <= MOST && rounds >= 1);
    unsigned long size = (unsigned long)pages * PAGE;
    int memfd = memfd_sealed(size, 0), device = udmabuf_open();
    file = map_shared(memfd, size);
    int buffer = (int)udmabuf_create(device, memfd, 0, size);
    REQUIRE(buffer >= 0);
    shown = map_shared(buffer, size);
    for (int kind = 0; kind < KINDS; kind++) {
        REQUIRE(counts[kind] >= 0 && counts[kind] <= MOST);
        attach(kind, counts[kind], buffer);
    }
    acquire(0);
    thread *threads[MOST];
    for (long i = 0; i < lookers; i++)
        threads[i] = thread_start(look, NULL);
    stale = 0;
    for (long round = 1; round <= rounds; round++) {
        char stamp = (char)(round & 0x7f);
        begin(phase, "all");
        begin(phase, "punch");
        punch(memfd, 0, size);
        end(phase, "punch");
        begin(phase, "refill");
        for (long i = 0; i < pages; i++)
            file[i * PAGE] = stamp;
        end(phase, "refill");
        begin(phase, "acquire");
        acquire(stamp);
        end(phase, "acquire");
        end(phase, "all");
    }
    stop = true;
    for (long i = 0; i < lookers; i++)
        thread_join(threads[i]);
    print("views out of date: %lu of %lu\n", stale, (unsigned long)(rounds * (pages + device_count)));
    return report();
}
