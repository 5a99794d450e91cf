// A process reads and writes the memory of another one through the devices for that, without pause, while the other changes its mappings in every way and ends.
// What it reads is compared with what the other has stamped its pages with. Arguments: lives of the target, changes in each, seed, devices ("mirror", "map", "both").
#include "target.h"

static bool use_mirror, use_map;
static volatile bool stop;
static volatile long stale, foreign, refused, admitted, lost, reads, writes;
static char *mirror, *copies;
static long target;
static int mapper;
static bool left[SLOTS];

static void add(volatile long *counter)
{
    __atomic_fetch_add(counter, 1, __ATOMIC_SEQ_CST);
}

// Counts a finding, and shows the first few.
#define FOUND(counter, ...) \
    do { \
        add(&counter); \
        if (counter < 5) \
            print(__VA_ARGS__); \
    } while (0)

// What is true of a slot before an access.
typedef struct { unsigned slot; unsigned long changes, least; bool readable, writable; } premise;

static premise look(unsigned slot)
{
    slot_truth *s = &truth->slots[slot];
    premise p = { .slot = slot, .changes = LOAD_ACQUIRE(&s->changes) };
    p.least = LOAD_ACQUIRE(&s->least);
    p.readable = s->readable;
    p.writable = s->writable;
    return p;
}

static bool still_holds(const premise *p)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return (p->changes & 1) == 0 && LOAD_ACQUIRE(&truth->slots[p->slot].changes) == p->changes;
}

// A stamp that was read. Whatever happens meanwhile, a page never shows what belongs to another one.
static void judge(const premise *p, unsigned long value)
{
    add(&reads);
    unsigned long newest = LOAD_ACQUIRE(&truth->slots[p->slot].newest);
    bool moved = value == STAMP(0xff, 1);
    if (value != 0 && !moved && ((value & 0xff) != p->slot || value >> 8 > newest))
        FOUND(foreign, "slot %u shows %lx\n", p->slot, value);
    if (still_holds(p) && p->readable && (moved || value >> 8 < p->least))
        FOUND(stale, "slot %u shows generation %lu, when %lu was there\n", p->slot, value >> 8, p->least);
}

static void mirror_reader(void *argument)
{
    unsigned long random = (unsigned long)argument * 99 + 5;
    while (!stop) {
        if (next_random(&random) % 4 == 0)
            thread_yield();
        premise p = look((unsigned)(next_random(&random) % SLOTS));
        unsigned long value;
        int signal = try_read(word_of(mirror, p.slot, 0), &value);
        if (signal == 0) {
            judge(&p, value);
            if (still_holds(&p) && !p.readable)
                FOUND(admitted, "slot %u can be read\n", p.slot);
        } else if (still_holds(&p) && p.readable)
            FOUND(refused, "slot %u cannot be read: signal %d\n", p.slot, signal);
    }
}

// Writes behind the stamps, and looks by another way whether the target has it.
static void mirror_writer(void *argument)
{
    unsigned long random = (unsigned long)argument * 55 + 9;
    while (!stop) {
        if (next_random(&random) % 4 == 0)
            thread_yield();
        premise p = look((unsigned)(next_random(&random) % SLOTS));
        unsigned long value = next_random(&random), seen = 0;
        int signal = try_write(word_of(mirror, p.slot, SCRATCH), value);
        if (signal != 0) {
            if (still_holds(&p) && p.writable)
                FOUND(refused, "slot %u cannot be written: signal %d\n", p.slot, signal);
            continue;
        }
        if (still_holds(&p) && !p.writable)
            FOUND(admitted, "slot %u can be written\n", p.slot);
        struct { void *base; unsigned long length; } local = { &seen, sizeof(seen) }, remote = { (void *)word_of((void *)REGION, p.slot, SCRATCH), sizeof(seen) };
        long copied = sys(process_vm_readv, target, &local, 1, &remote, 1, 0);
        if (still_holds(&p) && p.writable && (copied != sizeof(seen) || seen != value))
            FOUND(lost, "slot %u has %lx, not %lx that was written\n", p.slot, seen, value);
        add(&writes);
    }
}

// What is written somewhere is what the target has, as process_vm_readv finds it.
static void judge_write(const premise *p, volatile unsigned long *at, unsigned offset, unsigned long value)
{
    unsigned long seen = 0;
    *at = value;
    struct { void *base; unsigned long length; } local = { &seen, sizeof(seen) }, remote = { (void *)word_of((void *)REGION, p->slot, offset), sizeof(seen) };
    long copied = sys(process_vm_readv, target, &local, 1, &remote, 1, 0);
    if (still_holds(p) && p->writable && (copied != sizeof(seen) || seen != value))
        FOUND(lost, "slot %u has %lx, not %lx that was written to its remote mapping\n", p->slot, seen, value);
    add(&writes);
}

