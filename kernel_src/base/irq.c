/* irq.c: tangled from nbs/base/03_traps.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/03_traps.ipynb § Interrupts ---- */

/* base/irq.c: two 8259 PICs (Intel 8259A data sheet), chained on line 2, in front of the
 * handlers. Also the idle hook: sleep, but never through an interrupt just come. */
#include "base/irq.h"
#include "base/io.h"
#include "base/kernel.h"
#include "base/panic.h"
#include "base/stdio.h"
#include "base/traps.h"
#include <cpuid.h>

#define PIC_CASCADE  2
#define PIC_ELCR     0x4d0               /* edge/level register, one bit for each line */

enum { PIC1 = 0x20, PIC2 = 0xa0 };       /* command port; data port is one up */
enum { PIC_ICW1 = 0x11, PIC_ICW4_8086 = 0x01, PIC_EOI = 0x20, PIC_READ_ISR = 0x0b };

struct irq_handler { void (*fn)(void *); void *arg; struct irq_handler *next; };

static struct irq_handler handlers[IRQ_HANDLERS_MAX];
static int n_handlers;
static struct irq_handler *lines[IRQ_LINES];
volatile uint32_t irq_count;

static void pic_init(int pic, uint8_t vector, uint8_t cascade)
{
    outb(pic, PIC_ICW1);             /* start; three more words follow on the data port */
    outb(pic + 1, vector);
    outb(pic + 1, cascade);
    outb(pic + 1, PIC_ICW4_8086);
    outb(pic + 1, 0xff);                 /* all lines masked */
}

static void pic_unmask(int irq)
{
    int port = (irq < 8 ? PIC1 : PIC2) + 1;
    outb(port, inb(port) & ~(1 << irq % 8));
}

#define CPUID_APIC        (1u << 9)      /* leaf 1, EDX */
#define APIC_BASE_MSR     0x1b
#define APIC_ENABLED      (1u << 11)
#define APIC_SPURIOUS     0xf0           /* registers: byte offsets from the base */
#define APIC_LINT0        0x350
#define APIC_SOFT_ENABLE  0x100
#define APIC_EXTINT       0x700          /* the vector comes from the 8259; not masked */
#define APIC_VECTOR       (TRAP_IRQ_BASE + 15)

/* A CPU with a local APIC hears the 8259 only through the APIC's input LINT0. */
static void apic_let_through(void)
{
    uint32_t eax, ebx, ecx, edx, base, high;
    __cpuid(1, eax, ebx, ecx, edx);
    if (!(edx & CPUID_APIC))
        return;
    __asm__ volatile("rdmsr" : "=a"(base), "=d"(high) : "c"(APIC_BASE_MSR));
    if (!(base & APIC_ENABLED))
        return;
    volatile uint32_t *apic = (volatile uint32_t *)(uintptr_t)(base & ~0xfffu);
    apic[APIC_SPURIOUS / 4] = APIC_SOFT_ENABLE | APIC_VECTOR;
    apic[APIC_LINT0 / 4] = APIC_EXTINT;
}

/* Lines 7 and 15 also stand for "the request went away before you asked": not in service
 * then. */
IRQ_HANDLER static bool pic_spurious(uint32_t irq)
{
    int pic = irq < 8 ? PIC1 : PIC2;
    if (irq % 8 != 7)
        return false;
    outb(pic, PIC_READ_ISR);
    if (inb(pic) & 0x80)
        return false;
    if (pic == PIC2)
        outb(PIC1, PIC_EOI);             /* the first PIC did see its line 2 */
    return true;
}

/* Called by traps.S, interrupts off. */
IRQ_HANDLER void irq_dispatch(const struct trap_frame *f);
IRQ_HANDLER void irq_dispatch(const struct trap_frame *f)
{
    uint32_t irq = f->vector - TRAP_IRQ_BASE;
    if (pic_spurious(irq))
        return;
    irq_count++;
    for (const struct irq_handler *h = lines[irq]; h; h = h->next)
        h->fn(h->arg);
    if (irq >= 8)
        outb(PIC2, PIC_EOI);
    outb(PIC1, PIC_EOI);
}

void irq_install(int irq, void (*fn)(void *), void *arg)
{
    if (irq < 0 || irq >= IRQ_LINES) {
        kprintf("[irq] %d is no interrupt line: its device will be polled\n", irq);
        return;
    }
    KASSERT(n_handlers < IRQ_HANDLERS_MAX);
    uint32_t flags = irq_save();
    struct irq_handler *h = &handlers[n_handlers++];
    h->fn = fn;
    h->arg = arg;
    h->next = lines[irq];
    lines[irq] = h;
    pic_unmask(irq);
    irq_restore(flags);
}

void irq_set_level(int irq)
{
    int port = PIC_ELCR + irq / 8;
    outb(port, inb(port) | 1 << irq % 8);
}

/* ---- nbs/base/03_traps.ipynb § Sleeping without missing anything ---- */

/* Sleep until the next interrupt, unless one came since we were last here: then the polls
 * that just ran may have missed what it brought. `sti` takes effect one instruction late,
 * so nothing gets between it and `hlt`. */
static void irq_idle(void)
{
    static uint32_t seen;
    __asm__ volatile("cli");
    if (seen == irq_count)
        __asm__ volatile("sti; hlt; cli");
    seen = irq_count;
    __asm__ volatile("sti");
}

static void irq_init(void)
{
    pic_init(PIC1, TRAP_IRQ_BASE, 1 << PIC_CASCADE);
    pic_init(PIC2, TRAP_IRQ_BASE + 8, PIC_CASCADE);
    pic_unmask(PIC_CASCADE);
    apic_let_through();
    kernel_idle = irq_idle;
    __asm__ volatile("sti");
}
INITCALL(17, irq_init);
