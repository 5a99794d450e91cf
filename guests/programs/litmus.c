// Litmus tests for x86-TSO (Sewell et al., "x86-TSO: a rigorous and usable programmer's model"): litmus [ITERATIONS].
// Outcomes that TSO forbids fail; how often the allowed ones occur is nobody's business and is not printed.
#include "guest.h"
#include "guest/threads.h"

enum { SLOTS = 256, PARTS = 4 };

typedef struct { uint32_t x; char pad1[60]; uint32_t y; char pad2[60]; } slot;
typedef struct { uint32_t r[2]; } seen;

typedef struct {
    const char *name;
    int parts;
    void (*run[PARTS])(slot *s, seen *r);
    bool (*forbidden)(const slot *s, const seen *r);
} litmus;

// Plain moves in a fixed order: the compiler may not reorder volatile accesses, and the processor's order is the subject.
#define X (*(volatile uint32_t *)&s->x)
#define Y (*(volatile uint32_t *)&s->y)
#define FENCE() __asm__ volatile("mfence" ::: "memory")
#define PART(name) static void name(slot *s, seen *r __attribute__((unused)))

// SB with fences: both threads cannot read 0.
PART(sb_fenced_0) { X = 1; FENCE(); r->r[0] = Y; }
PART(sb_fenced_1) { Y = 1; FENCE(); r->r[0] = X; }
static bool both_zero(const slot *s, const seen *r) { (void)s; return !r[0].r[0] && !r[1].r[0]; }

// SB with locked stores.
PART(sb_locked_0) { uint32_t v = 1; __asm__ volatile("xchg %0, %1" : "+r"(v), "+m"(s->x) : : "memory"); r->r[0] = Y; }
PART(sb_locked_1) { uint32_t v = 1; __asm__ volatile("xchg %0, %1" : "+r"(v), "+m"(s->y) : : "memory"); r->r[0] = X; }

// MP: stores in order, loads in order.
PART(mp_0) { X = 1; Y = 1; }
PART(mp_1) { r->r[0] = Y; r->r[1] = X; }
static bool passed_message(const slot *s, const seen *r) { (void)s; return r[1].r[0] && !r[1].r[1]; }

// LB: a load is not delayed past a later store.
PART(lb_0) { r->r[0] = X; Y = 1; }
PART(lb_1) { r->r[0] = Y; X = 1; }
static bool both_one(const slot *s, const seen *r) { (void)s; return r[0].r[0] && r[1].r[0]; }

// S: write order against a read and a write of another thread.
PART(s_0) { X = 2; Y = 1; }
PART(s_1) { r->r[0] = Y; X = 1; }
static bool s_forbidden(const slot *s, const seen *r) { return r[1].r[0] && s->x == 2; }

// 2+2W: the two orders of stores cannot form a cycle.
PART(w22_0) { X = 1; Y = 2; }
PART(w22_1) { Y = 1; X = 2; }
static bool w22_forbidden(const slot *s, const seen *r) { (void)r; return s->x == 1 && s->y == 1; }

// IRIW: two readers cannot disagree about the order of two independent stores.
PART(write_x) { X = 1; }
PART(write_y) { Y = 1; }
PART(iriw_2) { r->r[0] = X; r->r[1] = Y; }
PART(iriw_3) { r->r[0] = Y; r->r[1] = X; }
static bool iriw_forbidden(const slot *s, const seen *r)
{
    (void)s;
    return r[2].r[0] && !r[2].r[1] && r[3].r[0] && !r[3].r[1];
}

// WRC: causality is transitive.
PART(wrc_1) { r->r[0] = X; Y = 1; }
PART(wrc_2) { r->r[0] = Y; r->r[1] = X; }
static bool wrc_forbidden(const slot *s, const seen *r) { (void)s; return r[1].r[0] && r[2].r[0] && !r[2].r[1]; }

// n5: each thread sees its own store before the other's; they cannot both end with the other's.
PART(n5_0) { X = 1; r->r[0] = X; }
PART(n5_1) { X = 2; r->r[0] = X; }
static bool n5_forbidden(const slot *s, const seen *r) { (void)s; return r[0].r[0] == 2 && r[1].r[0] == 1; }

