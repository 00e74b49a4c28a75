/* virtio_net.c: tangled from nbs/net/06_virtio_net.ipynb. Edit the notebook, not this file. */

/* ---- nbs/net/06_virtio_net.ipynb § What shall we agree on? ---- */

/* virtio_net.c: driver for virtio network devices (VIRTIO 1.2 §5.1) over PCI (§4.1).
 *
 * Owns the device's registers, two virtqueues and their buffers, and its interrupt. Queue
 * logic is in virtq.c, finding the registers in virtio_pci.c. The interrupt handler
 * acknowledges and sets flags; all else happens when the main loop calls rx or tx. */
#include "net/virtq.h"

#include "base/io.h"
#include "base/irq.h"
#include "base/kernel.h"
#include "base/stdio.h"
#include "base/string.h"
#include "base/time.h"
#include "net/dma.h"
#include "net/netdev.h"
#include "net/pci.h"
#include "net/virtio_pci.h"

enum virtio_common {                       // offsets in the common block: §4.1.4.3
    VIRTIO_DEVICE_FEATURE_SELECT = 0,  VIRTIO_DEVICE_FEATURE = 4,
    VIRTIO_DRIVER_FEATURE_SELECT = 8,  VIRTIO_DRIVER_FEATURE = 12,
    VIRTIO_NUM_QUEUES = 18,            VIRTIO_STATUS = 20,
    VIRTIO_QUEUE_SELECT = 22,          VIRTIO_QUEUE_SIZE = 24,
    VIRTIO_QUEUE_ENABLE = 28,          VIRTIO_QUEUE_NOTIFY_OFF = 30,
    VIRTIO_QUEUE_DESC = 32,            VIRTIO_QUEUE_DRIVER = 40,
    VIRTIO_QUEUE_DEVICE = 48,
};
#define VIRTIO_F_VERSION_1    (1ull << 32)     // §6
#define VIRTIO_NET_F_MAC      (1ull << 5)      // §5.1.3
#define VIRTIO_NET_F_STATUS   (1ull << 16)
#define VIRTIO_NET_FEATURES \
    (VIRTIO_F_VERSION_1 | VIRTIO_NET_F_MAC | VIRTIO_NET_F_STATUS)

#define VIRTIO_S_ACKNOWLEDGE  1                // §2.1
#define VIRTIO_S_DRIVER       2
#define VIRTIO_S_DRIVER_OK    4
#define VIRTIO_S_FEATURES_OK  8
#define VIRTIO_S_FAILED       128

IRQ_HANDLER static uint32_t virtio_read(const struct virtio_region *r, uint32_t at,
                                        int width)
{
    uint32_t where = r->base + at;
    if (r->io)
        return width == 1 ? inb(where) : width == 2 ? inw(where) : inl(where);
    return width == 1 ? *(volatile uint8_t *)where
         : width == 2 ? *(volatile uint16_t *)where : *(volatile uint32_t *)where;
}

static void virtio_write(const struct virtio_region *r, uint32_t at, int width,
                         uint32_t value)
{
    uint32_t where = r->base + at;
    dma_barrier();
    if (r->io) {
        if (width == 1)      outb(where, value);
        else if (width == 2) outw(where, value);
        else                 outl(where, value);
        return;
    }
    if (width == 1)      *(volatile uint8_t *)where = value;
    else if (width == 2) *(volatile uint16_t *)where = value;
    else                 *(volatile uint32_t *)where = value;
}

#define VIRTIO_NET_HEADER  12
#define VIRTIO_NET_BUF     1536    // header and the largest frame, rounded to cache lines
#define VIRTIO_NET_BATCH   16       // receive buffers given back with one publication
#define VIRTIO_NET_RESET_US 10000
_Static_assert(VIRTIO_NET_HEADER + NETDEV_FRAME_MAX <= VIRTIO_NET_BUF, "a frame fits");

struct virtio_net {
    struct virtio_pci pci;
    struct virtq rx, tx;
    uint32_t rx_notify, tx_notify;       // where in the notify block: §4.1.4.4
    uint32_t rx_owed;                    // submitted and not yet published
    volatile bool rx_masked;             // the handler asked for silence
    bool has_status, rx_told, tx_told;   // broken queues are reported once
    struct netdev netdev;
};

