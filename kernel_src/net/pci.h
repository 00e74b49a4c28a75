/* pci.h: tangled from nbs/net/05_pci_e1000.ipynb. Edit the notebook, not this file. */

/* ---- nbs/net/05_pci_e1000.ipynb § What is plugged in? ---- */

/* pci.h: finding what is plugged in.
 *
 * pci_scan.c is pure: it sees configuration space through struct pci_access and reads a
 * machine into an array of struct pci_dev. pci.c is the edge: it supplies the two I/O
 * ports, prints the table and offers each device to the driver registered for it. */
// twin: pci_scan.c
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PCI_DEVICES_MAX 64      // functions that one machine may have
#define PCI_BARS        6
#define PCI_CAPS_MAX    48    // 192 bytes of list space, 4 bytes each: no list is longer

#define PCI_VENDOR       0x00   // offsets in configuration space: PCI Local Bus 3.0 §6.1
#define PCI_COMMAND      0x04
#define PCI_CLASS        0x08
#define PCI_HEADER       0x0c
#define PCI_BAR0         0x10
#define PCI_BUS_NUMBERS  0x18
#define PCI_SUBSYSTEM    0x2c
#define PCI_CAP_POINTER  0x34
#define PCI_INTERRUPT    0x3c

#define PCI_COMMAND_IO      (1u << 0)
#define PCI_COMMAND_MEMORY  (1u << 1)
#define PCI_COMMAND_MASTER  (1u << 2)
#define PCI_COMMAND_NO_INTX (1u << 10)
#define PCI_STATUS_CAPS     (1u << 20)    // status is the upper half of the command dword
#define PCI_CLASS_NETWORK   0x02

enum pci_bar_kind { PCI_BAR_NONE, PCI_BAR_IO, PCI_BAR_MEMORY };

struct pci_bar {
    enum pci_bar_kind kind;
    bool wide, prefetchable;    // 64-bit; reading has no side effects
    uint64_t base, size;        // base 0: the firmware has given it no address
};

struct pci_dev {
    uint8_t bus, dev, fn;
    uint8_t class, subclass, prog_if, revision, header;
    uint8_t irq, pin;    // interrupt line as the firmware set it; pin 1 to 4, 0: none
    uint16_t vendor, device, subsystem_vendor, subsystem;
    struct pci_bar bar[PCI_BARS];
};

struct pci_window { uint64_t base, end; };    // addresses from base to below end

/* Configuration space: `address` is what pci_address made. */
struct pci_access {
    uint32_t (*read)(void *ctx, uint32_t address);
    void (*write)(void *ctx, uint32_t address, uint32_t value);
    void *ctx;
};

/* pci_scan.c: pure */
uint32_t pci_address(int bus, int dev, int fn, int offset);
void pci_bar_decode(uint32_t low, uint32_t low_mask, uint32_t high, uint32_t high_mask,
                    struct pci_bar *out);
/* Returns how many functions there are, of which at most max are in out. */
int pci_scan(const struct pci_access *pci, struct pci_dev *out, int max);
/* Returns how many capabilities have that id, and their offsets. */
int pci_capabilities(const struct pci_access *pci, const struct pci_dev *d, uint8_t id,
                     uint8_t at[PCI_CAPS_MAX]);
const char *pci_class_name(uint8_t class, uint8_t subclass);
bool pci_bar_reachable(const struct pci_bar *bar, uint64_t need); // addressed, below 4 GB
int pci_assign(const struct pci_access *pci, const struct pci_dev *all, int n,
               struct pci_dev *d, struct pci_window io, struct pci_window memory);
int pci_piix3_irq(const struct pci_access *pci, const struct pci_dev *bridge,
                  const struct pci_dev *d);

/* pci.c: the edge */
extern const struct pci_access pci_ports;
uint32_t pci_read(const struct pci_dev *d, int offset);
void pci_write(const struct pci_dev *d, int offset, uint32_t value);
void pci_enable(const struct pci_dev *d, uint32_t command_bits);

/* ---- nbs/net/05_pci_e1000.ipynb § The edge: ports, table, drivers ---- */

struct pci_driver {
    uint16_t vendor, device;
    const char *name;
    bool (*probe)(struct pci_dev *d);  // true: claimed; false: left alone, reason printed
};

/* Offers `fn` every device with these ids, e.g.
 * PCI_DRIVER(0x8086, 0x100e, "Intel e1000", e1000_probe);   (needs base/kernel.h) */
#define PCI_DRIVER(vendor_id, device_id, label, fn)                       \
    LINKER_SET(pci_driver, struct pci_driver, pci_driver_##device_id) =    \
        { vendor_id, device_id, label, fn }
