/* pci.c: tangled from nbs/net/05_pci_e1000.ipynb. Edit the notebook, not this file. */

/* ---- nbs/net/05_pci_e1000.ipynb § The edge: ports, table, drivers ---- */

/* pci.c: the machine's PCI bus, walked once at order 40, before anything needs a device.
 *
 * Owns the table of devices. Prints one line for each and offers it to the drivers in the
 * linker set. A network card that nobody drives gets a line that says so. */
#include "net/pci.h"

#include "base/bootinfo.h"
#include "base/io.h"
#include "base/irq.h"
#include "base/kernel.h"
#include "base/stdio.h"

#define PCI_PORT_ADDRESS 0xcf8
#define PCI_PORT_DATA    0xcfc

static uint32_t ports_read(void *ctx, uint32_t address)
{
    (void)ctx;
    outl(PCI_PORT_ADDRESS, address);
    return inl(PCI_PORT_DATA);
}

static void ports_write(void *ctx, uint32_t address, uint32_t value)
{
    (void)ctx;
    outl(PCI_PORT_ADDRESS, address);
    outl(PCI_PORT_DATA, value);
}

const struct pci_access pci_ports = { .read = ports_read, .write = ports_write };

uint32_t pci_read(const struct pci_dev *d, int offset)
{
    return ports_read(NULL, pci_address(d->bus, d->dev, d->fn, offset));
}

void pci_write(const struct pci_dev *d, int offset, uint32_t value)
{
    ports_write(NULL, pci_address(d->bus, d->dev, d->fn, offset), value);
}

/* Lets the device decode its windows and, with PCI_COMMAND_MASTER, reach our memory. */
void pci_enable(const struct pci_dev *d, uint32_t command_bits)
{
    uint32_t command = pci_read(d, PCI_COMMAND) & 0xffff;
    pci_write(d, PCI_COMMAND, (command | command_bits) & ~PCI_COMMAND_NO_INTX);
}

static struct pci_dev pci_devs[PCI_DEVICES_MAX];
static int pci_count;

/* Above RAM and below the interrupt controllers' registers. */
static struct pci_window pci_free_memory(void)
{
    struct pci_window w = { 0xf0000000, 0xfec00000 };
    for (int i = 0; i < boot_info.n_regions; i++) {
        const struct boot_region *r = &boot_info.regions[i];
        if (r->base < w.end && r->base + r->size > w.base)
            w.base = r->base + r->size;
    }
    return w;
}

/* Does for one device what the firmware has left undone: addresses and interrupt line. */
static void pci_settle(struct pci_dev *d)
{
    const struct pci_window io = { 0xd000, 0xf000 };
    int given = pci_assign(&pci_ports, pci_devs, pci_count, d, io, pci_free_memory());
    bool line_ok = d->irq > 2 && d->irq < 16;
    for (int i = 0; i < pci_count && (given > 0 || !line_ok); i++) {
        const struct pci_dev *bridge = &pci_devs[i];
        if (bridge->vendor != 0x8086 || bridge->device != 0x7000)
            continue;
        int line = pci_piix3_irq(&pci_ports, bridge, d);
        if (line < 0)
            break;
        irq_set_level(line);
        d->irq = line;
        pci_write(d, PCI_INTERRUPT, (pci_read(d, PCI_INTERRUPT) & ~0xffu) | line);
        break;
    }
}

LINKER_SET_DECLARE(pci_driver, struct pci_driver);

static void pci_name(const struct pci_dev *d, const char *name)
{
    kprintf("[pci] bus %d dev %d", d->bus, d->dev);
    if (d->fn)
        kprintf(" fn %d", d->fn);
    kprintf(": %s (%04x:%04x)", name, d->vendor, d->device);
}

/* Offers a device to its driver; prints its line. */
static void pci_offer(struct pci_dev *d)
{
    LINKER_SET_FOREACH(pci_driver, struct pci_driver, p) {
        if (p->vendor != d->vendor || p->device != d->device)
            continue;
        pci_settle(d);
        bool claimed = p->probe(d);
        pci_name(d, p->name);
        kprintf(claimed ? " claimed\n" : " not claimed\n");
        return;
    }
    pci_name(d, pci_class_name(d->class, d->subclass));
    if (d->class == PCI_CLASS_NETWORK) {
        kprintf(" found, but not driven. Drivers here are for:");
        LINKER_SET_FOREACH(pci_driver, struct pci_driver, p)
            kprintf(" %04x:%04x", p->vendor, p->device);
    }
    kprintf("\n");
}

static void pci_init(void)
{
    int n = pci_scan(&pci_ports, pci_devs, PCI_DEVICES_MAX);
    if (n > PCI_DEVICES_MAX)
        kprintf("[pci] %d functions; the first %d are used\n", n, PCI_DEVICES_MAX);
    pci_count = n < PCI_DEVICES_MAX ? n : PCI_DEVICES_MAX;
    for (int i = 0; i < pci_count; i++)
        pci_offer(&pci_devs[i]);
}
INITCALL(40, pci_init);
