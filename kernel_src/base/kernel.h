/* kernel.h: tangled from nbs/base/01_boot.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/01_boot.ipynb § kernel.h: layers that do not know each other ---- */

/* base/kernel.h: how the layers of the kernel find each other without knowing each other.
 * INITCALL(order, fn)   fn(void) runs once at boot; order has two digits, low ones first
 * POLL(fn)              bool fn(void) is called for ever; true means "I did some work"
 * LINKER_SET(...)       a set of a layer's own, filled from any file (see kernel.ld)
 * Orders in use: 10 console, 15 traps, 17 interrupts on, 20 time, 30 memory, 32 config,
 * 40 pci and nic, 50 ip, 55 tcp, 80 api, 90 llm. Numbers between are free. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One entry of set `set`: LINKER_SET(route, struct route, get_health) = {...};
 * The alignment is spelled out, because gcc would give large objects more, and leave
 * gaps. */
#define LINKER_SET(set, type, name)                                                      \
    static const type name                                                               \
        __attribute__((used, aligned(__alignof__(type)), section("set_" #set)))

/* In the file that reads the set. Weak: a set that nobody joined is just empty. */
#define LINKER_SET_DECLARE(set, type)                                                    \
    extern const type __start_set_##set[] __attribute__((weak));                         \
    extern const type __stop_set_##set[] __attribute__((weak))

#define LINKER_SET_FOREACH(set, type, it)                                                \
    for (const type *it = __start_set_##set; it < __stop_set_##set; it++)

typedef void (*initcall_fn)(void);
typedef bool (*poll_fn)(void);

#define INITCALL(order, fn)                                                              \
    static const initcall_fn initcall_##fn                                               \
        __attribute__((used, section(".initcall." #order))) = fn

#define POLL(fn) LINKER_SET(poll, poll_fn, poll_##fn) = fn

/* What to do when no POLL had work. NULL (until interrupts exist): go round again. */
extern void (*kernel_idle)(void);

/* Leave QEMU with status 2 * code + 1 (isa-debug-exit); elsewhere stop for good. */
_Noreturn void kernel_exit(uint8_t code);

#define KERNEL_EXIT_PORT     0xf4
#define KERNEL_EXIT_OK       0x10        /* QEMU's status: 33 */
#define KERNEL_EXIT_REFUSED  0x7d        /* boot.S would not start: 251 */
#define KERNEL_EXIT_STACK    0x7e        /* the stack's canary is dead: 253 */
#define KERNEL_EXIT_PANIC    0x7f        /* panic: 255 */

static inline uint32_t address_of(const volatile void *p)
{
    return (uint32_t)(uintptr_t)p;
}

extern char kernel_start[], kernel_end[], data_start[];      /* kernel.ld */
extern uint64_t boot_tsc;                       /* boot.S: TSC at the first instruction */
extern uint32_t boot_xcr0;                        /* boot.S: register state switched on */
