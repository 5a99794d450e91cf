// What file system calls answer, above all when they are asked for something wrong. Every line must be what the host's kernel prints.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* Calls, and prints the call, its result, and the name of the error. */
#define T(call)                                                                        \
    do {                                                                               \
        errno = 0;                                                                     \
        long result = (long)(call);                                                    \
        printf("%s = %ld %s\n", #call, result, result < 0 ? strerrorname_np(errno) : ""); \
    } while (0)

static char big[70000];
static int as, d, dg, ef, ep, f, fr, fw, l2, ls, m, m2, n, p[2], ro, sf, sv[2], tf, tm, wo;
static struct stat st;
static struct timespec ts[2] = {{5, 7}, {9, UTIME_OMIT}};
static struct pollfd pf;
static struct iovec iv[2] = {{"ab", 2}, {"cd", 2}};
static struct flock fl = {F_WRLCK, SEEK_SET, 10, 20, 0};

static DIR *dir;
static int cnt;
static struct dirent *de;
static struct epoll_event ev = {EPOLLIN, {0}};
static struct itimerspec its = {{0, 0}, {0, 1000000}};
static sigset_t ss;
static socklen_t sl = 100;
static struct sockaddr_un sa = {AF_UNIX, "sock"};
static int ov;
static struct timeval tv = {0, 20000};
static fd_set r;
static struct timeval z = {0, 0};
static off_t off = 0;
static char l[64];
static int op;

static void check_names_to_open(void)
{
    puts("-- names to open");
    T(mkdir("x", 0755));
    T(mkdir("x", 0755));
    T(chdir("x"));
    T(open("", O_RDONLY));
    T(open("a/", O_CREAT|O_RDWR, 0644));
    T(open(".", O_CREAT|O_RDWR, 0644));
    T(open("a", O_CREAT|O_DIRECTORY|O_RDWR, 0644));
    T(f=open("a", O_CREAT|O_RDWR, 0644));
    T(open("a/b", O_RDONLY));
    T(open("a/", O_RDONLY));
    T(open("a", O_RDONLY|O_DIRECTORY));
    T(open("a", O_CREAT|O_EXCL|O_RDWR, 0600));
    T(open("nd/a", O_CREAT|O_RDWR, 0600));
}

static void check_offsets(void)
{
    puts("-- offsets");
    T(write(f, "hello world", 11));
    T(lseek(f, 0, SEEK_CUR));
    T(lseek(f, -1, SEEK_SET));
    T(lseek(f, 100, SEEK_END));
    T(lseek(f, 0, 9));
    T(lseek(f, 5, SEEK_DATA));
    T(lseek(f, 5, SEEK_HOLE));
    T(lseek(f, 50, SEEK_DATA));
}

static void check_contents(void)
{
    puts("-- contents");
    T(pread(f, big, 5, -1));
    T(pread(f, big, 100, 6));
    T(pwrite(f, "x", 1, -5));
    T(pwrite(f, "Z", 1, 20000));
    T(fstat(f, &st));
    printf("%ld %o %ld\n", (long)st.st_size, st.st_mode, (long)st.st_nlink);
    T(lseek(f, 100, SEEK_HOLE)>=100);
    T(ftruncate(f, 5));
    T(ftruncate(f, -1));
    T(truncate("a", -1));
    T(truncate("nx", 0));
    T(truncate(".", 0));
    T(truncate("a/", 0));
}

static void check_bad_buffers(void)
{
    puts("-- bad buffers");
    T(read(f, (void*)8, 5));
    T(lseek(f, 0, 0));
    T(read(f, (void*)8, 5));
    T(read(f, big, 0));
    T(read(f, (void*)8, 0));
    T(write(f, (void*)8, 3));
    T(write(f, (void*)-1, 0));
    T(read(99, big, 1));
    T(write(99, big, 1));
}

static void check_access_modes(void)
{
    puts("-- access modes");
    T(ro=open("a", O_RDONLY));
    T(write(ro, "x", 1));
    T(ftruncate(ro, 1));
    T(wo=open("a", O_WRONLY));
    T(read(wo, big, 1));
    T(fcntl(wo, F_GETFL));
    T(fcntl(f, F_GETFL));
    T(fcntl(f, F_SETFL, O_APPEND|O_RDONLY));
    T(fcntl(f, F_GETFL));
    T(write(f, "+", 1));
    T(lseek(f, 0, SEEK_CUR));
    T(fcntl(f, F_SETFL, 0));
}

static void check_duplicates(void)
{
    puts("-- duplicates");
    T(dup2(f, f));
    T(dup2(99, 5));
    T(dup2(f, -1));
    T(dup2(f, 1<<30));
    T(dup3(f, f, 0));
    T(dup3(f, 20, O_APPEND));
    T(dup3(f, 20, O_CLOEXEC));
    T(fcntl(20, F_GETFD));
    T(fcntl(f, F_DUPFD, 30));
    T(fcntl(f, F_DUPFD, -1));
    T(fcntl(f, F_DUPFD_CLOEXEC, 40));
    T(close(40));
    T(close(40));
    T(close(30));
    T(close(20));
    T(fcntl(f, 999));
    T(fcntl(99, F_GETFD));
}

static void check_hard_links(void)
{
    puts("-- hard links");
    T(link("a", "b"));
    T(link("a", "b"));
    T(link("nx", "c"));
    T(link(".", "c"));
    T(link("a", "nd/c"));
    T(stat("b", &st));
    printf("nlink %ld\n", (long)st.st_nlink);
}

static void check_symbolic_links(void)
{
    puts("-- symbolic links");
    T(symlink("a", "s"));
    T(symlink("a", "s"));
    T(symlink("", "s2"));
    T(readlink("s", big, 100));
    T(readlink("a", big, 100));
    T(readlink("s", big, 0));
    T(readlink("nx", big, 10));
    T(lstat("s", &st));
    printf("%o %ld\n", st.st_mode, (long)st.st_size);
    T(symlink("l2", "l1"));
    T(symlink("l1", "l2"));
    T(open("l1", O_RDONLY));
    T(stat("l1", &st));
    T(open("s", O_NOFOLLOW));
    T(symlink("dang", "dl"));
    T(open("dl", O_RDONLY));
    T(open("dl", O_CREAT|O_EXCL|O_RDWR, 0600));
    T(close(open("dl", O_CREAT|O_RDWR, 0600)));
    T(access("dang", F_OK));
}

static void check_removal(void)
{
    puts("-- removal");
    T(mkdir("d", 0755));
    T(mkdir("d/e", 0700));
    T(rmdir("d"));
    T(rmdir("a"));
    T(rmdir("nx"));
    T(rmdir("d/."));
    T(rmdir("d/.."));
    T(unlink("d"));
    T(unlink("nx"));
    T(unlink("a/"));
    T(unlink("d/e/"));
}

static void check_renames(void)
{
    puts("-- renames");
    T(rename("d", "d/e/f"));
    T(rename("d/e", "d"));
    T(rename("a", "d"));
    T(rename("d", "a"));
    T(rename("nx", "y"));
    T(rename("a", "b"));
    T(rename("a", "nd/x"));
    T(rename(".", "y"));
    T(rename("d/..", "y"));
    T(rename("a", "y/"));
    T(rename("a", "y"));
    T(rename("y", "a"));
    T(mkdir("d2", 0755));
    T(rename("d2", "d"));
    T(rename("d2", "d3/"));
    T(rename("d", "d3"));
    T(rename("d3", "d"));
    T(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE));
    T(renameat2(AT_FDCWD, "a", AT_FDCWD, "d", RENAME_EXCHANGE));
    T(renameat2(AT_FDCWD, "a", AT_FDCWD, "d", RENAME_EXCHANGE));
    T(renameat2(AT_FDCWD, "a", AT_FDCWD, "q", RENAME_EXCHANGE));
    T(renameat2(AT_FDCWD, "a", AT_FDCWD, "d", 7));
}

