// Data through pipes between processes: contents, blocking, capacity, end of file, EPIPE, non-blocking errors.
#include "guest.h"
#include "guest/signals.h"

#include <linux/wait.h>
#include <asm-generic/ioctls.h>

enum { TOTAL = 300000 };

static unsigned char pattern(long at)
{
    return (unsigned char)(at * 7 + (at >> 8));
}

static void check_transfer(void)
{
    int ends[2];
    CHECK_EQ(sys(pipe, ends), 0);
    long child = sys(fork);
    if (!child) {
        sys(close, ends[0]);
        unsigned char block[1777];
        for (long sent = 0; sent < TOTAL;) {
            long size = TOTAL - sent < (long)sizeof block ? TOTAL - sent : (long)sizeof block;
            for (long i = 0; i < size; i++)
                block[i] = pattern(sent + i);
            write_all(ends[1], block, (size_t)size);
            sent += size;
        }
        exit_group(0);
    }
    sys(close, ends[1]);
    unsigned char block[4096];
    long got = 0, size, wrong = 0;
    while ((size = sys(read, ends[0], block, sizeof block)) > 0)
        for (long i = 0; i < size; i++)
            wrong += block[i] != pattern(got++);
    CHECK_EQ(size, 0);
    CHECK_EQ(got, TOTAL);
    CHECK_EQ(wrong, 0);
    sys(close, ends[0]);
    int status;
    CHECK_EQ(sys(wait4, child, &status, 0, NULL), child);
    CHECK_EQ(status, 0);
    passed("transfer");
}

// A ring of processes passes a growing number round.
static void check_ring(void)
{
    enum { LENGTH = 6, ROUNDS = 50 };
    int rings[LENGTH][2];
    long children[LENGTH];
    for (int i = 0; i < LENGTH; i++)
        sys(pipe2, rings[i], O_CLOEXEC);
    for (int i = 1; i < LENGTH; i++) {
        children[i] = sys(fork);
        if (children[i])
            continue;
        for (int round = 0; round < ROUNDS; round++) {
            long value = -1;
            sys(read, rings[i - 1][0], &value, sizeof value);
            value += i;
            sys(write, rings[i][1], &value, sizeof value);
        }
        exit_group(0);
    }
    long value = 0;
    for (int round = 0; round < ROUNDS; round++) {
        sys(write, rings[0][1], &value, sizeof value);
        sys(read, rings[LENGTH - 1][0], &value, sizeof value);
    }
    CHECK_EQ(value, ROUNDS * 15);
    for (int i = 1; i < LENGTH; i++)
        sys(wait4, children[i], NULL, 0, NULL);
    for (int i = 0; i < LENGTH; i++) {
        sys(close, rings[i][0]);
        sys(close, rings[i][1]);
    }
    passed("ring");
}

static volatile int broken;

static void on_broken(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info, (void)context;
    broken++;
}

static void check_limits(void)
{
    int ends[2];
    CHECK_EQ(sys(pipe2, ends, O_NONBLOCK), 0);
    static char block[4096];
    CHECK_EQ(sys(read, ends[0], block, 1), -EAGAIN);
    long filled = 0, size;
    while ((size = sys(write, ends[1], block, sizeof block)) > 0)
        filled += size;
    CHECK_EQ(size, -EAGAIN);
    CHECK_EQ(filled, 65536);
    int waiting = 0;
    CHECK_EQ(sys(ioctl, ends[0], FIONREAD, &waiting), 0);
    CHECK_EQ(waiting, 65536);
    CHECK_EQ(sys(fcntl, ends[0], F_GETPIPE_SZ), 65536);
    CHECK_EQ(sys(write, ends[0], block, 1), -EBADF);
    CHECK_EQ(sys(read, ends[1], block, 1), -EBADF);
    CHECK_EQ(sys(lseek, ends[0], 0, 0), -ESPIPE);
    CHECK_EQ(sys(pread64, ends[0], block, 1, 0), -ESPIPE);
    CHECK_EQ(sys(read, ends[0], 8, 1), -EFAULT);
    CHECK_EQ(sys(pipe2, 8, 0), -EFAULT);
    CHECK_EQ(sys(pipe2, ends, 0x123), -EINVAL);
    signal_handle(SIGPIPE, on_broken, 0, 0);
    sys(close, ends[0]);
    CHECK_EQ(sys(write, ends[1], block, 1), -EPIPE);
    CHECK_EQ(broken, 1);
    sys(close, ends[1]);
    CHECK_EQ(sys(write, ends[1], block, 1), -EBADF);
    passed("limits and errors");
}

// A pipe opened anew through /proc does not wait for its other side, as a named one does.
static void check_reopened(void)
{
    int ends[2];
    sys(pipe2, ends, 0);
    char path[32], text[8] = { 0 };
    format_into(path, sizeof path, "/proc/self/fd/%d", ends[0]);
    sys(write, ends[1], "left", 4);
    sys(close, ends[1]);
    int again = (int)sys(open, path, O_RDONLY);
    CHECK_EQ(sys(read, again, text, 7), 4);
    CHECK_TEXT(text, "left");
    CHECK_EQ(sys(read, again, text, 7), 0);
    sys(close, ends[0]);
    sys(close, again);
    passed("reopened");
}

static void check_vectors(void)
{
    int ends[2];
    sys(pipe2, ends, 0);
    struct { const void *base; size_t length; } out[3] = { { "abc", 3 }, { "", 0 }, { "defgh", 5 } };
    CHECK_EQ(sys(writev, ends[1], out, 3), 8);
    char first[4] = { 0 }, second[10] = { 0 };
    struct { void *base; size_t length; } in[2] = { { first, 3 }, { second, 9 } };
    CHECK_EQ(sys(readv, ends[0], in, 2), 8);
    CHECK_TEXT(first, "abc");
    CHECK_TEXT(second, "defgh");
    CHECK_EQ(sys(writev, ends[1], out, -1), -EINVAL);
    CHECK_EQ(sys(writev, ends[1], out, 1025), -EINVAL);
    CHECK_EQ(sys(writev, ends[1], out, 0), 0);
    sys(close, ends[0]);
    sys(close, ends[1]);
    passed("vectors");
}

int main(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv, (void)envp;
    check_transfer();
    check_ring();
    check_limits();
    check_vectors();
    check_reopened();
    return report();
}
