/* dma.h: tangled from nbs/net/05_pci_e1000.ipynb. Edit the notebook, not this file. */

/* ---- nbs/net/05_pci_e1000.ipynb § Two processors, one piece of memory ---- */

/* dma.h: order between our memory accesses and those of a card that shares the memory.
 *
 * An x86 processor keeps stores in order among themselves and loads among themselves, and
 * a store to a device register waits for earlier stores to memory (Intel SDM volume 3,
 * "Memory Ordering"). So towards the processor most barriers are empty, and only the
 * compiler has to be held. The one order that x86 does not keep is that of an earlier
 * store and a later load. */
#pragma once

/* Accesses before this line stay before it, those after it stay after it. */
static inline void dma_barrier(void)
{
    __asm__ volatile("" ::: "memory");
}

/* Also: what we stored before is visible before what we load after. */
static inline void dma_fence(void)
{
    __sync_synchronize();
}
