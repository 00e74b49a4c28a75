/* traps.h: tangled from nbs/base/03_traps.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/03_traps.ipynb § The trap frame ---- */

/* base/traps.h: what the CPU does when it cannot go on, and how interrupts enter C.
 * Vectors 0..31 are the CPU's exceptions, all fatal here. 32..47: the two PICs' lines. */
#pragma once

#define TRAP_DOUBLE_FAULT  8
#define TRAP_PAGE_FAULT    14
#define TRAP_EXCEPTIONS    32
#define TRAP_IRQ_BASE      32
#define TRAP_VECTORS       48

#ifndef __ASSEMBLER__
#include <stdint.h>

/* As traps.S builds it on the stack, lowest address first. */
struct trap_frame {
    uint32_t edi, esi, ebp, unused_esp, ebx, edx, ecx, eax;     /* pushal */
    uint32_t vector, error;                              /* traps.S, the CPU or traps.S */
    uint32_t eip, cs, eflags;                                   /* the CPU */
};
_Static_assert(sizeof(struct trap_frame) == 52, "traps.S pushes 13 words");

/* Panics with the frame's registers. `esp` as it was when the CPU was interrupted. */
_Noreturn void panic_trap(const struct trap_frame *f, uint32_t esp, const char *what);

/* CR3 for the double fault's task; paging.c calls it. */
void traps_set_cr3(uint32_t cr3);
#endif
