// A process that maps a buffer is mirrored: changes of its own memory are told to the mirror, and so are those that the buffer's driver makes in its mapping.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/udmabuf.h>
#include "../../../../guests/include/remote_mirror.h"

enum { SIZE = 4 * 4096 };

static volatile char *map(int fd)
{
    return mmap(0, SIZE, PROT_READ | PROT_WRITE, fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, fd, 0);
}

int main(void)
{
    int memfd = memfd_create("mirrored", MFD_ALLOW_SEALING), device = open("/dev/udmabuf", O_RDWR), order[2], done[2];
    if (ftruncate(memfd, SIZE) || fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK) || pipe(order) || pipe(done))
        return 1;
    struct udmabuf_create create = { .memfd = memfd, .size = SIZE };
    volatile char *own = map(-1), *file = map(memfd), *buffer = map(ioctl(device, UDMABUF_CREATE, &create));
    own[0] = file[0] = 'a';
    pid_t child = fork();
    char byte = buffer[0];
    if (child == 0) {
        close(order[1]);
        while (read(order[0], &byte, 1) == 1) {
            own[0] = byte;
            if (fallocate(memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, SIZE))
                _exit(1);
            file[0] = byte;
            if (buffer[0] != byte || write(done[1], &byte, 1) != 1)
                _exit(1);
        }
        _exit(0);
    }
    close(order[0]);
    int mirrors[2] = { open(REMOTE_MIRROR_DEVICE, O_RDWR), open(REMOTE_MIRROR_DEVICE, O_RDWR) };
    volatile char *windows[2], *targets[2] = { own, file };
    for (int i = 0; i < 2; i++) {
        struct remote_mirror_attach attach = { .pid = child, .start = (unsigned long)targets[i], .length = SIZE };
        if (ioctl(mirrors[i], REMOTE_MIRROR_ATTACH, &attach))
            return 1;
        windows[i] = map(mirrors[i]);
    }
    for (char stamp = 'b'; stamp < 'f'; stamp++) {
        int sum = windows[0][0] + windows[1][0];
        if (write(order[1], &stamp, 1) != 1 || read(done[0], &byte, 1) != 1)
            return 1;
        if (sum != 2 * (stamp - 1) || windows[0][0] != stamp || windows[1][0] != stamp || buffer[0] != stamp)
            printf("%c: %c %c %c\n", stamp, windows[0][0], windows[1][0], buffer[0]);
    }
    close(order[1]);
    int status;
    waitpid(child, &status, 0);
    puts(status == 0 ? "all the same" : "the target failed");
    return 0;
}
