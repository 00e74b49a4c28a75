/* e1000_ring.h: tangled from nbs/net/05_pci_e1000.ipynb. Edit the notebook, not this file. */

/* ---- nbs/net/05_pci_e1000.ipynb § Two processors, one piece of memory ---- */

/* e1000_ring.h: the two descriptor rings that an 8254x card and its driver share.
 *
 * Pure: memory in, decisions out; the driver in e1000.c moves the tail registers.
 * The card owns the descriptors from head up to, not including, tail. One descriptor
 * always stays with us, for head == tail has to mean "the card has none". */
// twin: e1000_ring.c
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define E1000_RX_DESCS  128      // a multiple of 8, as the length registers demand
#define E1000_TX_DESCS  64
#define E1000_BUF_SIZE  2048     // one receive buffer: RCTL.BSIZE 00
#define E1000_RX_BATCH  16       // descriptors given back with one write of the tail

struct e1000_rx_desc {
    uint64_t addr;
    uint16_t length, checksum;
    uint8_t status, errors;
    uint16_t special;
};

struct e1000_tx_desc {
    uint64_t addr;
    uint16_t length;
    uint8_t cso, cmd, status, css;
    uint16_t special;
};
_Static_assert(sizeof(struct e1000_rx_desc) == 16, "8254x manual 3.2.3");
_Static_assert(sizeof(struct e1000_tx_desc) == 16, "8254x manual 3.3.3");

#define E1000_RXD_DONE   0x01    // status: the card is through with it
#define E1000_RXD_LAST   0x02    // status: the frame ends in this buffer
#define E1000_TXD_LAST   0x01    // command: the frame ends here
#define E1000_TXD_FCS    0x02    // command: append the frame check sequence
#define E1000_TXD_REPORT 0x08    // command: set DONE when it is sent
#define E1000_TXD_DONE   0x01    // status
#define E1000_TXD_FAILED 0x06    // status: excess or late collisions

struct e1000_rx_ring {
    volatile struct e1000_rx_desc *desc;
    uint8_t *buf;                // n buffers of E1000_BUF_SIZE bytes
    uint32_t n, next;            // descriptors; the one that the card completes next
    uint32_t owed;               // taken, and not yet given back through the tail
    bool skipping;               // inside a frame that began in an earlier buffer
};

struct e1000_tx_ring {
    volatile struct e1000_tx_desc *desc;
    uint8_t *buf;
    uint32_t n, next, clean;    // next to fill; oldest that the card may still be sending
    uint32_t failed;             // frames that the card gave up
};

enum e1000_rx_result {
    E1000_RX_NONE, E1000_RX_FRAME, E1000_RX_TOO_LARGE, E1000_RX_ERROR
};

void e1000_rx_init(struct e1000_rx_ring *r, volatile struct e1000_rx_desc *desc,
                   uint8_t *buf, uint32_t n);
enum e1000_rx_result e1000_rx_take(struct e1000_rx_ring *r, uint8_t *out, size_t cap,
                                   size_t *len);
bool e1000_rx_ready(const struct e1000_rx_ring *r);
uint32_t e1000_rx_tail(struct e1000_rx_ring *r);     // gives all that is owed back
void e1000_tx_init(struct e1000_tx_ring *t, volatile struct e1000_tx_desc *desc,
                   uint8_t *buf, uint32_t n);
bool e1000_tx_put(struct e1000_tx_ring *t, const uint8_t *frame, size_t len);
