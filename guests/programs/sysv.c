// System V shared memory between processes.
#include "guest.h"
#include "guest/signals.h"

#include <linux/ipc.h>
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

int main(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv, (void)envp;
    catch_faults();
    check_memory();
    return report();
}
