/* console.c: tangled from nbs/base/01_boot.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/01_boot.ipynb § The serial port ---- */

/* base/console.c: the serial port and the screen.
 * COM1 is a 16550 UART, 9600 baud, 8 data bits, no parity, 1 stop bit. The screen is VGA
 * text mode 3, 80 columns by 25 rows, and scrolls by moving the window that the CRT
 * controller shows over its 32 KiB of text memory. Either may be missing. */
#include "base/console.h"
#include "base/io.h"

#define UART_CLOCK_HZ   1843200
#define UART_BAUD       9600
#define UART_DIVISOR    (UART_CLOCK_HZ / 16 / UART_BAUD)
#define UART_FIFO       16
#define UART_SPIN_MAX   1000000          /* reads of LSR before a flush gives up */

enum uart_register {
    UART_DATA = 0, UART_DIVISOR_LOW = 0, UART_IER = 1, UART_DIVISOR_HIGH = 1,
    UART_FCR = 2, UART_LCR = 3, UART_MCR = 4, UART_LSR = 5, UART_SCRATCH = 7,
};
enum {
    UART_LCR_8N1 = 0x03, UART_LCR_DLAB = 0x80,
    UART_FCR_ON = 0x07,            /* FIFOs on and emptied, interrupt at the first byte */
    UART_MCR_ON = 0x0b,            /* DTR, RTS, and OUT2, which lets interrupts through */
    UART_LSR_DATA = 0x01, UART_LSR_THRE = 0x20, UART_LSR_TEMT = 0x40,
};

static bool uart_present;

static void uart_init(void)
{
    outb(COM1 + UART_SCRATCH, 0x5a);
    uart_present = inb(COM1 + UART_SCRATCH) == 0x5a;
    if (!uart_present)
        return;
    outb(COM1 + UART_IER, 0);
    outb(COM1 + UART_LCR, UART_LCR_DLAB);
    outb(COM1 + UART_DIVISOR_LOW, UART_DIVISOR & 0xff);
    outb(COM1 + UART_DIVISOR_HIGH, UART_DIVISOR >> 8);
    outb(COM1 + UART_LCR, UART_LCR_8N1);
    outb(COM1 + UART_FCR, UART_FCR_ON);
    outb(COM1 + UART_MCR, UART_MCR_ON);
}

/* ---- nbs/base/01_boot.ipynb § The console must not wait ---- */

#define CONSOLE_QUEUE   8192             /* a power of two */
#define CONSOLE_BURST   256              /* bytes that one poll sends at most */
#ifndef CONSOLE_SYNC
#define CONSOLE_SYNC    0       /* 1: wait for the line at every write, to debug a hang */
#endif

static struct {
    char data[CONSOLE_QUEUE];
    uint32_t in, out;                    /* ever counting; the difference is the fill */
    uint32_t lost;
} queue;

static void queue_put(char c)
{
    if (queue.in - queue.out < CONSOLE_QUEUE)
        queue.data[queue.in++ % CONSOLE_QUEUE] = c;
    else
        queue.lost++;
}

/* One FIFO's worth, if the last one has left. */
static bool uart_send(void)
{
    if (queue.in == queue.out || !(inb(COM1 + UART_LSR) & UART_LSR_THRE))
        return false;
    for (int i = 0; i < UART_FIFO && queue.in != queue.out; i++)
        outb(COM1 + UART_DATA, (uint8_t)queue.data[queue.out++ % CONSOLE_QUEUE]);
    return true;
}

static bool console_poll(void)
{
    bool sent = false;
    for (int i = 0; i < CONSOLE_BURST / UART_FIFO && uart_send(); i++)
        sent = true;
    if (queue.lost && queue.in == queue.out) {
        uint32_t lost = queue.lost;
        queue.lost = 0;
        console_puts("\n[console] bytes lost: ");
        console_dec(lost);
        console_puts("\n");
    }
    return sent;
}
POLL(console_poll);

void console_flush(void)
{
    for (int spins = 0; uart_present && spins < UART_SPIN_MAX; spins++) {
        if (uart_send())
            spins = 0;
        else if (queue.in == queue.out && inb(COM1 + UART_LSR) & UART_LSR_TEMT)
            return;
        cpu_relax();
    }
}

static int uart_getc(void)
{
    if (!uart_present || !(inb(COM1 + UART_LSR) & UART_LSR_DATA))
        return -1;
    return inb(COM1 + UART_DATA);
}
CONSOLE_INPUT(uart_getc);

/* ---- nbs/base/01_boot.ipynb § The screen ---- */

#define VGA_TEXT        ((volatile uint16_t *)0xb8000)
#define VGA_COLS        80
#define VGA_ROWS        25
#define VGA_LINES       (0x8000 / 2 / VGA_COLS)  /* lines that text memory has room for */
#define VGA_BLANK       0x0720                      /* a space, light grey on black */
#define VGA_CRTC        0x3d4

