/* cpu.h: tangled from nbs/llm/11_quants.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/11_quants.ipynb § Four formats ---- */

/* cpu.h: what this processor can do, asked with CPUID and XGETBV.
 *
 * A feature that needs the wide registers (AVX and up) counts only when the operating
 * system, here our own boot code, has switched their state on in XCR0. Pure: asks the CPU
 * each time, keeps nothing. Called by the variant selection in quants.c. */
// twin: cpu.c
#pragma once
#include <stddef.h>
#include <stdint.h>

enum cpu_feature {
    CPU_SSE2    = 1 << 0,
    CPU_SSE3    = 1 << 1,
    CPU_SSSE3   = 1 << 2,
    CPU_SSE4_1  = 1 << 3,
    CPU_AVX     = 1 << 4,
    CPU_F16C    = 1 << 5,
    CPU_FMA     = 1 << 6,
    CPU_AVX2    = 1 << 7,
};

uint32_t cpu_features(void);                                     // a mask of the above
void cpu_features_str(uint32_t mask, char *buf, size_t cap);     // "sse2 sse3 ssse3"
void cpu_brand(char buf[49]);                                    // the CPU's own name
