/* pci_scan.c: tangled from nbs/net/05_pci_e1000.ipynb. Edit the notebook, not this file. */

/* ---- nbs/net/05_pci_e1000.ipynb § What is plugged in? ---- */

/* pci_scan.c: reads a machine's PCI devices into an array.
 *
 * Pure: all of configuration space is behind struct pci_access. Whatever that space says,
 * the scan ends: a bus is visited once, a capability list has a longest length. */
#include "net/pci.h"

uint32_t pci_address(int bus, int dev, int fn, int offset)
{
    return 1u << 31 | (uint32_t)(bus & 0xff) << 16 | (uint32_t)(dev & 0x1f) << 11
         | (uint32_t)(fn & 7) << 8 | (uint32_t)(offset & 0xfc);
}

static uint32_t scan_read(const struct pci_access *pci, const struct pci_dev *d,
                          int offset)
{
    return pci->read(pci->ctx, pci_address(d->bus, d->dev, d->fn, offset));
}

static void scan_write(const struct pci_access *pci, const struct pci_dev *d, int offset,
                       uint32_t value)
{
    pci->write(pci->ctx, pci_address(d->bus, d->dev, d->fn, offset), value);
}

/* ---- nbs/net/05_pci_e1000.ipynb § How large is a BAR? ---- */

void pci_bar_decode(uint32_t low, uint32_t low_mask, uint32_t high, uint32_t high_mask,
                    struct pci_bar *out)
{
    *out = (struct pci_bar){ .kind = PCI_BAR_NONE };
    if (low_mask == 0)
        return;                                   // not implemented: nothing stuck
    uint64_t mask;
    if (low & 1) {
        out->kind = PCI_BAR_IO;
        out->base = low & ~3u;
        mask = low_mask & ~3u;
    } else {
        out->kind = PCI_BAR_MEMORY;
        out->wide = (low >> 1 & 3) == 2;
        out->prefetchable = low >> 3 & 1;
        out->base = (low & ~15u) | (out->wide ? (uint64_t)high << 32 : 0);
        mask = (low_mask & ~15u) | (out->wide ? (uint64_t)high_mask << 32 : 0);
    }
    out->size = mask & -mask;                     // the lowest bit that stuck
    if (out->size == 0)
        *out = (struct pci_bar){ .kind = PCI_BAR_NONE };
}

bool pci_bar_reachable(const struct pci_bar *bar, uint64_t need)
{
    return bar->kind != PCI_BAR_NONE && bar->base != 0 && bar->size >= need
        && bar->base <= UINT32_MAX && bar->size - 1 <= UINT32_MAX - bar->base;
}

static uint32_t scan_mask(const struct pci_access *pci, const struct pci_dev *d,
                          int offset, uint32_t value)
{
    scan_write(pci, d, offset, 0xffffffff);
    uint32_t mask = scan_read(pci, d, offset);
    scan_write(pci, d, offset, value);
    return mask;
}

static void scan_bars(const struct pci_access *pci, struct pci_dev *d)
{
    int n = d->header == 0 ? PCI_BARS : d->header == 1 ? 2 : 0;
    uint32_t command = scan_read(pci, d, PCI_COMMAND) & 0xffff;
    scan_write(pci, d, PCI_COMMAND, command & ~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY));
    for (int i = 0; i < n; i++) {
        struct pci_bar *bar = &d->bar[i];
        int at = PCI_BAR0 + 4 * i;
        uint32_t low = scan_read(pci, d, at), low_mask = scan_mask(pci, d, at, low);
        uint32_t high = 0, high_mask = 0;
        bool wide = (low & 7) == 4;
        if (wide && i + 1 < n) {
            high = scan_read(pci, d, at + 4);
            high_mask = scan_mask(pci, d, at + 4, high);
            i++;    // the next register is this one's top half
        }
        pci_bar_decode(low, low_mask, high, high_mask, bar);
    }
    scan_write(pci, d, PCI_COMMAND, command);
}

/* ---- nbs/net/05_pci_e1000.ipynb § The walk ---- */