static void check_directories(void)
{
    puts("-- directories");
    T(chdir("a"));
    T(chdir("nx"));
    T(fchdir(f));
    T(d=open("d", O_RDONLY));
    T(read(d, big, 10));
    T(fchdir(d));
    T(chdir(".."));
    T(openat(d, "../a", O_RDONLY)>2);
    T(openat(f, "a", O_RDONLY));
    T(openat(99, "a", O_RDONLY));
    T(unlinkat(d, "e", 0));
    T(unlinkat(d, "e", AT_REMOVEDIR));
    T(unlinkat(d, "e", 0x10));
    T(open("d", O_WRONLY));
    T(open("d", O_RDWR));
    T(open("d", O_TRUNC));
    T(ftruncate(d, 0));
    T(fsync(d));
    T(fsync(f));
    T(fdatasync(99));
    T(getcwd(big, 1));
    T(mkdir("gone", 0700));
    T(chdir("gone"));
    T(rmdir("../gone"));
    T(getcwd(big, 100));
    T(open("x", O_CREAT|O_RDWR, 0600));
    T(chdir(".."));
    T(mkdir("/", 0700));
    T(rmdir("/"));
    T(unlink("/"));
    T(mkdir(".", 0700));
    T(mkdir("..", 0700));
    T(mkdir("nx/", 0755));
    T(mkdir("a/b", 0755));
    T(mknod("ff", S_IFIFO|0600, 0));
    T(mknod("ff", S_IFIFO|0600, 0));
    T(mknod("zz", S_IFDIR|0600, 0));
    T(mknod("zz", 0x5000|0600, 0));
    T(stat("ff", &st));
    printf("%o\n", st.st_mode);
}

