// Threads use memory of every kind while its pages are moved under them, where the kernel lets us ask for that.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, PAGES = 24, THREADS = 4, ROUNDS = 400, MOVES = 60 };

static char *private_memory, *shared_memory, *file_memory, *file_view;
static atomic_int running;
static int wrong;

static atomic_int *word(char *memory, int page) { return (atomic_int *)(memory + page * PAGE); }

// A number that is computed by code whose pages move, too.
static unsigned hash(unsigned x)
{
    x ^= x >> 16, x *= 0x7feb352d, x ^= x >> 15, x *= 0x846ca68b;
    return x ^ x >> 16;
}

static void *work(void *argument)
{
    int self = (int)(long)argument;
    for (int round = 0; round < ROUNDS; round++)
        for (int page = 0; page < PAGES; page++) {
            atomic_fetch_add(word(private_memory, page), 1);
            atomic_fetch_add(word(shared_memory, page), 1);
            atomic_fetch_add(word(file_memory, page), 1);
            unsigned *own = (unsigned *)(private_memory + page * PAGE + 64 * (1 + self));
            if (*own != (round ? hash(round - 1 + self) : 0))
                wrong++;
            *own = hash(round + self);
        }
    atomic_fetch_sub(&running, 1);
    return NULL;
}

static void move_pages_about(void)
{
    int fd = open("/proc/sys/vm/compact_memory", O_WRONLY);
    if (fd < 0)
        return;
    for (int i = 0; i < MOVES; i++)
        if (write(fd, "1", 1) != 1)
            break;
    close(fd);
}

static long sum(char *memory)
{
    long total = 0;
    for (int page = 0; page < PAGES; page++)
        total += *word(memory, page);
    return total;
}

int main(void)
{
    int fd = memfd_create("moved", 0);
    if (ftruncate(fd, PAGES * PAGE))
        return 1;
    private_memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    shared_memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    file_memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    file_view = mmap(NULL, PAGES * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    pthread_t threads[THREADS];
    running = THREADS;
    for (long i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, work, (void *)i);

    // A child shares the private pages until somebody writes; what it sees must not change any more.
    pid_t child = fork();
    if (child == 0) {
        static int before[PAGES];
        for (int page = 0; page < PAGES; page++)
            before[page] = *word(private_memory, page);
        move_pages_about();
        int changed = 0;
        for (int page = 0; page < PAGES; page++)
            changed += before[page] != *word(private_memory, page);
        for (int page = 0; page < PAGES; page += 2)
            *word(private_memory, page) = -1;
        _exit(changed);
    }
    while (atomic_load(&running) > 0)
        move_pages_about();
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    int status;
    waitpid(child, &status, 0);
    printf("child %d, wrong %d\n", status, wrong);
    printf("private %ld, shared %ld, file %ld, view %ld\n", sum(private_memory), sum(shared_memory), sum(file_memory), sum(file_view));

    char text[32] = {0};
    pwrite(fd, "written", 7, 100);
    move_pages_about();
    pread(fd, text, sizeof text - 1, 100);
    printf("%s, %s\n", text, file_view + 100);
    return 0;
}