struct pci_walk {
    const struct pci_access *pci;
    struct pci_dev *out;
    int max, found;
    int n_buses;
    uint8_t bus[256];        // queue of buses; each bus enters once
    bool seen[256];
};

static void walk_add_bus(struct pci_walk *w, uint8_t bus)
{
    if (w->seen[bus])
        return;
    w->seen[bus] = true;
    w->bus[w->n_buses++] = bus;
}

/* Reads the function that d names; false when nobody is there. */
static bool walk_function(struct pci_walk *w, struct pci_dev *d, bool *many)
{
    uint32_t id = scan_read(w->pci, d, PCI_VENDOR);
    if ((id & 0xffff) == 0xffff || id == 0)
        return false;    // nobody answers: the bus floats to ones
    uint32_t class = scan_read(w->pci, d, PCI_CLASS);
    uint32_t header = scan_read(w->pci, d, PCI_HEADER) >> 16;
    d->vendor   = id & 0xffff;
    d->device   = id >> 16;
    d->class    = class >> 24;
    d->subclass = class >> 16 & 0xff;
    d->prog_if  = class >> 8 & 0xff;
    d->revision = class & 0xff;
    d->header   = header & 0x7f;
    uint32_t interrupt = scan_read(w->pci, d, PCI_INTERRUPT);
    d->irq      = interrupt & 0xff;
    d->pin      = interrupt >> 8 & 0xff;
    *many       = header >> 7 & 1;
    scan_bars(w->pci, d);
    if (d->header == 0) {
        uint32_t subsystem = scan_read(w->pci, d, PCI_SUBSYSTEM);
        d->subsystem_vendor = subsystem & 0xffff;
        d->subsystem = subsystem >> 16;
    } else if (d->header == 1) {
        uint8_t secondary = scan_read(w->pci, d, PCI_BUS_NUMBERS) >> 8 & 0xff;
        walk_add_bus(w, secondary);    // 0, an unconfigured bridge, is seen already
    }
    return true;
}

int pci_scan(const struct pci_access *pci, struct pci_dev *out, int max)
{
    struct pci_walk w = { .pci = pci, .out = out, .max = max };
    walk_add_bus(&w, 0);
    for (int b = 0; b < w.n_buses; b++) {
        for (int dev = 0; dev < 32; dev++) {
            bool many = true;
            for (int fn = 0; fn < 8 && many; fn++) {
                struct pci_dev d = { .bus = w.bus[b], .dev = dev, .fn = fn };
                bool more = false;
                if (!walk_function(&w, &d, &more)) {
                    many = fn > 0;                // holes are allowed after function 0
                    continue;
                }
                if (fn == 0)
                    many = more;
                if (w.found < max)
                    out[w.found] = d;
                w.found++;
            }
        }
    }
    return w.found;
}

/* ---- nbs/net/05_pci_e1000.ipynb § Capabilities ---- */

int pci_capabilities(const struct pci_access *pci, const struct pci_dev *d, uint8_t id,
                     uint8_t at[PCI_CAPS_MAX])
{
    if (d->header != 0 || !(scan_read(pci, d, PCI_COMMAND) & PCI_STATUS_CAPS))
        return 0;
    int n = 0;
    uint8_t next = scan_read(pci, d, PCI_CAP_POINTER) & 0xfc;
    for (int step = 0; next >= 0x40 && step < PCI_CAPS_MAX; step++) {
        uint32_t head = scan_read(pci, d, next);
        if ((head & 0xff) == id)
            at[n++] = next;
        next = head >> 8 & 0xfc;
    }
    return n;
}

