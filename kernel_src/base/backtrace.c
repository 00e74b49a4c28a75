/* backtrace.c: tangled from nbs/base/03_traps.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/03_traps.ipynb § Who called whom ---- */

/* base/backtrace.c: see backtrace.h. */
#include "base/backtrace.h"
#include <stddef.h>

static uint32_t word_at(const uint8_t *p)
{
    return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

bool backtrace_next(struct backtrace *b, uint32_t *return_address)
{
    uint32_t at = b->ebp;
    if (at % 4 || at < b->low || at >= b->high || b->high - at < 8)
        return false;
    uint32_t caller = word_at(b->mem + (at - b->low));
    *return_address = word_at(b->mem + (at - b->low) + 4);
    if (*return_address == 0)
        return false;
    b->ebp = caller > at ? caller : 0;        /* a stack grows down: callers lie higher */
    return true;
}

/* ---- nbs/base/03_traps.ipynb § Names ---- */

const char *ksyms_find(const uint32_t *table, uint32_t address, uint32_t *offset)
{
    if (!table || table[0] == 0 || address < table[1])
        return NULL;
    uint32_t low = 0, high = table[0];          /* low's address <= address < high's */
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (table[1 + 2 * middle] <= address)
            low = middle;
        else
            high = middle;
    }
    *offset = address - table[1 + 2 * low];
    const char *names = (const char *)(table + 1 + 2 * table[0]);
    return names + table[2 + 2 * low];
}

/* ---- nbs/base/03_traps.ipynb § The function without a frame ---- */

#define PROLOGUE_MAX 32

int backtrace_unframed(const uint8_t *code, uint32_t offset)
{
    for (uint32_t i = 0; i + 2 <= offset && i < PROLOGUE_MAX; i++)
        if (code[i] == 0x89 && code[i + 1] == 0xe5)         /* mov %esp, %ebp */
            return -1;
    return offset > 0 && code[0] == 0x55 ? 1 : 0;           /* push %ebp */
}
