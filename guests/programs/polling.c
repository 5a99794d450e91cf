// poll, select, epoll, eventfd, signalfd, timerfd: what becomes ready and in which order, never how fast.
#include "guest.h"
#include "guest/signals.h"
#include "guest/threads.h"

#include <asm/poll.h>
#include <linux/eventpoll.h>
#include <linux/signalfd.h>
#include <linux/timerfd.h>

enum { EFD_SEMAPHORE = 1, EFD_NONBLOCK = O_NONBLOCK };

static void check_poll(void)
{
    int ends[2];
    sys(pipe2, ends, O_NONBLOCK);
    struct pollfd p[3] = { { ends[0], POLLIN, 0 }, { ends[1], POLLOUT, 0 }, { -1, POLLIN, 0 } };
    CHECK_EQ(sys(poll, p, 3, 0), 1);
    CHECK_EQ(p[0].revents, 0);
    CHECK_EQ(p[1].revents, POLLOUT);
    CHECK_EQ(p[2].revents, 0);
    sys(write, ends[1], "x", 1);
    CHECK_EQ(sys(poll, p, 2, -1), 2);
    CHECK_EQ(p[0].revents, POLLIN);
    sys(close, ends[1]);
    CHECK_EQ(sys(poll, p, 2, -1), 2);
    CHECK_EQ(p[0].revents, POLLIN | POLLHUP);
    CHECK_EQ(p[1].revents, POLLNVAL);
    char c;
    sys(read, ends[0], &c, 1);
    CHECK_EQ(sys(poll, p, 1, 0), 1);
    CHECK_EQ(p[0].revents, POLLHUP);
    sys(close, ends[0]);
    CHECK_EQ(sys(poll, NULL, 0, 1), 0);
    CHECK_EQ(sys(poll, 8, 1, 0), -EFAULT);
    passed("poll");
}

static void check_select(void)
{
    int ends[2];
    sys(pipe2, ends, 0);
    uint64_t in[16] = { 1ul << ends[0] }, out[16] = { 1ul << ends[1] };
    struct { long s, us; } soon = { 0, 1000 };
    CHECK_EQ(sys(select, ends[1] + 1, in, NULL, NULL, &soon), 0);
    CHECK_EQ(in[0], 0);
    in[0] = 1ul << ends[0];
    CHECK_EQ(sys(select, ends[1] + 1, in, out, NULL, NULL), 1);
    CHECK_EQ(in[0], 0);
    CHECK_EQ(out[0], 1ul << ends[1]);
    sys(write, ends[1], "x", 1);
    in[0] = 1ul << ends[0];
    CHECK_EQ(sys(pselect6, ends[1] + 1, in, out, NULL, NULL, NULL), 2);
    in[0] = 1ul << 40;
    CHECK_EQ(sys(select, 41, in, NULL, NULL, NULL), -EBADF);
    CHECK_EQ(sys(select, -1, in, NULL, NULL, NULL), -EINVAL);
    sys(close, ends[0]);
    sys(close, ends[1]);
    passed("select");
}

