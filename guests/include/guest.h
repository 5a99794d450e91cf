// The guests' runtime: everything a freestanding Linux x86-64 program here needs, and nothing else.
// Structures and constants come from the kernel's own UAPI headers, so that there is one source of truth for the ABI.
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <asm/unistd.h>
#include <linux/errno.h>
#include <linux/fcntl.h>

#include "guest/syscall.h"
#include "guest/string.h"
#include "guest/memory.h"
#include "guest/print.h"
#include "guest/check.h"

#define PAGE 4096UL
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

// Every program defines this. Its value is the exit status.
int main(int argc, char **argv, char **envp);

// The value of an auxiliary-vector entry, or 0.
unsigned long auxv_get(unsigned long type);
bool auxv_has(unsigned long type);
const char *env_get(const char *name);

// Argument `index` as a number, or `otherwise` when it is absent.
long arg_number(int argc, char **argv, int index, long otherwise);

_Noreturn void exit_group(int status);
