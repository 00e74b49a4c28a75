/* netdev.c: tangled from nbs/net/05_pci_e1000.ipynb. Edit the notebook, not this file. */

/* ---- nbs/net/05_pci_e1000.ipynb § The contract ---- */

/* netdev.c: the one network card in use, and what the console says about it.
 *
 * Drivers register while the PCI bus is walked (order 40); at order 45 we say what came
 * of it; from then on the poll function reports changes of the link. */
#include "net/netdev.h"

#include "base/config.h"
#include "base/kernel.h"
#include "base/stdio.h"
#include "base/string.h"

CONFIG_KEY(nic, "network driver to use: e1000 or virtio; default: the first card found");

struct netdev *netdev;

void netdev_register(struct netdev *dev)
{
    if (netdev)
        kprintf("[net] %s left alone: %s is in use\n", dev->name, netdev->name);
    else
        netdev = dev;
}

bool netdev_wanted(const char *name)
{
    const char *wish = config_get("nic");
    if (netdev)
        kprintf("[net] %s left alone: %s is in use\n", name, netdev->name);
    else if (wish && strcmp(wish, name) != 0)
        kprintf("[net] %s left alone: nic=%s is configured\n", name, wish);
    return !netdev && (!wish || strcmp(wish, name) == 0);
}

static void netdev_announce(void)
{
    if (!netdev) {
        kprintf("[net] no network card in use: this kernel can serve nobody. "
                "It drives the cards that the [pci] lines say are claimed\n");
        return;
    }
    const uint8_t *m = netdev->mac;
    kprintf("[net] %s ring up, mac=%02x:%02x:%02x:%02x:%02x:%02x\n",
            netdev->name, m[0], m[1], m[2], m[3], m[4], m[5]);
    if (!netdev->link_up(netdev))
        kprintf("[net] %s link down: is the cable in?\n", netdev->name);
}
INITCALL(45, netdev_announce);

static bool netdev_poll(void)
{
    if (!netdev || !netdev->link_changed)
        return false;
    netdev->link_changed = false;
    kprintf("[net] %s link %s\n", netdev->name, netdev->link_up(netdev) ? "up" : "down");
    return true;
}
POLL(netdev_poll);

void netdev_print_stats(const struct netdev *dev)
{
    const struct netdev_stats *s = &dev->stats;
    kprintf("[net] %s rx %u frames %u bytes dropped %u errors %u; "
            "tx %u frames %u bytes dropped %u errors %u\n", dev->name,
            s->rx_frames, s->rx_bytes, s->rx_dropped, s->rx_errors,
            s->tx_frames, s->tx_bytes, s->tx_dropped, s->tx_errors);
}
