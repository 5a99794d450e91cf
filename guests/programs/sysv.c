// System V shared memory, semaphores and message queues between processes.
#include "guest.h"
#include "guest/signals.h"

#include <linux/ipc.h>
#include <linux/msg.h>
#include <linux/sem.h>
#include <linux/shm.h>
#include <linux/time.h>

static void check_memory(void)
{
    int id = (int)sys(shmget, IPC_PRIVATE, 3 * PAGE, IPC_CREAT | 0600);
    CHECK(id >= 0);
    char *a = (char *)sys(shmat, id, NULL, 0), *b = (char *)sys(shmat, id, NULL, SHM_RDONLY);
    CHECK(a != b);
    a[PAGE] = 5;
    CHECK_EQ(b[PAGE], 5);
    CHECK_FAULT(fault_of_write(b), SIGSEGV, SEGV_ACCERR, b);
    long child = sys(fork);
    if (!child) {
        a[0] = 9;
        exit_group(sys(shmdt, a) == 0 ? 0 : 1);
    }
    int status = -1;
    sys(wait4, child, &status, 0, NULL);
    CHECK_EQ(status, 0);
    CHECK_EQ(b[0], 9);
    struct shmid64_ds info;
    CHECK_EQ(sys(shmctl, id, IPC_STAT, &info), 0);
    CHECK_EQ(info.shm_segsz, 3 * PAGE);
    CHECK_EQ(info.shm_nattch, 2);
    CHECK_EQ(sys(shmctl, id, IPC_RMID, NULL), 0);
    CHECK_EQ(a[PAGE], 5);
    CHECK_EQ(sys(shmdt, a), 0);
    CHECK_EQ(sys(shmdt, b), 0);
    CHECK_EQ(sys(shmdt, b), -EINVAL);
    CHECK_EQ(sys(shmat, id, NULL, 0), -EINVAL);
    CHECK_EQ(sys(shmget, 0x7a7a7a01, PAGE, 0), -ENOENT);
    CHECK_EQ(sys(shmget, IPC_PRIVATE, 0, IPC_CREAT), -EINVAL);
    passed("shared memory");
}

static int set;

static long semaphore(int number, int change, int flags)
{
    struct sembuf operation = { (unsigned short)number, (short)change, (short)flags };
    return sys(semop, set, &operation, 1);
}

static long value_of(int number)
{
    return sys(semctl, set, number, GETVAL, 0);
}

static long finished(long child)
{
    int status = -1;
    sys(wait4, child, &status, 0, NULL);
    return status;
}

// Until a child sleeps in its semop.
static void await_waiters(int command, long count)
{
    while (sys(semctl, set, 0, command, 0) != count)
        sys(sched_yield);
}

