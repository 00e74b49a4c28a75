/* multiboot.h: tangled from nbs/base/01_boot.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/01_boot.ipynb § The header ---- */

/* base/multiboot.h: what a Multiboot 1 loader and a kernel say to each other.
 * The numbers and the names are those of the Multiboot Specification 0.6.96, sections 3.1
 * to 3.3. Read by boot.S (the numbers) and bootinfo.c (the structures). */
#pragma once

#define MULTIBOOT_HEADER_MAGIC      0x1badb002   /* in our file: "load me" */
#define MULTIBOOT_BOOTLOADER_MAGIC  0x2badb002   /* in EAX at entry: "I was here" */
#define MULTIBOOT_SEARCH            8192        /* the header lies in these first bytes */
#define MULTIBOOT_PAGE_ALIGN        0x00000001   /* put modules on page boundaries */
#define MULTIBOOT_MEMORY_INFO       0x00000002   /* tell us about memory */

/* Which fields of multiboot_info are filled in. */
#define MULTIBOOT_INFO_MEMORY       0x00000001
#define MULTIBOOT_INFO_CMDLINE      0x00000004
#define MULTIBOOT_INFO_MODS         0x00000008
#define MULTIBOOT_INFO_MEM_MAP      0x00000040
#define MULTIBOOT_INFO_LOADER_NAME  0x00000200

/* ---- nbs/base/01_boot.ipynb § What the loader knows ---- */

#ifndef __ASSEMBLER__
#include <stdint.h>

/* Addresses are physical and 32 bits wide, on the host twin too. */
struct multiboot_info {
    uint32_t flags;
    uint32_t mem_lower, mem_upper;               /* KiB below 640 KiB, KiB above 1 MiB */
    uint32_t boot_device;
    uint32_t cmdline;
    uint32_t mods_count, mods_addr;
    uint32_t syms[4];
    uint32_t mmap_length, mmap_addr;
    uint32_t drives_length, drives_addr;
    uint32_t config_table;
    uint32_t boot_loader_name;
};
_Static_assert(sizeof(struct multiboot_info) == 68, "Multiboot 0.6.96, section 3.3");

struct multiboot_module { uint32_t start, end, string, reserved; };
_Static_assert(sizeof(struct multiboot_module) == 16, "Multiboot 0.6.96, section 3.3");

/* `size` does not count itself: the next entry is size + 4 bytes on. */
struct multiboot_mmap {
    uint32_t size, base_low, base_high, length_low, length_high, type;
};
_Static_assert(sizeof(struct multiboot_mmap) == 24, "Multiboot 0.6.96, section 3.3");
#endif