static void check_epoll(void)
{
    int ep = (int)sys(epoll_create1, EPOLL_CLOEXEC), ends[2];
    sys(pipe2, ends, O_NONBLOCK);
    struct epoll_event e = { EPOLLIN, 42 }, got[4];
    CHECK_EQ(sys(epoll_ctl, ep, EPOLL_CTL_ADD, ends[0], &e), 0);
    CHECK_EQ(sys(epoll_ctl, ep, EPOLL_CTL_ADD, ends[0], &e), -EEXIST);
    CHECK_EQ(sys(epoll_ctl, ep, EPOLL_CTL_MOD, ends[1], &e), -ENOENT);
    CHECK_EQ(sys(epoll_ctl, ep, EPOLL_CTL_ADD, ep, &e), -EINVAL);
    CHECK_EQ(sys(epoll_ctl, ep, EPOLL_CTL_ADD, 300, &e), -EBADF);
    CHECK_EQ(sys(epoll_ctl, ends[0], EPOLL_CTL_ADD, ends[1], &e), -EINVAL);
    int file = (int)sys(open, "/proc/self/exe", O_RDONLY);
    CHECK_EQ(sys(epoll_ctl, ep, EPOLL_CTL_ADD, file, &e), -EPERM);
    sys(close, file);
    CHECK_EQ(sys(epoll_wait, ep, got, 4, 0), 0);
    CHECK_EQ(sys(epoll_wait, ep, got, 0, 0), -EINVAL);
    sys(write, ends[1], "ab", 2);
    for (int i = 0; i < 2; i++) {           // level-triggered: ready until read
        CHECK_EQ(sys(epoll_wait, ep, got, 4, -1), 1);
        CHECK_EQ(got[0].events, EPOLLIN);
        CHECK_EQ(got[0].data, 42);
    }
    e.events = EPOLLIN | EPOLLET;
    CHECK_EQ(sys(epoll_ctl, ep, EPOLL_CTL_MOD, ends[0], &e), 0);
    CHECK_EQ(sys(epoll_wait, ep, got, 4, 0), 1);
    CHECK_EQ(sys(epoll_wait, ep, got, 4, 0), 0);
    sys(write, ends[1], "c", 1);
    CHECK_EQ(sys(epoll_pwait, ep, got, 4, 0, NULL, 8), 1);
    e.events = EPOLLIN | EPOLLONESHOT;
    CHECK_EQ(sys(epoll_ctl, ep, EPOLL_CTL_MOD, ends[0], &e), 0);
    CHECK_EQ(sys(epoll_wait, ep, got, 4, 0), 1);
    CHECK_EQ(sys(epoll_wait, ep, got, 4, 0), 0);
    CHECK_EQ(sys(epoll_ctl, ep, EPOLL_CTL_MOD, ends[0], &e), 0);
    CHECK_EQ(sys(epoll_wait, ep, got, 4, 0), 1);
    CHECK_EQ(sys(epoll_ctl, ep, EPOLL_CTL_DEL, ends[0], NULL), 0);
    CHECK_EQ(sys(epoll_ctl, ep, EPOLL_CTL_DEL, ends[0], NULL), -ENOENT);
    int outer = (int)sys(epoll_create1, 0);
    e = (struct epoll_event){ EPOLLIN, 7 };
    CHECK_EQ(sys(epoll_ctl, outer, EPOLL_CTL_ADD, ep, &e), 0);
    CHECK_EQ(sys(epoll_wait, outer, got, 4, 0), 0);
    CHECK_EQ(sys(epoll_ctl, ep, EPOLL_CTL_ADD, ends[0], &e), 0);
    CHECK_EQ(sys(epoll_wait, outer, got, 4, -1), 1);
    sys(close, ends[0]);                    // the last descriptor of a file takes it out of the set
    CHECK_EQ(sys(epoll_wait, ep, got, 4, 0), 0);
    sys(close, ends[1]);
    sys(close, ep);
    sys(close, outer);
    passed("epoll");
}

static int event;

static void post(void *argument)
{
    uint64_t value = (uint64_t)argument;
    sys(write, event, &value, 8);
}

static void check_eventfd(void)
{
    event = (int)sys(eventfd2, 3, EFD_NONBLOCK);
    uint64_t value = 0;
    CHECK_EQ(sys(read, event, &value, 4), -EINVAL);
    CHECK_EQ(sys(read, event, &value, 8), 8);
    CHECK_EQ(value, 3);
    CHECK_EQ(sys(read, event, &value, 8), -EAGAIN);
    value = ~0ul;
    CHECK_EQ(sys(write, event, &value, 8), -EINVAL);
    value = ~0ul - 1;
    CHECK_EQ(sys(write, event, &value, 8), 8);
    value = 1;
    CHECK_EQ(sys(write, event, &value, 8), -EAGAIN);
    sys(close, event);
    event = (int)sys(eventfd2, 0, EFD_SEMAPHORE);
    thread *t = thread_start(post, (void *)2);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(sys(read, event, &value, 8), 8);
        CHECK_EQ(value, 1);
    }
    thread_join(t);
    sys(close, event);
    CHECK_EQ(sys(eventfd2, 0, 12345), -EINVAL);
    passed("eventfd");
}

