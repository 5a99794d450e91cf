// Mutexes under contention, condition-variable ping-pong, barriers, TLS, and thread-exit storms: threads [COUNT].
#include "guest.h"
#include "guest/signals.h"
#include "guest/threads.h"

enum { MOST = 64 };

static int count;
static thread *threads[MOST];
static __thread long own = 42;
static __thread char own_zeroes[100];

static void run_all(thread_body body)
{
    for (long i = 0; i < count; i++)
        threads[i] = thread_start(body, (void *)i);
    for (int i = 0; i < count; i++)
        thread_join(threads[i]);
}

static mutex shared_mutex;
static volatile long unprotected;
enum { ROUNDS = 400 };

static void contend(void *argument)
{
    (void)argument;
    for (int i = 0; i < ROUNDS; i++) {
        mutex_lock(&shared_mutex);
        long seen = unprotected;
        if (i % 64 == 0)
            thread_yield();
        unprotected = seen + 1;
        mutex_unlock(&shared_mutex);
    }
}

static void check_mutex(void)
{
    unprotected = 0;
    run_all(contend);
    CHECK_EQ(unprotected, (long)count * ROUNDS);
    CHECK(mutex_try_lock(&shared_mutex));
    CHECK(!mutex_try_lock(&shared_mutex));
    mutex_unlock(&shared_mutex);
    passed("mutex contention");
}

static mutex turn_mutex;
static condition turn_changed;
static long turn, turns_taken;

static void take_turns(void *argument)
{
    long me = (long)argument;
    for (int i = 0; i < 50; i++) {
        mutex_lock(&turn_mutex);
        while (turn != me)
            condition_wait(&turn_changed, &turn_mutex);
        turn = (me + 1) % count;
        turns_taken++;
        condition_broadcast(&turn_changed);
        mutex_unlock(&turn_mutex);
    }
}

static void check_turns(void)
{
    turn = turns_taken = 0;
    run_all(take_turns);
    CHECK_EQ(turns_taken, count * 50L);
    passed("condition ping-pong");
}

enum { QUEUE = 8, ITEMS = 300 };
static mutex queue_mutex;
static condition not_full, not_empty;
static long queue[QUEUE], queue_head, queue_size, consumed_sum, consumed;

static void produce_or_consume(void *argument)
{
    long me = (long)argument;
    for (long i = 0; i < ITEMS; i++) {
        mutex_lock(&queue_mutex);
        if (me % 2 == 0) {
            while (queue_size == QUEUE)
                condition_wait(&not_full, &queue_mutex);
            queue[(queue_head + queue_size++) % QUEUE] = me * ITEMS + i;
            condition_signal(&not_empty);
        } else {
            while (queue_size == 0)
                condition_wait(&not_empty, &queue_mutex);
            consumed_sum += queue[queue_head];
            consumed++;
            queue_head = (queue_head + 1) % QUEUE;
            queue_size--;
            condition_signal(&not_full);
        }
        mutex_unlock(&queue_mutex);
    }
}

static void check_queue(void)
{
    int saved = count;
    count &= ~1;
    consumed = consumed_sum = queue_size = 0;
    run_all(produce_or_consume);
    long want = 0;
    for (long me = 0; me < count; me += 2)
        for (long i = 0; i < ITEMS; i++)
            want += me * ITEMS + i;
    CHECK_EQ(consumed_sum, want);
    CHECK_EQ(consumed, count / 2 * ITEMS);
    count = saved;
    passed("bounded queue");
}

static barrier meeting;
static long phase_counts[100];

static void meet(void *argument)
{
    (void)argument;
    for (int phase = 0; phase < 60; phase++) {
        ADD(&phase_counts[phase], 1);
        barrier_wait(&meeting);
        CHECK_EQ(LOAD(&phase_counts[phase]), count);
        if (phase + 1 < 60)
            CHECK(LOAD(&phase_counts[phase + 1]) <= count);
        barrier_wait(&meeting);
    }
}

static void check_barrier(void)
{
    memset(phase_counts, 0, sizeof phase_counts);
    meeting = (barrier){ .parties = (uint32_t)count };
    run_all(meet);
    passed("barriers");
}

static void use_tls(void *argument)
{
    CHECK_EQ(own, 42);
    for (size_t i = 0; i < sizeof own_zeroes; i++)
        CHECK_EQ(own_zeroes[i], 0);
    own = (long)argument;
    memset(own_zeroes, (int)own, sizeof own_zeroes);
    thread_yield();
    CHECK_EQ(own, (long)argument);
    CHECK_EQ(own_zeroes[99], (char)own);
}

static void check_tls(void)
{
    own = -1;
    run_all(use_tls);
    CHECK_EQ(own, -1);
    passed("thread-local storage");
}

static long exits;

static void exit_at_once(void *argument)
{
    (void)argument;
    ADD(&exits, 1);
}

static void spawn_more(void *argument)
{
    (void)argument;
    for (int i = 0; i < 5; i++)
        thread_join(thread_start(exit_at_once, NULL));
}

static void check_exit_storm(void)
{
    exits = 0;
    for (int round = 0; round < 6; round++)
        run_all(exit_at_once);
    run_all(spawn_more);
    CHECK_EQ(exits, 11L * count);
    passed("exit storm");
}

static void sleep_for_ever(void *argument)
{
    (void)argument;
    static uint32_t never;
    for (;;)
        futex_wait(&never, 0, NULL);
}

static int end_with_sleepers(void *argument)
{
    (void)argument;
    for (int i = 0; i < count; i++)
        thread_start(sleep_for_ever, NULL);
    return 7;
}

static void end_group(void *argument)
{
    (void)argument;
    exit_group(9);
}

static int end_by_other_thread(void *argument)
{
    (void)argument;
    thread_start(end_group, NULL);
    sleep_for_ever(NULL);
    return 0;
}

static uint32_t leader_gone;

static void outlive_leader(void *argument)
{
    (void)argument;
    while (!LOAD_ACQUIRE(&leader_gone))
        thread_yield();
    exit_group(11);
}

static int end_leader_first(void *argument)
{
    (void)argument;
    thread_start(outlive_leader, NULL);
    STORE_RELEASE(&leader_gone, 1);
    sys(exit, 3);
    return 0;
}

static void check_group_exit(void)
{
    CHECK_EQ(status_of_child(end_with_sleepers, NULL), 7 << 8);
    CHECK_EQ(status_of_child(end_by_other_thread, NULL), 9 << 8);
    CHECK_EQ(status_of_child(end_leader_first, NULL), 11 << 8);
    passed("group exit");
}

int main(int argc, char **argv, char **envp)
{
    (void)envp;
    count = (int)arg_number(argc, argv, 1, 4);
    REQUIRE(count >= 2 && count <= MOST);
    check_mutex();
    check_turns();
    check_queue();
    check_barrier();
    check_tls();
    check_exit_storm();
    check_group_exit();
    return report();
}
