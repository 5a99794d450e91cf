// An engine shows a buffer and does jobs on it, while another device uses it and holes are punched into its file: everything ends. Argument: "open", then devices are
// opened until no more is to be had.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/udmabuf.h>
#include "../../../../guests/include/dmabuf_importer.h"

enum { SIZE = 16 * 4096, ROUNDS = 40, JOBS = 4 };

static int memfd, buffer;
static atomic_bool ends;

static void fail(const char *what)
{
    perror(what);
    _exit(1);
}

static int attach(const char *path, __u32 *handle)
{
    int device = open(path, O_RDWR);
    struct dmabuf_importer_attach attach = { .fd = buffer };
    if (device < 0 || ioctl(device, DMABUF_IMPORTER_ATTACH, &attach))
        fail(path);
    *handle = attach.handle;
    return device;
}

static void *punch(void *unused)
{
    while (!ends)
        if (fallocate(memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 * 4096, 8 * 4096))
            fail("fallocate");
    return unused;
}

static void *fill(void *unused)
{
    struct dmabuf_importer_transfer transfer = { .op = DMABUF_IMPORTER_FILL, .length = SIZE, .value = 3 };
    int device = attach(DMABUF_IMPORTER_DYNAMIC, &transfer.handle);
    while (!ends)
        if (ioctl(device, DMABUF_IMPORTER_TRANSFER, &transfer) && errno != EBUSY)
            fail("transfer");
    close(device);
    return unused;
}

static void work(int engine, __u32 handle)
{
    for (int round = 0; round < ROUNDS; round++) {
        __u64 jobs[JOBS];
        for (int i = 0; i < JOBS; i++) {
            struct dmabuf_importer_transfer transfer = { .handle = handle, .op = DMABUF_IMPORTER_FILL, .length = SIZE, .value = round };
            while (ioctl(engine, DMABUF_IMPORTER_SUBMIT, &transfer))
                if (errno != EBUSY)
                    fail("submit");
            jobs[i] = transfer.job;
            if (round % 3 == 0)
                usleep(10 + round % 7 * 100);
        }
        for (int i = 0; i < JOBS; i++) {
            struct dmabuf_importer_wait wait = { .job = jobs[i], .timeout_ms = 60000 };
            if (ioctl(engine, DMABUF_IMPORTER_WAIT, &wait))
                fail("wait");
        }
    }
}

int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1) {
        int opened = 0;
        while (open(DMABUF_IMPORTER_ENGINE, O_RDWR) >= 0)
            opened++;
        printf("%s: %s\n", opened > 0 ? "some" : "none", errno == EAGAIN ? "EAGAIN" : errno == EMFILE ? "EMFILE" : "another error");
        return 0;
    }
    int device = open("/dev/udmabuf", O_RDWR);
    memfd = memfd_create("engine", MFD_ALLOW_SEALING);
    if (ftruncate(memfd, SIZE) || fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK))
        fail("memfd");
    struct udmabuf_create create = { .memfd = memfd, .size = SIZE };
    buffer = ioctl(device, UDMABUF_CREATE, &create);
    __u32 handle;
    int engine = attach(DMABUF_IMPORTER_ENGINE, &handle);
    struct dmabuf_importer_scanout scanout = { .handle = handle, .run = 1, .length = SIZE };
    if (ioctl(engine, DMABUF_IMPORTER_SCANOUT, &scanout))
        fail("scanout");
    work(engine, handle);
    pthread_t threads[2];
    pthread_create(&threads[0], 0, punch, 0);
    work(engine, handle);
    pthread_create(&threads[1], 0, fill, 0);
    work(engine, handle);
    ends = true;
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], 0);
    close(engine);
    puts("all ended");
    return 0;
}
