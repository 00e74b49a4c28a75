/* heap_limit.c: tangled from nbs/api/31_slots.ipynb. Edit the notebook, not this file. */

/* ---- nbs/api/31_slots.ipynb § A smaller heap ---- */

/* heap_limit.c: a kernel heap as small as the configuration asks for. */
#include "base/config.h"
#include "base/kernel.h"
#include "base/memory.h"
#include "base/stdio.h"

CONFIG_KEY(heap, "KiB of kernel heap (default, and most, 4096)");

static void heap_limit(void)
{
    long kib;
    struct heap_stats s = kmem_stats();
    if (!config_int("heap", &kib))
        return;
    if (kib < 64 || kib >= (long)(s.free >> 10) ||
        !kmalloc(s.free - ((size_t)kib << 10)))
        kprintf("[mem] heap=%ld: choose 64 to %u KiB\n", kib, (unsigned)(s.free >> 10));
    else
        kprintf("[mem] heap limited to %ld KiB\n", kib);
}
INITCALL(36, heap_limit);
