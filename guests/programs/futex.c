// The futex operations one by one, with their errno values, and robust lists.
#include "guest.h"
#include "guest/signals.h"
#include "guest/threads.h"

enum { MILLISECOND = 1000000 };

static uint32_t word, other;

static long op(uint32_t *at, int operation, uint32_t value, long fourth, uint32_t *second, uint32_t third)
{
    return sys(futex, at, operation, value, fourth, second, third);
}

static void check_errors(void)
{
    struct __kernel_timespec soon = { 0, MILLISECOND }, bad = { 0, 1000000000 }, negative = { -1, 0 };
    word = 1;
    CHECK_EQ(op(&word, FUTEX_WAIT, 0, 0, 0, 0), -EAGAIN);
    CHECK_EQ(op(&word, FUTEX_WAIT, 1, (long)&soon, 0, 0), -ETIMEDOUT);
    CHECK_EQ(op(&word, FUTEX_WAIT_PRIVATE, 1, (long)&soon, 0, 0), -ETIMEDOUT);
    CHECK_EQ(op(&word, FUTEX_WAIT, 1, (long)&bad, 0, 0), -EINVAL);
    CHECK_EQ(op(&word, FUTEX_WAIT, 1, (long)&negative, 0, 0), -EINVAL);
    CHECK_EQ(op((uint32_t *)((char *)&word + 1), FUTEX_WAIT, 1, 0, 0, 0), -EINVAL);
    CHECK_EQ(op((uint32_t *)8, FUTEX_WAIT, 1, 0, 0, 0), -EFAULT);
    CHECK_EQ(op(&word, FUTEX_WAIT_BITSET, 1, (long)&soon, 0, 0), -EINVAL);
    CHECK_EQ(op(&word, FUTEX_WAKE_BITSET, 1, 0, 0, 0), -EINVAL);
    CHECK_EQ(op(&word, 63, 1, 0, 0, 0), -ENOSYS);
    CHECK_EQ(op(&word, FUTEX_CMP_REQUEUE, 1, 1, &other, 5), -EAGAIN);
    CHECK_EQ(op(&word, FUTEX_WAKE, 10, 0, 0, 0), 0);
    struct __kernel_timespec past = { 1, 0 };
    CHECK_EQ(op(&word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 1, (long)&past, 0, 1), -ETIMEDOUT);
    CHECK_EQ(op(&word, FUTEX_WAIT_BITSET, 1, (long)&past, 0, ~0u), -ETIMEDOUT);
    passed("errors");
}

typedef struct { uint32_t *at, bitset; long result; uint32_t ready; } waiter;

static void wait_bitset(void *argument)
{
    waiter *w = argument;
    ADD(&w->ready, 1);
    w->result = op(w->at, FUTEX_WAIT_BITSET, 0, 0, 0, w->bitset);
}

// A waiter can only be counted once it sleeps, so wakers repeat until they have woken as many as they want.
static long wake_until(uint32_t *at, long wanted, uint32_t bitset)
{
    long woken = 0;
    while (woken < wanted) {
        woken += op(at, FUTEX_WAKE_BITSET, (uint32_t)(wanted - woken), 0, 0, bitset);
        thread_yield();
    }
    return woken;
}

static void check_bitset(void)
{
    word = 0;
    waiter w[4];
    thread *t[4];
    for (int i = 0; i < 4; i++) {
        w[i] = (waiter){ &word, 1u << i, -1, 0 };
        t[i] = thread_start(wait_bitset, &w[i]);
    }
    CHECK_EQ(wake_until(&word, 1, 4), 1);
    thread_join(t[2]);
    CHECK_EQ(w[2].result, 0);
    CHECK_EQ(op(&word, FUTEX_WAKE_BITSET, 10, 0, 0, 4), 0);
    CHECK_EQ(wake_until(&word, 3, ~0u), 3);
    for (int i = 0; i < 4; i++)
        if (i != 2)
            thread_join(t[i]);
    CHECK_EQ(w[0].result | w[1].result | w[3].result, 0);
    passed("bitset");
}

