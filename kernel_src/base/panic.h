/* panic.h: tangled from nbs/base/03_traps.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/03_traps.ipynb § Panic ---- */

/* base/panic.h: the end of a kernel that found itself wrong.
 * panic prints its message and a symbolised backtrace, leaves QEMU with status 255
 * (KERNEL_EXIT_PANIC), and elsewhere stops the CPU. KASSERT is for our own mistakes only:
 * what a peer, a file or a device gets wrong is answered, not asserted. */
#pragma once

_Noreturn void panic(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#ifndef __FILE_NAME__             /* gcc 12 and clang have it: the name without folders */
#define __FILE_NAME__ __FILE__
#endif

#define KASSERT(cond)                                                                    \
    ((cond) ? (void)0 : panic("%s:%d: KASSERT(%s)", __FILE_NAME__, __LINE__, #cond))