static const struct { uint8_t class, subclass; const char *name; } class_names[] = {
    { 0x00, 0xff, "unclassified device" },  { 0x01, 0x01, "IDE controller" },
    { 0x01, 0x06, "SATA controller" },      { 0x01, 0x08, "NVMe controller" },
    { 0x01, 0xff, "storage controller" },   { 0x02, 0x00, "Ethernet controller" },
    { 0x02, 0xff, "network controller" },   { 0x03, 0x00, "VGA controller" },
    { 0x03, 0xff, "display controller" },   { 0x04, 0xff, "multimedia device" },
    { 0x05, 0xff, "memory controller" },    { 0x06, 0x00, "host bridge" },
    { 0x06, 0x01, "ISA bridge" },           { 0x06, 0x04, "PCI bridge" },
    { 0x06, 0xff, "bridge" },               { 0x07, 0xff, "communication controller" },
    { 0x08, 0xff, "system peripheral" },    { 0x09, 0xff, "input device" },
    { 0x0c, 0x03, "USB controller" },       { 0x0c, 0x05, "SMBus controller" },
    { 0x0c, 0xff, "serial bus controller" },
};

const char *pci_class_name(uint8_t class, uint8_t subclass)
{
    for (size_t i = 0; i < sizeof class_names / sizeof *class_names; i++)
        if (class_names[i].class == class
            && (class_names[i].subclass == subclass || class_names[i].subclass == 0xff))
            return class_names[i].name;
    return "device";
}

/* ---- nbs/net/05_pci_e1000.ipynb § When the firmware has done nothing ---- */

/* The lowest multiple of size in the window that no BAR of that kind covers; 0: none. */
static uint64_t assign_place(const struct pci_dev *all, int n, enum pci_bar_kind kind,
                             uint64_t size, struct pci_window window)
{
    uint64_t at = (window.base + size - 1) & -size;
    for (bool moved = true; moved;) {
        moved = false;
        if (at >= window.end || size > window.end - at)
            return 0;
        for (int i = 0; i < n; i++)
            for (int b = 0; b < PCI_BARS; b++) {
                const struct pci_bar *bar = &all[i].bar[b];
                if (bar->kind != kind || bar->base == 0 || bar->base > UINT32_MAX
                    || at >= bar->base + bar->size || bar->base >= at + size)
                    continue;
                at = (bar->base + bar->size + size - 1) & -size;    // only ever upwards
                moved = true;
            }
    }
    return at;
}

/* Gives addresses to those BARs of d, one of the n devices `all`, that have none. Returns
 * how many it gave, or -1 if a window is too small. */
int pci_assign(const struct pci_access *pci, const struct pci_dev *all, int n,
               struct pci_dev *d, struct pci_window io, struct pci_window memory)
{
    int given = 0;
    for (int b = 0; b < PCI_BARS; b++) {
        struct pci_bar *bar = &d->bar[b];
        if (bar->kind == PCI_BAR_NONE || bar->base != 0)
            continue;
        uint64_t at = assign_place(all, n, bar->kind, bar->size,
                                   bar->kind == PCI_BAR_IO ? io : memory);
        if (at == 0)
            return -1;
        scan_write(pci, d, PCI_BAR0 + 4 * b, (uint32_t)at);
        if (bar->wide)
            scan_write(pci, d, PCI_BAR0 + 4 * b + 4, 0);
        bar->base = at;
        given++;
    }
    return given;
}

#define PIIX3_ROUTES   0x60
#define PIIX3_USABLE   0xdef8u      // a PIRQ may be routed to lines 3-7, 9-12, 14, 15

/* The line that interrupts of d arrive on, on a board where `bridge` is a PIIX3; it is
 * routed if it is not yet. -1: d has no interrupt pin, or is behind another bus. */
int pci_piix3_irq(const struct pci_access *pci, const struct pci_dev *bridge,
                  const struct pci_dev *d)
{
    if (d->pin < 1 || d->pin > 4 || d->bus != 0)
        return -1;
    int wire = (d->pin - 1 + d->dev - 1) & 3;
    uint32_t routes = scan_read(pci, bridge, PIIX3_ROUTES);
    uint32_t line = routes >> (8 * wire) & 0xff;
    if (line < 16 && (PIIX3_USABLE >> line & 1))
        return line;
    line = wire < 2 ? 10 : 11;
    routes = (routes & ~(0xffu << (8 * wire))) | line << (8 * wire);
    scan_write(pci, bridge, PIIX3_ROUTES, routes);
    return line;
}