static void check_semaphore_values(void)
{
    set = (int)sys(semget, IPC_PRIVATE, 3, IPC_CREAT | 0600);
    CHECK(set >= 0);
    CHECK_EQ(value_of(0), 0);
    CHECK_EQ(sys(semctl, set, 1, SETVAL, 5), 0);
    CHECK_EQ(value_of(1), 5);
    unsigned short values[3] = { 1, 2, 3 };
    CHECK_EQ(sys(semctl, set, 0, SETALL, values), 0);
    values[1] = 9;
    CHECK_EQ(sys(semctl, set, 0, GETALL, values), 0);
    CHECK(values[0] == 1 && values[1] == 2 && values[2] == 3);
    CHECK_EQ(semaphore(2, -2, 0), 0);
    CHECK_EQ(value_of(2), 1);
    CHECK_EQ(sys(semctl, set, 2, GETPID, 0), process_id());
    CHECK_EQ(semaphore(2, -2, IPC_NOWAIT), -EAGAIN);
    CHECK_EQ(semaphore(2, 0, IPC_NOWAIT), -EAGAIN);
    CHECK_EQ(semaphore(2, 32767, 0), -ERANGE);

    // All or nothing, and each operation sees what those before it did.
    struct sembuf both[] = { { 0, -1, 0 }, { 1, -3, IPC_NOWAIT } };
    CHECK_EQ(sys(semop, set, both, 2), -EAGAIN);
    CHECK_EQ(value_of(0), 1);
    struct sembuf chain[] = { { 0, -1, 0 }, { 0, 0, 0 }, { 0, 4, 0 }, { 0, -2, 0 } };
    CHECK_EQ(sys(semop, set, chain, 4), 0);
    CHECK_EQ(value_of(0), 2);

    struct semid64_ds info;
    CHECK_EQ(sys(semctl, set, 0, IPC_STAT, &info), 0);
    CHECK_EQ(info.sem_nsems, 3);
    CHECK_EQ(info.sem_perm.mode, 0600);
    CHECK(info.sem_otime > 0 && info.sem_ctime > 0);
    passed("semaphore values");

    CHECK_EQ(sys(semget, IPC_PRIVATE, 0, IPC_CREAT | 0600), -EINVAL);
    CHECK_EQ(sys(semget, IPC_PRIVATE, 1000000, IPC_CREAT | 0600), -EINVAL);
    CHECK_EQ(sys(semget, 0x7a7a7a02, 1, 0), -ENOENT);
    int keyed = (int)sys(semget, 0x7a7a7a02, 2, IPC_CREAT | 0600);
    CHECK_EQ(sys(semget, 0x7a7a7a02, 1, 0), keyed);
    CHECK_EQ(sys(semget, 0x7a7a7a02, 3, 0), -EINVAL);
    CHECK_EQ(sys(semget, 0x7a7a7a02, 1, IPC_CREAT | IPC_EXCL), -EEXIST);
    CHECK_EQ(sys(semctl, keyed, 0, IPC_RMID, 0), 0);
    CHECK_EQ(sys(semctl, keyed, 0, IPC_RMID, 0), -EINVAL);
    CHECK_EQ(sys(semctl, set, 3, GETVAL, 0), -EINVAL);
    CHECK_EQ(sys(semctl, set, 0, SETVAL, 32768), -ERANGE);
    CHECK_EQ(sys(semctl, set, 0, 99, 0), -EINVAL);
    CHECK_EQ(semaphore(3, 1, 0), -EFBIG);
    CHECK_EQ(sys(semop, set, both, 0), -EINVAL);
    CHECK_EQ(sys(semop, set, both, 501), -E2BIG);
    CHECK_EQ(sys(semop, set, 8, 1), -EFAULT);
    CHECK_EQ(sys(semop, -1, both, 1), -EINVAL);
    passed("semaphore errors");
}

static void check_semaphore_waits(void)
{
    sys(semctl, set, 0, SETVAL, 0);
    long child = sys(fork);
    if (!child)
        exit_group(semaphore(0, -2, 0) == 0 ? 0 : 1);
    await_waiters(GETNCNT, 1);
    CHECK_EQ(semaphore(0, 1, 0), 0);
    CHECK_EQ(sys(semctl, set, 0, GETNCNT, 0), 1);
    CHECK_EQ(semaphore(0, 1, 0), 0);
    CHECK_EQ(finished(child), 0);
    CHECK_EQ(value_of(0), 0);

    sys(semctl, set, 0, SETVAL, 1);
    child = sys(fork);
    if (!child)
        exit_group(semaphore(0, 0, 0) == 0 ? 0 : 1);
    await_waiters(GETZCNT, 1);
    CHECK_EQ(semaphore(0, -1, 0), 0);
    CHECK_EQ(finished(child), 0);

    struct sembuf take = { 0, -1, 0 };
    struct __kernel_timespec timeout = { 0, 2000000 }, wrong = { 0, 1000000000 };
    CHECK_EQ(sys(semtimedop, set, &take, 1, &timeout), -EAGAIN);
    CHECK_EQ(sys(semtimedop, set, &take, 1, &wrong), -EINVAL);
    CHECK_EQ(sys(semctl, set, 0, GETNCNT, 0), 0);
    passed("semaphore waits");

    // What a process did with SEM_UNDO is undone when it ends.
    sys(semctl, set, 0, SETVAL, 3);
    sys(semctl, set, 1, SETVAL, 0);
    child = sys(fork);
    if (!child) {
        semaphore(0, -2, SEM_UNDO);
        semaphore(1, 1, SEM_UNDO);
        semaphore(2, 1, 0);
        exit_group(value_of(0) == 1 ? 0 : 1);
    }
    CHECK_EQ(finished(child), 0);
    CHECK_EQ(value_of(0), 3);
    CHECK_EQ(value_of(1), 0);
    CHECK_EQ(value_of(2), 2);
    child = sys(fork);
    if (!child) {
        semaphore(0, -2, SEM_UNDO);
        sys(semctl, set, 0, SETVAL, 7);
        exit_group(0);
    }
    CHECK_EQ(finished(child), 0);
    CHECK_EQ(value_of(0), 7);
    passed("semaphore undo");

    sys(semctl, set, 0, SETVAL, 0);
    child = sys(fork);
    if (!child)
        exit_group(semaphore(0, -1, 0) == -EIDRM ? 0 : 1);
    await_waiters(GETNCNT, 1);
    CHECK_EQ(sys(semctl, set, 0, IPC_RMID, 0), 0);
    CHECK_EQ(finished(child), 0);
    CHECK_EQ(semaphore(0, 1, 0), -EINVAL);
    passed("semaphore removal");
}