static void check_requeue(void)
{
    word = 0;
    other = 0;
    waiter w[4];
    thread *t[4];
    for (int i = 0; i < 4; i++) {
        w[i] = (waiter){ &word, ~0u, -1, 0 };
        t[i] = thread_start(wait_bitset, &w[i]);
    }
    long moved = 0;
    while (moved < 4) {
        moved += op(&word, FUTEX_CMP_REQUEUE, 0, 4, &other, 0);
        thread_yield();
    }
    CHECK_EQ(moved, 4);
    CHECK_EQ(op(&word, FUTEX_WAKE, 10, 0, 0, 0), 0);
    CHECK_EQ(op(&other, FUTEX_WAKE, 1, 0, 0, 0), 1);
    CHECK_EQ(op(&other, FUTEX_REQUEUE, 1, 1, &word, 0), 2);
    CHECK_EQ(op(&other, FUTEX_WAKE, 10, 0, 0, 0), 1);
    CHECK_EQ(op(&word, FUTEX_WAKE, 10, 0, 0, 0), 1);
    for (int i = 0; i < 4; i++) {
        thread_join(t[i]);
        CHECK_EQ(w[i].result, 0);
    }
    passed("requeue");
}

static void check_wake_op(void)
{
    word = 0;
    other = 5;
    // other = other + 3; wake waiters on the second word if its old value was 5.
    uint32_t encoded = (uint32_t)FUTEX_OP(FUTEX_OP_ADD, 3, FUTEX_OP_CMP_EQ, 5);
    CHECK_EQ(op(&word, FUTEX_WAKE_OP, 1, 1, &other, encoded), 0);
    CHECK_EQ(other, 8);
    encoded = (uint32_t)FUTEX_OP(FUTEX_OP_SET, 0, FUTEX_OP_CMP_NE, 8);
    CHECK_EQ(op(&word, FUTEX_WAKE_OP, 1, 1, &other, encoded), 0);
    CHECK_EQ(other, 0);
    encoded = (uint32_t)FUTEX_OP((FUTEX_OP_OR | FUTEX_OP_OPARG_SHIFT), 4, FUTEX_OP_CMP_LT, 1);
    CHECK_EQ(op(&word, FUTEX_WAKE_OP, 1, 1, &other, encoded), 0);
    CHECK_EQ(other, 16);
    passed("wake op");
}

// Between processes a futex is named by its page, not by its address.
static int wait_in_child(void *argument)
{
    uint32_t *shared = argument;
    ADD(shared + 1, 1);
    while (LOAD_ACQUIRE(shared) == 0)
        futex_wait(shared, 0, NULL);
    return 5;
}

