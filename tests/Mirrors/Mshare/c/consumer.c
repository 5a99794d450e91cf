// The consumer of the cover letter of RFC v3, finished: it opens for writing, since it maps for writing.
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mshare.h"

int main(void)
{
    struct mshare_info minfo;

    int fd = open("/sys/fs/mshare/shareme", O_RDWR);
    int ret = ioctl(fd, MSHAREFS_GET_SIZE, &minfo);
    if (ret < 0)
        perror("ERROR: MSHAREFS_GET_SIZE");
    if (!minfo.start)
        perror("ERROR: mshare region not init'd");

    char *addr = mmap((void *)minfo.start, minfo.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (addr == MAP_FAILED) {
        perror("ERROR: mmap failed");
        return 1;
    }
    printf("Guest mmap at %p:\n", (void *)addr);
    printf("%s\n", addr);
    printf("\nDone\n");
    return 0;
}