static struct virtio_net virtio_net;
static struct virtq_memory virtio_net_rx_mem, virtio_net_tx_mem;
static uint8_t virtio_net_rx_bufs[VIRTQ_SIZE_MAX][VIRTIO_NET_BUF];
static uint8_t virtio_net_tx_bufs[VIRTQ_SIZE_MAX][VIRTIO_NET_BUF];

IRQ_HANDLER static inline const struct virtio_region *
virtio_block(const struct virtio_net *v, int block)
{
    return &v->pci.block[block];
}

static void virtio_net_notify(struct virtio_net *v, uint32_t at, uint16_t queue)
{
    virtio_write(virtio_block(v, VIRTIO_NOTIFY), at, 2, queue);
}

/* Gives receive buffer `id` back; the device sees it with the next publication. */
static void virtio_net_give(struct virtio_net *v, uint16_t id)
{
    virtq_submit(&v->rx, id, (uintptr_t)virtio_net_rx_bufs[id], VIRTIO_NET_BUF, true);
    v->rx_owed++;
}

static void virtio_net_publish_rx(struct virtio_net *v)
{
    v->rx_owed = 0;
    if (virtq_publish(&v->rx))
        virtio_net_notify(v, v->rx_notify, 0);
}

/* ---- nbs/net/06_virtio_net.ipynb § Receiving ---- */

static void virtio_net_broken(const struct virtio_net *v, const char *which, bool *told)
{
    if (!*told)
        kprintf("[net] %s: the device returned %s buffers that it did not have; "
                "the queue is abandoned\n", v->netdev.name, which);
    *told = true;
}

/* The queue is empty: let the next frame wake us. True when one has come meanwhile. */
static bool virtio_net_rearm(struct virtio_net *v)
{
    if (v->rx_masked) {
        v->rx_masked = false;
        v->rx.m->avail.flags = 0;
        dma_fence();                     // our flag first, then its index
    }
    return virtq_ready(&v->rx);
}

/* Copies what buffer `id` holds, `len` bytes with its header; 0 if it is of no use. */
static size_t virtio_net_copy(struct netdev *dev, uint16_t id, uint32_t len, uint8_t *buf,
                              size_t cap)
{
    if (len < VIRTIO_NET_HEADER + NETDEV_FRAME_MIN) {
        dev->stats.rx_errors++;
        return 0;
    }
    const uint8_t *frame = virtio_net_rx_bufs[id] + VIRTIO_NET_HEADER;
    len -= VIRTIO_NET_HEADER;
    if (!(frame[0] & 1) && memcmp(frame, dev->mac, sizeof dev->mac) != 0)
        return 0;    // for another station, as a real card would see it
    if (len > cap) {
        dev->stats.rx_dropped++;
        return 0;
    }
    memcpy(buf, frame, len);
    dev->stats.rx_frames++;
    dev->stats.rx_bytes += len;
    return len;
}

static size_t virtio_net_rx(struct netdev *dev, uint8_t *buf, size_t cap)
{
    struct virtio_net *v = dev->priv;
    if (cap > NETDEV_FRAME_MAX)
        cap = NETDEV_FRAME_MAX;
    for (int turn = 0; turn < VIRTQ_SIZE_MAX; turn++) {
        uint16_t id;
        uint32_t len;
        size_t copied = 0;
        enum virtq_result r = virtq_take(&v->rx, &id, &len);
        if (r == VIRTQ_BROKEN) {
            virtio_net_broken(v, "receive", &v->rx_told);
            return 0;
        }
        if (r == VIRTQ_OK)
            copied = virtio_net_copy(dev, id, len, buf, cap);
        else if (r != VIRTQ_NONE)
            dev->stats.rx_errors++;
        if (r == VIRTQ_OK || r == VIRTQ_BAD_LENGTH)
            virtio_net_give(v, id);
        if (v->rx_owed >= VIRTIO_NET_BATCH || (r == VIRTQ_NONE && v->rx_owed))
            virtio_net_publish_rx(v);
        if (copied)
            return copied;
        if (r == VIRTQ_NONE && !virtio_net_rearm(v))
            return 0;
    }
    return 0;
}

/* ---- nbs/net/06_virtio_net.ipynb § Sending, link, interrupt ---- */

