/* gdt.h: tangled from nbs/base/01_boot.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/01_boot.ipynb § Segments ---- */

/* base/gdt.h: segment selectors, the byte offsets of the descriptors in boot.S's table.
 * Flat: base 0, limit 4 GiB, ring 0. The two TSS slots are filled in by traps.c. */
#pragma once

#define KERNEL_CS       0x08
#define KERNEL_DS       0x10
#define TSS_MAIN        0x18
#define TSS_FAULT       0x20
#define GDT_SIZE        0x28

#ifndef __ASSEMBLER__
#include <stdint.h>
extern uint64_t gdt[GDT_SIZE / 8];
#endif
