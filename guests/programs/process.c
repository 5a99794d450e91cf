// Process groups and sessions, subreapers, prctl, limits, scheduling calls, names: everything about being a process.
#include "guest.h"
#include "guest/signals.h"
#include "guest/threads.h"

#include <linux/poll.h>
#include <linux/prctl.h>
#include <linux/resource.h>
#include <linux/utsname.h>
#include <linux/wait.h>

static int in_new_session(void *argument)
{
    (void)argument;
    long me = process_id();
    CHECK_EQ(sys(setsid), me);
    CHECK_EQ(sys(getsid, 0), me);
    CHECK_EQ(sys(getpgrp), me);
    CHECK_EQ(sys(setsid), -EPERM);
    CHECK_EQ(sys(setpgid, 0, 0), -EPERM);
    return failures();
}

static void check_groups(void)
{
    CHECK_EQ(sys(getpgid, 0), sys(getpgrp));
    CHECK_EQ(sys(getpgid, 0x3fffffff), -ESRCH);
    CHECK_EQ(sys(setpgid, 0x3fffffff, 0), -ESRCH);
    CHECK_EQ(sys(setpgid, 0, -1), -EINVAL);
    CHECK_EQ(status_of_child(in_new_session, NULL), 0);
    long children[3], group = 0;
    for (int i = 0; i < 3; i++) {
        children[i] = sys(fork);
        if (!children[i])
            for (;;)
                sys(pause);
        CHECK_EQ(sys(setpgid, children[i], group), 0);
        if (!group)
            group = children[i];
        CHECK_EQ(sys(getpgid, children[i]), group);
    }
    CHECK_EQ(sys(kill, -group, SIGTERM), 0);
    for (int i = 0; i < 3; i++) {
        int status = 0;
        long pid = sys(wait4, -group, &status, 0, NULL);
        CHECK(pid == children[0] || pid == children[1] || pid == children[2]);
        CHECK_EQ(status, SIGTERM);
    }
    CHECK_EQ(sys(wait4, -group, NULL, 0, NULL), -ECHILD);
    CHECK_EQ(sys(kill, -group, 0), -ESRCH);
    passed("groups and sessions");
}

static int leave_orphan(void *argument)
{
    int *ends = argument;
    if (!sys(fork)) {
        char c;
        sys(read, ends[0], &c, 1);          // until the middle process is gone
        exit_group(44);
    }
    return 0;
}

