// LOCK-prefixed operations from many threads lose nothing: atomics [THREADS] [ROUNDS].
#include "guest.h"
#include "guest/threads.h"

enum { MOST = 64 };

static int count;
static long rounds;
static barrier start_line;

static void run_all(thread_body body)
{
    thread *threads[MOST];
    start_line = (barrier){ .parties = (uint32_t)count };
    for (long i = 0; i < count; i++)
        threads[i] = thread_start(body, (void *)i);
    for (int i = 0; i < count; i++)
        thread_join(threads[i]);
}

static struct { uint8_t b; uint16_t w; uint32_t d; uint64_t q; } counters;
static uint64_t exchanged, compared, bit_set, unaligned_area[2], returned;

static void operate(void *argument)
{
    (void)argument;
    barrier_spin(&start_line);
    uint64_t token = 1;
    for (long i = 0; i < rounds; i++) {
        __asm__ volatile("lock incb %0" : "+m"(counters.b) : : "cc");
        __asm__ volatile("lock addw $3, %0" : "+m"(counters.w) : : "cc");
        __asm__ volatile("lock subl $-5, %0" : "+m"(counters.d) : : "cc");
        uint64_t one = 1;
        __asm__ volatile("lock xaddq %1, %0" : "+m"(counters.q), "+r"(one) : : "cc");
        __asm__ volatile("xchgq %1, %0" : "+m"(exchanged), "+r"(token));
        uint64_t old = LOAD(&compared);
        while (!__atomic_compare_exchange_n(&compared, &old, old + 2, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
        }
        __asm__ volatile("lock incl 3(%0)" : : "r"(unaligned_area) : "cc", "memory");
    }
    ADD(&returned, token);
}

static void check_counters(void)
{
    exchanged = 0;
    run_all(operate);
    uint64_t total = (uint64_t)count * (uint64_t)rounds;
    CHECK_EQ(counters.b, (uint8_t)total);
    CHECK_EQ(counters.w, (uint16_t)(total * 3));
    CHECK_EQ(counters.d, (uint32_t)(total * 5));
    CHECK_EQ(counters.q, total);
    CHECK_EQ(compared, total * 2);
    CHECK_EQ(exchanged + returned, count);
    uint32_t unaligned;
    memcpy(&unaligned, (char *)unaligned_area + 3, 4);
    CHECK_EQ(unaligned, total);
    passed("counters");
}

static void flip_bits(void *argument)
{
    long me = (long)argument;
    barrier_spin(&start_line);
    for (long i = 0; i < rounds * 2 + 1; i++)
        __asm__ volatile("lock btcq %1, %0" : "+m"(bit_set) : "r"(me) : "cc");
}

static void check_bits(void)
{
    bit_set = 0;
    run_all(flip_bits);
    CHECK_EQ(bit_set, count == 64 ? ~0ul : (1ul << count) - 1);
    passed("bit flips");
}

// A lock-free stack whose head is a pointer with a version: CMPXCHG16B.
typedef struct node { struct node *next; long value; } node;
static struct { node *first; uint64_t version; } __attribute__((aligned(16))) stack;

static bool exchange_head(node **first, uint64_t *version, node *fresh)
{
    bool done;
    __asm__ volatile("lock cmpxchg16b %1\n\tsete %0"
                     : "=q"(done), "+m"(stack), "+a"(*first), "+d"(*version)
                     : "b"(fresh), "c"(*version + 1)
                     : "cc", "memory");
    return done;
}

static void push(node *n)
{
    node *first = LOAD(&stack.first);
    uint64_t version = LOAD(&stack.version);
    do
        n->next = first;
    while (!exchange_head(&first, &version, n));
}

static node *pop(void)
{
    node *first = LOAD(&stack.first);
    uint64_t version = LOAD(&stack.version);
    do {
        if (!first)
            return NULL;
    } while (!exchange_head(&first, &version, LOAD(&first->next)));
    return first;
}

enum { NODES = 8 };
static node nodes[MOST][NODES];

static void shuffle(void *argument)
{
    long me = (long)argument;
    barrier_spin(&start_line);
    for (int i = 0; i < NODES; i++)
        push(&nodes[me][i]);
    for (long i = 0; i < rounds; i++) {
        node *a = pop(), *b = pop();
        if (a)
            push(a);
        if (b)
            push(b);
    }
}

static void check_stack(void)
{
    stack.first = NULL;
    for (int i = 0; i < count; i++)
        for (int j = 0; j < NODES; j++)
            nodes[i][j].value = 1;
    run_all(shuffle);
    long found = 0;
    for (node *n; (n = pop()); n->value = 0)
        found += n->value;
    CHECK_EQ(found, count * NODES);
    passed("double-width stack");
}

// CMPXCHG8B, and a 16-byte value whose halves must never be seen apart.
static uint64_t pair_area[2] __attribute__((aligned(16)));
static uint32_t stop;

static void read_pair(uint64_t *low, uint64_t *high)
{
    *low = *high = 0;
    __asm__ volatile("lock cmpxchg16b %2" : "+a"(*low), "+d"(*high), "+m"(pair_area) : "b"(0l), "c"(0l) : "cc", "memory");
}

static void keep_pair(void *argument)
{
    long me = (long)argument;
    barrier_spin(&start_line);
    if (me) {
        for (long i = 0; i < rounds; i++) {
            uint64_t low, high;
            read_pair(&low, &high);
            CHECK_EQ(high, ~low);
        }
        ADD(&stop, 1);
        return;
    }
    for (uint64_t value = 1; LOAD(&stop) < (uint32_t)count - 1; value++) {
        uint64_t low = LOAD(&pair_area[0]), high = ~low;
        __asm__ volatile("lock cmpxchg16b %2"
                         : "+a"(low), "+d"(high), "+m"(pair_area) : "b"(value), "c"(~value) : "cc", "memory");
    }
}

static void check_pair(void)
{
    pair_area[0] = 1;
    pair_area[1] = ~1ul;
    stop = 0;
    run_all(keep_pair);
    passed("no torn pair");
}

int main(int argc, char **argv, char **envp)
{
    (void)envp;
    count = (int)arg_number(argc, argv, 1, 4);
    rounds = arg_number(argc, argv, 2, 1000);
    REQUIRE(count >= 2 && count <= MOST);
    check_counters();
    check_bits();
    check_stack();
    check_pair();
    return report();
}