enum { CRTC_START_HIGH = 0x0c, CRTC_START_LOW, CRTC_CURSOR_HIGH, CRTC_CURSOR_LOW };

static struct {
    bool present;
    int top;                     /* line of text memory shown as the screen's first */
    int row, col;            /* cursor, on the screen; col may be VGA_COLS: wrap is due */
    int utf8_left;               /* continuation bytes still to be skipped */
} vga;

static void crtc_write(uint8_t reg, uint8_t v)
{
    outb(VGA_CRTC, reg);
    outb(VGA_CRTC + 1, v);
}

static void crtc_write_pair(uint8_t reg_high, int v)
{
    crtc_write(reg_high, (uint8_t)(v >> 8));
    crtc_write(reg_high + 1, (uint8_t)v);
}

static void vga_blank_line(int line)
{
    for (int i = 0; i < VGA_COLS; i++)
        VGA_TEXT[line * VGA_COLS + i] = VGA_BLANK;
}

static void vga_init(void)
{
    outb(VGA_CRTC, CRTC_CURSOR_LOW);
    outb(VGA_CRTC + 1, 0x5a);
    vga.present = inb(VGA_CRTC + 1) == 0x5a;
    if (!vga.present)
        return;
    for (int line = 0; line < VGA_ROWS; line++)
        vga_blank_line(line);
    crtc_write_pair(CRTC_START_HIGH, 0);
    crtc_write_pair(CRTC_CURSOR_HIGH, 0);
}

static void vga_scroll(void)
{
    if (vga.top + VGA_ROWS == VGA_LINES) {       /* the window is at the end: copy back */
        for (int i = 0; i < (VGA_ROWS - 1) * VGA_COLS; i++)
            VGA_TEXT[i] = VGA_TEXT[(vga.top + 1) * VGA_COLS + i];
        vga.top = 0;
    } else {
        vga.top++;
    }
    vga_blank_line(vga.top + VGA_ROWS - 1);
    crtc_write_pair(CRTC_START_HIGH, vga.top * VGA_COLS);
}

static void vga_newline(void)
{
    vga.col = 0;
    if (vga.row < VGA_ROWS - 1)
        vga.row++;
    else
        vga_scroll();
}

/* The screen's character set is code page 437: what is not ASCII shows as one '?'. The
 * bell is not for the eye. */
static void vga_putc(char ch)
{
    uint8_t c = (uint8_t)ch;
    if (vga.utf8_left && (c & 0xc0) == 0x80) {
        vga.utf8_left--;
        return;
    }
    vga.utf8_left = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;
    switch (c) {
    case '\n': vga_newline(); return;
    case '\r': vga.col = 0; return;
    case '\b': vga.col -= vga.col > 0; return;
    case '\t': vga.col = (vga.col | 7) + 1; return;
    case '\a': return;
    }
    if (vga.col >= VGA_COLS)
        vga_newline();
    if (c < ' ' || c > '~')
        c = '?';
    VGA_TEXT[(vga.top + vga.row) * VGA_COLS + vga.col++] = (VGA_BLANK & 0xff00) | c;
}

static void vga_show_cursor(void)
{
    int col = vga.col < VGA_COLS ? vga.col : VGA_COLS - 1;
    crtc_write_pair(CRTC_CURSOR_HIGH, (vga.top + vga.row) * VGA_COLS + col);
}

void console_write(const char *s, size_t n)
{
    for (size_t i = 0; i < n && uart_present; i++) {
        if (s[i] == '\n')
            queue_put('\r');
        queue_put(s[i]);
    }
    if (CONSOLE_SYNC)
        console_flush();
    if (!vga.present)
        return;
    for (size_t i = 0; i < n; i++)
        vga_putc(s[i]);
    vga_show_cursor();
}

void console_puts(const char *s)
{
    size_t n = 0;
    while (s[n])
        n++;
    console_write(s, n);
}

void console_hex(uint32_t v)
{
    char text[10] = "0x";
    for (int i = 0; i < 8; i++)
        text[2 + i] = "0123456789abcdef"[v >> (28 - 4 * i) & 15];
    console_write(text, sizeof text);
}

void console_dec(uint32_t v)
{
    char text[10];
    size_t at = sizeof text;
    do
        text[--at] = (char)('0' + v % 10);
    while (v /= 10);
    console_write(text + at, sizeof text - at);
}

LINKER_SET_DECLARE(console_input, console_input_fn);

int console_getc(void)
{
    LINKER_SET_FOREACH(console_input, console_input_fn, source) {
        int c = (*source)();
        if (c >= 0)
            return c;
    }
    return -1;
}

static void console_init(void)
{
    uart_init();
    vga_init();
}
INITCALL(10, console_init);
