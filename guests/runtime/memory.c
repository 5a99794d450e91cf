#include "guest.h"
#include "guest/threads.h"

// Power-of-two size classes with one free list each, carved from 64 KiB chunks; larger blocks are mappings of their own.
typedef struct header { size_t bytes; struct header *next; } header;

enum { FIRST_CLASS = 5, LAST_CLASS = 15, CHUNK = 1 << 16 };

static mutex lock;
static header *free_blocks[LAST_CLASS + 1];
static char *chunk, *chunk_end;

void *map_pages(size_t bytes, int protection)
{
    long result = mmap6(NULL, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!is_address(result)) {
        print_to(2, "out of memory: mmap of %zu bytes gives %ld\n", bytes, result);
        exit_group(99);
    }
    return (void *)result;
}

void *allocate(size_t bytes)
{
    size_t total = bytes + sizeof(header);
    header *block;
    if (total > 1UL << LAST_CLASS) {
        block = map_pages(total, PROT_READ | PROT_WRITE);
        block->bytes = total;
        return block + 1;
    }
    int class = FIRST_CLASS;
    while (1UL << class < total)
        class++;
    mutex_lock(&lock);
    block = free_blocks[class];
    if (block) {
        free_blocks[class] = block->next;
    } else {
        if (chunk_end - chunk < 1L << class) {
            chunk = map_pages(CHUNK, PROT_READ | PROT_WRITE);
            chunk_end = chunk + CHUNK;
        }
        block = (header *)chunk;
        chunk += 1L << class;
    }
    mutex_unlock(&lock);
    block->bytes = 1UL << class;
    return block + 1;
}

void release(void *memory)
{
    if (!memory)
        return;
    header *block = (header *)memory - 1;
    if (block->bytes > 1UL << LAST_CLASS) {
        sys(munmap, block, block->bytes);
        return;
    }
    int class = __builtin_ctzl(block->bytes);
    mutex_lock(&lock);
    block->next = free_blocks[class];
    free_blocks[class] = block;
    mutex_unlock(&lock);
}
