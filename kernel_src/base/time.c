/* time.c: tangled from nbs/base/03_traps.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/03_traps.ipynb § How fast is the TSC? ---- */

/* base/time.c: the time stamp counter, calibrated by the PIT (Intel 8254 data sheet), and
 * the CMOS clock for the date. Channel 0 of the PIT ticks; channel 2 measures. */
#include "base/time.h"
#include "base/io.h"
#include "base/irq.h"
#include "base/kernel.h"
#include "base/rtc.h"
#include "base/stdio.h"

#define PIT_HZ          1193182u
#define PIT_SAMPLE      2400u            /* counts to measure over, at least: 2 ms */
#define PIT_SPIN_MAX    1000000
#define PIT_TRIES       8
#define TSC_HZ_MAX      100000000000ull  /* more, and the TSC went backwards: v86's can */

enum { PIT_CHANNEL0 = 0x40, PIT_CHANNEL2 = 0x42, PIT_COMMAND = 0x43, PIT_GATE = 0x61 };
enum { PIT_RATE0 = 0x34, PIT_ONESHOT2 = 0xb0, PIT_LATCH2 = 0x80,
       PIT_GATE_OUT = 0x20 };

uint64_t time_tsc_hz;
static uint32_t scale;

/* A counter value and the two TSC readings between which it was taken. */
struct pit_sample { uint32_t count; uint64_t before, after; };

static struct pit_sample pit_read(void)
{
    struct pit_sample s;
    s.before = rdtsc();
    outb(PIT_COMMAND, PIT_LATCH2);
    s.after = rdtsc();
    s.count = inb(PIT_CHANNEL2);
    s.count |= (uint32_t)inb(PIT_CHANNEL2) << 8;
    return s;
}

/* The sharpest of a few. */
static struct pit_sample pit_read_sharp(void)
{
    struct pit_sample best = pit_read();
    for (int i = 0; i < 7; i++) {
        struct pit_sample s = pit_read();
        if (s.after - s.before < best.after - best.before)
            best = s;
    }
    return best;
}

static struct pit_sample first;

/* Runs as early as it can: what the kernel does until time_init is measuring time well
 * spent. */
static void pit_start(void)
{
    outb(PIT_GATE, (inb(PIT_GATE) & ~2) | 1);            /* speaker off, gate open */
    outb(PIT_COMMAND, PIT_ONESHOT2);
    outb(PIT_CHANNEL2, 0xff);
    outb(PIT_CHANNEL2, 0xff);
    first = pit_read_sharp();
}
INITCALL(12, pit_start);

/* TSC ticks a second, from `first` to at least so many counts later; *error_ppm bounds
 * how wrong that is, if the counter has not passed 0. 0: the PIT does not count. */
static uint64_t tsc_measure(uint32_t counts, uint32_t *error_ppm)
{
    struct pit_sample a = first, b = pit_read();
    for (int i = 0; a.count - b.count < counts; i++) {
        if (i == PIT_SPIN_MAX)
            return 0;
        b = pit_read();
    }
    b = pit_read_sharp();
    uint64_t ticks = (b.before + b.after) / 2 - (a.before + a.after) / 2;
    uint64_t blur = (b.after - b.before + a.after - a.before) / 2;
    *error_ppm = (uint32_t)(blur * 1000000 / ticks + 1000000 / (a.count - b.count)) + 2;
    return ticks * PIT_HZ / (a.count - b.count);
}

/* The output says whether the counter has passed 0. Asked behind the last reading, the
 * answer holds for all of them. */
static uint64_t tsc_calibrate(uint32_t *error_ppm)
{
    for (int i = 0; i < PIT_TRIES; i++) {
        uint64_t hz = tsc_measure(PIT_SAMPLE >> i / 2, error_ppm);
        if (hz == 0 || (hz <= TSC_HZ_MAX && !(inb(PIT_GATE) & PIT_GATE_OUT)))
            return hz;
        pit_start();
    }
    return 0;
}

uint64_t time_us(void) { return scale ? time_scale(rdtsc() - boot_tsc, scale) : 0; }
uint64_t time_ms(void) { return time_us() / 1000; }

void time_delay_us(uint32_t us)
{
    uint64_t start = time_us();
    while (scale && time_us() - start < us)
        cpu_relax();
}

/* The interrupt itself is the point: it ends hlt, so that timers get their turn. */
IRQ_HANDLER static void tick(void *arg) { (void)arg; }

static void time_init(void)
{
    uint32_t error_ppm = 0, divisor = PIT_HZ / TIME_TICK_HZ;
    time_tsc_hz = tsc_calibrate(&error_ppm);
    if (time_tsc_hz <= 1000000) {
        kprintf("[time] the PIT tells nothing; assuming a TSC of 1 GHz\n");
        time_tsc_hz = 1000000000;
    }
    scale = (uint32_t)((1000000ull << 32) / time_tsc_hz);
    outb(PIT_COMMAND, PIT_RATE0);
    outb(PIT_CHANNEL0, divisor & 0xff);
    outb(PIT_CHANNEL0, divisor >> 8);
    irq_install(0, tick, NULL);
    kprintf("[time] TSC %u.%03u MHz, within %u ppm; %d ticks a second\n",
            (unsigned)(time_tsc_hz / 1000000), (unsigned)(time_tsc_hz / 1000 % 1000),
            error_ppm, TIME_TICK_HZ);
}
INITCALL(20, time_init);

/* ---- nbs/base/03_traps.ipynb § The date ---- */

#define RTC_RESYNC_US 60000000ull     /* a TSC that is 500 ppm off is 30 ms off by then */
#define RTC_TRIES     1000

enum { CMOS_INDEX = 0x70, CMOS_DATA = 0x71, CMOS_STATUS_A = 10, CMOS_STATUS_B = 11,
       CMOS_UPDATING = 0x80 };

static uint8_t cmos_read(uint8_t reg)
{
    outb(CMOS_INDEX, reg);
    return inb(CMOS_DATA);
}

static struct rtc rtc_read(void)
{
    return (struct rtc){cmos_read(0), cmos_read(2), cmos_read(4), cmos_read(7),
                        cmos_read(8), cmos_read(9), cmos_read(CMOS_STATUS_B)};
}

/* Two equal readings outside an update: the clock did not move under our hands. */
static int64_t rtc_unix(void)
{
    for (int i = 0; i < RTC_TRIES; i++) {
        if (cmos_read(CMOS_STATUS_A) & CMOS_UPDATING)
            continue;
        int64_t first = rtc_to_unix(rtc_read()), second = rtc_to_unix(rtc_read());
        if (first == second)
            return first;
    }
    return -1;
}

int64_t time_unix(void)
{
    static int64_t base;                 /* time_unix at the moment of `synced` */
    static uint64_t synced;
    uint64_t now = time_us();
    if (base == 0 || now - synced >= RTC_RESYNC_US) {
        int64_t rtc = rtc_unix();
        if (rtc >= 0) {
            base = rtc;
            synced = now;
        }
    }
    return base + (int64_t)((now - synced) / 1000000);
}
