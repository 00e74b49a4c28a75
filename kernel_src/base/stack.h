/* stack.h: tangled from nbs/base/01_boot.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/01_boot.ipynb § A stack, and what lies beneath it ---- */

/* base/stack.h: the one stack. It grows down from stack_top; its lowest words hold a
 * pattern that kernel_main watches, and below them lies a guard range that nothing may
 * touch. */
#pragma once

#define STACK_SIZE      0x10000
#define STACK_GUARD     0x4000
#define STACK_CANARY    0x5afec0de

#ifndef __ASSEMBLER__
#include <stdint.h>
extern uint8_t stack_guard[STACK_GUARD];
extern uint32_t stack_bottom[STACK_SIZE / 4], stack_top[];
#endif
