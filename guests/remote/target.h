// The process that is inspected: it changes its mappings in every way, and stamps its pages, so that whoever reads one can tell which page of which time it is.
// What is true of a page is kept outside of the region, in memory that inspector and target share.
#pragma once

#include "remote.h"
#include "guest/threads.h"

#define HUGE (2UL << 20)
// The window: small pages, and behind them a range for a 2 MiB page.
#define REGION 0x300000000000UL
#define WINDOW (2 * HUGE)
#define AWAY (REGION + 4 * HUGE)

enum { SMALL = 24, LARGE = 8, SLOTS = SMALL + LARGE, LARGE_STEP = 64, SCRATCH = 2048, MARK = 3072 };

// A stamp: the page's slot in the low byte, its generation above.
#define STAMP(slot, generation) ((unsigned long)(generation) << 8 | (slot))

typedef struct {
    volatile unsigned long changes;         // odd while the page is changed
    volatile unsigned long least, newest;   // generations: one that was there, the last that may be there
    volatile bool readable, writable;       // what an access meets while nothing changes
    volatile bool private;                  // anonymous memory of the target alone
} slot_truth;

typedef struct {
    slot_truth slots[SLOTS];
    volatile bool ready, ended;
    volatile long failed;                   // found by the target or its children
} shared_truth;

static shared_truth *truth;

static inline unsigned long slot_offset(unsigned slot)
{
    return slot < SMALL ? slot * PAGE : HUGE + (slot - SMALL) * LARGE_STEP * PAGE;
}

static inline volatile unsigned long *word_of(void *base, unsigned slot, unsigned offset)
{
    return (volatile unsigned long *)((char *)base + slot_offset(slot) + offset);
}

static inline unsigned long next_random(unsigned long *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state >> 8;
}

static inline void begin_change(unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i++)
        ADD(&truth->slots[i].changes, 1);
}

static inline void end_change(unsigned first, unsigned count, bool readable, bool writable)
{
    for (unsigned i = first; i < first + count; i++) {
        truth->slots[i].readable = readable;
        truth->slots[i].writable = writable;
        ADD(&truth->slots[i].changes, 1);
    }
}

static inline void target_failed(const char *what, unsigned slot, unsigned long value)
{
    ADD(&truth->failed, 1);
    print("the target's side: %s at slot %u, %lx\n", what, slot, value);
}

static unsigned long generation;

static inline void stamp(unsigned slot)
{
    slot_truth *s = &truth->slots[slot];
    s->newest = ++generation;
    *word_of((void *)REGION, slot, 0) = STAMP(slot, generation);
    s->least = generation;
}

static inline void stamp_all(unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i++)
        stamp(i);
}

// Fresh memory for slots, of one of three kinds.
static inline void map_slots(unsigned first, unsigned count, unsigned kind)
{
    void *at = (char *)REGION + slot_offset(first);
    unsigned long size = first < SMALL ? count * PAGE : HUGE;
    if (first >= SMALL || kind == 0) {
        map_anonymous(at, size, MAP_PRIVATE | MAP_FIXED);
        if (first >= SMALL)
            sys(madvise, at, size, MADV_HUGEPAGE);
    } else {
        int fd = (int)sys(memfd_create, "target", 0);
        REQUIRE(fd >= 0 && sys(ftruncate, fd, size) == 0);
        REQUIRE(is_address(mmap6(at, size, RW, MAP_FIXED | (kind == 1 ? MAP_SHARED : MAP_PRIVATE), fd, 0)));
        sys(close, fd);
    }
    for (unsigned i = first; i < first + count; i++)
        truth->slots[i].private = first >= SMALL || kind != 1;
}

// fork: both sides write, and neither sees the other's; what the inspector writes is for the target alone.
static inline void fork_and_copy(unsigned first, unsigned count)
{
    long child = sys(fork);
    if (child == 0) {
        for (unsigned i = first; i < first + count; i++) {
            if (!truth->slots[i].private || !truth->slots[i].writable)
                continue;
            unsigned long before = *word_of((void *)REGION, i, 0), scratch = *word_of((void *)REGION, i, SCRATCH);
            for (int turn = 0; turn < 3; turn++)
                thread_yield();
            unsigned long after = *word_of((void *)REGION, i, 0), scratch_after = *word_of((void *)REGION, i, SCRATCH);
            if (before != after)
                target_failed("a child sees its parent's write", i, after);
            if (scratch != scratch_after)
                target_failed("a child sees the inspector's write", i, scratch_after);
            *word_of((void *)REGION, i, MARK) = 0xc0ffee;
        }
        exit_group(0);
    }
    for (unsigned i = first; i < first + count; i++) {
        if (truth->slots[i].writable)
            stamp(i);
    }
    int status;
    if (child > 0)
        sys(wait4, child, &status, 0, NULL);
    for (unsigned i = first; i < first + count; i++) {
        if (truth->slots[i].private && truth->slots[i].readable && *word_of((void *)REGION, i, MARK) == 0xc0ffee)
            target_failed("the target sees its child's write", i, 0);
    }
}

