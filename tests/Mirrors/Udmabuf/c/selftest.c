/*
 * The sequence of the kernel's selftest for udmabuf, with the holes of the thread of July 2023, by an ordinary C library and the kernel's headers. Buffers of
 * four times four pages out of a memfd: 'a' everywhere, a third punched out, 'b' everywhere, and what the buffer shows is compared with the memfd; with
 * pages of 4 KiB, and of 2 MiB if an argument says how many the memfd is to have. Status 0: all as it should be; 1: not; 4: there is no /dev/udmabuf.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <linux/udmabuf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ENTRIES = 4, ENTRY_PAGES = 4, MEMFD_PAGES = 1024, SKIP = 4 };

static int device, failed;
static size_t page;

static void result(int good, int number, const char *what)
{
    printf("%s %d %s\n", good ? "ok" : "not ok", number, what);
    failed |= !good;
}

static int make_memfd(size_t size, unsigned flags)
{
    int fd = memfd_create("udmabuf-test", MFD_ALLOW_SEALING | flags);
    if (fd < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) < 0 || ftruncate(fd, (off_t)size) < 0) {
        perror("memfd");
        exit(SKIP);
    }
    return fd;
}

static int create(int memfd, size_t offset, size_t size)
{
    struct udmabuf_create one = { .memfd = (unsigned)memfd, .offset = offset, .size = size };
    return ioctl(device, UDMABUF_CREATE, &one);
}

static int create_list(int memfd, size_t apart)
{
    struct udmabuf_create_list *list = calloc(1, sizeof(*list) + ENTRIES * sizeof(list->list[0]));
    list->flags = UDMABUF_FLAGS_CLOEXEC;
    list->count = ENTRIES;
    for (size_t i = 0; i < ENTRIES; i++) {
        list->list[i].memfd = (unsigned)memfd;
        list->list[i].offset = i * apart;
        list->list[i].size = ENTRY_PAGES * page;
    }
    int buffer = ioctl(device, UDMABUF_CREATE_LIST, list);
    free(list);
    return buffer;
}

static char *map(int fd, size_t size)
{
    char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    return at;
}

static void write_pages(char *memory, size_t size, size_t step, char letter)
{
    for (size_t at = 0; at < size; at += step)
        memory[at] = letter;
}

/* Every page of the buffer against the page of the memfd that it is. */
static int same(const char *file, const char *buffer, size_t apart)
{
    for (size_t i = 0; i < ENTRIES * ENTRY_PAGES; i++) {
        const char *there = file + i / ENTRY_PAGES * apart + i % ENTRY_PAGES * page;
        if (memcmp(buffer + i * page, there, page) != 0) {
            printf("# page %zu of the buffer has '%c', its memfd '%c'\n", i, buffer[i * page], *there);
            return 0;
        }
    }
    return 1;
}

static void punch_and_compare(int number, const char *what, size_t step, size_t pages, unsigned flags)
{
    size_t size = step * pages, apart = size / ENTRIES & -page;
    int memfd = make_memfd(size, flags);
    char *file = map(memfd, size);
    write_pages(file, size, step, 'a');
    int buffer = create_list(memfd, apart);
    if (buffer < 0) {
        result(0, number, strerror(errno));
        return;
    }
    char *shown = map(buffer, ENTRIES * ENTRY_PAGES * page);
    int good = same(file, shown, apart);
    if (fallocate(memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)(pages / 3 * step)) < 0)
        perror("fallocate");
    write_pages(file, size, step, 'b');
    good &= same(file, shown, apart);
    result(good, number, what);
    munmap(file, size);
    munmap(shown, ENTRIES * ENTRY_PAGES * page);
    close(buffer);
    close(memfd);
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    page = (size_t)getpagesize();
    device = open("/dev/udmabuf", O_RDWR);
    if (device < 0) {
        perror("/dev/udmabuf");
        return SKIP;
    }
    size_t size = 4 * page;
    int memfd = make_memfd(size, 0);
    result(create(memfd, page / 2, size) < 0 && errno == EINVAL, 1, "an offset that is not page-aligned");
    result(create(memfd, 0, size / 2 + 1) < 0 && errno == EINVAL, 2, "a size that is not page-aligned");
    result(create(0, 0, size) < 0 && errno == EBADFD, 3, "a descriptor that is no memfd");
    /* As the thread's patch has it: designs that mirror an address space want the memfd mapped. */
    char *file = map(memfd, size);
    int buffer = create(memfd, 0, size);
    result(buffer > 0, 4, "a buffer");
    munmap(file, size);
    close(buffer);
    close(memfd);
    punch_and_compare(5, "a hole in a memfd", page, MEMFD_PAGES, 0);
    if (argc > 1)
        punch_and_compare(6, "a hole in a memfd of huge pages", 2 << 20, strtoul(argv[1], NULL, 0), MFD_HUGETLB);
    return failed;
}
