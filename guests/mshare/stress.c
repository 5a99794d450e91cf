// Processes that share page tables change what is mapped there under each other and verify all they read:
// stress [WORKERS] [ROUNDS] [SEED] [LIVES]. With one vCPU or with many it prints the same unless somebody saw what is not there.
//
// Every page carries stamps that tell its number and its generation. Two kinds of pages:
//   exact  who changes one holds its lock and keeps the truth about it in memory that is not part of the region; readers hold
//          nothing, and look at the truth before and after: if it is the same, they must have seen just that generation, or the
//          fault that goes with a page that is read-only or gone;
//   loose  anybody stores, punches and unmaps at any time; a reader may see nothing, or a stamp of that page number, or get SIGSEGV.
// A stale translation shows an old generation or another page's stamp. Stamps look like page-table entries, so that a table which was freed
// too early, and has become data, translates to some other page instead of faulting.
#include "guest.h"
#include "guest/signals.h"
#include "guest/threads.h"
#include "mshare.h"

#include <linux/falloc.h>
#include <linux/stat.h>
#include <linux/wait.h>

enum { FILE_PAGES = 12, ANON_PAGES = 8, EXACT = FILE_PAGES + ANON_PAGES, LOOSE = 8, WORDS = 16, MOST = 32 };

#define UNIT (1ul << 39)
#define REGION (4 * UNIT)
#define ANON (REGION + (4ul << 20))
#define SPARE (REGION + (1ul << 30))    // under tables of its own, which come and go with it

static const char name[] = "/sys/fs/mshare/stress";

// What is true of an exact page: its generation above what one may do with it.
enum { STABLE, CHANGING, READ_ONLY, GONE, KINDS };

static struct control {
    mutex locks[EXACT];
    uint64_t truth[EXACT];
    uint32_t wrong, reads, changes;
} *control;

static int region_file, memory_file, loose_file;
static char *view;          // where this process has the region
static uint64_t random_state;
static int me;

static unsigned chance(unsigned below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)(random_state >> 33) % below;
}

static uint64_t stamp(int page, uint64_t generation)
{
    return 0x67 | (generation & 7) << 9 | (256 + (generation * 37 & 1023)) << 12 | (uint64_t)page << 52 | (generation >> 3 & 31) << 58;
}

static void wrong(const char *what, int page, uint64_t saw, uint64_t truth)
{
    if (ADD(&control->wrong, 1) <= 5)
        print("FAIL %s: worker %d, page %d: %lx (of page %d), truth %lx\n", what, me, page, saw, (int)(saw >> 52 & 63), truth);
}

static unsigned long offset_of(int page)
{
    return page < FILE_PAGES ? (unsigned long)page * PAGE : page < EXACT ? ANON - REGION + (unsigned long)(page - FILE_PAGES) * PAGE
                                                                         : SPARE - REGION + (unsigned long)(page - EXACT) * PAGE;
}

static volatile uint64_t *words(int page)
{
    return (volatile uint64_t *)(view + offset_of(page));
}

// Accesses that may fault.
struct try { volatile uint64_t *word; uint64_t value; };

static void try_read(void *argument)
{
    struct try *t = argument;
    t->value = *t->word;
}

static void try_write(void *argument)
{
    struct try *t = argument;
    *t->word = t->value;
}

// Needs the right to write, and changes nothing.
static void try_exchange(void *argument)
{
    struct try *t = argument;
    __asm__ volatile("lock cmpxchgq %1, %0" : "+m"(*t->word) : "r"(0ul), "a"(0xdeadul) : "memory");
}

static bool faults(void (*body)(void *), struct try *t)
{
    return fault_of(body, t).signal != 0;
}

static long map_exact(int page, unsigned flags)
{
    struct mshare_create create = { REGION + offset_of(page), PAGE, 0, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_ANONYMOUS | flags, (__u32)-1 };
    return sys(ioctl, region_file, MSHAREFS_CREATE_MAPPING, &create);
}

static long map_loose(void)
{
    struct mshare_create create = { SPARE, LOOSE * PAGE, 0, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, (__u32)loose_file };
    return sys(ioctl, region_file, MSHAREFS_CREATE_MAPPING, &create);
}