static void check_modes(void)
{
    puts("-- modes");
    T(chmod("a", 04755));
    T(stat("a", &st));
    printf("%o\n", st.st_mode);
    T(chmod("nx", 0));
    T(fchmod(99, 0));
    T(fchmodat(AT_FDCWD, "s", 0600, 0));
    T(stat("a", &st));
    printf("%o\n", st.st_mode);
    T(umask(027));
    T(close(open("um", O_CREAT|O_RDWR, 0777)));
    T(stat("um", &st));
    printf("%o\n", st.st_mode);
    T(mkdir("umd", 01777));
    T(stat("umd", &st));
    printf("%o\n", st.st_mode);
    T(umask(022));
}

static void check_times(void)
{
    puts("-- times");
    T(utimensat(AT_FDCWD, "a", ts, 0));
    T(stat("a", &st));
    printf("%ld.%ld\n", (long)st.st_atim.tv_sec, st.st_atim.tv_nsec);
    ts[0].tv_nsec=2000000000;
    T(utimensat(AT_FDCWD, "a", ts, 0));
    T(futimens(99, NULL));
    T(utimensat(AT_FDCWD, "a", NULL, 0x1));
    T(futimens(f, NULL));
}

static void check_allocation(void)
{
    puts("-- allocation");
    T(fallocate(f, 0, 0, 0));
    T(fallocate(f, 0, -1, 5));
    T(fallocate(f, FALLOC_FL_PUNCH_HOLE, 0, 5));
    T(fallocate(f, FALLOC_FL_KEEP_SIZE, 0, 8192));
    T(fstat(f, &st));
    printf("%ld\n", (long)st.st_size);
    T(fallocate(f, 0, 100, 8192));
    T(fstat(f, &st));
    printf("%ld\n", (long)st.st_size);
    T(fallocate(f, 3, 0, 4096));
    T(pread(f, big, 5, 0));
    printf("%d\n", big[0]);
    T(fallocate(ro, 0, 0, 5));
    T(posix_fadvise(f, 0, 0, 0));
    T(posix_fadvise(99, 0, 0, 0));
}

