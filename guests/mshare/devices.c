// A device that shares the address space of one sharer (/dev/hmm_dmirror0) sees the region, and hears of what other sharers do to it.
#include "msharefs.h"

#include <linux/falloc.h>
#include <linux/wait.h>

#include "guest/dmirror.h"

static const char name[] = "/sys/fs/mshare/devices";

static int region, memory;
static const unsigned long object = BASE + 16 * PAGE;

static int replaces(void *unused)
{
    (void)unused;
    CHECK_EQ(region_unmap(region, BASE, PAGE), 0);
    CHECK_EQ(region_put(region, BASE, PAGE, READ_WRITE, ANON_SHARED, -1, 0), 0);
    WORD(BASE) = 1000;
    return failures();
}

static int protects(void *unused)
{
    (void)unused;
    CHECK_EQ(region_protect(region, BASE, PAGE, PROT_READ), 0);
    return failures();
}

static int punches(void *unused)
{
    (void)unused;
    CHECK_EQ(sys(fallocate, memory, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE), 0);
    return failures();
}

static void mirrors(unsigned long at)
{
    static unsigned long buffer[4 * 512];
    int device = dmirror_open(0);
    REQUIRE(device >= 0);
    long shift = (long)(at - BASE);
    for (unsigned long i = 0; i < 4; i++)
        WORD(BASE + i * PAGE) = 10 + i;
    CHECK_EQ(dmirror(device, DMIRROR_READ, (void *)at, buffer, 4), 0);
    for (unsigned long i = 0; i < 4; i++)
        CHECK_EQ(buffer[i * 512], 10 + i);
    buffer[0] = 50;
    buffer[512] = 51;
    CHECK_EQ(dmirror(device, DMIRROR_WRITE, (void *)at, buffer, 2), 0);
    CHECK_EQ(WORD(BASE), 50);
    CHECK_EQ(WORD(BASE + PAGE), 51);
    // What is not there cannot be had.
    CHECK_EQ(dmirror(device, DMIRROR_READ, (void *)(at + 8 * PAGE), buffer, 1), -EFAULT);
    // Another process replaces the page that the device has in its own tables.
    CHECK_EQ(status_of_child(replaces, NULL), EXITED(0));
    CHECK_EQ(dmirror(device, DMIRROR_READ, (void *)at, buffer, 2), 0);
    CHECK_EQ(buffer[0], 1000);
    CHECK_EQ(buffer[512], 51);
    // It takes the right to write away.
    CHECK_EQ(dmirror(device, DMIRROR_WRITE, (void *)at, buffer, 1), 0);
    CHECK_EQ(status_of_child(protects, NULL), EXITED(0));
    CHECK_EQ(dmirror(device, DMIRROR_WRITE, (void *)at, buffer, 1), -EPERM);
    CHECK_EQ(dmirror(device, DMIRROR_READ, (void *)at, buffer, 1), 0);
    CHECK_EQ(region_protect(region, BASE, PAGE, READ_WRITE), 0);
    CHECK_EQ(dmirror(device, DMIRROR_WRITE, (void *)at, buffer, 1), 0);
    // It punches a hole into the file behind.
    WORD(object) = 60;
    CHECK_EQ(dmirror(device, DMIRROR_READ, (void *)(object + shift), buffer, 1), 0);
    CHECK_EQ(buffer[0], 60);
    CHECK_EQ(status_of_child(punches, NULL), EXITED(0));
    CHECK_EQ(dmirror(device, DMIRROR_READ, (void *)(object + shift), buffer, 1), 0);
    CHECK_EQ(buffer[0], 0);
    // Pages of shared tables do not move into devices.
    CHECK_EQ(dmirror(device, DMIRROR_MIGRATE_TO_DEV, (void *)at, buffer, 1), -EINVAL);
    // A container's own rights hold for devices as well.
    CHECK_EQ(sys(mprotect, at, UNIT, PROT_READ), 0);
    CHECK_EQ(dmirror(device, DMIRROR_WRITE, (void *)at, buffer, 1), -EPERM);
    CHECK_EQ(dmirror(device, DMIRROR_READ, (void *)at, buffer, 1), 0);
    CHECK_EQ(sys(mprotect, at, UNIT, READ_WRITE), 0);
    CHECK_EQ(dmirror(device, DMIRROR_WRITE, (void *)at, buffer, 1), 0);
    // It goes with the container.
    CHECK_EQ(dmirror(device, DMIRROR_READ, (void *)at, buffer, 1), 0);
    CHECK_EQ(sys(munmap, at, UNIT), 0);
    CHECK_EQ(dmirror(device, DMIRROR_READ, (void *)at, buffer, 1), -EFAULT);
    CHECK_EQ(sys(close, device), 0);
}

int main(int argc, char **argv, char **envp)
{
    (void)argc;
    (void)argv;
    (void)envp;
    catch_faults();
    region = region_make(name, BASE, UNIT);
    CHECK_EQ(region_put(region, BASE, 4 * PAGE, READ_WRITE, ANON_SHARED, -1, 0), 0);
    memory = (int)sys(memfd_create, "object", 0);
    CHECK_EQ(sys(ftruncate, memory, PAGE), 0);
    CHECK_EQ(region_put(region, object, PAGE, READ_WRITE, MAP_SHARED | MAP_FIXED, memory, 0), 0);
    CHECK_EQ(region_map(region, BASE, UNIT, READ_WRITE, MAP_SHARED, 0), BASE);
    // A second view, which the mirror watches, and then the first.
    CHECK_EQ(region_map(region, BASE + 4 * UNIT, UNIT, READ_WRITE, MAP_SHARED | MAP_FIXED, BASE), BASE + 4 * UNIT);
    mirrors(BASE + 4 * UNIT);
    passed("a view elsewhere");
    mirrors(BASE);
    passed("the region's own place");
    CHECK_EQ(sys(unlink, name), 0);
    return report();
}
