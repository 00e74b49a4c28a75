/* virtio_pci.c: tangled from nbs/net/06_virtio_net.ipynb. Edit the notebook, not this file. */

/* ---- nbs/net/06_virtio_net.ipynb § Where are the registers? ---- */

/* virtio_pci.c: from PCI capabilities to checked register blocks (VIRTIO 1.2 §4.1.4). */
#include "net/virtio_pci.h"

static uint32_t cap_read(const struct pci_access *pci, const struct pci_dev *d,
                         int offset)
{
    return pci->read(pci->ctx, pci_address(d->bus, d->dev, d->fn, offset));
}

/* The block that a capability describes, or len 0 if this driver cannot use it. */
static struct virtio_region cap_region(const struct pci_dev *d, uint32_t bar_index,
                                       uint32_t offset, uint32_t len, uint32_t need)
{
    const struct virtio_region none = { .len = 0 };
    if (bar_index >= PCI_BARS || len < need || offset % (need > 1 ? 2 : 1))
        return none;
    const struct pci_bar *bar = &d->bar[bar_index];
    if (!pci_bar_reachable(bar, need) || offset > bar->size || len > bar->size - offset)
        return none;
    return (struct virtio_region){ .io = bar->kind == PCI_BAR_IO,
                                   .base = (uint32_t)bar->base + offset, .len = len };
}

enum virtio_pci_result virtio_pci_find(const struct pci_access *pci,
                                       const struct pci_dev *d, struct virtio_pci *out)
{
    static const uint32_t need[VIRTIO_BLOCKS] = { [VIRTIO_COMMON] = VIRTIO_COMMON_SIZE,
        [VIRTIO_NOTIFY] = 2, [VIRTIO_ISR] = 1, [VIRTIO_DEVICE] = VIRTIO_NET_CFG_SIZE };
    uint8_t at[PCI_CAPS_MAX];
    int n = pci_capabilities(pci, d, VIRTIO_PCI_CAP_ID, at);
    bool described[VIRTIO_BLOCKS] = { false };
    *out = (struct virtio_pci){ .notify_multiplier = 0 };
    if (n == 0)
        return VIRTIO_PCI_LEGACY;
    for (int i = 0; i < n && at[i] <= 256 - 20; i++) {
        uint32_t type = cap_read(pci, d, at[i]) >> 24;
        if (type == 0 || type >= VIRTIO_BLOCKS || out->block[type].len)
            continue;                              // not for us, or the first one stands
        described[type] = true;
        out->block[type] = cap_region(d, cap_read(pci, d, at[i] + 4) & 0xff,
                                      cap_read(pci, d, at[i] + 8),
                                      cap_read(pci, d, at[i] + 12), need[type]);
        if (type == VIRTIO_NOTIFY)
            out->notify_multiplier = cap_read(pci, d, at[i] + 16);
    }
    for (int type = 1; type < VIRTIO_BLOCKS; type++)
        if (!out->block[type].len)
            return described[type] ? VIRTIO_PCI_UNREACHABLE : VIRTIO_PCI_MISSING;
    return VIRTIO_PCI_OK;
}

const char *virtio_pci_result_name(enum virtio_pci_result r)
{
    static const char *const names[] = { "ok",
        "an old device without virtio 1 capabilities (QEMU: disable-modern=off)",
        "a register block is missing", "registers are not in a BAR below 4 GB" };
    return r < sizeof names / sizeof *names ? names[r] : "?";
}
