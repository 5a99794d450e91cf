// System V shared memory, semaphores and message queues between processes.
#include "guest.h"
#include "guest/signals.h"

#include <linux/ipc.h>
#include <linux/msg.h>
#include <linux/sem.h>
#include <linux/shm.h>

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

static long operate(int id, short amount, short flags)
{
    struct sembuf op = { 0, amount, flags };
    return sys(semop, id, &op, 1);
}

static void check_semaphores(void)
{
    int id = (int)sys(semget, IPC_PRIVATE, 2, IPC_CREAT | 0600);
    CHECK(id >= 0);
    CHECK_EQ(sys(semctl, id, 0, GETVAL, 0), 0);
    CHECK_EQ(operate(id, -1, IPC_NOWAIT), -EAGAIN);
    long child = sys(fork);
    if (!child) {
        for (int i = 0; i < 10; i++)
            operate(id, 1, 0);
        exit_group(0);
    }
    for (int i = 0; i < 10; i++)
        CHECK_EQ(operate(id, -1, 0), 0);
    sys(wait4, child, NULL, 0, NULL);
    CHECK_EQ(sys(semctl, id, 0, GETVAL, 0), 0);
    CHECK_EQ(operate(id, 0, IPC_NOWAIT), 0);
    child = sys(fork);
    if (!child)
        exit_group(operate(id, 3, SEM_UNDO) ? 1 : 0);
    int status = -1;
    sys(wait4, child, &status, 0, NULL);
    CHECK_EQ(status, 0);
    CHECK_EQ(sys(semctl, id, 0, GETVAL, 0), 0);
    struct sembuf both[2] = { { 0, 1, 0 }, { 1, -1, IPC_NOWAIT } };
    CHECK_EQ(sys(semop, id, both, 2), -EAGAIN);
    CHECK_EQ(sys(semctl, id, 0, GETVAL, 0), 0);
    CHECK_EQ(sys(semctl, id, 5, GETVAL, 0), -EINVAL);
    CHECK_EQ(sys(semctl, id, 0, SETVAL, 7), 0);
    CHECK_EQ(sys(semctl, id, 0, GETVAL, 0), 7);
    struct sembuf outside = { 9, 1, 0 };
    CHECK_EQ(sys(semop, id, &outside, 1), -EFBIG);
    CHECK_EQ(sys(semctl, id, 0, IPC_RMID, 0), 0);
    CHECK_EQ(operate(id, 1, 0), -EINVAL);
    passed("semaphores");
}

static void check_messages(void)
{
    int id = (int)sys(msgget, IPC_PRIVATE, IPC_CREAT | 0600);
    CHECK(id >= 0);
    struct { long type; char text[16]; } m = { 3, "three" }, got;
    CHECK_EQ(sys(msgsnd, id, &m, 6, 0), 0);
    m.type = 1;
    strcpy(m.text, "one");
    CHECK_EQ(sys(msgsnd, id, &m, 4, 0), 0);
    CHECK_EQ(sys(msgrcv, id, &got, 16, 1, 0), 4);
    CHECK_TEXT(got.text, "one");
    CHECK_EQ(sys(msgrcv, id, &got, 16, 2, IPC_NOWAIT), -ENOMSG);
    CHECK_EQ(sys(msgrcv, id, &got, 2, 0, 0), -E2BIG);
    CHECK_EQ(sys(msgrcv, id, &got, 2, 0, MSG_NOERROR), 2);
    CHECK_EQ(got.type, 3);
    m.type = 0;
    CHECK_EQ(sys(msgsnd, id, &m, 4, 0), -EINVAL);
    CHECK_EQ(sys(msgctl, id, IPC_RMID, NULL), 0);
    CHECK_EQ(sys(msgrcv, id, &got, 16, 0, 0), -EINVAL);
    passed("messages");
}

int main(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv, (void)envp;
    catch_faults();
    check_memory();
    check_semaphores();
    check_messages();
    return report();
}