static long unmap(unsigned long offset, unsigned long size)
{
    struct mshare_unmap gone = { REGION + offset, size };
    return sys(ioctl, region_file, MSHAREFS_X_UNMAP, &gone);
}

static long protect(int page, unsigned protection)
{
    struct mshare_protect change = { REGION + offset_of(page), PAGE, protection, 0 };
    return sys(ioctl, region_file, MSHAREFS_X_PROTECT, &change);
}

// Half of the processes have the region where it says it is, the others somewhere else.
static void attach(void)
{
    char *wanted = (char *)(chance(2) ? REGION : REGION + (1 + chance(8)) * UNIT);
    long got = mmap6(wanted, UNIT, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, region_file, (long)REGION);
    REQUIRE(got == (long)wanted);
    view = wanted;
}

static void detach(void)
{
    struct try t = { words((int)chance(FILE_PAGES)), 0 };
    faults(try_read, &t);
    CHECK_EQ(sys(munmap, view, UNIT), 0);
    if (!faults(try_read, &t))
        wrong("read after detaching", 0, t.value, 0);
    attach();
}

static void look(int page)
{
    uint64_t before = LOAD_ACQUIRE(&control->truth[page]);
    unsigned kind = before % KINDS, word = chance(WORDS);
    struct try t = { words(page) + word, 0 };
    bool fault = faults(try_read, &t);
    bool stores = false;
    if (kind == READ_ONLY && !fault)
        stores = !faults(try_exchange, &t);
    __asm__ volatile("" ::: "memory");
    if (kind == CHANGING || LOAD_ACQUIRE(&control->truth[page]) != before)
        return;
    ADD(&control->reads, 1);
    if (stores)
        wrong("store to a read-only page", page, t.value, before);
    else if (kind == GONE && !fault)
        wrong("read of an unmapped page", page, t.value, before);
    else if (kind != GONE && fault)
        wrong("fault", page, 0, before);
    else if (kind != GONE && t.value != stamp(page, before / KINDS))
        wrong("read", page, t.value, before);
}

// As look, but the kernel reads.
static void look_from_kernel(int page)
{
    uint64_t before = LOAD_ACQUIRE(&control->truth[page]), value = 0;
    int pipe[2];
    CHECK_EQ(sys(pipe, pipe), 0);
    long wrote = sys(write, pipe[1], words(page), 8);
    if (wrote == 8)
        sys(read, pipe[0], &value, 8);
    sys(close, pipe[0]);
    sys(close, pipe[1]);
    if (before % KINDS == CHANGING || LOAD_ACQUIRE(&control->truth[page]) != before)
        return;
    if (before % KINDS == GONE ? wrote != -EFAULT : wrote != 8 || value != stamp(page, before / KINDS))
        wrong("write(2) from the page", page, value, before);
}

static void look_loose(int page)
{
    struct try t = { words(page) + chance(WORDS), 0 };
    if (!faults(try_read, &t) && t.value != 0 && ((t.value & 0x67) != 0x67 || (int)(t.value >> 52 & 63) != page))
        wrong("read of a loose page", page, t.value, 0);
}

static void fill(int page, uint64_t generation)
{
    volatile uint64_t *word = words(page);
    for (int i = 0; i < WORDS; i++)
        word[i] = stamp(page, generation);
}

static void expect(const char *what, int page, uint64_t value)
{
    uint64_t saw = words(page)[chance(WORDS)];
    if (saw != value)
        wrong(what, page, saw, value);
}

// Ends a change: the page has the next generation's stamps, whoever wrote them.
static void settle(int page, uint64_t generation, unsigned kind)
{
    STORE_RELEASE(&control->truth[page], generation * KINDS + kind);
    ADD(&control->changes, 1);
}

