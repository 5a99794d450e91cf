// The example of mshare RFC v3's cover letter, word for word between the lines of dashes but for lines with `print` or `literal`, on as much of a C
// library as it needs. letter atoi|strtoul rdonly|rdwr: the first words are the letter's own, the second ones what makes it work.
#include "guest.h"
#include "mshare.h"

#include <linux/mman.h>
#include <linux/wait.h>

#define MAP_FAILED ((void *)-1)

// What the C library does, which turns errors into -1 and errno.
static int errno;

static long result_of(long result)
{
    if (result < 0 && result > -4096) {
        errno = (int)-result;
        return -1;
    }
    return result;
}

#define open(path, flags) (int)result_of(syscall6(__NR_open, (long)(path), flags, 0600, 0, 0, 0))
#define read(fd, to, count) result_of(syscall6(__NR_read, fd, (long)(to), count, 0, 0, 0))
#define close(fd) result_of(syscall6(__NR_close, fd, 0, 0, 0, 0, 0))
#define ioctl(fd, command, argument) (int)result_of(syscall6(__NR_ioctl, fd, command, (long)(argument), 0, 0, 0))
#define mmap(at, size, prot, flags, fd, offset) (void *)result_of(syscall6(__NR_mmap, (long)(at), (long)(size), prot, flags, fd, offset))
#define printf print

static void perror(const char *text)
{
    print("%s: errno %d\n", text, errno);
}

static unsigned long strtoul(const char *text, void *end, int base)
{
    (void)end;
    unsigned long value = 0;
    for (; *text >= '0' && *text <= '9'; text++)
        value = value * (unsigned long)base + (unsigned long)(*text - '0');
    return value;
}

// As glibc's: through long, cut to int.
static int atoi(const char *text)
{
    return (int)(long)strtoul(text, NULL, 10);
}

static char *strncpy(char *to, const char *from, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        to[i] = *from;
        from += *from != 0;
    }
    return to;
}

static void donor(bool literal)
{
    unsigned long alignsize, start, size;
    char req[128] = "";
    char *addr;
    int fd, ret;
    // -----------------
    struct mshare_info minfo;
    struct mshare_create mcreate;

    fd = open("/sys/fs/mshare/mshare_info", O_RDONLY);
    read(fd, req, 128);
    alignsize = literal ? (unsigned long)atoi(req) : strtoul(req, NULL, 10);
    close(fd);
    print("donor: mshare_info says %lu, which becomes %lu\n", strtoul(req, NULL, 10), alignsize);
    fd = open("/sys/fs/mshare/shareme", O_RDWR|O_CREAT|O_EXCL);
    start = alignsize * 4;
    size = alignsize * 2;

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

    addr = mmap((void *)start, size, PROT_READ | PROT_WRITE,
                MAP_SHARED, fd, 0);
    if (addr == MAP_FAILED)
        perror("ERROR: mmap failed");

    strncpy(addr, "Some random shared text",
            sizeof("Some random shared text"));
    // -----------------
}

static void consumer(bool literal)
{
    char *addr;
    int fd, ret;
    // -----------------
    struct mshare_info minfo;

    fd = open("/sys/fs/mshare/shareme", literal ? O_RDONLY : O_RDWR);

    ret = ioctl(fd, MSHAREFS_GET_SIZE, &minfo);
    if (ret < 0)
        perror("ERROR: MSHAREFS_GET_SIZE");
    if (!minfo.start)
        perror("ERROR: mshare region not init'd");
    addr = mmap((void *)minfo.start, minfo.size, PROT_READ | PROT_WRITE,
                MAP_SHARED, fd, 0);
    if (addr == MAP_FAILED)
        print("consumer: mmap: errno %d\n", errno);

    printf("Guest mmap at %p:\n", addr);
    printf("%s\n", addr);
    printf("\nDone\n");
    // -----------------
}

// Runs one of the two as a process of its own, and says how it ended.
static void run(const char *name, void (*program)(bool), bool literal)
{
    long child = sys(fork);
    if (child == 0) {
        program(literal);
        exit_group(0);
    }
    int status = -1;
    sys(wait4, child, &status, 0, 0);
    if ((status & 0x7f) != 0)
        print("%s: killed by signal %d\n", name, status & 0x7f);
    else
        print("%s: exit status %d\n", name, status >> 8);
}

int main(int argc, char **argv, char **envp)
{
    (void)envp;
    run("donor", donor, argc < 2 || strcmp(argv[1], "strtoul") != 0);
    run("consumer", consumer, argc < 3 || strcmp(argv[2], "rdwr") != 0);
    return 0;
}
