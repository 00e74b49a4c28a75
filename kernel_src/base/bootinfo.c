/* bootinfo.c: tangled from nbs/base/01_boot.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/01_boot.ipynb § What the loader knows ---- */

/* base/bootinfo.c: reads the Multiboot information structure (section 3.3). Pure but for
 * the global. The loader is trusted to give true addresses, not to respect our limits. */
#include "base/bootinfo.h"

struct boot_info boot_info;

static const void *physical(uint32_t address) { return (const void *)(uintptr_t)address; }

/* A copy of the loader's string. One that does not fit is counted and becomes "". */
static const char *text_copy(struct boot_info *info, uint32_t address)
{
    const char *from = physical(address);
    uint32_t n = 0, left = BOOT_TEXT_MAX - info->text_used;
    if (address == 0)
        return "";
    while (n < left && from[n])
        n++;
    if (n == left) {
        info->n_dropped++;
        return "";
    }
    char *to = info->text + info->text_used;
    for (uint32_t i = 0; i <= n; i++)
        to[i] = from[i];
    info->text_used += n + 1;
    return to;
}

static void region_add(struct boot_info *info, uint64_t base, uint64_t size,
                       uint32_t type)
{
    if (info->n_regions == BOOT_REGIONS_MAX) {
        info->n_dropped++;
        return;
    }
    struct boot_region *r = &info->regions[info->n_regions++];
    r->base = base;
    r->size = size;
    r->type = type;
}

static void read_memory_map(struct boot_info *info, const struct multiboot_info *mbi)
{
    uint32_t at = 0;
    while (mbi->mmap_length - at >= sizeof(struct multiboot_mmap)) {
        const struct multiboot_mmap *m = physical(mbi->mmap_addr + at);
        region_add(info, (uint64_t)m->base_high << 32 | m->base_low,
                   (uint64_t)m->length_high << 32 | m->length_low, m->type);
        /* a last entry that runs over the end */
        if (m->size > mbi->mmap_length - at - 4)
            break;
        at += m->size + 4;
    }
}

static void read_modules(struct boot_info *info, const struct multiboot_info *mbi)
{
    const struct multiboot_module *mods = physical(mbi->mods_addr);
    for (uint32_t i = 0; i < mbi->mods_count; i++) {
        if (info->n_modules == BOOT_MODULES_MAX || mods[i].end < mods[i].start) {
            info->n_dropped++;
            continue;
        }
        struct boot_module *m = &info->modules[info->n_modules++];
        m->data = physical(mods[i].start);
        m->size = mods[i].end - mods[i].start;
        m->cmdline = text_copy(info, mods[i].string);
    }
}

void bootinfo_read(struct boot_info *info, const struct multiboot_info *mbi)
{
    info->n_modules = info->n_regions = 0;
    info->n_dropped = info->text_used = 0;
    info->cmdline = info->loader = "";
    if (mbi->flags & MULTIBOOT_INFO_CMDLINE)
        info->cmdline = text_copy(info, mbi->cmdline);
    if (mbi->flags & MULTIBOOT_INFO_LOADER_NAME)
        info->loader = text_copy(info, mbi->boot_loader_name);
    if (mbi->flags & MULTIBOOT_INFO_MODS)
        read_modules(info, mbi);
    if (mbi->flags & MULTIBOOT_INFO_MEM_MAP) {
        read_memory_map(info, mbi);
    } else if (mbi->flags & MULTIBOOT_INFO_MEMORY) {
        region_add(info, 0, (uint64_t)mbi->mem_lower << 10, BOOT_REGION_RAM);
        region_add(info, 1 << 20, (uint64_t)mbi->mem_upper << 10, BOOT_REGION_RAM);
    }
}