static inline void change_something(unsigned long *random)
{
    bool large = next_random(random) % 4 == 0;
    unsigned first = large ? SMALL : (unsigned)(next_random(random) % SMALL);
    unsigned count = large ? LARGE : 1 + (unsigned)(next_random(random) % 4);
    if (!large && first + count > SMALL)
        count = SMALL - first;
    char *at = (char *)REGION + slot_offset(first);
    unsigned long size = large ? HUGE : count * PAGE;
    switch (next_random(random) % 12) {
    case 0: // gone for a while
        begin_change(first, count);
        CHECK_EQ(sys(munmap, at, size), 0);
        end_change(first, count, false, false);
        thread_yield();
        begin_change(first, count);
        map_slots(first, count, (unsigned)(next_random(random) % 3));
        stamp_all(first, count);
        end_change(first, count, true, true);
        break;
    case 1: // replaced at once
        begin_change(first, count);
        map_slots(first, count, (unsigned)(next_random(random) % 3));
        stamp_all(first, count);
        end_change(first, count, true, true);
        break;
    case 2: // read-only for a while
        begin_change(first, count);
        CHECK_EQ(sys(mprotect, at, size, PROT_READ), 0);
        end_change(first, count, true, false);
        thread_yield();
        begin_change(first, count);
        CHECK_EQ(sys(mprotect, at, size, RW), 0);
        end_change(first, count, true, true);
        break;
    case 3: // and not accessible at all
        begin_change(first, count);
        CHECK_EQ(sys(mprotect, at, size, PROT_NONE), 0);
        end_change(first, count, false, false);
        thread_yield();
        begin_change(first, count);
        CHECK_EQ(sys(mprotect, at, size, RW), 0);
        end_change(first, count, true, true);
        break;
    case 4: // moved away, written there, moved back
        // Of one mapping alone.
        if (!large)
            count = 1, size = PAGE;
        begin_change(first, count);
        CHECK_EQ(sys(mremap, at, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, AWAY), AWAY);
        end_change(first, count, false, false);
        *(volatile unsigned long *)AWAY = STAMP(0xff, 1);
        begin_change(first, count);
        CHECK_EQ(sys(mremap, AWAY, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, at), at);
        stamp_all(first, count);
        end_change(first, count, true, true);
        break;
    case 5: // emptied
        begin_change(first, count);
        sys(madvise, at, size, MADV_DONTNEED);
        stamp_all(first, count);
        end_change(first, count, true, true);
        break;
    case 6: // to the swap area: nobody may notice
        sys(madvise, at, size, MADV_PAGEOUT);
        break;
    case 7: // part of a 2 MiB page goes, and one is made again
        if (large) {
            begin_change(first, count);
            sys(madvise, at + (next_random(random) % LARGE) * LARGE_STEP * PAGE, PAGE, MADV_DONTNEED);
            stamp_all(first, count);
            end_change(first, count, true, true);
            sys(madvise, at, size, MADV_COLLAPSE);
            break;
        }
        // fall through
    case 8:
        fork_and_copy(first, count);
        break;
    default:
        stamp_all(first, count);
        break;
    }
}

// Lives for some changes, and ends one way or another. Nothing is true of its pages after that.
static inline void target_main(long changes, unsigned long random, const char *self)
{
    generation = truth->slots[0].newest;
    for (unsigned i = 0; i < SLOTS; i++)
        generation = truth->slots[i].newest > generation ? truth->slots[i].newest : generation;
    map_slots(0, SMALL, 0);
    map_slots(SMALL, LARGE, 0);
    stamp_all(0, SLOTS);
    end_change(0, SLOTS, true, true);
    STORE_RELEASE(&truth->ready, true);
    for (long i = 0; i < changes; i++)
        change_something(&random);
    begin_change(0, SLOTS);
    STORE_RELEASE(&truth->ended, true);
    ADD(&truth->failed, failures());
    switch (next_random(&random) % 3) {
    case 0: {
        const char *arguments[] = { self, "ended", NULL }, *environment[] = { NULL };
        sys(execve, "/proc/self/exe", arguments, environment);
        ADD(&truth->failed, 1);
        break;
    }
    case 1:
        sys(kill, process_id(), SIGKILL);
        break;
    }
    exit_group(0);
}