static void check_pipes(void)
{
    puts("-- pipes");
    T(pipe2(p, O_NONBLOCK));
    T(pipe2(p+0, 0x1));
    T(read(p[0], big, 5));
    T(write(p[1], big, 70000));
    T(write(p[1], big, 1));
    T(ioctl(p[0], FIONREAD, &n));
    printf("%d\n", n);
    T(fcntl(p[0], F_GETPIPE_SZ));
    T(fcntl(p[0], F_SETPIPE_SZ, 1));
    T(lseek(p[0], 0, 0));
    T(pread(p[0], big, 1, 0));
    T(write(p[0], big, 1));
    T(read(p[1], big, 1));
    T(fsync(p[0]));
    T(ftruncate(p[1], 0));
    T(fallocate(p[1], 0, 0, 5));
    T(ioctl(p[0], TCGETS, big));
    T(mmap(0, 4096, PROT_READ, MAP_PRIVATE, p[0], 0)==MAP_FAILED);
    close(p[0]);
    T(write(p[1], big, 1));
    pf = (struct pollfd){ p[1], POLLOUT, 0 };
    T(poll(&pf, 1, 0));
    printf("%x\n", pf.revents);
    close(p[1]);
}

static void check_fifos(void)
{
    puts("-- fifos");
    T(open("ff", O_WRONLY|O_NONBLOCK));
    T(fr=open("ff", O_RDONLY|O_NONBLOCK));
    T(read(fr, big, 1));
    T(fw=open("ff", O_WRONLY));
    T(write(fw, "q", 1));
    pf.fd=fr;
    pf.events=POLLIN;
    T(poll(&pf, 1, 0));
    printf("%x\n", pf.revents);
    close(fw);
    T(poll(&pf, 1, 0));
    printf("%x\n", pf.revents);
    T(read(fr, big, 5));
    T(poll(&pf, 1, 0));
    printf("%x\n", pf.revents);
    close(fr);
}

static void check_vectors(void)
{
    puts("-- vectors");
    T(writev(f, iv, 2));
    T(writev(f, iv, -1));
    T(writev(f, iv, 2000));
    iv[1].iov_base=(void*)8;
    T(writev(f, iv, 2));
    T(preadv(f, iv, 0, 0));
    T(writev(f, NULL, 1));
}

static void check_locks(void)
{
    puts("-- locks");
    T(flock(f, LOCK_EX));
    T(flock(ro, LOCK_SH|LOCK_NB));
    T(flock(ro, LOCK_UN));
    T(flock(99, LOCK_EX));
    T(flock(f, LOCK_UN));
    T(fcntl(f, F_SETLK, &fl));
    pid_t child = fork();
    if (child == 0) {
        struct flock wanted = { F_RDLCK, SEEK_SET, 0, 0, 0 };
        T(fcntl(f, F_GETLK, &wanted));
        printf("%d %ld %ld %d\n", wanted.l_type, (long)wanted.l_start, (long)wanted.l_len, wanted.l_pid == getppid());
        wanted.l_type = F_RDLCK, wanted.l_start = 0, wanted.l_len = 0;
        T(fcntl(f, F_SETLK, &wanted));
        wanted.l_len = 10;
        T(fcntl(f, F_SETLK, &wanted));
        T(fcntl(ro, F_SETLK, &fl));
        fl.l_type = 9;
        T(fcntl(f, F_SETLK, &fl));
        _exit(0);
    }
    waitpid(child, 0, 0);
    fl.l_whence=7;
    T(fcntl(f, F_SETLK, &fl));
    fl.l_whence=0;
    fl.l_start=-5;
    T(fcntl(f, F_SETLK, &fl));
    T(fcntl(f, F_SETLK, (void*)8));
}

