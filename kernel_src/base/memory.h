/* memory.h: tangled from nbs/base/04_memory.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/04_memory.ipynb § The arena ---- */

/* base/memory.h: who owns which byte.
 * arena    one offset that only grows; nothing is freed singly. For models.
 * heap     alloc, free, realloc in one block of memory; checks itself. For requests.
 * region   the largest free range of RAM, from the loader's memory map.
 * Running out returns NULL and changes nothing. A wrong free is a bug of ours and panics.
 * Pure, but for kmem.c, which owns the kernel's heap and region.
 * twin: memory.c string.c stdio.c decimal.c */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct boot_region;                                  /* bootinfo.h */

struct arena { uint8_t *base; size_t cap, used; };   /* used <= cap */

void arena_init(struct arena *a, void *base, size_t cap);
void *arena_alloc(struct arena *a, size_t size, size_t align);

#define HEAP_ALIGN 16
#define HEAP_SIZE_MAX (1u << 30)
#define HEAP_BINS 104
#define HEAP_MAP_WORDS ((HEAP_BINS + 31) / 32)

struct heap_stats {
    size_t size;                   /* of the heap; always used + free */
    size_t used, free;             /* bytes in allocated and free blocks, with headers */
    size_t requested;              /* bytes that callers asked for and hold */
    size_t peak;                   /* the most that `used` has been */
    size_t largest_free;           /* payload of the largest free block */
    uint32_t n_blocks, n_free;     /* allocated and free blocks */
    uint32_t n_allocs, n_frees, n_refused;
};

struct heap {
    uint8_t *base;
    struct heap_stats stats;       /* largest_free is filled in by heap_get_stats */
    uint32_t map[HEAP_MAP_WORDS];  /* bit b: bin b holds a block */
    uint32_t bin[HEAP_BINS];       /* offset of the first free block of each size class */
};

void heap_init(struct heap *h, void *base, size_t size);
void *heap_alloc(struct heap *h, size_t size);
void heap_free(struct heap *h, void *p);
void *heap_realloc(struct heap *h, void *p, size_t size);
struct heap_stats heap_get_stats(const struct heap *h);
bool heap_check(const struct heap *h, char *why, size_t why_cap);

struct extent { uint64_t start, end; };               /* [start, end) */

bool region_largest(const struct boot_region *map, int n_map,
                    const struct extent *reserved, int n_reserved, struct extent *out);

#define KHEAP_SIZE (4u << 20)

void *kmalloc(size_t size);
void *kcalloc(size_t n, size_t size);
void *krealloc(void *p, size_t size);
void kfree(void *p);
struct heap_stats kmem_stats(void);
bool kmem_check(char *why, size_t why_cap);
struct arena *model_region(void);