struct message {
    long type;
    char text[64];
};

static int queue;

static long put(long type, const char *text, int flags)
{
    struct message m = { type, { 0 } };
    memcpy(m.text, text, strlen(text));
    return sys(msgsnd, queue, &m, strlen(text), flags);
}

// The text that comes for a type, or "-".
static const char *got(long type, int flags)
{
    static struct message m;
    long size = sys(msgrcv, queue, &m, sizeof m.text - 1, type, flags | IPC_NOWAIT);
    if (size < 0)
        return "-";
    m.text[size] = 0;
    return m.text;
}

static void check_messages(void)
{
    queue = (int)sys(msgget, IPC_PRIVATE, IPC_CREAT | 0600);
    CHECK(queue >= 0);
    put(5, "five", 0), put(3, "three", 0), put(5, "more", 0), put(1, "one", 0), put(4, "four", 0);
    struct msqid64_ds info;
    CHECK_EQ(sys(msgctl, queue, IPC_STAT, &info), 0);
    CHECK_EQ(info.msg_qnum, 5);
    CHECK_EQ(info.msg_qbytes, 16384);
    CHECK_EQ(info.msg_lspid, process_id());
    CHECK_TEXT(got(4, 0), "four");
    CHECK_TEXT(got(5, MSG_EXCEPT), "three");
    CHECK_TEXT(got(-4, 0), "one");
    CHECK_TEXT(got(-4, 0), "-");
    CHECK_TEXT(got(0, 0), "five");
    CHECK_TEXT(got(9, 0), "-");
    struct message m;
    CHECK_EQ(sys(msgrcv, queue, &m, 2, 0, 0), -E2BIG);
    CHECK_EQ(sys(msgrcv, queue, &m, 2, 0, MSG_NOERROR), 2);
    CHECK_EQ(m.type, 5);
    CHECK_EQ(sys(msgrcv, queue, &m, 2, 0, IPC_NOWAIT), -ENOMSG);
    CHECK_EQ(put(0, "x", 0), -EINVAL);
    CHECK_EQ(sys(msgsnd, queue, &m, 8193, 0), -EINVAL);
    CHECK_EQ(sys(msgsnd, queue, 8, 1, 0), -EFAULT);
    CHECK_EQ(sys(msgrcv, -1, &m, 1, 0, 0), -EINVAL);
    CHECK_EQ(sys(msgget, 0x7a7a7a03, 0), -ENOENT);
    CHECK_EQ(put(1, "", 0), 0);
    CHECK_TEXT(got(0, 0), "");
    passed("messages");

    long child = sys(fork);
    if (!child) {
        long sum = 0;
        for (int i = 0; i < 500; i++) {
            struct message next;
            if (sys(msgrcv, queue, &next, sizeof next.text, 0, 0) != 64)
                exit_group(1);
            sum += next.type;
        }
        exit_group(sum == 500 * 501 / 2 ? 0 : 2);
    }
    for (int i = 1; i <= 500; i++) {
        m.type = i;
        CHECK_EQ(sys(msgsnd, queue, &m, 64, 0), 0);
    }
    CHECK_EQ(finished(child), 0);
    int filled = 0;
    while (sys(msgsnd, queue, &m, 64, IPC_NOWAIT) == 0)
        filled++;
    CHECK_EQ(filled, 16384 / 64);
    child = sys(fork);
    if (!child)
        exit_group(sys(msgsnd, queue, &m, 64, 0) == -EIDRM ? 0 : 1);
    struct __kernel_timespec pause = { 0, 5000000 };
    sys(nanosleep, &pause, NULL);
    CHECK_EQ(sys(msgctl, queue, IPC_RMID, 0), 0);
    long status = finished(child);
    CHECK(status == 0 || status == 1 << 8);  // it may have been late
    CHECK_EQ(sys(msgsnd, queue, &m, 1, 0), -EINVAL);
    passed("message waits");
}

int main(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv, (void)envp;
    catch_faults();
    check_memory();
    check_semaphore_values();
    check_semaphore_waits();
    check_messages();
    return report();
}