static void check_listing(void)
{
    puts("-- listing");
    dir = opendir(".");
    while((de=readdir(dir)))cnt++;
    printf("%d\n", cnt);
    closedir(dir);
    T(syscall(SYS_getdents64, f, big, 1000));
    T(syscall(SYS_getdents64, 99, big, 10));
}

static void check_epoll(void)
{
    puts("-- epoll");
    T(ep=epoll_create1(0));
    T(epoll_ctl(ep, EPOLL_CTL_ADD, f, &ev));
    T(epoll_ctl(ep, EPOLL_CTL_ADD, d, &ev));
    T(epoll_ctl(ep, EPOLL_CTL_ADD, ep, &ev));
    T(epoll_ctl(f, EPOLL_CTL_ADD, ep, &ev));
    T(epoll_ctl(ep, 9, 0, &ev));
    T(epoll_wait(ep, &ev, 0, 0));
    T(epoll_wait(ep, (void*)8, 1, 0));
    T(epoll_wait(f, &ev, 1, 0));
    T(epoll_create(0));
    T(epoll_create1(5));
    T(read(ep, big, 8));
    T(write(ep, big, 8));
    T(lseek(ep, 0, 0));
}

static void check_eventfd(void)
{
    puts("-- eventfd");
    T(ef=eventfd(5, EFD_NONBLOCK));
    T(read(ef, big, 4));
    T(read(ef, big, 8));
    T(read(ef, big, 8));
    T(write(ef, "\xff\xff\xff\xff\xff\xff\xff\xff", 8));
    T(write(ef, "\xfe\xff\xff\xff\xff\xff\xff\xff", 8));
    T(write(ef, "\1\0\0\0\0\0\0\0", 8));
    T(eventfd(0, 77));
    T(lseek(ef, 0, 0));
    T(fstat(ef, &st));
    printf("%o\n", st.st_mode);
}

