/* A program for the interfaces of udmabuf and dma-buf as the kernel's headers have them, with an ordinary C library. Ends with "all passed", or status 4: no /dev/udmabuf. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/memfd.h>
#include <linux/udmabuf.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGES = 8 };

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "line %d: %s: errno %d\n", __LINE__, #condition, errno); \
            exit(1); \
        } \
    } while (0)

static int device;
static long page;

static int make_memfd(size_t size)
{
    int fd = memfd_create("frame", MFD_ALLOW_SEALING | MFD_CLOEXEC);
    CHECK(fd >= 0 && ftruncate(fd, (off_t)size) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0);
    return fd;
}

static int make_buffer(int memfd, unsigned flags)
{
    struct udmabuf_create create = { .memfd = (unsigned)memfd, .flags = flags, .size = (size_t)(PAGES * page) };
    return ioctl(device, UDMABUF_CREATE, &create);
}

static int sync_buffer(int buffer, unsigned long long flags)
{
    struct dma_buf_sync sync = { .flags = flags };
    return ioctl(buffer, DMA_BUF_IOCTL_SYNC, &sync);
}

/* One thread draws and shows, the other looks: what a compositor and its client do. */
static struct {
    int buffer;
    char *pixels;
    pthread_barrier_t turn;
} window;

static void *compositor(void *arg)
{
    (void)arg;
    char *seen = mmap(NULL, (size_t)(PAGES * page), PROT_READ, MAP_SHARED, window.buffer, 0);
    CHECK(seen != MAP_FAILED);
    for (int frame = 1; frame <= 20; frame++) {
        pthread_barrier_wait(&window.turn);
        CHECK(sync_buffer(window.buffer, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ) == 0);
        for (long i = 0; i < PAGES * page; i += 64)
            CHECK(seen[i] == (char)(frame + i / page));
        CHECK(sync_buffer(window.buffer, DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ) == 0);
        pthread_barrier_wait(&window.turn);
    }
    munmap(seen, (size_t)(PAGES * page));
    return NULL;
}

static void draw_and_show(void)
{
    int memfd = make_memfd((size_t)(PAGES * page));
    window.buffer = make_buffer(memfd, UDMABUF_FLAGS_CLOEXEC);
    CHECK(window.buffer >= 0);
    window.pixels = mmap(NULL, (size_t)(PAGES * page), PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
    CHECK(window.pixels != MAP_FAILED);
    pthread_barrier_init(&window.turn, NULL, 2);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, compositor, NULL) == 0);
    for (int frame = 1; frame <= 20; frame++) {
        CHECK(sync_buffer(window.buffer, DMA_BUF_SYNC_START | DMA_BUF_SYNC_WRITE) == 0);
        for (long i = 0; i < PAGES; i++)
            memset(window.pixels + i * page, (char)(frame + i), (size_t)page);
        CHECK(sync_buffer(window.buffer, DMA_BUF_SYNC_END | DMA_BUF_SYNC_WRITE) == 0);
        pthread_barrier_wait(&window.turn);
        pthread_barrier_wait(&window.turn);
    }
    CHECK(pthread_join(thread, NULL) == 0);
    munmap(window.pixels, (size_t)(PAGES * page));
    close(window.buffer);
    close(memfd);
    puts("ok drawn by one thread, shown by another");
}