// Maps pages of the target, reads and writes them, and unmaps most of them again.
static void mapping_reader(void *argument)
{
    unsigned long random = (unsigned long)argument * 33 + 3;
    while (!stop) {
        if (next_random(&random) % 4 == 0)
            thread_yield();
        premise p = look((unsigned)(next_random(&random) % SLOTS));
        bool private = truth->slots[p.slot].private;
        char *at = copies + p.slot * PAGE;
        long error = remote_map(mapper, target, (unsigned long)word_of((void *)REGION, p.slot, 0), at);
        if (error != 0) {
            // Pages of a huge one may be held by whoever splits or moves it.
            if (still_holds(&p) && p.readable && private && error != -EBUSY)
                FOUND(refused, "slot %u cannot be mapped: %ld\n", p.slot, error);
            continue;
        }
        judge(&p, *(volatile unsigned long *)at);
        if (still_holds(&p) && !private)
            FOUND(admitted, "slot %u is shared memory and can be mapped\n", p.slot);
        judge_write(&p, (volatile unsigned long *)(at + SCRATCH + 8), SCRATCH + 8, next_random(&random));
        if (next_random(&random) % 8 == 0) {
            sys(madvise, at, PAGE, MADV_DONTNEED);
            *(volatile char *)at = 1;
        }
        CHECK_EQ(remote_unmap(mapper, at), 0);
    }
    // Some are left to see what becomes of them.
    for (unsigned i = 0; i < SLOTS; i += 5)
        left[i] = remote_map(mapper, target, (unsigned long)word_of((void *)REGION, i, 0), copies + i * PAGE) == 0;
}

static void mapping_check_stale(void)
{
    for (unsigned i = 0; i < SLOTS; i += 5) {
        unsigned long value;
        CHECK_EQ(try_read(copies + i * PAGE, &value), 0);
        if (left[i] && value != 0 && (value & 0xff) != i && value != STAMP(0xff, 1))
            FOUND(foreign, "slot %u, stale, shows %lx\n", i, value);
        CHECK_EQ(remote_unmap(mapper, copies + i * PAGE), left[i] ? 0 : -ENOENT);
        CHECK_EQ(remote_unmap(mapper, copies + i * PAGE), -ENOENT);
        CHECK_EQ(remote_map(mapper, target, REGION, copies + i * PAGE), -ESRCH);
    }
}

static void inspect_one_life(long changes, unsigned long seed, const char *self)
{
    for (unsigned i = 0; i < SLOTS; i++)
        truth->slots[i].changes |= 1;
    truth->ready = truth->ended = stop = false;
    target = sys(fork);
    REQUIRE(target >= 0);
    if (target == 0)
        target_main(changes, seed * 77 + 1, self);
    while (!LOAD_ACQUIRE(&truth->ready))
        thread_yield();
    int device = remote_open(REMOTE_MIRROR_DEVICE);
    long attached = mirror_attach(device, target, REGION, WINDOW);
    // It may be gone already.
    REQUIRE(attached == 0 || LOAD_ACQUIRE(&truth->ended));
    thread *threads[3] = { NULL };
    mapper = use_map ? remote_open(REMOTE_MAP_DEVICE) : -1;
    copies = (char *)map_anonymous(NULL, SLOTS * PAGE, MAP_PRIVATE | MAP_POPULATE);
    if (use_map)
        threads[2] = thread_start(mapping_reader, (void *)seed);
    if (use_mirror && attached == 0) {
        long at = mmap6(NULL, WINDOW, RW, MAP_SHARED, device, 0);
        REQUIRE(is_address(at));
        mirror = (char *)at;
        if (seed % 2 == 0)
            sys(close, device);
        threads[0] = thread_start(mirror_reader, (void *)seed);
        threads[1] = thread_start(mirror_writer, (void *)seed);
    }
    int status;
    CHECK_EQ(sys(wait4, target, &status, 0, NULL), target);
    CHECK(status == 0 || status == SIGKILL);
    stop = true;
    for (unsigned i = 0; i < COUNT_OF(threads); i++) {
        if (threads[i])
            thread_join(threads[i]);
    }
    if (use_map) {
        if (seed % 3 != 0)
            mapping_check_stale();
        sys(close, mapper);
    }
    CHECK_EQ(sys(munmap, copies, SLOTS * PAGE), 0);
    if (!threads[0]) {
        sys(close, device);
        return;
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        unsigned long value;
        CHECK_EQ(try_read(word_of(mirror, i, 0), &value), SIGBUS);
    }
    CHECK_EQ(sys(munmap, mirror, WINDOW), 0);
    if (seed % 2 != 0)
        sys(close, device);
}

int main(int argc, char **argv, char **envp)
{
    (void)envp;
    if (argc > 1 && strcmp(argv[1], "ended") == 0)
        return 0;
    long lives = arg_number(argc, argv, 1, 3), changes = arg_number(argc, argv, 2, 60), seed = arg_number(argc, argv, 3, 1);
    const char *devices = argc > 4 ? argv[4] : "both";
    use_mirror = strcmp(devices, "map") != 0;
    use_map = strcmp(devices, "mirror") != 0;
    catch_faults();
    truth = map_anonymous(NULL, (sizeof(shared_truth) + PAGE - 1) & -PAGE, MAP_SHARED);
    for (long life = 0; life < lives; life++)
        inspect_one_life(changes, (unsigned long)(seed * 1000 + life), argv[0]);
    CHECK_EQ(truth->failed, 0);
    CHECK_EQ(foreign, 0);
    CHECK_EQ(stale, 0);
    CHECK_EQ(refused, 0);
    CHECK_EQ(admitted, 0);
    CHECK_EQ(lost, 0);
    passed("inspector");
    return report();
}