static void check_timerfd(void)
{
    puts("-- timerfd");
    T(tf=timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
    T(timerfd_create(77, 0));
    T(timerfd_create(1, 77));
    T(timerfd_settime(tf, 0, &its, NULL));
    T(timerfd_settime(f, 0, &its, NULL));
    T(timerfd_settime(tf, 9, &its, NULL));
    usleep(20000);
    T(read(tf, big, 8));
    T(read(tf, big, 8));
    T(read(tf, big, 4));
    its.it_value.tv_nsec=2000000000;
    T(timerfd_settime(tf, 0, &its, NULL));
    T(timerfd_gettime(tf, &its));
}

static void check_signalfd(void)
{
    puts("-- signalfd");
    sigemptyset(&ss);
    sigaddset(&ss, SIGUSR1);
    sigprocmask(SIG_BLOCK, &ss, 0);
    T(sf=signalfd(-1, &ss, SFD_NONBLOCK));
    T(read(sf, big, 128));
    kill(getpid(), SIGUSR1);
    T(read(sf, big, 100));
    T(read(sf, big, 128));
    printf("%d\n", *(int*)big);
    T(signalfd(f, &ss, 0));
    T(signalfd(99, &ss, 0));
    T(signalfd(-1, &ss, 5));
}

static void check_socket_pairs(void)
{
    puts("-- socket pairs");
    T(socket(AF_UNIX, 99, 0));
    T(socket(AF_UNIX, SOCK_STREAM, 5));
    T(socket(77, SOCK_STREAM, 0));
    T(socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
    T(send(sv[0], "abc", 3, 0));
    T(recv(sv[1], big, 10, MSG_PEEK));
    T(recv(sv[1], big, 10, 0));
    T(recv(sv[1], big, 10, MSG_DONTWAIT));
    T(getsockname(f, (void*)big, (void*)(big+200)));
    T(getsockname(sv[0], (void*)big, &sl));
    printf("%d\n", sl);
    sl=-1;
    T(getsockname(sv[0], (void*)big, &sl));
    T(bind(sv[0], (void*)big, 200));
    T(listen(sv[0], 1));
    T(accept(sv[0], 0, 0));
    T(shutdown(sv[0], 5));
    T(shutdown(sv[0], SHUT_WR));
    T(recv(sv[1], big, 10, 0));
    T(send(sv[0], "x", 1, MSG_NOSIGNAL));
    T(send(sv[1], "x", 1, MSG_NOSIGNAL));
    close(sv[0]);
    T(send(sv[1], "x", 1, MSG_NOSIGNAL));
    T(recv(sv[1], big, 10, 0));
    T(recv(sv[1], big, 10, 0));
    pf.fd=sv[1];
    pf.events=POLLIN|POLLOUT|POLLRDHUP;
    T(poll(&pf, 1, 0));
    printf("%x\n", pf.revents);
}

static void check_named_sockets(void)
{
    puts("-- named sockets");
    T(ls=socket(AF_UNIX, SOCK_STREAM, 0));
    T(listen(ls, 5));
    T(connect(ls, (void*)&sa, sizeof sa));
    T(bind(ls, (void*)&sa, sizeof sa));
    T(bind(ls, (void*)&sa, sizeof sa));
    T(l2=socket(AF_UNIX, SOCK_STREAM, 0));
    T(bind(l2, (void*)&sa, sizeof sa));
    T(connect(l2, (void*)&sa, sizeof sa));
    T(listen(ls, 5));
    T(connect(l2, (void*)&sa, sizeof sa));
    T(connect(l2, (void*)&sa, sizeof sa));
    sl=sizeof sa;
    T(as=accept(ls, (void*)&sa, &sl));
    printf("%d\n", sl);
    sl=sizeof sa;
    T(getpeername(l2, (void*)&sa, &sl));
    printf("%d %s\n", sl, sa.sun_path);
    T(stat("sock", &st));
    printf("%o\n", st.st_mode);
    T(open("sock", O_RDONLY));
    T(dg=socket(AF_UNIX, SOCK_DGRAM, 0));
    T(connect(dg, (void*)&sa, sizeof sa));
    T(send(dg, "x", 1, 0));
    T(sendto(dg, "x", 1, 0, (void*)&sa, sizeof sa));
    T(getpeername(dg, (void*)&sa, &sl));
    ov = 1;
    sl=4;
    T(getsockopt(ls, SOL_SOCKET, SO_ACCEPTCONN, &ov, &sl));
    printf("%d\n", ov);
    T(getsockopt(ls, SOL_SOCKET, 999, &ov, &sl));
    T(setsockopt(ls, SOL_SOCKET, SO_RCVTIMEO, &ov, 4));
    T(setsockopt(ls, 77, 1, &ov, 4));
    T(setsockopt(l2, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
    T(recv(l2, big, 1, 0));
    T(send(l2, big, 70000, 0));
    close(as);
    T(recv(l2, big, 1, 0));
    T(recv(l2, big, 1, 0));
    close(ls);
    T(connect(dg, (void*)&sa, sizeof sa));
}

static void check_polling(void)
{
    puts("-- polling");
    FD_ZERO(&r);
    FD_SET(f, &r);
    T(select(f+1, &r, 0, 0, &z));
    FD_ZERO(&r);
    T(select(-1, 0, 0, 0, &z));
    z.tv_sec=-1;
    T(select(0, 0, 0, 0, &z));
    T(poll((void*)8, 1, 0));
    T(poll(0, 0, 10));
    pf.fd=99;
    T(poll(&pf, 1, 0));
    printf("%x\n", pf.revents);
    pf.fd=-3;
    T(poll(&pf, 1, 0));
    pf.fd=f;
    pf.events=POLLIN|POLLOUT;
    T(poll(&pf, 1, 0));
    printf("%x\n", pf.revents);
}

static void check_transfers(void)
{
    puts("-- transfers");
    T(sendfile(1, 99, &off, 1));
    T(sendfile(wo, ro, &off, 2));
    T(sendfile(wo, ro, NULL, 2));
    T(sendfile(ro, wo, NULL, 2));
    T(copy_file_range(ro, NULL, wo, NULL, 2, 0));
    T(copy_file_range(ro, NULL, wo, NULL, 2, 1));
    T(splice(ro, NULL, wo, NULL, 2, 0));
    T(tee(ro, wo, 1, 0));
}

static void check_descriptor_calls(void)
{
    puts("-- descriptor calls");
    T(statfs("nx", (void*)big));
    T(fstatfs(99, (void*)big));
    T(ioctl(99, FIONREAD, &n));
    T(ioctl(f, TIOCGWINSZ, big));
    T(ioctl(f, FIONREAD, &n));
    T(ioctl(f, FIOCLEX, 0));
    T(fcntl(f, F_GETFD));
    T(ioctl(f, FIONBIO, (void*)8));
}

static void check_ranges_and_memfds(void)
{
    puts("-- ranges and memfds");
    T(syscall(SYS_close_range, 50, 40, 0));
    T(syscall(SYS_close_range, 60, 70, 8));
    T(syscall(SYS_close_range, 60, 70, 0));
    T(syscall(SYS_openat2, AT_FDCWD, "a", big, 1));
    struct{long f, m, r;}
    how={0, 0, 8};
    T(syscall(SYS_openat2, AT_FDCWD, "../x/a", &how, 24));
    how.r=64;
    T(syscall(SYS_openat2, AT_FDCWD, "a", &how, 24));
    how.r=0;
    how.m=7;
    T(syscall(SYS_openat2, AT_FDCWD, "a", &how, 24));
    T(memfd_create("m", 77));
    T(syscall(SYS_memfd_create, (void*)8, 0));
    T(m=memfd_create("m", MFD_ALLOW_SEALING));
    T(ftruncate(m, 100));
    T(fcntl(m, F_ADD_SEALS, F_SEAL_SHRINK));
    T(ftruncate(m, 10));
    T(fcntl(m, F_GET_SEALS));
    snprintf(l, 64, "/proc/self/fd/%d", m);
    memset(big, 0, sizeof big);
    T(readlink(l, big, 100));
    big[20]=0;
    printf("%s\n", big);
    T(m2=open(l, O_RDWR)>0);
    T(open("a", O_PATH)>0);
    op = open("a", O_PATH);
    T(read(op, big, 1));
    T(fchmod(op, 0600));
    T(fstat(op, &st));
    T(fcntl(op, F_GETFL));
    T(fcntl(op, F_SETFL, 0));
    T(ioctl(op, FIONREAD, &n));
    T(openat(op, "x", 0));
    T(fstatat(op, "", &st, AT_EMPTY_PATH));
    T(linkat(op, "", AT_FDCWD, "lk", AT_EMPTY_PATH));
    T(open(".", O_TMPFILE|O_RDONLY, 0600));
    T(open("a", O_TMPFILE|O_RDWR, 0600));
    T(tm=open(".", O_TMPFILE|O_RDWR, 0600)>0);
}

int main(void)
{
    setvbuf(stdout, 0, _IONBF, 0);
    signal(SIGPIPE, SIG_IGN);
    umask(022);
    syscall(SYS_close_range, 3, ~0u, 0); // What the test runner left open would shift the numbers.
    check_names_to_open();
    check_offsets();
    check_contents();
    check_bad_buffers();
    check_access_modes();
    check_duplicates();
    check_hard_links();
    check_symbolic_links();
    check_removal();
    check_renames();
    check_directories();
    check_modes();
    check_times();
    check_allocation();
    check_pipes();
    check_fifos();
    check_vectors();
    check_locks();
    check_listing();
    check_epoll();
    check_eventfd();
    check_timerfd();
    check_signalfd();
    check_socket_pairs();
    check_named_sockets();
    check_polling();
    check_transfers();
    check_descriptor_calls();
    check_ranges_and_memfds();
    return 0;
}
