/* e1000.c: tangled from nbs/net/05_pci_e1000.ipynb. Edit the notebook, not this file. */

/* ---- nbs/net/05_pci_e1000.ipynb § The card itself ---- */

/* e1000.c: driver for Intel's 8254x gigabit cards, of which QEMU's e1000 is one.
 *
 * Owns the card's registers, its rings and buffers, and its interrupt. The rings' logic
 * is in e1000_ring.c. Section numbers are those of Intel's "PCI/PCI-X Family of Gigabit
 * Ethernet Controllers Software Developer's Manual" (8254x). The interrupt handler only
 * acknowledges, masks and sets flags; all else happens when the loop calls rx or tx. */
#include "net/e1000_ring.h"

#include "base/io.h"
#include "base/irq.h"
#include "base/kernel.h"
#include "base/stdio.h"
#include "base/string.h"
#include "base/time.h"
#include "net/dma.h"
#include "net/netdev.h"
#include "net/pci.h"

enum e1000_reg {                                   // §13.4
    E1000_CTRL  = 0x0000, E1000_STATUS = 0x0008, E1000_EERD  = 0x0014,
    E1000_ICR   = 0x00c0, E1000_IMS    = 0x00d0, E1000_IMC   = 0x00d8,
    E1000_RCTL  = 0x0100, E1000_TCTL   = 0x0400, E1000_TIPG  = 0x0410,
    E1000_RDBAL = 0x2800, E1000_RDBAH  = 0x2804, E1000_RDLEN = 0x2808,
    E1000_RDH   = 0x2810, E1000_RDT    = 0x2818, E1000_RDTR  = 0x2820,
    E1000_TDBAL = 0x3800, E1000_TDBAH  = 0x3804, E1000_TDLEN = 0x3808,
    E1000_TDH   = 0x3810, E1000_TDT    = 0x3818,
    E1000_MTA   = 0x5200, E1000_RAL    = 0x5400, E1000_RAH   = 0x5404,
};
#define E1000_MTA_WORDS   128
#define E1000_WINDOW_SIZE 0x20000

struct e1000 {
    volatile uint32_t *regs;
    struct e1000_rx_ring rx;
    struct e1000_tx_ring tx;
    volatile bool rx_masked;       // the handler has switched receive interrupts off
    struct netdev netdev;
};

static struct e1000 e1000;
static struct e1000_rx_desc e1000_rx_descs[E1000_RX_DESCS] __attribute__((aligned(16)));
static struct e1000_tx_desc e1000_tx_descs[E1000_TX_DESCS] __attribute__((aligned(16)));
static uint8_t e1000_rx_bufs[E1000_RX_DESCS * E1000_BUF_SIZE];
static uint8_t e1000_tx_bufs[E1000_TX_DESCS * E1000_BUF_SIZE];

IRQ_HANDLER static inline uint32_t e1000_read(const struct e1000 *e, enum e1000_reg reg)
{
    return e->regs[reg / 4];
}

IRQ_HANDLER static inline void e1000_write(const struct e1000 *e, enum e1000_reg reg,
                                           uint32_t value)
{
    dma_barrier();
    e->regs[reg / 4] = value;
}

/* Waits until (register & mask) == want; false after limit_us. */
static bool e1000_wait(const struct e1000 *e, enum e1000_reg reg, uint32_t mask,
                       uint32_t want, uint32_t limit_us)
{
    uint64_t start_us = time_us();
    while ((e1000_read(e, reg) & mask) != want)
        if (time_us() - start_us > limit_us)
            return false;
    return true;
}

/* ---- nbs/net/05_pci_e1000.ipynb § Reset, and who am I? ---- */

#define E1000_CTRL_ASDE   (1u << 5)     // §13.4.1
#define E1000_CTRL_SLU    (1u << 6)
#define E1000_CTRL_RST    (1u << 26)
/* LRST, ILOS, VME, PHY_RST: none of them is wanted */
#define E1000_CTRL_CLEAR  (1u << 3 | 1u << 7 | 1u << 30 | 1u << 31)
#define E1000_STATUS_LU   (1u << 1)
#define E1000_RAH_VALID   (1u << 31)
#define E1000_EERD_START  (1u << 0)
#define E1000_EERD_DONE   (1u << 4)
#define E1000_RESET_US    20000
#define E1000_EEPROM_US   1000

static bool e1000_reset(struct e1000 *e)
{
    e1000_write(e, E1000_IMC, 0xffffffff);
    e1000_write(e, E1000_CTRL, e1000_read(e, E1000_CTRL) | E1000_CTRL_RST);
    if (!e1000_wait(e, E1000_CTRL, E1000_CTRL_RST, 0, E1000_RESET_US))
        return false;
    e1000_write(e, E1000_IMC, 0xffffffff);
    e1000_read(e, E1000_ICR);                      // reading clears what is pending
    uint32_t ctrl = e1000_read(e, E1000_CTRL) & ~E1000_CTRL_CLEAR;
    e1000_write(e, E1000_CTRL, ctrl | E1000_CTRL_SLU | E1000_CTRL_ASDE);
    return true;
}