static void change(int page)
{
    mutex_lock(&control->locks[page]);
    uint64_t truth = control->truth[page], generation = truth / KINDS;
    unsigned kind = truth % KINDS;
    STORE_RELEASE(&control->truth[page], generation * KINDS + CHANGING);
    if (kind == GONE) {
        CHECK_EQ(map_exact(page, chance(2) ? MAP_POPULATE : 0), 0);
        expect("page just mapped", page, 0);
        fill(page, ++generation);
        kind = STABLE;
    } else if (kind == READ_ONLY) {
        expect("page about to be writable", page, stamp(page, generation));
        CHECK_EQ(protect(page, PROT_READ | PROT_WRITE), 0);
        fill(page, ++generation);
        kind = STABLE;
    } else if (chance(4) == 0) {
        expect("page about to be rewritten", page, stamp(page, generation));
        fill(page, ++generation);
    } else if (chance(3) == 0) {
        CHECK_EQ(protect(page, PROT_READ), 0);
        kind = READ_ONLY;
    } else if (page < FILE_PAGES) {
        CHECK_EQ(sys(fallocate, memory_file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, page * PAGE, PAGE), 0);
        expect("page just punched", page, 0);
        generation++;
        if (chance(2)) {
            fill(page, generation);
        } else {
            uint64_t stamps[WORDS];
            for (int i = 0; i < WORDS; i++)
                stamps[i] = stamp(page, generation);
            CHECK_EQ(sys(pwrite64, memory_file, stamps, sizeof stamps, page * PAGE), sizeof stamps);
        }
    } else {
        CHECK_EQ(unmap(offset_of(page), PAGE), 0);
        kind = GONE;
    }
    settle(page, generation, kind);
    mutex_unlock(&control->locks[page]);
}

static void change_loose(void)
{
    int page = EXACT + (int)chance(LOOSE);
    struct try t = { words(page) + chance(WORDS), stamp(page, chance(256)) };
    switch (chance(6)) {
    case 0:
        sys(fallocate, loose_file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (page - EXACT) * PAGE, PAGE);
        break;
    case 1:
        unmap(SPARE - REGION, LOOSE * PAGE);
        map_loose();
        break;
    default:
        faults(try_write, &t);
    }
}

// Pages that the region does not map at this instant leave memory, and their frames become somebody else's at once. Whoever cleared their
// entries a moment ago must have flushed them before.
static void page_out_loose(void)
{
    char *file = (char *)mmap6(NULL, LOOSE * PAGE, PROT_READ, MAP_SHARED, loose_file, 0);
    for (int i = 0; i < LOOSE; i++)
        (void)*(volatile char *)(file + i * PAGE);
    CHECK_EQ(sys(madvise, file, LOOSE * PAGE, MADV_PAGEOUT), 0);
    sys(munmap, file, LOOSE * PAGE);
    char *others = map_pages(LOOSE * PAGE, PROT_READ | PROT_WRITE);
    for (int i = 0; i < LOOSE; i++)
        for (int word = 0; word < WORDS; word++)
            ((volatile uint64_t *)(others + i * PAGE))[word] = stamp(62, (uint64_t)me);
    for (int page = EXACT; page < EXACT + LOOSE; page++)
        look_loose(page);
    sys(munmap, others, LOOSE * PAGE);
}

// All exact pages of the file leave memory at once, and come back one by one as they are wanted, in each other's frames. Nothing may be seen of that;
// where frames are freed before the flush of the lot, a translation that is left shows another page.
static void page_out_exact(void)
{
    CHECK_EQ(sys(madvise, view, FILE_PAGES * PAGE, MADV_PAGEOUT), 0);
    for (int i = 0; i < 4; i++)
        look((int)chance(EXACT));
}

// A child has the region, too; so it can do without the parent.
static void fork_reader(void)
{
    long child = sys(fork);
    if (child == 0) {
        me += 100;
        for (int i = 0; i < 8; i++)
            look((int)chance(EXACT));
        exit_group(failures());
    }
    int status = -1;
    CHECK_EQ(sys(wait4, child, &status, 0, 0), child);
    CHECK_EQ(status, 0);
}

