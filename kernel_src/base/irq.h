/* irq.h: tangled from nbs/base/03_traps.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/03_traps.ipynb § Interrupts ---- */

/* base/irq.h: interrupts from devices, through the two 8259 PICs.
 * A handler acknowledges its device and leaves a note (a flag, a byte in a ring); the
 * work is done by the layer's POLL. It is called with interrupts off and may be called
 * for another device's interrupt: PCI lines are shared. It must be declared IRQ_HANDLER,
 * as must what it calls: the entry saves no SSE or AVX registers, so it may not touch
 * them. */
#pragma once
#include <stdint.h>

#define IRQ_LINES         16
#define IRQ_HANDLERS_MAX  24

#define IRQ_HANDLER __attribute__((target("general-regs-only")))

/* Call fn(arg) at every interrupt of line `irq`, and let the line through. A number that
 * is no line (PCI says 255 for "not connected") is reported and ignored: POLL still
 * works. */
void irq_install(int irq, void (*fn)(void *), void *arg);

/* Make a line level-triggered, as PCI wants its lines. Firmware usually has done so. */
void irq_set_level(int irq);

/* Interrupts since boot, all lines; a handler or a poll may watch it change. */
extern volatile uint32_t irq_count;

static inline uint32_t irq_save(void)
{
    uint32_t flags;
    __asm__ volatile("pushfl; pop %0; cli" : "=r"(flags) : : "memory");
    return flags;
}

static inline void irq_restore(uint32_t flags)
{
    __asm__ volatile("push %0; popfl" : : "r"(flags) : "memory", "cc");
}