static bool e1000_eeprom_word(struct e1000 *e, uint32_t word, uint16_t *out)
{
    e1000_write(e, E1000_EERD, word << 8 | E1000_EERD_START);
    if (!e1000_wait(e, E1000_EERD, E1000_EERD_DONE, E1000_EERD_DONE, E1000_EEPROM_US))
        return false;
    *out = e1000_read(e, E1000_EERD) >> 16;
    return true;
}

/* True when mac is the address of one station: not a group's, not all zero. */
static bool e1000_mac_ok(const uint8_t mac[6])
{
    static const uint8_t zero[6];
    return !(mac[0] & 1) && memcmp(mac, zero, 6) != 0;
}

static bool e1000_find_mac(struct e1000 *e, uint8_t mac[6])
{
    uint16_t w[3];
    bool eeprom = true;
    for (int i = 0; i < 3 && eeprom; i++)
        eeprom = e1000_eeprom_word(e, i, &w[i]);
    if (!eeprom) {
        uint32_t low = e1000_read(e, E1000_RAL), high = e1000_read(e, E1000_RAH);
        w[0] = low, w[1] = low >> 16, w[2] = high;
    }
    for (int i = 0; i < 6; i++)
        mac[i] = w[i / 2] >> (i % 2 * 8);
    return e1000_mac_ok(mac);
}

/* ---- nbs/net/05_pci_e1000.ipynb § Two rings go live ---- */

#define E1000_RCTL_EN     (1u << 1)  // §13.4.22; BSIZE 00 is 2048, LPE 0: no long packets
#define E1000_RCTL_BAM    (1u << 15)    // accept broadcasts
#define E1000_RCTL_SECRC  (1u << 26)    // strip the FCS
#define E1000_TCTL_EN     (1u << 1)     // §13.4.33
#define E1000_TCTL_PSP    (1u << 3)     // pad short packets to 64 bytes with FCS
#define E1000_TCTL_CT     (0x0fu << 4)  // collisions before giving up
#define E1000_TCTL_COLD   (0x40u << 12) // collision distance, full duplex
#define E1000_TIPG_COPPER (10u | 8u << 10 | 6u << 20)    // §13.4.34

static void e1000_start_tx(struct e1000 *e)
{
    e1000_tx_init(&e->tx, e1000_tx_descs, e1000_tx_bufs, E1000_TX_DESCS);
    e1000_write(e, E1000_TDBAL, (uintptr_t)e1000_tx_descs);
    e1000_write(e, E1000_TDBAH, 0);
    e1000_write(e, E1000_TDLEN, sizeof e1000_tx_descs);
    e1000_write(e, E1000_TDH, 0);
    e1000_write(e, E1000_TDT, 0);
    e1000_write(e, E1000_TIPG, E1000_TIPG_COPPER);
    e1000_write(e, E1000_TCTL,
                E1000_TCTL_EN | E1000_TCTL_PSP | E1000_TCTL_CT | E1000_TCTL_COLD);
}

static void e1000_start_rx(struct e1000 *e)
{
    const uint8_t *m = e->netdev.mac;
    e1000_write(e, E1000_RAL, m[0] | m[1] << 8 | m[2] << 16 | (uint32_t)m[3] << 24);
    e1000_write(e, E1000_RAH, m[4] | m[5] << 8 | E1000_RAH_VALID);
    for (int i = 0; i < E1000_MTA_WORDS; i++)
        e1000_write(e, E1000_MTA + 4 * i, 0);
    e1000_rx_init(&e->rx, e1000_rx_descs, e1000_rx_bufs, E1000_RX_DESCS);
    e1000_write(e, E1000_RDBAL, (uintptr_t)e1000_rx_descs);
    e1000_write(e, E1000_RDBAH, 0);
    e1000_write(e, E1000_RDLEN, sizeof e1000_rx_descs);
    e1000_write(e, E1000_RDTR, 0);                 // interrupt at once, no delay timer
    e1000_write(e, E1000_RDH, 0);
    e1000_write(e, E1000_RDT, e1000_rx_tail(&e->rx));
    e1000_write(e, E1000_RCTL, E1000_RCTL_EN | E1000_RCTL_BAM | E1000_RCTL_SECRC);
}

/* ---- nbs/net/05_pci_e1000.ipynb § An interrupt to wake up, and none while awake ---- */

#define E1000_INT_LSC     (1u << 2)     // link status changed: §13.4.17
#define E1000_INT_RXDMT0  (1u << 4)     // receive descriptors run low
#define E1000_INT_RXO     (1u << 6)     // receiver overrun
#define E1000_INT_RXT0    (1u << 7)     // a frame was received
#define E1000_INT_RX      (E1000_INT_RXDMT0 | E1000_INT_RXO | E1000_INT_RXT0)