static void work(long rounds)
{
    volatile uint64_t *own = map_pages(PAGE, PROT_READ | PROT_WRITE);
    uint64_t mine = stamp(63, (uint64_t)me);
    *own = mine;
    for (long round = 0; round < rounds && !LOAD(&control->wrong); round++) {
        for (int i = 0; i < 6; i++)
            look((int)chance(EXACT));
        look_loose(EXACT + (int)chance(LOOSE));
        change((int)chance(EXACT));
        change_loose();
        look_loose(EXACT + (int)chance(LOOSE));
        if (chance(5) == 0)
            page_out_loose();
        if (chance(4) == 0)
            page_out_exact();
        if (*own != mine)
            wrong("page of my own", 63, *own, mine);
        switch (chance(24)) {
        case 0:
            detach();
            break;
        case 1:
            fork_reader();
            break;
        case 2:
        case 3:
            look_from_kernel((int)chance(EXACT));
            break;
        case 4: {
            struct __kernel_timespec pause = { 0, 20000 };
            sys(nanosleep, &pause, NULL);
            break;
        }
        default:
            if (chance(3) == 0)
                thread_yield();
        }
    }
}

static long start_worker(int number, long rounds, uint64_t seed)
{
    long pid = sys(fork);
    if (pid != 0)
        return pid;
    me = number;
    random_state = (seed + 1) * 0x9E3779B97F4A7C15ul ^ (uint64_t)(number + 1) * 0xC2B2AE3D27D4EB4Ful;
    attach();
    work(rounds);
    exit_group(failures());
}

static void set_up(void)
{
    control = (struct control *)mmap6(NULL, (sizeof *control + PAGE - 1) & -PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    memory_file = (int)sys(memfd_create, "exact", 0);
    loose_file = (int)sys(memfd_create, "loose", 0);
    CHECK_EQ(sys(ftruncate, memory_file, FILE_PAGES * PAGE), 0);
    CHECK_EQ(sys(ftruncate, loose_file, LOOSE * PAGE), 0);
    region_file = (int)sys(open, name, O_RDWR | O_CREAT | O_EXCL, 0600);
    REQUIRE(region_file >= 0);
    struct mshare_info info = { REGION, UNIT };
    REQUIRE(sys(ioctl, region_file, MSHAREFS_SET_SIZE, &info) == 0);
    // Page by page, so that protecting one does not depend on splitting.
    for (int page = 0; page < FILE_PAGES; page++) {
        struct mshare_create create = { REGION + offset_of(page), PAGE, (__u64)page * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, (__u32)memory_file };
        REQUIRE(sys(ioctl, region_file, MSHAREFS_CREATE_MAPPING, &create) == 0);
    }
    for (int page = FILE_PAGES; page < EXACT; page++)
        REQUIRE(map_exact(page, 0) == 0);
    REQUIRE(map_loose() == 0);
    attach();
    for (int page = 0; page < EXACT; page++) {
        fill(page, 0);
        control->truth[page] = STABLE;
    }
}

// Workers that have done their rounds are replaced until all have lived.
static void run(int workers, long rounds, uint64_t seed, int lives)
{
    int started = 0, running = 0;
    while (running > 0 || (started < lives && !LOAD(&control->wrong))) {
        if (started < lives && running < workers && !LOAD(&control->wrong)) {
            REQUIRE(start_worker(started++, rounds, seed) > 0);
            running++;
            continue;
        }
        int status = -1;
        CHECK(sys(wait4, -1, &status, 0, 0) > 0);
        CHECK_EQ(status, 0);
        running--;
    }
}

int main(int argc, char **argv, char **envp)
{
    (void)envp;
    int workers = (int)arg_number(argc, argv, 1, 5);
    long rounds = arg_number(argc, argv, 2, 40);
    uint64_t seed = (uint64_t)arg_number(argc, argv, 3, 1);
    int lives = (int)arg_number(argc, argv, 4, workers * 2);
    random_state = seed + 88172645463325252ul;
    catch_faults();
    set_up();
    run(workers < MOST ? workers : MOST, rounds, seed, lives);
    me = 99;
    for (int page = 0; page < EXACT; page++)
        look(page);
    CHECK_EQ(control->wrong, 0);
    CHECK_EQ(sys(unlink, name), 0);
    passed("stress");
    return report();
}
