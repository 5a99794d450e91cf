// Cancellation with clean-up handlers, asynchronous and deferred, detached threads, exit from the main thread, kill.
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static int cleaned, signalled;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static int ends[2];

static void clean(void *argument)
{
    __atomic_add_fetch(&cleaned, (int)(long)argument, __ATOMIC_SEQ_CST);
}

static void unlock(void *argument)
{
    pthread_mutex_unlock(argument);
}

static void *sleep_long(void *unused)
{
    pthread_cleanup_push(clean, (void *)1);
    sleep(1000);
    pthread_cleanup_pop(0);
    return unused;
}

static void *read_long(void *unused)
{
    char c;
    pthread_cleanup_push(clean, (void *)10);
    if (read(ends[0], &c, 1) < 0)
        return unused;
    pthread_cleanup_pop(0);
    return unused;
}

static void *wait_long(void *unused)
{
    pthread_cleanup_push(clean, (void *)100);
    pthread_mutex_lock(&mutex);
    pthread_cleanup_push(unlock, &mutex);
    for (;;)
        pthread_cond_wait(&condition, &mutex);
    pthread_cleanup_pop(1);
    pthread_cleanup_pop(1);
    return unused;
}

static void *test_cancel(void *unused)
{
    pthread_cleanup_push(clean, (void *)1000);
    for (;;)
        pthread_testcancel();
    pthread_cleanup_pop(1);
    return unused;
}

static void *spin_async(void *unused)
{
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    for (;;)
        __asm__ volatile("pause");
    return unused;
}

static void on_signal(int number)
{
    (void)number;
    signalled++;
}

static void *wait_signal(void *unused)
{
    while (!__atomic_load_n(&signalled, __ATOMIC_SEQ_CST))
        usleep(1000);
    return unused;
}

static void *brief(void *unused) { return unused; }

static pthread_t main_thread;

static void *last(void *unused)
{
    pthread_join(main_thread, NULL);
    printf("the main thread is gone\n");
    fflush(stdout);
    exit(6);
    return unused;
}

int main(void)
{
    void *(*bodies[])(void *) = { sleep_long, read_long, wait_long, test_cancel, spin_async };
    pthread_t threads[5];
    if (pipe(ends))
        return 1;
    for (int i = 0; i < 5; i++)
        pthread_create(&threads[i], NULL, bodies[i], NULL);
    usleep(10000);
    int cancelled = 0;
    for (int i = 0; i < 5; i++)
        pthread_cancel(threads[i]);
    for (int i = 0; i < 5; i++) {
        void *result;
        pthread_join(threads[i], &result);
        cancelled += result == PTHREAD_CANCELED;
    }
    printf("%d cancelled, clean-up adds to %d\n", cancelled, cleaned);

    signal(SIGUSR1, on_signal);
    pthread_t t;
    pthread_create(&t, NULL, wait_signal, NULL);
    pthread_kill(t, SIGUSR1);
    pthread_join(t, NULL);
    printf("signalled %d\n", signalled);

    struct timespec soon;
    clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_nsec += 2000000;
    soon.tv_sec += soon.tv_nsec / 1000000000;
    soon.tv_nsec %= 1000000000;
    pthread_mutex_lock(&mutex);
    printf("timed wait %d\n", pthread_cond_timedwait(&condition, &mutex, &soon) == ETIMEDOUT);
    pthread_mutex_unlock(&mutex);

    for (int round = 0; round < 20; round++) {
        pthread_t storm[16];
        for (int i = 0; i < 16; i++)
            if (pthread_create(&storm[i], NULL, brief, NULL))
                return puts("no thread"), 1;
        for (int i = 0; i < 16; i++)
            i % 2 ? pthread_detach(storm[i]) : pthread_join(storm[i], NULL);
    }
    puts("storm over");
    fflush(stdout);
    main_thread = pthread_self();
    pthread_create(&t, NULL, last, NULL);
    pthread_exit(NULL);
}