IRQ_HANDLER static void e1000_irq(void *arg)
{
    struct e1000 *e = arg;
    uint32_t cause = e1000_read(e, E1000_ICR);
    if (cause & E1000_INT_RX) {
        e1000_write(e, E1000_IMC, E1000_INT_RX);
        e->rx_masked = true;
    }
    if (cause & E1000_INT_LSC)
        e->netdev.link_changed = true;
}

/* The ring is empty: let the next frame wake us. True when one has come meanwhile. */
static bool e1000_rx_rearm(struct e1000 *e)
{
    if (e->rx_masked) {
        e->rx_masked = false;
        e1000_write(e, E1000_IMS, E1000_INT_RX);
    }
    return e1000_rx_ready(&e->rx);
}

/* ---- nbs/net/05_pci_e1000.ipynb § The three functions of the contract ---- */

static size_t e1000_netdev_rx(struct netdev *dev, uint8_t *buf, size_t cap)
{
    struct e1000 *e = dev->priv;
    if (cap > NETDEV_FRAME_MAX)
        cap = NETDEV_FRAME_MAX;
    for (int turn = 0; turn < E1000_RX_DESCS; turn++) {
        size_t len;
        enum e1000_rx_result r = e1000_rx_take(&e->rx, buf, cap, &len);
        if (e->rx.owed >= E1000_RX_BATCH || (r == E1000_RX_NONE && e->rx.owed))
            e1000_write(e, E1000_RDT, e1000_rx_tail(&e->rx));
        switch (r) {
        case E1000_RX_FRAME:
            dev->stats.rx_frames++;
            dev->stats.rx_bytes += len;
            return len;
        case E1000_RX_TOO_LARGE: dev->stats.rx_dropped++; break;
        case E1000_RX_ERROR:     dev->stats.rx_errors++;  break;
        case E1000_RX_NONE:
            if (!e1000_rx_rearm(e))
                return 0;
        }
    }
    return 0;
}

static bool e1000_netdev_tx(struct netdev *dev, const uint8_t *frame, size_t len)
{
    struct e1000 *e = dev->priv;
    bool fits = len >= NETDEV_FRAME_MIN && len <= NETDEV_FRAME_MAX;
    if (!fits || !e1000_tx_put(&e->tx, frame, len)) {
        dev->stats.tx_dropped++;
        return false;
    }
    e1000_write(e, E1000_TDT, e->tx.next);
    dev->stats.tx_frames++;
    dev->stats.tx_bytes += len;
    dev->stats.tx_errors = e->tx.failed;
    return true;
}

static bool e1000_netdev_link_up(struct netdev *dev)
{
    struct e1000 *e = dev->priv;
    return e1000_read(e, E1000_STATUS) & E1000_STATUS_LU;
}

/* ---- nbs/net/05_pci_e1000.ipynb § Claiming it ---- */

static bool e1000_probe(struct pci_dev *d)
{
    struct e1000 *e = &e1000;
    if (!netdev_wanted("e1000"))
        return false;
    if (d->bar[0].kind != PCI_BAR_MEMORY
        || !pci_bar_reachable(&d->bar[0], E1000_WINDOW_SIZE)) {
        kprintf("[net] e1000: registers at 0x%llx, size 0x%llx, are out of reach\n",
                (unsigned long long)d->bar[0].base, (unsigned long long)d->bar[0].size);
        return false;
    }
    e->regs = (volatile uint32_t *)(uintptr_t)d->bar[0].base;
    pci_enable(d, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    if (!e1000_reset(e)) {
        kprintf("[net] e1000: reset did not end within %d us\n", E1000_RESET_US);
        return false;
    }
    e->netdev = (struct netdev){ .name = "e1000", .priv = e, .tx = e1000_netdev_tx,
                                 .rx = e1000_netdev_rx, .link_up = e1000_netdev_link_up };
    if (!e1000_find_mac(e, e->netdev.mac)) {
        kprintf("[net] e1000: neither EEPROM nor RAL/RAH holds a station address\n");
        return false;
    }
    e1000_start_rx(e);
    e1000_start_tx(e);
    irq_install(d->irq, e1000_irq, e);
    e1000_write(e, E1000_IMS, E1000_INT_RX | E1000_INT_LSC);
    netdev_register(&e->netdev);
    return true;
}
PCI_DRIVER(0x8086, 0x100e, "Intel e1000", e1000_probe);             // 82540EM
PCI_DRIVER(0x8086, 0x100f, "Intel e1000 82545EM", e1000_probe);
PCI_DRIVER(0x8086, 0x100c, "Intel e1000 82544GC", e1000_probe);
