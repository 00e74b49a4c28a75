/* virtio_pci.h: tangled from nbs/net/06_virtio_net.ipynb. Edit the notebook, not this file. */

/* ---- nbs/net/06_virtio_net.ipynb § Where are the registers? ---- */

/* virtio_pci.h: where a virtio device keeps its four register blocks.
 *
 * Pure: reads PCI configuration space through struct pci_access. Everything in it was
 * written by the device, so each number is checked against the BAR that it speaks of. */
// twin: virtio_pci.c pci_scan.c
#pragma once
#include "net/pci.h"

#define VIRTIO_PCI_VENDOR     0x1af4
#define VIRTIO_PCI_CAP_ID     9       // "vendor specific"
#define VIRTIO_COMMON_SIZE    56      // the fields of §4.1.4.3 that we use
#define VIRTIO_NET_CFG_SIZE   8       // mac[6], status: §5.1.4

enum virtio_block {
    VIRTIO_COMMON = 1, VIRTIO_NOTIFY, VIRTIO_ISR, VIRTIO_DEVICE, VIRTIO_BLOCKS
};

struct virtio_region {
    bool io;               // I/O ports rather than memory
    uint32_t base, len;    // len 0: not found
};

struct virtio_pci {
    struct virtio_region block[VIRTIO_BLOCKS];    // [0] is unused
    uint32_t notify_multiplier;
};

enum virtio_pci_result {
    VIRTIO_PCI_OK,
    VIRTIO_PCI_LEGACY,         // no virtio capability: a device from before version 1
    VIRTIO_PCI_MISSING,        // a block is not described at all
    VIRTIO_PCI_UNREACHABLE,    // described, but in no BAR that we can reach below 4 GB
};
enum virtio_pci_result virtio_pci_find(const struct pci_access *pci,
                                       const struct pci_dev *d, struct virtio_pci *out);
const char *virtio_pci_result_name(enum virtio_pci_result r);
