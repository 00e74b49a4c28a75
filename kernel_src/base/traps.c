/* traps.c: tangled from nbs/base/03_traps.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/03_traps.ipynb § The table ---- */

/* base/traps.c: the interrupt descriptor table and the CPU's exceptions (Intel SDM volume
 * 3, chapter 6). A double fault gets a task of its own (chapter 7), because its usual
 * cause is a stack with no room for a trap frame. */
#include "base/traps.h"
#include "base/gdt.h"
#include "base/io.h"
#include "base/kernel.h"
#include "base/stack.h"
#include "base/stdio.h"

static const char *const exception_names[TRAP_EXCEPTIONS] = {
    "divide error", "debug exception", "non-maskable interrupt", "breakpoint", "overflow",
    "BOUND range exceeded", "invalid opcode", "device not available", "double fault",
    "coprocessor segment overrun", "invalid TSS", "segment not present",
    "stack-segment fault", "general protection fault", "page fault", "reserved",
    "x87 floating-point error",
    "alignment check", "machine check", "SIMD floating-point exception",
    "virtualization exception", "control protection exception",
};

struct idt_gate {
    uint16_t offset_low, selector;
    uint8_t zero, type;
    uint16_t offset_high;
};
_Static_assert(sizeof(struct idt_gate) == 8, "Intel SDM volume 3, figure 6-2");
enum { GATE_TASK = 0x85, GATE_INTERRUPT = 0x8e };        /* present, ring 0 */

static struct idt_gate idt[TRAP_VECTORS];
extern const uint32_t trap_entries[TRAP_VECTORS];        /* traps.S */

static void idt_set(int vector, uint32_t entry)
{
    idt[vector] = (struct idt_gate){(uint16_t)entry, KERNEL_CS, 0, GATE_INTERRUPT,
                                    (uint16_t)(entry >> 16)};
}

static const char *page_fault_text(char *buf, size_t cap, uint32_t error)
{
    uint32_t cr2;
    __asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
    bool guard = cr2 - (uintptr_t)stack_guard < STACK_GUARD;
    snprintf(buf, cap, "page fault: %s 0x%08x, %s%s", error & 2 ? "write to" : "read of",
             cr2, error & 1 ? "which is read-only" : "where nothing is mapped",
             cr2 < 4096 ? " (a NULL pointer?)" : guard ? " (below the stack)" : "");
    return buf;
}

/* Called by traps.S. */
_Noreturn void trap_exception(const struct trap_frame *f);
_Noreturn void trap_exception(const struct trap_frame *f)
{
    char text[96];
    const char *what = f->vector < TRAP_EXCEPTIONS && exception_names[f->vector]
                           ? exception_names[f->vector] : "unnamed exception";
    if (f->vector == TRAP_PAGE_FAULT)
        what = page_fault_text(text, sizeof text, f->error);
    panic_trap(f, address_of(&f->eflags + 1), what);
}

/* ---- nbs/base/03_traps.ipynb § The stack that is no longer there ---- */

/* Task-state segment (Intel SDM volume 3, figure 7-2): a whole CPU state in memory. */
struct tss {
    uint32_t link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags, eax, ecx, edx, ebx,
        esp, ebp, esi, edi, es, cs, ss, ds, fs, gs, ldt, iomap;
};
_Static_assert(sizeof(struct tss) == 104, "Intel SDM volume 3, figure 7-2");

static struct tss tss_main, tss_fault;
static uint32_t fault_stack[1024];

void traps_set_cr3(uint32_t cr3) { tss_fault.cr3 = cr3; }

/* Entered by a task switch, on fault_stack; tss_main holds what the kernel was doing. */
static _Noreturn void double_fault(void)
{
    __asm__ volatile("clts");       /* a task switch sets CR0.TS; SSE would fault again */
    const struct tss *t = &tss_main;
    struct trap_frame f = {t->edi, t->esi, t->ebp, 0, t->ebx, t->edx, t->ecx, t->eax,
                           TRAP_DOUBLE_FAULT, 0, t->eip, t->cs, t->eflags};
    bool overflow = t->esp - (uintptr_t)stack_guard < STACK_GUARD + 64;
    panic_trap(&f, t->esp, overflow ? "stack overflow" : "double fault");
}

static uint64_t tss_descriptor(const struct tss *t)
{
    uint64_t base = address_of(t);
    return (sizeof *t - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24) << 56;
}

static void tss_init(void)
{
    tss_fault = (struct tss){
        .eip = address_of(double_fault), .eflags = 2, .cs = KERNEL_CS,
        .esp = address_of(fault_stack + 1024), .ss = KERNEL_DS, .ds = KERNEL_DS,
        .es = KERNEL_DS, .fs = KERNEL_DS, .gs = KERNEL_DS, .iomap = sizeof(struct tss),
    };
    gdt[TSS_MAIN / 8] = tss_descriptor(&tss_main);
    gdt[TSS_FAULT / 8] = tss_descriptor(&tss_fault);
    __asm__ volatile("ltr %w0" : : "r"(TSS_MAIN) : "memory");
    idt[TRAP_DOUBLE_FAULT] = (struct idt_gate){0, TSS_FAULT, 0, GATE_TASK, 0};
}

static void traps_init(void)
{
    struct { uint16_t limit; uint32_t base; } __attribute__((packed)) pointer = {
        sizeof idt - 1, address_of(idt)};
    for (int vector = 0; vector < TRAP_VECTORS; vector++)
        idt_set(vector, trap_entries[vector]);
    tss_init();
    __asm__ volatile("lidt %0" : : "m"(pointer));
}
INITCALL(15, traps_init);
