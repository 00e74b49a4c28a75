/* kernel.c: tangled from nbs/base/01_boot.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/01_boot.ipynb § kernel_main ---- */

/* base/kernel.c: the life of the kernel: initialise every layer in order, then ask each
 * for work, for ever. It knows none of them by name. */
#include "base/kernel.h"
#include "base/bootinfo.h"
#include "base/console.h"
#include "base/io.h"
#include "base/stack.h"

void (*kernel_idle)(void);

_Noreturn void kernel_exit(uint8_t code)
{
    console_flush();
    outb(KERNEL_EXIT_PORT, code);
    for (;;)
        __asm__ volatile("cli; hlt");
}

static void stack_check(void)
{
    const volatile uint32_t *word = stack_bottom;
    if (word[0] == STACK_CANARY && word[1] == STACK_CANARY && word[2] == STACK_CANARY &&
        word[3] == STACK_CANARY)
        return;
    console_puts("[boot] stack overflow: the canary below the stack is dead\n");
    kernel_exit(KERNEL_EXIT_STACK);
}

extern const initcall_fn initcalls_start[], initcalls_end[];         /* kernel.ld */
LINKER_SET_DECLARE(poll, poll_fn);

_Noreturn void kernel_main(const struct multiboot_info *mbi)
{
    bootinfo_read(&boot_info, mbi);
    for (const initcall_fn *init = initcalls_start; init < initcalls_end; init++)
        (*init)();
    for (;;) {
        bool busy = false;
        LINKER_SET_FOREACH(poll, poll_fn, poll)
            busy |= (*poll)();
        stack_check();
        if (!busy && kernel_idle)
            kernel_idle();
    }
}

static void say(const char *a, uint32_t v, const char *b)
{
    console_puts(a);
    console_dec(v);
    console_puts(b);
}

static void report_memory(void)
{
    uint64_t ram = 0;
    for (int i = 0; i < boot_info.n_regions; i++)
        if (boot_info.regions[i].type == BOOT_REGION_RAM)
            ram += boot_info.regions[i].size;
    say("[boot] memory map: ", (uint32_t)boot_info.n_regions, " regions, ");
    say("", (uint32_t)(ram >> 10), " KiB of RAM\n");
}

static void boot_report(void)
{
    console_puts("[boot] cllm at ");
    console_hex(address_of(kernel_start));
    console_puts("..");
    console_hex(address_of(kernel_end));
    console_puts(", loaded by ");
    console_puts(*boot_info.loader ? boot_info.loader : "a nameless loader");
    console_puts(boot_xcr0 & 4 ? "; SSE2 and AVX on\n" : "; SSE2 on\n");
    report_memory();
    for (int i = 0; i < boot_info.n_modules; i++) {
        say("[boot] module ", (uint32_t)i, ": ");
        console_hex(address_of(boot_info.modules[i].data));
        say(", ", boot_info.modules[i].size, " bytes, \"");
        console_puts(boot_info.modules[i].cmdline);
        console_puts("\"\n");
    }
    console_puts("[boot] command line: \"");
    console_puts(boot_info.cmdline);
    console_puts("\"\n");
    if (boot_info.n_dropped)
        say("[boot] ", boot_info.n_dropped, " things the loader gave us found no room\n");
}
INITCALL(11, boot_report);