static bool virtio_net_tx(struct netdev *dev, const uint8_t *frame, size_t len)
{
    struct virtio_net *v = dev->priv;
    enum virtq_result r;
    uint16_t done;
    uint32_t n;
    while ((r = virtq_take(&v->tx, &done, &n)) != VIRTQ_NONE && r != VIRTQ_BROKEN) {
        if (r == VIRTQ_OK)
            virtq_release(&v->tx, done);
        else
            dev->stats.tx_errors++;
    }
    if (r == VIRTQ_BROKEN)
        virtio_net_broken(v, "transmit", &v->tx_told);
    int id = -1;
    if (len >= NETDEV_FRAME_MIN && len <= NETDEV_FRAME_MAX && r != VIRTQ_BROKEN)
        id = virtq_reserve(&v->tx);
    if (id < 0) {
        dev->stats.tx_dropped++;
        return false;
    }
    uint8_t *buf = virtio_net_tx_bufs[id];         // its header is zero and stays so
    memcpy(buf + VIRTIO_NET_HEADER, frame, len);
    virtq_submit(&v->tx, id, (uintptr_t)buf, VIRTIO_NET_HEADER + len, false);
    if (virtq_publish(&v->tx))
        virtio_net_notify(v, v->tx_notify, 1);
    dev->stats.tx_frames++;
    dev->stats.tx_bytes += len;
    return true;
}

static bool virtio_net_link_up(struct netdev *dev)
{
    struct virtio_net *v = dev->priv;
    return !v->has_status || (virtio_read(virtio_block(v, VIRTIO_DEVICE), 6, 2) & 1);
}

IRQ_HANDLER static void virtio_net_irq(void *arg)
{
    struct virtio_net *v = arg;
    uint32_t isr = virtio_read(virtio_block(v, VIRTIO_ISR), 0, 1);
    if (isr & 1) {
        v->rx.m->avail.flags = VIRTQ_AVAIL_NO_INTERRUPT;
        v->rx_masked = true;
    }
    if (isr & 2)
        v->netdev.link_changed = true;
}

/* ---- nbs/net/06_virtio_net.ipynb § Coming to terms ---- */

static const char *virtio_net_negotiate(struct virtio_net *v, uint64_t *agreed)
{
    const struct virtio_region *c = virtio_block(v, VIRTIO_COMMON);
    uint64_t start_us = time_us();
    virtio_write(c, VIRTIO_STATUS, 1, 0);
    while (virtio_read(c, VIRTIO_STATUS, 1) != 0)
        if (time_us() - start_us > VIRTIO_NET_RESET_US)
            return "reset does not end";
    virtio_write(c, VIRTIO_STATUS, 1, VIRTIO_S_ACKNOWLEDGE);
    virtio_write(c, VIRTIO_STATUS, 1, VIRTIO_S_ACKNOWLEDGE | VIRTIO_S_DRIVER);
    uint64_t offered = 0;
    for (int half = 0; half < 2; half++) {
        virtio_write(c, VIRTIO_DEVICE_FEATURE_SELECT, 4, half);
        offered |= (uint64_t)virtio_read(c, VIRTIO_DEVICE_FEATURE, 4) << (32 * half);
    }
    if (!(offered & VIRTIO_F_VERSION_1))
        return "it does not offer virtio version 1";
    *agreed = offered & VIRTIO_NET_FEATURES;
    for (int half = 0; half < 2; half++) {
        virtio_write(c, VIRTIO_DRIVER_FEATURE_SELECT, 4, half);
        virtio_write(c, VIRTIO_DRIVER_FEATURE, 4, (uint32_t)(*agreed >> (32 * half)));
    }
    uint8_t status = VIRTIO_S_ACKNOWLEDGE | VIRTIO_S_DRIVER | VIRTIO_S_FEATURES_OK;
    virtio_write(c, VIRTIO_STATUS, 1, status);
    if (!(virtio_read(c, VIRTIO_STATUS, 1) & VIRTIO_S_FEATURES_OK))
        return "it refused the features that we chose";
    return NULL;
}

