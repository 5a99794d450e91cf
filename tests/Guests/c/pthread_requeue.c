/* Futexes that pass waiters on to a lock with priority inheritance. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { FUTEX_WAKE = 1, FUTEX_CMP_REQUEUE = 4, FUTEX_LOCK_PI = 6, FUTEX_UNLOCK_PI = 7, FUTEX_WAIT_REQUEUE_PI = 11, FUTEX_CMP_REQUEUE_PI = 12,
    FUTEX_PRIVATE_FLAG = 128, FUTEX_CLOCK_REALTIME = 256, FUTEX_TID_MASK = 0x3fffffff };

#define THREADS 5

static uint32_t condition, other, lock;
static int entered, inside, worst, failed;

static long futex(uint32_t *word, int op, uint32_t value, void *timeout, uint32_t *second, uint32_t value3)
{
    long r = syscall(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, value, timeout, second, value3);
    return r < 0 ? -errno : r;
}

static const char *name_of(long r)
{
    return r == -EINVAL ? "EINVAL" : r == -EAGAIN ? "EAGAIN" : r == -ETIMEDOUT ? "ETIMEDOUT" : r == -EDEADLK ? "EDEADLK" : r == -EPERM ? "EPERM" : r < 0 ? strerror((int)-r) : "";
}

#define T(call) do { long r_ = (call); printf("%-78s %ld %s\n", #call, r_ < 0 ? -1 : r_, name_of(r_)); } while (0)

static uint32_t self(void) { return (uint32_t)syscall(SYS_gettid); }

static void take(void)
{
    uint32_t zero = 0;
    if (!__atomic_compare_exchange_n(&lock, &zero, self(), 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED) && futex(&lock, FUTEX_LOCK_PI, 0, 0, 0, 0) != 0)
        failed++;
}

static void give(void)
{
    uint32_t mine = self();
    if (!__atomic_compare_exchange_n(&lock, &mine, 0, 0, __ATOMIC_RELEASE, __ATOMIC_RELAXED) && futex(&lock, FUTEX_UNLOCK_PI, 0, 0, 0, 0) != 0)
        failed++;
}

static void *wait_and_own(void *unused)
{
    uint32_t seen = __atomic_load_n(&condition, __ATOMIC_RELAXED);
    long r;
    while ((r = futex(&condition, FUTEX_WAIT_REQUEUE_PI, seen, 0, &lock, 0)) == -EAGAIN) {
    }
    /* The lock is ours now, without another call. */
    if (r != 0 || (__atomic_load_n(&lock, __ATOMIC_RELAXED) & FUTEX_TID_MASK) != self())
        failed++;
    if (++inside > worst)
        worst = inside;
    entered++;
    for (volatile int i = 0; i < 1000; i++) {
    }
    inside--;
    give();
    return unused;
}

static void all(int locked)
{
    pthread_t threads[THREADS];
    long moved = 0;
    entered = worst = 0;
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], 0, wait_and_own, 0);
    if (locked)
        take();
    while (moved < THREADS) {
        long r = futex(&condition, FUTEX_CMP_REQUEUE_PI, 1, (void *)(long)THREADS, &lock, condition);
        if (r < 0) {
            printf("requeue: %s\n", name_of(r));
            break;
        }
        moved += r;
    }
    if (locked) {
        printf("none entered while it is locked: %d\n", entered == 0);
        give();
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], 0);
    printf("%d entered, at most %d at once, moved %ld, lock %u, failed %d\n", entered, worst, moved, lock, failed);
}

static void refusals(void)
{
    struct timespec past = { 1, 0 }, invalid = { 1, 1000000000 };
    T(futex(&condition, FUTEX_WAIT_REQUEUE_PI, condition + 1, 0, &lock, 0));
    T(futex(&condition, FUTEX_WAIT_REQUEUE_PI, condition, 0, &condition, 0));
    T(futex(&condition, FUTEX_WAIT_REQUEUE_PI, condition, &past, &lock, 0));
    T(futex(&condition, FUTEX_WAIT_REQUEUE_PI | FUTEX_CLOCK_REALTIME, condition, &past, &lock, 0));
    T(futex(&condition, FUTEX_WAIT_REQUEUE_PI, condition, &invalid, &lock, 0));
    T(futex(&condition, FUTEX_CMP_REQUEUE_PI, 1, (void *)1L, &lock, condition));
    T(futex(&condition, FUTEX_CMP_REQUEUE_PI, 2, (void *)1L, &lock, condition));
    T(futex(&condition, FUTEX_CMP_REQUEUE_PI, 0, (void *)1L, &lock, condition));
    T(futex(&condition, FUTEX_CMP_REQUEUE_PI, 1, (void *)-1L, &lock, condition));
    T(futex(&condition, FUTEX_CMP_REQUEUE_PI, 1, (void *)1L, &condition, condition));
    T(futex(&condition, FUTEX_CMP_REQUEUE_PI, 1, (void *)1L, &lock, condition + 1));
    printf("lock %u\n", lock);
}

/* Whoever waits to be moved is for no other operation, and to be moved to no other lock. */
static void mixed(void)
{
    pthread_t thread;
    long r;
    pthread_create(&thread, 0, wait_and_own, 0);
    while ((r = futex(&condition, FUTEX_WAKE, 1, 0, 0, 0)) == 0) {
    }
    printf("wake: %s\n", name_of(r));
    T(futex(&condition, FUTEX_CMP_REQUEUE, 1, (void *)1L, &other, condition));
    T(futex(&condition, FUTEX_CMP_REQUEUE_PI, 1, (void *)1L, &other, condition));
    T(futex(&condition, FUTEX_CMP_REQUEUE_PI, 1, (void *)0L, &lock, condition));
    pthread_join(thread, 0);
    printf("failed %d, lock %u\n", failed, lock);
}

int main(void)
{
    refusals();
    all(0);
    all(1);
    mixed();
    return 0;
}
