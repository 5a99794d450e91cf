// AF_UNIX: socket pairs, named and abstract listeners, datagrams, and descriptors sent with SCM_RIGHTS.
#include "guest.h"
#include "guest/signals.h"

#include <asm/socket.h>
#include <linux/socket.h>
#include <linux/un.h>

enum { AF_UNIX = 1, STREAM = 1, DGRAM = 2, SEQPACKET = 5, NONBLOCK = O_NONBLOCK, CLOEXEC = O_CLOEXEC, DONTWAIT = 0x40, NOSIGNAL = 0x4000, PEEK = 2, RIGHTS = 1 };

typedef struct { void *base; size_t length; } vector;
typedef struct { void *name; uint32_t name_length; vector *vectors; size_t vector_count; void *control; size_t control_length; uint32_t flags; } message;
typedef struct { size_t length; int level, type; int descriptors[2]; } rights;

static void check_pairs(void)
{
    int s[2];
    char text[64] = { 0 };
    CHECK_EQ(sys(socketpair, AF_UNIX, STREAM, 0, s), 0);
    CHECK_EQ(sys(write, s[0], "hello", 5), 5);
    CHECK_EQ(sys(write, s[0], " you", 4), 4);
    CHECK_EQ(sys(recvfrom, s[1], text, 5, PEEK, NULL, NULL), 5);
    CHECK_EQ(sys(read, s[1], text, 64), 9);
    CHECK_TEXT(text, "hello you");
    CHECK_EQ(sys(recvfrom, s[1], text, 1, DONTWAIT, NULL, NULL), -EAGAIN);
    CHECK_EQ(sys(shutdown, s[0], 1), 0);
    CHECK_EQ(sys(read, s[1], text, 1), 0);
    CHECK_EQ(sys(sendto, s[0], "x", 1, NOSIGNAL, NULL, 0), -EPIPE);
    CHECK_EQ(sys(write, s[1], "back", 4), 4);
    CHECK_EQ(sys(read, s[0], text, 64), 4);
    sys(close, s[1]);
    sys(close, s[0]);

    CHECK_EQ(sys(socketpair, AF_UNIX, DGRAM | NONBLOCK, 0, s), 0);
    CHECK_EQ(sys(write, s[0], "one", 3), 3);
    CHECK_EQ(sys(write, s[0], "", 0), 0);
    CHECK_EQ(sys(write, s[0], "three", 5), 5);
    CHECK_EQ(sys(read, s[1], text, 2), 2);
    CHECK_EQ(sys(read, s[1], text, 64), 0);
    CHECK_EQ(sys(read, s[1], text, 64), 5);
    CHECK_EQ(sys(read, s[1], text, 64), -EAGAIN);
    sys(close, s[0]);
    sys(close, s[1]);

    CHECK_EQ(sys(socketpair, AF_UNIX, SEQPACKET, 0, s), 0);
    CHECK_EQ(sys(write, s[0], "ab", 2), 2);
    CHECK_EQ(sys(write, s[0], "c", 1), 1);
    CHECK_EQ(sys(read, s[1], text, 64), 2);
    CHECK_EQ(sys(read, s[1], text, 64), 1);
    sys(close, s[0]);
    CHECK_EQ(sys(read, s[1], text, 64), 0);
    sys(close, s[1]);
    CHECK_EQ(sys(socketpair, AF_UNIX, 77, 0, s), -EINVAL);
    CHECK_EQ(sys(socketpair, 999, STREAM, 0, s), -EAFNOSUPPORT);
    CHECK_EQ(sys(write, 0x7ffffff, text, 1), -EBADF);
    passed("socket pairs");
}

static void check_rights(void)
{
    int s[2], ends[2];
    sys(socketpair, AF_UNIX, STREAM, 0, s);
    sys(pipe2, ends, 0);
    vector v = { "F", 1 };
    rights r = { 16 + 4, 1, RIGHTS, { ends[0], 0 } };
    message m = { .vectors = &v, .vector_count = 1, .control = &r, .control_length = 24 };
    CHECK_EQ(sys(sendmsg, s[0], &m, 0), 1);
    sys(close, ends[0]);
    long child = sys(fork);
    if (!child) {
        char byte = 0, text[8] = { 0 };
        vector in = { &byte, 1 };
        rights got = { 0 };
        message receive = { .vectors = &in, .vector_count = 1, .control = &got, .control_length = sizeof got };
        CHECK_EQ(sys(recvmsg, s[1], &receive, 0), 1);
        CHECK_EQ(byte, 'F');
        CHECK_EQ(got.length, 20);
        CHECK_EQ(got.level, 1);
        CHECK_EQ(got.type, RIGHTS);
        CHECK_EQ(receive.control_length, 24);
        CHECK_EQ(sys(read, got.descriptors[0], text, 7), 4);
        CHECK_TEXT(text, "pipe");
        exit_group(failures());
    }
    sys(write, ends[1], "pipe", 4);
    int status = -1;
    sys(wait4, child, &status, 0, NULL);
    CHECK_EQ(status, 0);
    r.descriptors[0] = 999;
    CHECK_EQ(sys(sendmsg, s[0], &m, 0), -EBADF);
    sys(close, ends[1]);
    sys(close, s[0]);
    sys(close, s[1]);
    passed("SCM_RIGHTS");
}

