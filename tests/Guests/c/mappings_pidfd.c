/* Processes by descriptor: made with one, and memory advised through one. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x1000
#endif
#ifndef SYS_clone3
#define SYS_clone3 435
#endif
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#define P 4096UL
#define COLD 20
#define PAGEOUT 21

struct arguments { uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup; };

static void show(const char *what, long r) { printf("%-80s %ld %s\n", what, r < 0 ? -1 : r, r < 0 ? strerror(errno) : ""); fflush(stdout); }
#define T(call) do { errno = 0; show(#call, (long)(call)); } while (0)

static void end_of(int fd, pid_t child)
{
    struct pollfd poll_fd = { fd, POLLIN, 0 };
    int status = -1;
    T(fcntl(fd, F_GETFD));
    T(poll(&poll_fd, 1, 20000));
    printf("revents %d\n", poll_fd.revents);
    printf("the child's own: %d\n", waitpid(child, &status, 0) == child);
    printf("status %x\n", status);
    T(syscall(SYS_pidfd_send_signal, fd, 0, 0, 0));
    close(fd);
}

static void cloned(void)
{
    int fd = -1;
    long child = syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, &fd, 0, 0);
    if (child == 0)
        _exit(fcntl(3, F_GETFD) < 0 ? 7 : 8); /* the descriptor is the parent's alone */
    printf("clone: %d, descriptor %d\n", child > 0, fd);
    end_of(fd, (pid_t)child);

    struct arguments a = { .flags = CLONE_PIDFD, .pidfd = (uintptr_t)&fd, .exit_signal = SIGCHLD };
    fd = -1;
    child = syscall(SYS_clone3, &a, sizeof a);
    if (child == 0) {
        pause();
        _exit(9);
    }
    printf("clone3: %d, descriptor %d\n", child > 0, fd);
    T(syscall(SYS_pidfd_send_signal, fd, SIGKILL, 0, 0));
    end_of(fd, (pid_t)child);

    T(syscall(SYS_clone, CLONE_PIDFD | CLONE_PARENT_SETTID | SIGCHLD, 0, &fd, 0, 0));
    T(syscall(SYS_clone, CLONE_PIDFD | CLONE_DETACHED | SIGCHLD, 0, &fd, 0, 0));
    T(syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, 16, 0, 0));
    a.parent_tid = a.pidfd;
    a.flags |= CLONE_PARENT_SETTID;
    T(syscall(SYS_clone3, &a, sizeof a));
    T(waitpid(-1, 0, WNOHANG));
    printf("next descriptor %d\n", dup(1));
}

static void advised(void)
{
    int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    char *p = mmap(0, 16 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(p, 5, 16 * P);
    struct iovec ranges[3] = { { p, 4 * P }, { p + 8 * P, 4 * P }, { p + 12 * P, P } }, hole[2] = { { p, P }, { p + 16 * P, P } }, odd = { p + 1, P };
    T(syscall(SYS_process_madvise, fd, ranges, 3, COLD, 0));
    T(syscall(SYS_process_madvise, fd, ranges, 2, PAGEOUT, 0));
    T(syscall(SYS_process_madvise, fd, ranges, 1, MADV_WILLNEED, 0));
    T(syscall(SYS_process_madvise, fd, ranges, 0, COLD, 0));
    munmap(p + 15 * P, P);
    mmap(p + 15 * P, P, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    munmap(p + 15 * P, P);
    hole[1].iov_base = p + 15 * P;
    T(syscall(SYS_process_madvise, fd, hole, 2, COLD, 0));
    T(syscall(SYS_process_madvise, fd, hole + 1, 1, COLD, 0));
    T(syscall(SYS_process_madvise, fd, &odd, 1, COLD, 0));
    T(syscall(SYS_process_madvise, fd, ranges, 1, COLD, 1));
    T(syscall(SYS_process_madvise, fd, ranges, 1, 99, 0));
    T(syscall(SYS_process_madvise, fd, ranges, 2000, COLD, 0));
    T(syscall(SYS_process_madvise, fd, 16, 1, COLD, 0));
    T(syscall(SYS_process_madvise, 1, ranges, 1, COLD, 0));
    T(syscall(SYS_process_madvise, -1, ranges, 1, COLD, 0));
    long sum = 0;
    for (unsigned long i = 0; i < 15 * P; i++)
        sum += p[i];
    printf("sum %ld\n", sum);
    close(fd);
}

int main(void)
{
    setvbuf(stdout, 0, _IONBF, 0);
    cloned();
    advised();
    return 0;
}
