/* traps.S: tangled from nbs/base/03_traps.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/03_traps.ipynb § The trap frame ---- */

/* base/traps.S: one entry for each vector. Each pushes what the CPU did not (an error
 * code, the vector), saves the registers and calls C with a struct trap_frame. */
#include "base/traps.h"

    .text
    .macro ENTRY vector
    .balign 4
trap_entry_\vector:
    .if \vector != 8 && \vector != 17 && \vector != 21 && (\vector < 10 || \vector > 14)
    push $0                             /* these have no error code */
    .endif
    push $\vector
    .if \vector < TRAP_IRQ_BASE
    jmp trap_common
    .else
    jmp irq_common
    .endif
    .pushsection .rodata.traps, "a"
    .long trap_entry_\vector
    .popsection
    .endm

    .pushsection .rodata.traps, "a"
    .balign 4
    .globl trap_entries
trap_entries:
    .popsection

    .altmacro
    .set i, 0
    .rept TRAP_VECTORS
    ENTRY %i
    .set i, i + 1
    .endr

trap_common:
    pushal
    cld
    push %esp
    call trap_exception                 /* does not return */

irq_common:
    pushal
    cld
    push %esp
    call irq_dispatch
    add $4, %esp
    popal
    add $8, %esp                        /* vector, error */
    iret
    .section .note.GNU-stack, "", @progbits
