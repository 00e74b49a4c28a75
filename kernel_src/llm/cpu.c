/* cpu.c: tangled from nbs/llm/11_quants.ipynb. Edit the notebook, not this file. */

/* ---- nbs/llm/11_quants.ipynb § Four formats ---- */

/* cpu.c: CPUID and XGETBV, behind cpu.h. */
#include "llm/cpu.h"
#include <cpuid.h>

/* AVX registers are usable only if the system saves them: OSXSAVE says XGETBV may be
 * executed, and bits 1 and 2 of XCR0 say that SSE and AVX state is on
 * (Intel SDM volume 1, 14.3). */
static int cpu_avx_enabled(uint32_t ecx1)
{
    uint32_t lo, hi;
    if (!(ecx1 & bit_OSXSAVE))
        return 0;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (lo & 6) == 6;
}

uint32_t cpu_features(void)
{
    uint32_t a, b, c, d, mask = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d))
        return 0;
    mask |= d & bit_SSE2 ? CPU_SSE2 : 0;
    mask |= c & bit_SSE3 ? CPU_SSE3 : 0;
    mask |= c & bit_SSSE3 ? CPU_SSSE3 : 0;
    mask |= c & bit_SSE4_1 ? CPU_SSE4_1 : 0;
    if (!(c & bit_AVX) || !cpu_avx_enabled(c))
        return mask;
    mask |= CPU_AVX;
    mask |= c & bit_F16C ? CPU_F16C : 0;
    mask |= c & bit_FMA ? CPU_FMA : 0;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) && b & bit_AVX2)
        mask |= CPU_AVX2;
    return mask;
}

void cpu_features_str(uint32_t mask, char *buf, size_t cap)
{
    static const char names[][8] = { "sse2", "sse3", "ssse3", "sse4.1", "avx", "f16c",
                                     "fma", "avx2" };
    size_t used = 0;
    for (int i = 0; i < 8; i++) {
        if (!(mask >> i & 1))
            continue;
        if (used && used + 1 < cap)
            buf[used++] = ' ';
        for (const char *s = names[i]; *s && used + 1 < cap; s++)
            buf[used++] = *s;
    }
    if (cap)
        buf[used] = 0;
}

/* CPUID leaves 0x80000002..4 hold 48 characters, right-justified by some makers. */
void cpu_brand(char buf[49])
{
    uint32_t r[4];
    char *out = buf;
    for (uint32_t leaf = 0x80000002; leaf <= 0x80000004; leaf++) {
        if (!__get_cpuid(leaf, &r[0], &r[1], &r[2], &r[3]))
            break;
        for (int i = 0; i < 16; i++) {
            char ch = (char)(r[i / 4] >> 8 * (i % 4));
            if (ch && (ch != ' ' || (out > buf && out[-1] != ' ')))
                *out++ = ch;
        }
    }
    *out = 0;
}
