// /dev/remote-mirror: a window on the memory of another process, kept coherent by a notifier of that process. This ABI is the emulator's own.
//
// Open the device, ATTACH once, and mmap the descriptor MAP_SHARED: offset 0 is the start of the window. What is read there is what the target has at that
// address at that moment, whatever it does with its mappings; what is written there the target sees, and a page that it shares with a child is copied first,
// as if the target had written. SIGBUS: the target has nothing there, or nothing that may be read or written; or it has ended. mmap fails with ENODEV before
// ATTACH, EINVAL beyond the end or MAP_PRIVATE.
//
// The device is for the address space that opened it: after fork the child has the mapping, and every access to it is a SIGBUS (VM_WIPEONFORK); ioctls of
// another address space are EINVAL. Such memory cannot be taken by the kernel for I/O without copying, nor mirrored in turn (VM_PFNMAP).
#pragma once

#include <linux/ioctl.h>
#include <linux/types.h>

#define REMOTE_MIRROR_DEVICE "/dev/remote-mirror"

// Errors in this order. EFAULT: bad address. EINVAL: flags, an empty range, one that is not whole pages, or ends beyond user space. ESRCH: no such thread.
// EINVAL: it has no memory any more, or its memory is the caller's own. EBUSY: attached already.
struct remote_mirror_attach {
    __u32 pid;              // of any thread of the target
    __u32 flags;            // 0
    __u64 start;            // of the window, in the target
    __u64 length;
};

// What the device has done for this window. EINVAL: not attached.
struct remote_mirror_stats {
    __u64 lookups;          // pages asked of the target's tables
    __u64 retries;          // answers thrown away, because the target had changed meanwhile
    __u64 inserts;          // pages entered into mappings of the device
    __u64 invalidations;    // changes in the window that it was told of
    __u64 zaps;             // those for which pages were taken out of mappings again
};

#define REMOTE_MIRROR_ATTACH _IOW('r', 0x10, struct remote_mirror_attach)
#define REMOTE_MIRROR_STATS  _IOR('r', 0x11, struct remote_mirror_stats)