static void serve(int listener, int clients)
{
    for (int i = 0; i < clients; i++) {
        int peer = (int)sys(accept4, listener, NULL, NULL, CLOEXEC);
        char text[64];
        long size;
        while ((size = sys(read, peer, text, sizeof text)) > 0) {
            for (long j = 0; j < size; j++)
                text[j] = (char)(text[j] >= 'a' ? text[j] - 32 : text[j]);
            write_all(peer, text, (size_t)size);
        }
        sys(close, peer);
    }
}

static void talk(struct sockaddr_un *address, unsigned length)
{
    int listener = (int)sys(socket, AF_UNIX, STREAM, 0);
    CHECK_EQ(sys(bind, listener, address, length), 0);
    int other = (int)sys(socket, AF_UNIX, STREAM, 0);
    CHECK_EQ(sys(bind, other, address, length), -EADDRINUSE);
    CHECK_EQ(sys(connect, other, address, length), -ECONNREFUSED);
    CHECK_EQ(sys(accept, listener, NULL, NULL), -EINVAL);
    CHECK_EQ(sys(listen, listener, 5), 0);
    long server = sys(fork);
    if (!server) {
        serve(listener, 3);
        exit_group(0);
    }
    for (int i = 0; i < 3; i++) {
        int client = (int)sys(socket, AF_UNIX, STREAM | CLOEXEC, 0);
        char text[16] = { 0 };
        CHECK_EQ(sys(write, client, "x", 1), -ENOTCONN);
        CHECK_EQ(sys(connect, client, address, length), 0);
        CHECK_EQ(sys(connect, client, address, length), -EISCONN);
        CHECK_EQ(sys(write, client, "shout", 5), 5);
        CHECK_EQ(sys(read, client, text, 15), 5);
        CHECK_TEXT(text, "SHOUT");
        struct { int pid; unsigned uid, gid; } peer;
        int peer_size = sizeof peer, error = -1, error_size = 4;
        CHECK_EQ(sys(getsockopt, client, 1, SO_PEERCRED, &peer, &peer_size), 0);
        CHECK_EQ(peer.pid, process_id());
        CHECK_EQ(sys(getsockopt, client, 1, SO_ERROR, &error, &error_size), 0);
        CHECK_EQ(error, 0);
        sys(close, client);
    }
    int status = -1;
    sys(wait4, server, &status, 0, NULL);
    CHECK_EQ(status, 0);
    sys(close, listener);
    CHECK_EQ(sys(connect, other, address, length), -ECONNREFUSED);
    sys(close, other);
}

static void check_listeners(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int length = format_into(address.sun_path, 100, "/tmp/guest-socket-%ld", process_id());
    talk(&address, (unsigned)length + 3);
    CHECK_EQ(sys(unlink, address.sun_path), 0);
    int s = (int)sys(socket, AF_UNIX, STREAM, 0);
    CHECK_EQ(sys(connect, s, &address, length + 3), -ENOENT);
    sys(close, s);
    passed("named listener");
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    length = format_into(address.sun_path + 1, 100, "guest-%ld", process_id());
    talk(&address, (unsigned)length + 3);
    passed("abstract listener");
}

static void check_datagrams(void)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX }, b = { .sun_family = AF_UNIX }, from;
    int length = format_into(a.sun_path + 1, 100, "guest-a-%ld", process_id()) + 3;
    format_into(b.sun_path + 1, 100, "guest-b-%ld", process_id());
    int one = (int)sys(socket, AF_UNIX, DGRAM, 0), two = (int)sys(socket, AF_UNIX, DGRAM, 0);
    CHECK_EQ(sys(bind, one, &a, length), 0);
    CHECK_EQ(sys(bind, two, &b, length), 0);
    char text[16] = { 0 };
    CHECK_EQ(sys(sendto, one, "to b", 4, 0, &b, length), 4);
    int from_length = sizeof from;
    CHECK_EQ(sys(recvfrom, two, text, 16, 0, &from, &from_length), 4);
    CHECK_EQ(from_length, length);
    CHECK(!memcmp(&from, &a, (size_t)length));
    CHECK_EQ(sys(connect, two, &a, length), 0);
    CHECK_EQ(sys(write, two, "to a", 4), 4);
    CHECK_EQ(sys(read, one, text, 16), 4);
    CHECK_TEXT(text, "to a");
    from_length = sizeof from;
    CHECK_EQ(sys(getsockname, one, &from, &from_length), 0);
    CHECK(!memcmp(&from, &a, (size_t)length));
    from_length = sizeof from;
    CHECK_EQ(sys(getpeername, two, &from, &from_length), 0);
    CHECK_EQ(sys(getpeername, one, &from, &from_length), -ENOTCONN);
    sys(close, one);
    CHECK_EQ(sys(write, two, "gone", 4), -ECONNREFUSED);
    sys(close, two);
    CHECK_EQ(sys(bind, 1, &a, 1), -ENOTSOCK);
    passed("datagrams");
}

int main(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv, (void)envp;
    check_pairs();
    check_rights();
    check_listeners();
    check_datagrams();
    return report();
}