static void check_subreaper(void)
{
    int ends[2], is = 0;
    sys(pipe2, ends, 0);
    CHECK_EQ(sys(prctl, PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
    CHECK_EQ(sys(prctl, PR_GET_CHILD_SUBREAPER, &is, 0, 0, 0), 0);
    CHECK_EQ(is, 1);
    CHECK_EQ(status_of_child(leave_orphan, ends), 0);
    sys(write, ends[1], "x", 1);
    int status = 0;
    CHECK(sys(wait4, -1, &status, 0, NULL) > 0);
    CHECK_EQ(status, EXITED(44));
    CHECK_EQ(sys(prctl, PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0), 0);
    sys(close, ends[0]);
    sys(close, ends[1]);
    passed("subreaper");
}

static void check_prctl(void)
{
    char name[16];
    CHECK_EQ(sys(prctl, PR_SET_NAME, "a-rather-long-name", 0, 0, 0), 0);
    CHECK_EQ(sys(prctl, PR_GET_NAME, name, 0, 0, 0), 0);
    CHECK_TEXT(name, "a-rather-long-n");
    char text[64] = { 0 };
    int fd = (int)sys(open, "/proc/self/comm", O_RDONLY);
    CHECK_EQ(sys(read, fd, text, 63), 16);
    CHECK_TEXT(text, "a-rather-long-n\n");
    sys(close, fd);
    CHECK_EQ(sys(prctl, PR_SET_PDEATHSIG, 99, 0, 0, 0), -EINVAL);
    CHECK_EQ(sys(prctl, PR_SET_PDEATHSIG, SIGUSR1, 0, 0, 0), 0);
    int signal = 0;
    CHECK_EQ(sys(prctl, PR_GET_PDEATHSIG, &signal, 0, 0, 0), 0);
    CHECK_EQ(signal, SIGUSR1);
    sys(prctl, PR_SET_PDEATHSIG, 0, 0, 0, 0);
    CHECK_EQ(sys(prctl, PR_GET_DUMPABLE, 0, 0, 0, 0), 1);
    CHECK_EQ(sys(prctl, 9999, 0, 0, 0, 0), -EINVAL);
    passed("prctl");
}

static void check_limits(void)
{
    struct { uint64_t soft, hard; } limit, again;
    CHECK_EQ(sys(getrlimit, RLIMIT_STACK, &limit), 0);
    CHECK(limit.soft <= limit.hard);
    CHECK_EQ(sys(prlimit64, 0, RLIMIT_STACK, NULL, &again), 0);
    CHECK_EQ(again.soft, limit.soft);
    CHECK_EQ(sys(getrlimit, 99, &limit), -EINVAL);
    limit.soft = 2, limit.hard = 1;
    CHECK_EQ(sys(setrlimit, RLIMIT_CORE, &limit), -EINVAL);
    limit.soft = 0, limit.hard = 0;
    CHECK_EQ(sys(setrlimit, RLIMIT_CORE, &limit), 0);
    struct { struct { long s, us; } user, system; long rest[14]; } usage;
    CHECK_EQ(sys(getrusage, 0, &usage), 0);
    CHECK_EQ(sys(getrusage, 5, &usage), -EINVAL);
    CHECK(sys(times, NULL) != 0);
    passed("limits");
}

static void check_scheduling(void)
{
    uint64_t mask[16] = { 0 };
    long size = sys(sched_getaffinity, 0, sizeof mask, mask);
    CHECK(size >= 8);
    CHECK(mask[0] & 1);
    CHECK_EQ(sys(sched_getaffinity, 0, 1, mask), -EINVAL);
    CHECK_EQ(sys(sched_setaffinity, 0, 8, mask), 0);
    uint64_t none = 0;
    CHECK_EQ(sys(sched_setaffinity, 0, 8, &none), -EINVAL);
    CHECK_EQ(sys(sched_yield), 0);
    int priority = 5;
    CHECK_EQ(sys(sched_getscheduler, 0), 0);
    CHECK_EQ(sys(sched_getparam, 0, &priority), 0);
    CHECK_EQ(priority, 0);
    CHECK_EQ(sys(sched_get_priority_max, 1), 99);
    CHECK_EQ(sys(sched_get_priority_min, 1), 1);
    CHECK_EQ(sys(sched_get_priority_max, 77), -EINVAL);
    CHECK_EQ(sys(getpriority, 0, 0), 20);
    passed("scheduling");
}

static void check_names(void)
{
    struct new_utsname name;
    CHECK_EQ(sys(uname, &name), 0);
    CHECK_TEXT(name.sysname, "Linux");
    CHECK_TEXT(name.machine, "x86_64");
    CHECK_EQ(sys(uname, 8), -EFAULT);
    uint32_t uids[3];
    CHECK_EQ(sys(getresuid, &uids[0], &uids[1], &uids[2]), 0);
    CHECK_EQ(uids[0], sys(getuid));
    CHECK_EQ(uids[2], sys(geteuid));
    CHECK(sys(getppid) >= 0);
    CHECK_EQ(thread_id(), process_id());
    CHECK_EQ(sys(set_tid_address, NULL), process_id());
    char link[256] = { 0 };
    long size = sys(readlink, "/proc/self/exe", link, 255);
    CHECK(size > 11 && !strcmp(link + size - 11, "process.elf"));
    passed("names");
}

static void check_unknown(void)
{
    CHECK_EQ(syscall6(500, 0, 0, 0, 0, 0, 0), -ENOSYS);
    CHECK_EQ(syscall6(-1, 0, 0, 0, 0, 0, 0), -ENOSYS);
    CHECK_EQ(syscall6(0x40000000, 0, 0, 0, 0, 0, 0), -ENOSYS);
    CHECK_EQ(sys(arch_prctl, 0x9999, 0), -EINVAL);
    passed("unknown calls");
}

// clone3 with a pidfd-less minimal argument, and the flags that must go together.
static void check_clone(void)
{
    struct clone_args arguments = { .exit_signal = SIGCHLD };
    long child = sys(clone3, &arguments, sizeof arguments);
    if (!child)
        exit_group(12);
    int status = 0;
    CHECK_EQ(sys(wait4, child, &status, 0, NULL), child);
    CHECK_EQ(status, EXITED(12));
    CHECK_EQ(sys(clone3, &arguments, 8), -EINVAL);
    CHECK_EQ(sys(clone, CLONE_THREAD, 0, 0, 0, 0), -EINVAL);
    CHECK_EQ(sys(clone, CLONE_SIGHAND, 0, 0, 0, 0), -EINVAL);
    uint32_t parent_tid = 0;
    child = sys(clone, CLONE_PARENT_SETTID | SIGCHLD, 0, &parent_tid, 0, 0);
    if (!child)
        exit_group(13);
    CHECK_EQ(parent_tid, child);
    CHECK_EQ(sys(wait4, child, &status, 0, NULL), child);
    CHECK_EQ(status, EXITED(13));
    passed("clone");
}

static void check_pidfd(void)
{
    int gate[2];
    sys(pipe2, gate, 0);
    long child = sys(fork);
    if (!child) {
        char c;
        sys(read, gate[0], &c, 1);
        exit_group(21);
    }
    int fd = (int)sys(pidfd_open, child, 0);
    REQUIRE(fd >= 0);
    CHECK_EQ(sys(fcntl, fd, F_GETFD, 0), FD_CLOEXEC);
    struct pollfd poll = { fd, POLLIN, 0 };
    CHECK_EQ(sys(poll, &poll, 1, 0), 0);
    CHECK_EQ(sys(pidfd_send_signal, fd, 0, NULL, 0), 0);
    CHECK_EQ(sys(pidfd_send_signal, fd, 65, NULL, 0), -EINVAL);
    CHECK_EQ(sys(pidfd_send_signal, fd, 0, NULL, 1u << 31), -EINVAL);
    CHECK_EQ(sys(pidfd_send_signal, gate[0], 0, NULL, 0), -EBADF);
    siginfo_t info = { 0 };
    CHECK_EQ(sys(waitid, 3, fd, &info, WEXITED | WNOHANG, NULL), 0);
    CHECK_EQ(info.si_pid, 0);
    int impatient = (int)sys(pidfd_open, child, O_NONBLOCK);
    CHECK_EQ(sys(waitid, 3, impatient, &info, WEXITED, NULL), -EAGAIN);
    sys(write, gate[1], "x", 1);
    CHECK_EQ(sys(poll, &poll, 1, 10000), 1);
    CHECK_EQ(poll.revents, POLLIN);
    CHECK_EQ(sys(waitid, 3, fd, &info, WEXITED, NULL), 0);
    CHECK_EQ(info.si_pid, child);
    CHECK_EQ(info.si_status, 21);
    CHECK_EQ(sys(waitid, 3, fd, &info, WEXITED, NULL), -ECHILD);
    CHECK_EQ(sys(waitid, 3, gate[0], &info, WEXITED, NULL), -EBADF);
    CHECK_EQ(sys(pidfd_send_signal, fd, SIGTERM, NULL, 0), -ESRCH);
    CHECK_EQ(sys(poll, &poll, 1, 0), 1);
    CHECK_EQ(sys(pidfd_open, 0, 0), -EINVAL);
    CHECK_EQ(sys(pidfd_open, 0x3fffffff, 0), -ESRCH);

    child = sys(fork);
    if (!child)
        for (;;)
            sys(pause);
    int other = (int)sys(pidfd_open, child, 0);
    siginfo_t queued = { 0 };
    queued.si_signo = SIGTERM;
    queued.si_code = SI_USER;
    CHECK_EQ(sys(pidfd_send_signal, other, SIGTERM, &queued, 0), -EPERM);
    CHECK_EQ(sys(pidfd_send_signal, other, SIGHUP, &queued, 0), -EINVAL);
    queued.si_code = SI_QUEUE;
    CHECK_EQ(sys(pidfd_send_signal, other, SIGTERM, &queued, 0), 0);
    CHECK_EQ(sys(waitid, 3, other, &info, WEXITED, NULL), 0);
    CHECK_EQ(info.si_code, CLD_KILLED);
    CHECK_EQ(info.si_status, SIGTERM);
    sys(close, fd), sys(close, impatient), sys(close, other), sys(close, gate[0]), sys(close, gate[1]);
    passed("pidfd");
}

int main(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv, (void)envp;
    check_groups();
    check_subreaper();
    check_prctl();
    check_limits();
    check_scheduling();
    check_names();
    check_unknown();
    check_clone();
    check_pidfd();
    return report();
}