// n4b: a load then a store of the same place, twice.
PART(n4_0) { r->r[0] = X; X = 1; }
PART(n4_1) { r->r[0] = X; X = 2; }
static bool n4_forbidden(const slot *s, const seen *r) { (void)s; return r[0].r[0] == 2 && r[1].r[0] == 1; }

// CoRR: two loads of one place do not go back in time.
PART(corr_1) { r->r[0] = X; r->r[1] = X; }
static bool corr_forbidden(const slot *s, const seen *r) { (void)s; return r[1].r[0] && !r[1].r[1]; }

// n6 (allowed: store forwarding): listed so that it runs; only values nobody stored are wrong.
PART(n6_0) { X = 1; r->r[0] = X; r->r[1] = Y; }
PART(n6_1) { Y = 2; X = 2; }
static bool n6_forbidden(const slot *s, const seen *r)
{
    return (s->x != 1 && s->x != 2) || !r[0].r[0] || (r[0].r[1] != 0 && r[0].r[1] != 2);
}

// SB itself: every outcome is allowed but a value nobody stored.
PART(sb_0) { X = 1; r->r[0] = Y; }
PART(sb_1) { Y = 1; r->r[0] = X; }
static bool sb_forbidden(const slot *s, const seen *r) { (void)s; return r[0].r[0] > 1 || r[1].r[0] > 1; }

static const litmus tests[] = {
    { "SB", 2, { sb_0, sb_1 }, sb_forbidden },
    { "SB+mfences", 2, { sb_fenced_0, sb_fenced_1 }, both_zero },
    { "SB+xchgs", 2, { sb_locked_0, sb_locked_1 }, both_zero },
    { "MP", 2, { mp_0, mp_1 }, passed_message },
    { "LB", 2, { lb_0, lb_1 }, both_one },
    { "S", 2, { s_0, s_1 }, s_forbidden },
    { "2+2W", 2, { w22_0, w22_1 }, w22_forbidden },
    { "CoRR", 2, { write_x, corr_1 }, corr_forbidden },
    { "IRIW", 4, { write_x, write_y, iriw_2, iriw_3 }, iriw_forbidden },
    { "WRC", 3, { write_x, wrc_1, wrc_2 }, wrc_forbidden },
    { "n4", 2, { n4_0, n4_1 }, n4_forbidden },
    { "n5", 2, { n5_0, n5_1 }, n5_forbidden },
    { "n6", 2, { n6_0, n6_1 }, n6_forbidden },
};

static const litmus *test;
static slot slots[SLOTS];
static seen results[SLOTS][PARTS];
static barrier gate;
static long batches;

static void take_part(void *argument)
{
    long me = (long)argument;
    for (long batch = 0; batch < batches; batch++) {
        barrier_spin(&gate);
        // Each thread starts elsewhere in the batch by a little, so that they meet in varying phases.
        for (int i = 0; i < SLOTS; i++) {
            int at = (i + (int)(me * (batch % 4))) % SLOTS;
            test->run[me](&slots[at], &results[at][me]);
        }
        barrier_spin(&gate);
        if (me)
            continue;
        for (int i = 0; i < SLOTS; i++)
            CHECK(!test->forbidden(&slots[i], results[i]));
        memset(slots, 0, sizeof slots);
        memset(results, 0, sizeof results);
    }
}

int main(int argc, char **argv, char **envp)
{
    (void)envp;
    batches = (arg_number(argc, argv, 1, 5000) + SLOTS - 1) / SLOTS;
    for (size_t i = 0; i < COUNT_OF(tests); i++) {
        test = &tests[i];
        gate = (barrier){ .parties = (uint32_t)test->parts };
        thread *threads[PARTS];
        for (long part = 0; part < test->parts; part++)
            threads[part] = thread_start(take_part, (void *)part);
        for (int part = 0; part < test->parts; part++)
            thread_join(threads[part]);
        passed(test->name);
    }
    return report();
}
