// msharefs: regions of memory whose page tables processes share. The first part is the interface of RFC v3 of September 2024
// (include/uapi/linux/msharefs.h there); the second part is ours.
#pragma once

#include <linux/ioctl.h>
#include <linux/types.h>

#define MSHAREFS_MAGIC 0x4d534852

struct mshare_info {
    __u64 start;    // first address of the region
    __u64 size;     // in bytes; both are multiples of what mshare_info says
};

struct mshare_create {
    __u64 addr;     // inside the region
    __u64 size;
    __u64 offset;   // of the file, for a file
    __u32 prot;
    __u32 flags;    // MAP_SHARED | MAP_FIXED, and what else
    __u32 fd;       // a memfd or another file; -1: anonymous memory
};

#define MSHAREFS_GET_SIZE _IOR('x', 0, struct mshare_info)
#define MSHAREFS_SET_SIZE _IOW('x', 1, struct mshare_info)
#define MSHAREFS_CREATE_MAPPING _IOW('x', 2, struct mshare_create)

// Ours: what v3 has no way to do. The descriptor must be open for writing (EACCES); whoever shares the region sees the change.
// Not there with --mshare-variant rfc-v3 (ENOTTY).
struct mshare_unmap {
    __u64 addr;
    __u64 size;
};

struct mshare_protect {
    __u64 addr;
    __u64 size;
    __u32 prot;
    __u32 reserved; // 0
};

#define MSHAREFS_X_UNMAP _IOW('x', 0x1e, struct mshare_unmap)
#define MSHAREFS_X_PROTECT _IOW('x', 0x1f, struct mshare_protect)
