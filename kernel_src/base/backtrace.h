/* backtrace.h: tangled from nbs/base/03_traps.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/03_traps.ipynb § Who called whom ---- */

/* base/backtrace.h: who called whom, read from the frame pointers on a stack, and the
 * names of functions. Believes nothing it reads: a chain that leaves the stack or turns
 * back ends there. Pure: the stack is a window of bytes with its address.
 * twin: backtrace.c */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct backtrace {
    const uint8_t *mem;             /* the stack's bytes, lowest first */
    uint32_t low, high;             /* their addresses: [low, high) */
    uint32_t ebp;                   /* the frame that backtrace_next reads */
};

/* The return address of the frame at b->ebp, then on to the caller's. False: the chain
 * ended. */
bool backtrace_next(struct backtrace *b, uint32_t *return_address);

/* Name of the function that holds `address`, and how far inside. NULL if the table has
 * none. Table: count, count pairs (address, offset of name), names; sorted by address. */
const char *ksyms_find(const uint32_t *table, uint32_t address, uint32_t *offset);

/* A function stopped `offset` bytes into its `code` may not have made its frame yet, or
 * never make one. How many words above ESP its return address then lies; -1 if EBP is its
 * own. */
int backtrace_unframed(const uint8_t *code, uint32_t offset);
