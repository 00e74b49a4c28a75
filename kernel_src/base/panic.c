/* panic.c: tangled from nbs/base/03_traps.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/03_traps.ipynb § The last words ---- */

/* base/panic.c: the last words. Uses nothing that could be broken by what went wrong: no
 * heap, no interrupts, only the console. A fault while panicking prints one line and
 * leaves. */
#include "base/backtrace.h"
#include "base/console.h"
#include "base/kernel.h"
#include "base/panic.h"
#include "base/stack.h"
#include "base/stdio.h"
#include "base/traps.h"

#define BACKTRACE_LINES_MAX 24

extern const uint32_t ksyms_begin[] __attribute__((weak));   /* made by the second link */

static const char *symbol(uint32_t address, uint32_t *offset)
{
    if (address < (uintptr_t)kernel_start || address >= (uintptr_t)data_start)
        return NULL;
    return ksyms_find(ksyms_begin, address, offset);
}

/* A return address lies behind its call, perhaps already in the next function: look one
 * back. */
static void print_location(uint32_t address, uint32_t back, uint32_t times)
{
    uint32_t offset = 0;
    const char *name = symbol(address - back, &offset);
    kprintf("[panic]   0x%08x %s+0x%x", address, name ? name : "?",
            (unsigned)(name ? offset + back : 0));
    kprintf(times > 1 ? "  (%u times)\n" : "\n", times);
}

/* The return address of a function that was stopped without a frame; 0 if it has one. */
static uint32_t unframed_return(uint32_t eip, uint32_t esp)
{
    uint32_t offset, low = address_of(stack_bottom), word = 0;
    if (esp % 4 || esp < low || esp - low > STACK_SIZE - 8)
        return 0;
    int above = 0;                    /* a jump to nowhere: its call has just pushed it */
    if (symbol(eip, &offset))
        above = backtrace_unframed((const uint8_t *)(uintptr_t)(eip - offset), offset);
    if (above >= 0)
        word = ((const uint32_t *)(uintptr_t)esp)[above];
    return symbol(word, &offset) ? word : 0;
}

static void print_backtrace(uint32_t eip, uint32_t esp, uint32_t ebp)
{
    struct backtrace b = {(const uint8_t *)stack_bottom, address_of(stack_bottom),
                          address_of(stack_top), ebp};
    uint32_t last = eip, back = 0, times = 1, next, lines = 0, more = 0;
    uint32_t extra = unframed_return(eip, esp);
    while (extra || backtrace_next(&b, &next)) {
        if (extra) {
            next = extra;
            extra = 0;
        }
        if (next == last) {
            times++;
            continue;
        }
        if (lines++ < BACKTRACE_LINES_MAX)
            print_location(last, back, times);
        else
            more++;
        last = next;
        times = back = 1;
    }
    if (more)
        kprintf("[panic]   ... %u more ...\n", more);
    print_location(last, back, times);
}

static void panic_begin(void)
{
    static bool panicking;
    __asm__ volatile("cli");
    console_flush();                            /* room for what follows */
    if (panicking) {
        console_puts("\n[panic] and again while panicking: giving up\n");
        kernel_exit(KERNEL_EXIT_PANIC);
    }
    panicking = true;
    if (kprintf_around) {                       /* a row of our own, no more favours */
        kprintf_around = NULL;
        console_puts("\n");
    }
}

_Noreturn void panic(const char *fmt, ...)
{
    panic_begin();
    va_list ap;
    va_start(ap, fmt);
    kprintf("[panic] ");
    vkprintf(fmt, ap);
    va_end(ap);
    kprintf("\n[panic] backtrace\n");
    const uint32_t *frame = __builtin_frame_address(0);
    /* the caller's frame: panic itself is known */
    print_backtrace(frame[1] - 1, 0, frame[0]);
    kernel_exit(KERNEL_EXIT_PANIC);
}

/* ---- nbs/base/03_traps.ipynb § The trap frame ---- */

_Noreturn void panic_trap(const struct trap_frame *f, uint32_t esp, const char *what)
{
    uint32_t cr2;
    __asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
    panic_begin();
    kprintf("[panic] %s (vector %u, error 0x%x)\n", what, f->vector,
            f->error);
    kprintf("[panic] eax %08x  ebx %08x  ecx %08x  edx %08x  cr2 %08x\n", f->eax, f->ebx,
            f->ecx, f->edx, cr2);
    kprintf("[panic] esi %08x  edi %08x  ebp %08x  esp %08x  eflags %08x\n", f->esi,
            f->edi, f->ebp, esp, f->eflags);
    kprintf("[panic] backtrace\n");
    print_backtrace(f->eip, esp, f->ebp);
    kernel_exit(KERNEL_EXIT_PANIC);
}
