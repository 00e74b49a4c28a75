/* kmem.c: tangled from nbs/base/04_memory.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/04_memory.ipynb § The kernel's own ---- */

/* base/kmem.c: the kernel's own heap and model region; the edge of memory.c.
 * The heap is 4 MiB of .bss: bounded, there from the first instruction, and its size is a
 * line of the linker map. The region is whatever RAM nothing else has a claim on. */
#include "base/bootinfo.h"
#include "base/kernel.h"
#include "base/memory.h"
#include "base/stdio.h"
#include "base/string.h"

static uint8_t kheap_memory[KHEAP_SIZE] __attribute__((aligned(4096)));
static struct heap kheap;
static struct arena region;

void *kmalloc(size_t size) { return heap_alloc(&kheap, size); }
void kfree(void *p) { heap_free(&kheap, p); }
void *krealloc(void *p, size_t size) { return heap_realloc(&kheap, p, size); }

void *kcalloc(size_t n, size_t size)
{
    if (size && n > SIZE_MAX / size)
        return NULL;
    void *p = kmalloc(n * size);
    return p ? memset(p, 0, n * size) : NULL;
}

struct heap_stats kmem_stats(void) { return heap_get_stats(&kheap); }
bool kmem_check(char *why, size_t cap) { return heap_check(&kheap, why, cap); }
struct arena *model_region(void) { return &region; }

static struct extent extent_of_bytes(const void *p, size_t n)
{
    return (struct extent){(uintptr_t)p, (uint64_t)(uintptr_t)p + n};
}

static void region_init(void)
{
    struct extent reserved[1 + BOOT_MODULES_MAX], best;
    int n = 0;
    reserved[n++] = extent_of_bytes(kernel_start, (size_t)(kernel_end - kernel_start));
    for (int i = 0; i < boot_info.n_modules; i++)
        reserved[n++] =
            extent_of_bytes(boot_info.modules[i].data, boot_info.modules[i].size);
    if (!region_largest(boot_info.regions, boot_info.n_regions, reserved, n, &best)) {
        kprintf("[mem] model region: the memory map has no free RAM\n");
        return;
    }
    arena_init(&region, (void *)(uintptr_t)best.start, (size_t)(best.end - best.start));
    kprintf("[mem] model region 0x%08x..0x%08x (%u KiB)\n", (unsigned)best.start,
            (unsigned)best.end, (unsigned)((best.end - best.start) / 1024));
}

static void memory_init(void)
{
    heap_init(&kheap, kheap_memory, sizeof kheap_memory);
    uintptr_t at = (uintptr_t)kheap_memory;
    kprintf("[mem] heap arena 0x%08x..0x%08x (%u KiB)\n", (unsigned)at,
            (unsigned)(at + sizeof kheap_memory), (unsigned)(sizeof kheap_memory / 1024));
    region_init();
}
INITCALL(30, memory_init);
