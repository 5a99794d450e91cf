// The limits of /dev/udmabuf, as its options set them and as its parameters say and change them: limits LIST_LIMIT SIZE_LIMIT_MB.
#include "guest/udmabuf.h"

#define MB (1UL << 20)

static int device, memfd;

static struct {
    struct udmabuf_create_list head;
    struct udmabuf_create_item items[4096];
} list;

static long create_items(long count, unsigned long size)
{
    list.head = (struct udmabuf_create_list){ .count = (unsigned)count };
    for (long i = 0; i < count; i++)
        list.items[i] = (struct udmabuf_create_item){ .memfd = (unsigned)memfd, .offset = 0, .size = size };
    long fd = sys(ioctl, device, UDMABUF_CREATE_LIST, &list);
    if (fd < 0)
        return fd;
    sys(close, fd);
    return 0;
}

static int parameter(const char *name)
{
    char path[64];
    format_into(path, sizeof(path), "/sys/module/udmabuf/parameters/%s", name);
    int fd = (int)sys(openat, AT_FDCWD, path, O_RDWR, 0);
    REQUIRE(fd >= 0);
    return fd;
}

static void check_parameter(const char *name, long want)
{
    char text[16] = { 0 }, wanted[16];
    int fd = parameter(name);
    CHECK(sys(read, fd, text, sizeof(text) - 1) > 0);
    format_into(wanted, sizeof(wanted), "%ld\n", want);
    CHECK_TEXT(text, wanted);
    sys(close, fd);
}

static long set_parameter(const char *name, const char *text)
{
    int fd = parameter(name);
    long result = sys(write, fd, text, strlen(text));
    sys(close, fd);
    return result;
}

static void check_limits(long items, unsigned long megabytes)
{
    check_parameter("list_limit", items);
    check_parameter("size_limit_mb", (long)megabytes);
    CHECK_EQ(create_items(items, PAGE), 0);
    CHECK_EQ(create_items(items + 1, PAGE), -EINVAL);
    CHECK_EQ(create_items(1, megabytes * MB), 0);
    CHECK_EQ(create_items(1, megabytes * MB + PAGE), -EINVAL);
    // The size is that of all items.
    CHECK_EQ(create_items(2, megabytes * MB / 2), 0);
    CHECK_EQ(create_items(2, megabytes * MB / 2 + PAGE), -EINVAL);
}

int main(int argc, char **argv, char **envp)
{
    (void)envp;
    long items = arg_number(argc, argv, 1, 1024), megabytes = arg_number(argc, argv, 2, 64);
    REQUIRE(items >= 2 && items < (long)COUNT_OF(list.items) && megabytes >= 1);
    device = udmabuf_open();
    memfd = memfd_sealed(((unsigned long)megabytes + 1) * MB, 0);
    REQUIRE(device >= 0 && memfd >= 0);
    // A design may want what a buffer is made of to be mapped.
    char *file = map_shared(memfd, ((unsigned long)megabytes + 1) * MB);
    check_limits(items, (unsigned long)megabytes);
    passed("as they were set");
    CHECK_EQ(set_parameter("list_limit", "3\n"), 2);
    CHECK_EQ(set_parameter("size_limit_mb", "1"), 1);
    CHECK_EQ(set_parameter("list_limit", "-1\n"), -EINVAL);
    CHECK_EQ(set_parameter("list_limit", "many\n"), -EINVAL);
    CHECK_EQ(set_parameter("size_limit_mb", "99999999999\n"), -EINVAL);
    check_limits(3, 1);
    passed("as they are changed");
    sys(munmap, file, ((unsigned long)megabytes + 1) * MB);
    sys(close, memfd);
    return report();
}
