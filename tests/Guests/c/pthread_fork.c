// fork in a process with threads, handlers around fork, robust and process-shared mutexes.
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct { pthread_mutex_t mutex; pthread_cond_t condition; int stage, died; } shared;

static int stop, prepared, in_parent, in_child;
static void prepare(void) { prepared++; }
static void parent(void) { in_parent++; }
static void child(void) { in_child++; }

static void *allocate(void *unused)
{
    while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST)) {
        void *p = malloc(100);
        memset(p, 1, 100);
        free(p);
        usleep(100);
    }
    return unused;
}

int main(void)
{
    pthread_t threads[3];
    pthread_atfork(prepare, parent, child);
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, allocate, NULL);
    int good = 0;
    for (int i = 0; i < 20; i++) {
        pid_t pid = fork();
        if (!pid) {
            char *p = malloc(5000);
            memset(p, 2, 5000);
            free(p);
            _exit(in_child == 1 ? i : 99);
        }
        int status;
        waitpid(pid, &status, 0);
        good += WIFEXITED(status) && WEXITSTATUS(status) == i;
    }
    __atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    printf("%d good forks, handlers %d %d %d\n", good, prepared, in_parent, in_child);

    shared *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_t ma;
    pthread_condattr_t ca;
    pthread_mutexattr_init(&ma);
    pthread_mutexattr_setpshared(&ma, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&ma, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&s->mutex, &ma);
    pthread_condattr_init(&ca);
    pthread_condattr_setpshared(&ca, PTHREAD_PROCESS_SHARED);
    pthread_cond_init(&s->condition, &ca);
    pid_t pid = fork();
    if (!pid) {
        pthread_mutex_lock(&s->mutex);
        while (s->stage != 1)
            pthread_cond_wait(&s->condition, &s->mutex);
        s->stage = 2;
        pthread_cond_signal(&s->condition);
        _exit(0);                           // with the mutex held
    }
    pthread_mutex_lock(&s->mutex);
    s->stage = 1;
    pthread_cond_signal(&s->condition);
    pthread_mutex_unlock(&s->mutex);
    waitpid(pid, NULL, 0);
    int result = pthread_mutex_lock(&s->mutex);
    printf("stage %d, owner died %d\n", s->stage, result == EOWNERDEAD);
    pthread_mutex_consistent(&s->mutex);
    printf("unlocked %d\n", pthread_mutex_unlock(&s->mutex));
    return 0;
}