static void check_shared(void)
{
    uint32_t *shared = (uint32_t *)mmap6(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    long child = sys(fork);
    if (!child)
        exit_group(wait_in_child(shared));
    while (!LOAD_ACQUIRE(shared + 1))
        thread_yield();
    STORE_RELEASE(shared, 1);
    futex_wake(shared, 1);
    int status = 0;
    CHECK_EQ(sys(wait4, child, &status, 0, NULL), child);
    CHECK_EQ(status, EXITED(5));
    sys(munmap, shared, PAGE);
    passed("shared between processes");
}

typedef struct { struct robust_list list; uint32_t lock; } robust_lock;
static robust_lock robust;
static struct robust_list_head head;

static void die_holding(void *argument)
{
    (void)argument;
    head.list.next = &robust.list;
    head.futex_offset = (long)offsetof(robust_lock, lock);
    head.list_op_pending = NULL;
    robust.list.next = &head.list;
    CHECK_EQ(sys(set_robust_list, &head, sizeof head), 0);
    STORE(&robust.lock, (uint32_t)thread_id() | FUTEX_WAITERS);
}

static void check_robust(void)
{
    CHECK_EQ(sys(set_robust_list, &head, 1), -EINVAL);
    thread_join(thread_start(die_holding, NULL));
    CHECK_EQ(robust.lock & FUTEX_OWNER_DIED, FUTEX_OWNER_DIED);
    CHECK_EQ(robust.lock & FUTEX_TID_MASK, 0);
    passed("robust list");
}

static void interrupt(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info, (void)context;
}

static uint32_t sleeping, sleeper_tid;
static long sleeper_result;

static void sleep_interruptibly(void *argument)
{
    (void)argument;
    STORE_RELEASE(&sleeper_tid, (uint32_t)thread_id());
    struct __kernel_timespec long_time = { 60, 0 };
    sleeper_result = futex_wait(&sleeping, 0, &long_time);
    STORE_RELEASE(&sleeping, 1);
}

static void check_interrupt(void)
{
    signal_handle(SIGUSR1, interrupt, 0, 0);
    thread *t = thread_start(sleep_interruptibly, NULL);
    while (!LOAD_ACQUIRE(&sleeper_tid))
        thread_yield();
    while (!LOAD_ACQUIRE(&sleeping)) {
        sys(tgkill, process_id(), LOAD(&sleeper_tid), SIGUSR1);
        struct __kernel_timespec pause = { 0, MILLISECOND };
        sys(nanosleep, &pause, NULL);
    }
    thread_join(t);
    CHECK_EQ(sleeper_result, -EINTR);
    passed("interrupted by a signal");
}

static uint32_t several[3];
static long several_result;

static struct futex_waitv entry(uint32_t *at, uint32_t value)
{
    return (struct futex_waitv){ .uaddr = (uint64_t)at, .val = value, .flags = FUTEX_32 | FUTEX_PRIVATE_FLAG };
}

static void wait_for_any(void *argument)
{
    (void)argument;
    struct futex_waitv waits[3] = { entry(&several[0], 0), entry(&several[1], 0), entry(&several[2], 0) };
    several_result = sys(futex_waitv, waits, 3, 0, NULL, 1);
}

static void check_waitv(void)
{
    struct futex_waitv waits[2] = { entry(&several[0], 0), entry(&several[1], 1) };
    struct __kernel_timespec past = { 1, 0 };
    CHECK_EQ(sys(futex_waitv, waits, 2, 0, NULL, 1), -EAGAIN);
    CHECK_EQ(sys(futex_waitv, waits, 1, 0, &past, 1), -ETIMEDOUT);
    CHECK_EQ(sys(futex_waitv, waits, 1, 0, &past, 0), -ETIMEDOUT);
    CHECK_EQ(sys(futex_waitv, waits, 1, 0, &past, 7), -EINVAL);
    CHECK_EQ(sys(futex_waitv, waits, 0, 0, NULL, 1), -EINVAL);
    CHECK_EQ(sys(futex_waitv, waits, 129, 0, NULL, 1), -EINVAL);
    CHECK_EQ(sys(futex_waitv, waits, 1, 1, NULL, 1), -EINVAL);
    CHECK_EQ(sys(futex_waitv, NULL, 1, 0, NULL, 1), -EINVAL);
    CHECK_EQ(sys(futex_waitv, 8, 1, 0, NULL, 1), -EFAULT);
    waits[0].flags |= 64;
    CHECK_EQ(sys(futex_waitv, waits, 1, 0, NULL, 1), -EINVAL);
    waits[0] = entry((uint32_t *)((char *)several + 1), 0);
    CHECK_EQ(sys(futex_waitv, waits, 1, 0, NULL, 1), -EINVAL);
    for (int i = 0; i < 3; i++) {
        thread *t = thread_start(wait_for_any, NULL);
        while (op(&several[i], FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, 0, NULL, 0) != 1)
            thread_yield();
        thread_join(t);
        CHECK_EQ(several_result, i);
        CHECK_EQ(op(&several[(i + 1) % 3], FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, 0, NULL, 0), 0);
    }
    passed("several at once");
}

int main(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv, (void)envp;
    check_errors();
    check_bitset();
    check_requeue();
    check_wake_op();
    check_shared();
    check_robust();
    check_interrupt();
    check_waitv();
    return report();
}
