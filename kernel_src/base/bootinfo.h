/* bootinfo.h: tangled from nbs/base/01_boot.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/01_boot.ipynb § What the loader knows ---- */

/* base/bootinfo.h: what the loader told us, in our own words and our own memory.
 * Strings are copied here, so that only the modules' bytes stay where the loader put
 * them: RAM from kernel_start to kernel_end and every module must be spared, all else of
 * type BOOT_REGION_RAM is free. Filled once by kernel_main before any INITCALL, then only
 * read. twin: bootinfo.c */
#pragma once
#include "base/multiboot.h"
#include <stddef.h>
#include <stdint.h>

#define BOOT_MODULES_MAX  8
#define BOOT_REGIONS_MAX  32
#define BOOT_TEXT_MAX     4096          /* command line and all module strings together */

enum { BOOT_REGION_RAM = 1 };            /* other types: keep away */

struct boot_module { const uint8_t *data; size_t size; const char *cmdline; };
struct boot_region { uint64_t base, size; uint32_t type; };

struct boot_info {
    const char *cmdline;                 /* never NULL */
    const char *loader;                  /* its name; "" if it does not say */
    int n_modules;
    struct boot_module modules[BOOT_MODULES_MAX];
    int n_regions;
    struct boot_region regions[BOOT_REGIONS_MAX];
    uint32_t n_dropped;                 /* modules, regions, strings that found no room */
    uint32_t text_used;
    char text[BOOT_TEXT_MAX];
};

extern struct boot_info boot_info;

void bootinfo_read(struct boot_info *info, const struct multiboot_info *mbi);