static void describe(void)
{
    int memfd = make_memfd((size_t)(PAGES * page)), buffer = make_buffer(memfd, 0);
    CHECK(buffer >= 0 && fcntl(buffer, F_GETFD) == 0);
    struct stat status;
    CHECK(fstat(buffer, &status) == 0 && status.st_size == PAGES * page);
    CHECK(lseek(buffer, 0, SEEK_END) == PAGES * page && lseek(buffer, 0, SEEK_SET) == 0);
    CHECK(lseek(buffer, 1, SEEK_SET) < 0 && errno == EINVAL);
    CHECK(ioctl(buffer, DMA_BUF_SET_NAME_B, (unsigned long long)(size_t)"frame 1") == 0);
    char path[64], text[512] = "";
    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", buffer);
    FILE *info = fopen(path, "r");
    CHECK(info != NULL && fread(text, 1, sizeof(text) - 1, info) > 0);
    fclose(info);
    CHECK(strstr(text, "size:\t32768\n") && strstr(text, "exp_name:\tudmabuf\n") && strstr(text, "name:\tframe 1\n"));
    CHECK(sync_buffer(buffer, 8) < 0 && errno == EINVAL);
    CHECK(sync_buffer(buffer, DMA_BUF_SYNC_END) < 0 && errno == EINVAL);
    struct pollfd poll_fd = { .fd = buffer, .events = POLLIN | POLLOUT };
    CHECK(poll(&poll_fd, 1, 0) == 1 && poll_fd.revents == (POLLIN | POLLOUT));
    CHECK(mmap(NULL, (size_t)page, PROT_READ, MAP_PRIVATE, buffer, 0) == MAP_FAILED && errno == EINVAL);
    CHECK(mmap(NULL, (size_t)(2 * PAGES * page), PROT_READ, MAP_SHARED, buffer, 0) == MAP_FAILED && errno == EINVAL);
    close(buffer);
    close(memfd);
    puts("ok what a buffer says of itself");
}

/* Who inherits a buffer shares it; its memory lives as long as anybody has it, and exec closes what is to be closed. */
static void inherit(char *self)
{
    int memfd = make_memfd((size_t)(PAGES * page)), kept = make_buffer(memfd, 0), closed = make_buffer(memfd, UDMABUF_FLAGS_CLOEXEC);
    CHECK(kept >= 0 && closed >= 0);
    char *shown = mmap(NULL, (size_t)(PAGES * page), PROT_READ | PROT_WRITE, MAP_SHARED, kept, 0);
    CHECK(shown != MAP_FAILED);
    strcpy(shown + page, "from the parent");
    close(memfd);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        char a[16], b[16];
        snprintf(a, sizeof(a), "%d", kept);
        snprintf(b, sizeof(b), "%d", closed);
        CHECK(strcmp(shown + page, "from the parent") == 0);
        strcpy(shown, "from the child");
        execl(self, self, a, b, NULL);
        _exit(127);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(strcmp(shown, "from the child") == 0 && strcmp(shown + 2 * page, "from the new program") == 0);
    close(kept);
    close(closed);
    CHECK(strcmp(shown + 2 * page, "from the new program") == 0);
    munmap(shown, (size_t)(PAGES * page));
    puts("ok fork and exec with buffers open");
}

static int inheritor(char **argv)
{
    int kept = atoi(argv[1]), closed = atoi(argv[2]);
    CHECK(fcntl(closed, F_GETFD) < 0 && errno == EBADF);
    char *shown = mmap(NULL, (size_t)(PAGES * page), PROT_READ | PROT_WRITE, MAP_SHARED, kept, 0);
    CHECK(shown != MAP_FAILED && strcmp(shown, "from the child") == 0);
    strcpy(shown + 2 * page, "from the new program");
    return 0;
}

static void limits(void)
{
    static const char *const names[] = { "list_limit", "size_limit_mb" };
    static const int defaults[] = { 1024, 64 };
    for (int i = 0; i < 2; i++) {
        char path[64], text[16] = "";
        snprintf(path, sizeof(path), "/sys/module/udmabuf/parameters/%s", names[i]);
        FILE *file = fopen(path, "r");
        CHECK(file != NULL && fgets(text, sizeof(text), file) != NULL && atoi(text) == defaults[i]);
        fclose(file);
    }
    puts("ok the driver's limits");
}

int main(int argc, char **argv)
{
    page = getpagesize();
    if (argc > 2)
        return inheritor(argv);
    device = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
    if (device < 0) {
        perror("/dev/udmabuf");
        return 4;
    }
    describe();
    draw_and_show();
    limits();
    fflush(stdout);
    inherit(argc > 0 ? argv[0] : "abi");
    puts("all passed");
    return 0;
}
