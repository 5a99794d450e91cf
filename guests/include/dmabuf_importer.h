// /dev/dmabuf_importer0 to 2: emulated devices that use dma-bufs, so that a program sees what a GPU or a display would see. This ABI is the emulator's own.
//
//   0  static: maps a buffer when it is attached, and keeps that mapping until it is detached. Exporters that move buffers pin them for it.
//   1  dynamic: maps a buffer when it uses it, drops the mapping when it is told that the buffer moves, and maps again at the next use.
//   2  engine: dynamic, with tasks of its own that do jobs while the program goes on, and that can show a buffer again and again, as a display does.
//
// Errors common to all commands: EFAULT for a bad address, ENOENT for a handle that is not attached, EINVAL for anything else that makes no sense, EBUSY for a
// buffer that moved away from the device again and again for a second: to be tried again.
#pragma once

#include <linux/ioctl.h>
#include <linux/types.h>

#define DMABUF_IMPORTER_STATIC "/dev/dmabuf_importer0"
#define DMABUF_IMPORTER_DYNAMIC "/dev/dmabuf_importer1"
#define DMABUF_IMPORTER_ENGINE "/dev/dmabuf_importer2"

// Attaches to a buffer. EBADF: no such descriptor; EINVAL: no dma-buf, or flags; ENOSPC: too many.
struct dmabuf_importer_attach {
    __s32 fd;           // in: the buffer; it may be closed afterwards
    __u32 flags;        // in: 0
    __u64 size;         // out: bytes of the buffer
    __u32 handle;       // out: for the other commands, from 1 on
    __u32 pad;
};

// What a job does with [offset, offset + length) of a buffer.
enum dmabuf_importer_op {
    DMABUF_IMPORTER_READ = 0,       // copies to the program's memory at `pointer`
    DMABUF_IMPORTER_WRITE = 1,      // copies from there
    DMABUF_IMPORTER_FILL = 2,       // writes the low byte of `value` everywhere
    DMABUF_IMPORTER_SUM = 3,        // adds all bytes up in `value`
};

// TRANSFER: does a job and returns when it is done. SUBMIT: the engine does it later; FILL and SUM only. EAGAIN: too many jobs wait.
struct dmabuf_importer_transfer {
    __u32 handle;
    __u32 op;
    __u64 offset;
    __u64 length;
    __u64 pointer;
    __u64 value;        // in and out of TRANSFER
    __u64 job;          // out of SUBMIT: a number for WAIT
};

// Waits for a job of the engine. ETIME: it is not done yet; ENOENT: no such job, or its result was fetched.
struct dmabuf_importer_wait {
    __u64 job;
    __u64 value;        // out: of SUM
    __u32 timeout_ms;
    __s32 error;        // out: 0 or minus an errno
};

// The engine shows a part of a buffer from now on, one frame a millisecond; run = 0: nothing any more.
struct dmabuf_importer_scanout {
    __u32 handle;
    __u32 run;
    __u64 offset;
    __u64 length;
};

// Waits for the first frame that begins after the call.
struct dmabuf_importer_frame {
    __u64 number;       // out: frames since the device was opened
    __u64 sum;          // out: all its bytes added up
    __s64 error;        // out: 0, or minus the errno for which the frame could not be shown
};

// What the open device has counted.
struct dmabuf_importer_stats {
    __u64 maps;             // mappings that it was given
    __u64 move_notifies;    // times it was told that a buffer moves
    __u64 revokes;          // times a mapping was taken back in a notifier
    __u64 jobs;
    __u64 iotlb_hits, iotlb_misses, iotlb_flushes;
    __u64 orphans;          // pages used that were not the file's any more: read old, or written in vain
};

#define DMABUF_IMPORTER_ATTACH   _IOWR(0xDB, 0, struct dmabuf_importer_attach)
#define DMABUF_IMPORTER_DETACH   _IOW(0xDB, 1, __u32)
#define DMABUF_IMPORTER_TRANSFER _IOWR(0xDB, 2, struct dmabuf_importer_transfer)
#define DMABUF_IMPORTER_SUBMIT   _IOWR(0xDB, 3, struct dmabuf_importer_transfer)
#define DMABUF_IMPORTER_WAIT     _IOWR(0xDB, 4, struct dmabuf_importer_wait)
#define DMABUF_IMPORTER_SCANOUT  _IOW(0xDB, 5, struct dmabuf_importer_scanout)
#define DMABUF_IMPORTER_FRAME    _IOR(0xDB, 6, struct dmabuf_importer_frame)
#define DMABUF_IMPORTER_STATS    _IOR(0xDB, 7, struct dmabuf_importer_stats)
