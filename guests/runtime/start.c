#include "guest.h"
#include "internal.h"

#include <linux/auxvec.h>

static const unsigned long *auxiliary;
static char **environment;

// The kernel enters with argc at the stack pointer, 16-byte aligned, and no return address (psABI 3.4.1).
__asm__(".globl _start\n"
        ".type _start, @function\n"
        "_start:\n"
        "    xor %ebp, %ebp\n"
        "    mov %rsp, %rdi\n"
        "    and $-16, %rsp\n"
        "    call runtime_start\n"
        "    hlt\n"
        ".size _start, . - _start\n");

__attribute__((used)) _Noreturn void runtime_start(long *stack)
{
    int argc = (int)stack[0];
    char **argv = (char **)(stack + 1);
    environment = argv + argc + 1;
    char **end = environment;
    while (*end)
        end++;
    auxiliary = (const unsigned long *)(end + 1);
    threads_start();
    exit_group(main(argc, argv, environment));
}

static const unsigned long *auxv_find(unsigned long type)
{
    for (const unsigned long *entry = auxiliary; entry[0] != AT_NULL; entry += 2)
        if (entry[0] == type)
            return entry;
    return NULL;
}

bool auxv_has(unsigned long type)
{
    return auxv_find(type) != NULL;
}

unsigned long auxv_get(unsigned long type)
{
    const unsigned long *entry = auxv_find(type);
    return entry ? entry[1] : 0;
}

const char *env_get(const char *name)
{
    size_t length = strlen(name);
    for (char **entry = environment; *entry; entry++)
        if (!strncmp(*entry, name, length) && (*entry)[length] == '=')
            return *entry + length + 1;
    return NULL;
}

long arg_number(int argc, char **argv, int index, long otherwise)
{
    if (index >= argc || !*argv[index])
        return otherwise;
    long value = 0;
    for (const char *digit = argv[index]; *digit >= '0' && *digit <= '9'; digit++)
        value = value * 10 + (*digit - '0');
    return value;
}

_Noreturn void exit_group(int status)
{
    for (;;)
        sys(exit_group, status);
}