static void check_signalfd(void)
{
    uint64_t set = SIGNAL_BIT(SIGUSR1) | SIGNAL_BIT(SIGUSR2);
    signal_mask(SIG_BLOCK, set);
    int fd = (int)sys(signalfd4, -1, &set, 8, SFD_NONBLOCK);
    struct signalfd_siginfo info[2];
    CHECK_EQ(sys(read, fd, info, sizeof info), -EAGAIN);
    sys(kill, process_id(), SIGUSR2);
    sys(kill, process_id(), SIGUSR1);
    struct pollfd p = { fd, POLLIN, 0 };
    CHECK_EQ(sys(poll, &p, 1, -1), 1);
    CHECK_EQ(sys(read, fd, info, sizeof info), 2 * sizeof info[0]);
    CHECK_EQ(info[0].ssi_signo, SIGUSR1);
    CHECK_EQ(info[1].ssi_signo, SIGUSR2);
    CHECK_EQ(info[0].ssi_pid, process_id());
    CHECK_EQ(sys(read, fd, info, 10), -EINVAL);
    sys(close, fd);
    signal_mask(SIG_UNBLOCK, set);
    passed("signalfd");
}

static void check_timerfd(void)
{
    int slow = (int)sys(timerfd_create, 1, TFD_NONBLOCK), quick = (int)sys(timerfd_create, 1, 0);
    struct __kernel_itimerspec far = { { 0, 0 }, { 100, 0 } }, near = { { 0, 1000000 }, { 0, 1000000 } }, now;
    CHECK_EQ(sys(timerfd_settime, slow, 0, &far, NULL), 0);
    CHECK_EQ(sys(timerfd_settime, quick, 0, &near, NULL), 0);
    struct pollfd p[2] = { { slow, POLLIN, 0 }, { quick, POLLIN, 0 } };
    CHECK_EQ(sys(poll, p, 2, -1), 1);
    CHECK_EQ(p[1].revents, POLLIN);
    uint64_t ticks = 0;
    CHECK_EQ(sys(read, slow, &ticks, 8), -EAGAIN);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(sys(read, quick, &ticks, 8), 8);
        CHECK(ticks >= 1);
    }
    CHECK_EQ(sys(timerfd_gettime, slow, &now), 0);
    CHECK(now.it_value.tv_sec >= 90 && now.it_value.tv_sec < 100);
    far.it_value.tv_nsec = 1000000000;
    CHECK_EQ(sys(timerfd_settime, slow, 0, &far, NULL), -EINVAL);
    CHECK_EQ(sys(timerfd_create, 99, 0), -EINVAL);
    CHECK_EQ(sys(timerfd_settime, 0, 0, &near, NULL), -EINVAL);
    sys(close, slow);
    sys(close, quick);
    passed("timerfd");
}

// A thread sleeps in epoll_wait until another makes something ready.
static int set, wake_ends[2];

static void wait_for_it(void *argument)
{
    struct epoll_event got;
    *(long *)argument = sys(epoll_wait, set, &got, 1, -1) * 100 + (long)got.data;
}

static void check_sleeping(void)
{
    set = (int)sys(epoll_create1, 0);
    sys(pipe2, wake_ends, 0);
    struct epoll_event e = { EPOLLIN | EPOLLEXCLUSIVE, 5 };
    CHECK_EQ(sys(epoll_ctl, set, EPOLL_CTL_ADD, wake_ends[0], &e), 0);
    long results[3] = { 0 };
    thread *t[3];
    for (int i = 0; i < 3; i++)
        t[i] = thread_start(wait_for_it, &results[i]);
    sys(write, wake_ends[1], "x", 1);
    for (int i = 0; i < 3; i++) {
        thread_join(t[i]);
        CHECK_EQ(results[i], 105);
    }
    sys(close, set);
    sys(close, wake_ends[0]);
    sys(close, wake_ends[1]);
    passed("sleeping in epoll_wait");
}

int main(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv, (void)envp;
    check_poll();
    check_select();
    check_epoll();
    check_eventfd();
    check_signalfd();
    check_timerfd();
    check_sleeping();
    return report();
}
