/* ps2.c: tangled from nbs/base/03_traps.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/03_traps.ipynb § The keyboard ---- */

/* base/ps2.c: the keyboard's controller (8042) and the interrupts of both inputs.
 * The handler moves scan codes from the controller into a ring, as it holds only one;
 * console_getc decodes them later. The UART holds 16 bytes itself: its interrupt only
 * ends hlt. */
#include "base/console.h"
#include "base/io.h"
#include "base/irq.h"
#include "base/kernel.h"
#include "base/keyboard.h"

#define PS2_RING     64                /* a power of two; more typing than that is lost */
#define PS2_SPIN_MAX 1000

enum { PS2_DATA = 0x60, PS2_STATUS = 0x64, PS2_COMMAND = 0x64 };
enum { PS2_OUTPUT_FULL = 1, PS2_INPUT_FULL = 2 };
enum { PS2_WRITE_CONFIG = 0x60, PS2_ENABLE = 0xae };
enum { PS2_CONFIG = 0x65 };              /* interrupt 1, mouse off, translate to set 1 */

static uint8_t ring[PS2_RING];
/* ever counting; the difference is the fill */
static volatile uint32_t ring_in, ring_out;

IRQ_HANDLER static void ps2_irq(void *arg)
{
    (void)arg;
    while (inb(PS2_STATUS) & PS2_OUTPUT_FULL) {
        uint8_t code = inb(PS2_DATA);
        if (ring_in - ring_out < PS2_RING)
            ring[ring_in++ % PS2_RING] = code;
    }
}

static int ps2_getc(void)
{
    static struct keyboard keyboard;
    while (ring_out != ring_in) {
        int c = keyboard_decode(&keyboard, ring[ring_out++ % PS2_RING]);
        if (c >= 0)
            return c;
    }
    return -1;
}
CONSOLE_INPUT(ps2_getc);

static void ps2_write(uint16_t port, uint8_t v)
{
    for (int i = 0; i < PS2_SPIN_MAX && inb(PS2_STATUS) & PS2_INPUT_FULL; i++)
        cpu_relax();
    outb(port, v);
}

IRQ_HANDLER static void uart_irq(void *arg) { (void)arg; }

static void input_init(void)
{
    irq_install(4, uart_irq, NULL);
    outb(COM1 + 1, 1);                   /* interrupt when a byte has arrived */
    if (inb(PS2_STATUS) == 0xff)
        return;                          /* no controller: an open bus reads as ones */
    ps2_write(PS2_COMMAND, PS2_WRITE_CONFIG);
    ps2_write(PS2_DATA, PS2_CONFIG);
    ps2_write(PS2_COMMAND, PS2_ENABLE);
    irq_install(1, ps2_irq, NULL);
}
INITCALL(21, input_init);