/* Sets up queue `index`; returns NULL or what is wrong. */
static const char *virtio_net_queue(struct virtio_net *v, uint16_t index, struct virtq *q,
                                    struct virtq_memory *m, uint32_t *notify)
{
    const struct virtio_region *c = virtio_block(v, VIRTIO_COMMON);
    virtio_write(c, VIRTIO_QUEUE_SELECT, 2, index);
    uint32_t num = virtio_read(c, VIRTIO_QUEUE_SIZE, 2);     // the most it can do
    if (num > VIRTQ_SIZE_MAX)
        num = VIRTQ_SIZE_MAX;
    if (num < 2 || (num & (num - 1)))
        return "a queue is missing or of odd size";
    uint64_t at = (uint64_t)virtio_read(c, VIRTIO_QUEUE_NOTIFY_OFF, 2)
                * v->pci.notify_multiplier;
    uint32_t room = virtio_block(v, VIRTIO_NOTIFY)->len;
    if (at > room - 2)
        return "a queue's notification lies outside its block";
    *notify = at;
    virtq_init(q, m, num);
    virtio_write(c, VIRTIO_QUEUE_SIZE, 2, num);
    const uint32_t part[3] = { (uintptr_t)m->desc, (uintptr_t)&m->avail,
                               (uintptr_t)&m->used };
    for (int i = 0; i < 3; i++) {
        virtio_write(c, VIRTIO_QUEUE_DESC + 8 * i, 4, part[i]);
        virtio_write(c, VIRTIO_QUEUE_DESC + 8 * i + 4, 4, 0);
    }
    virtio_write(c, VIRTIO_QUEUE_ENABLE, 2, 1);
    return NULL;
}

static void virtio_net_mac(struct virtio_net *v, uint64_t agreed, uint8_t mac[6])
{
    uint64_t noise = time_us() * 0x9e3779b97f4a7c15ull;
    const struct virtio_region *device = virtio_block(v, VIRTIO_DEVICE);
    for (int i = 0; i < 6; i++)
        mac[i] = (agreed & VIRTIO_NET_F_MAC) ? virtio_read(device, i, 1)
                                             : noise >> (8 + 8 * i) & 0xff;
    if (!(agreed & VIRTIO_NET_F_MAC))
        mac[0] = (mac[0] & 0xfc) | 2;
}

static const char *virtio_net_start(struct virtio_net *v)
{
    uint64_t agreed = 0;
    const char *why = virtio_net_negotiate(v, &agreed);
    if (!why)
        why = virtio_net_queue(v, 0, &v->rx, &virtio_net_rx_mem, &v->rx_notify);
    if (!why)
        why = virtio_net_queue(v, 1, &v->tx, &virtio_net_tx_mem, &v->tx_notify);
    if (why)
        return why;
    v->has_status = agreed & VIRTIO_NET_F_STATUS;
    virtio_net_mac(v, agreed, v->netdev.mac);
    for (int id; (id = virtq_reserve(&v->rx)) >= 0;)
        virtio_net_give(v, id);
    v->tx.m->avail.flags = VIRTQ_AVAIL_NO_INTERRUPT;
    virtio_write(virtio_block(v, VIRTIO_COMMON), VIRTIO_STATUS, 1, VIRTIO_S_ACKNOWLEDGE
                 | VIRTIO_S_DRIVER | VIRTIO_S_FEATURES_OK | VIRTIO_S_DRIVER_OK);
    return NULL;
}

static bool virtio_net_probe(struct pci_dev *d)
{
    struct virtio_net *v = &virtio_net;
    if (!netdev_wanted("virtio"))
        return false;
    v->netdev = (struct netdev){ .name = "virtio-net", .priv = v, .tx = virtio_net_tx,
                                 .rx = virtio_net_rx, .link_up = virtio_net_link_up };
    enum virtio_pci_result r = virtio_pci_find(&pci_ports, d, &v->pci);
    if (r != VIRTIO_PCI_OK) {
        kprintf("[net] virtio-net: %s\n", virtio_pci_result_name(r));
        return false;
    }
    pci_enable(d, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    const char *why = virtio_net_start(v);
    if (why) {
        kprintf("[net] virtio-net: %s\n", why);
        virtio_write(virtio_block(v, VIRTIO_COMMON), VIRTIO_STATUS, 1, VIRTIO_S_FAILED);
        return false;
    }
    irq_install(d->irq, virtio_net_irq, v);
    virtio_net_publish_rx(v);
    netdev_register(&v->netdev);
    return true;
}
PCI_DRIVER(0x1af4, 0x1041, "virtio-net", virtio_net_probe);    // 0x1040 + device type 1
PCI_DRIVER(0x1af4, 0x1000, "virtio-net", virtio_net_probe);    // transitional: §4.1.2.1
