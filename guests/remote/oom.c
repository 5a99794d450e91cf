// Memory runs out under a target that is being inspected, and then under a client that inspects: the OOM killer ends the one that has filled it, and the other goes on.
#include "remote.h"
#include "guest/threads.h"

static char *memory;
static volatile unsigned *state;        // 1: the target is ready, 2: the client has everything mapped, 3: fill memory

static void fill_memory(void)
{
    for (;;) {
        long at = mmap6(NULL, 64 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        for (int i = 0; is_address(at) && i < 64; i++)
            ((volatile char *)at)[i * PAGE] = 1;
    }
}

static void target(bool fills)
{
    for (int i = 0; i < 8; i++)
        memory[i * PAGE] = (char)(i + 1);
    *state = 1;
    while (*state < 3)
        thread_yield();
    if (fills)
        fill_memory();
    while (*state != 4)
        thread_yield();
    exit_group(0);
}

static void client(long peer, bool fills)
{
    catch_faults();
    int mirror = remote_open(REMOTE_MIRROR_DEVICE), map = remote_open(REMOTE_MAP_DEVICE);
    char *copy = map_anonymous(NULL, PAGE, MAP_PRIVATE | MAP_POPULATE);
    CHECK_EQ(mirror_attach(mirror, peer, (unsigned long)memory, 8 * PAGE), 0);
    char *shown = (char *)mmap6(NULL, 8 * PAGE, RW, MAP_SHARED, mirror, 0);
    CHECK_EQ(remote_map(map, peer, (unsigned long)memory, copy), 0);
    CHECK_EQ(shown[PAGE], 2);
    CHECK_EQ(copy[0], 1);
    *state = 3;
    if (fills)
        fill_memory();
    // It looks on until the target is gone.
    unsigned long value;
    while (try_read(shown + PAGE, &value) == 0)
        thread_yield();
    CHECK_EQ(try_read(shown + PAGE, &value), SIGBUS);
    CHECK_EQ(copy[0], 1);
    CHECK_EQ(remote_unmap(map, copy), 0);
    exit_group(failures());
}

static void run_out(bool target_fills)
{
    *state = 0;
    long watched = sys(fork);
    if (watched == 0)
        target(target_fills);
    while (*state != 1)
        thread_yield();
    long watcher = sys(fork);
    if (watcher == 0)
        client(watched, !target_fills);
    int status = -1;
    sys(wait4, target_fills ? watched : watcher, &status, 0, NULL);
    CHECK_EQ(status, SIGKILL);
    *state = 4;
    sys(wait4, target_fills ? watcher : watched, &status, 0, NULL);
    CHECK_EQ(status, 0);
}

int main(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv, (void)envp;
    memory = map_anonymous(NULL, 8 * PAGE, MAP_PRIVATE);
    state = map_anonymous(NULL, PAGE, MAP_SHARED);
    run_out(true);
    passed("the target fills memory");
    run_out(false);
    passed("the client fills memory");
    return report();
}
