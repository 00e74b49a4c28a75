/* netdev.h: tangled from nbs/net/05_pci_e1000.ipynb. Edit the notebook, not this file. */

/* ---- nbs/net/05_pci_e1000.ipynb § The contract ---- */

/* netdev.h: all that the layers above know about a network card.
 *
 * A driver fills in one struct netdev and registers it once; the first one registered is
 * `netdev`, and it stays. tx and rx copy, so no caller ever holds a card's memory. Both
 * are called from the main loop only, never from an interrupt. The driver counts.
 * Nothing here, and nothing that arrives, can panic. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NETDEV_FRAME_MAX 1514    // header 14 + payload 1500; the FCS is the card's
#define NETDEV_FRAME_MIN 14   // a header and nothing else; the card pads to the wire's 60

struct netdev_stats {
    uint32_t rx_frames, rx_bytes, tx_frames, tx_bytes;
    uint32_t rx_dropped; // arrived whole, but too large for us or for the caller's buffer
    uint32_t tx_dropped;   // refused: the ring was full, or the length is not a frame's
    uint32_t rx_errors;    // the card marked it bad, or described it wrongly
    uint32_t tx_errors;    // the card reported that it could not send
};

struct netdev {
    const char *name;
    uint8_t mac[6];
    void *priv;
    struct netdev_stats stats;
    volatile bool link_changed;    // set in the interrupt, reported by netdev_poll
    /* Copies a frame into the ring. False: not taken, and counted in tx_dropped. */
    bool (*tx)(struct netdev *dev, const uint8_t *frame, size_t len);
    /* Copies the next good frame to buf and returns its length; 0: none is waiting.
     * Bad and oversized frames are counted and passed over. */
    size_t (*rx)(struct netdev *dev, uint8_t *buf, size_t cap);
    bool (*link_up)(struct netdev *dev);
};

extern struct netdev *netdev;              // the card in use; NULL when there is none
void netdev_register(struct netdev *dev);
bool netdev_wanted(const char *name);      // may a driver of this name claim a card?
void netdev_print_stats(const struct netdev *dev);
