// /dev/remote-map, as in include/uapi/linux/remote_mapping.h of "[RFC PATCH v6 71/92] mm: add support for remote mapping" (August 2019).
//
// MAP puts a page of another process's anonymous memory in the place of one of the caller's. It is pinned until it is unmapped, so both see one page even if the
// target forks; what the target unmaps, discards or leaves behind when it ends is the caller's alone from then on (a stale mapping). Only the address space that opened the
// device may use it, and a target serves one client at a time.
//
// Errors of MAP in this order. EINVAL: not the opener's address space. EFAULT: the structure. EINVAL: map_hva beyond user space, an address in the middle of a page.
// ESRCH: no such thread; EINVAL: it has no memory any more. EALREADY: map_hva is mapped already. EINVAL: another client has the target. EINVAL: the OOM killer has
// taken of its memory. EFAULT: the target has nothing there; ENOMEM; EBUSY: part of a huge page that somebody holds. EINVAL: not anonymous memory. EALREADY: the page is mapped
// already, at another address. ENOENT: nothing is mapped at map_hva; EINVAL: not anonymous memory; EFAULT: the page table is not there yet (map it with MAP_POPULATE).
//
// UNMAP: EINVAL: not the opener's, or no address of a page; ENOENT: not mapped through this descriptor; EINTR: killed while another call works on it; EALREADY: another call has
// unmapped it.
#pragma once

#include <linux/ioctl.h>
#include <linux/types.h>

#define REMOTE_MAP_DEVICE "/dev/remote-map"
#define REMOTE_MAP_COUNTERS "/sys/kernel/debug/remote_mapping/"

struct remote_map_request {
    __u32 req_pid;
    __u64 req_hva;
    __u64 map_hva;
};

#define REMOTE_MAP   _IOW('r', 0x01, struct remote_map_request)
// The argument is map_hva itself.
#define REMOTE_UNMAP _IOW('r', 0x02, unsigned long)
