// The donor of the cover letter of RFC v3, finished: strtoul where it has atoi, which cannot hold the unit, and an end.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mshare.h"

int main(void)
{
    struct mshare_info minfo;
    struct mshare_create mcreate;
    char req[128] = "";
    int ret;

    int fd = open("/sys/fs/mshare/mshare_info", O_RDONLY);
    if (fd < 0 || read(fd, req, sizeof(req) - 1) <= 0) {
        perror("ERROR: mshare_info");
        return 1;
    }
    unsigned long alignsize = strtoul(req, NULL, 10);
    close(fd);

    fd = open("/sys/fs/mshare/shareme", O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd < 0) {
        perror("ERROR: open");
        return 1;
    }
    unsigned long start = alignsize * 4, size = alignsize * 2;

    minfo.start = start;
    minfo.size = size;
    ret = ioctl(fd, MSHAREFS_SET_SIZE, &minfo);
    if (ret < 0)
        perror("ERROR: MSHAREFS_SET_SIZE");

    mcreate.addr = start;
    mcreate.size = size;
    mcreate.offset = 0;
    mcreate.prot = PROT_READ | PROT_WRITE;
    mcreate.flags = MAP_ANONYMOUS | MAP_SHARED | MAP_FIXED;
    mcreate.fd = -1;
    ret = ioctl(fd, MSHAREFS_CREATE_MAPPING, &mcreate);
    if (ret < 0)
        perror("ERROR: MSHAREFS_CREATE_MAPPING");

    char *addr = mmap((void *)start, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (addr == MAP_FAILED) {
        perror("ERROR: mmap failed");
        return 1;
    }
    strncpy(addr, "Some random shared text", sizeof("Some random shared text"));
    printf("Donated at %p\n", (void *)addr);
    return 0;
}
