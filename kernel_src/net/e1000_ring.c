/* e1000_ring.c: tangled from nbs/net/05_pci_e1000.ipynb. Edit the notebook, not this file. */

/* ---- nbs/net/05_pci_e1000.ipynb § Two processors, one piece of memory ---- */

/* e1000_ring.c: which descriptor is next, who owns it, and what it says. */
#include "net/e1000_ring.h"

#include "base/string.h"
#include "net/dma.h"

void e1000_rx_init(struct e1000_rx_ring *r, volatile struct e1000_rx_desc *desc,
                   uint8_t *buf, uint32_t n)
{
    *r = (struct e1000_rx_ring){ .desc = desc, .buf = buf, .n = n, .owed = n - 1 };
    for (uint32_t i = 0; i < n; i++) {
        desc[i].addr = (uintptr_t)(buf + i * E1000_BUF_SIZE);
        desc[i].status = 0;
    }
}

uint32_t e1000_rx_tail(struct e1000_rx_ring *r)
{
    r->owed = 0;
    dma_barrier();                       // the card must find the descriptors ready
    return (r->next + r->n - 1) % r->n;  // all but the one before `next`
}

bool e1000_rx_ready(const struct e1000_rx_ring *r)
{
    return r->desc[r->next].status & E1000_RXD_DONE;
}

/* Takes the next descriptor from the card. E1000_RX_FRAME: the frame is in out[0..*len).
 * Every result but E1000_RX_NONE has consumed a descriptor. */
enum e1000_rx_result e1000_rx_take(struct e1000_rx_ring *r, uint8_t *out, size_t cap,
                                   size_t *len)
{
    volatile struct e1000_rx_desc *d = &r->desc[r->next];
    uint8_t status = d->status;
    *len = 0;
    if (!(status & E1000_RXD_DONE))
        return E1000_RX_NONE;
    dma_barrier();                       // the rest is valid only after DONE was seen

    size_t n = d->length;
    bool whole = (status & E1000_RXD_LAST) && !r->skipping;
    enum e1000_rx_result result = E1000_RX_FRAME;
    if (!whole || n > E1000_BUF_SIZE || n == 0 || d->errors)
        result = E1000_RX_ERROR;
    else if (n > cap)
        result = E1000_RX_TOO_LARGE;
    else {
        memcpy(out, r->buf + r->next * E1000_BUF_SIZE, n);
        *len = n;
    }
    r->skipping = !(status & E1000_RXD_LAST);
    d->status = 0;
    r->next = (r->next + 1) % r->n;
    r->owed++;
    return result;
}

/* ---- nbs/net/05_pci_e1000.ipynb § Transmission, and a ring that is full ---- */

void e1000_tx_init(struct e1000_tx_ring *t, volatile struct e1000_tx_desc *desc,
                   uint8_t *buf, uint32_t n)
{
    *t = (struct e1000_tx_ring){ .desc = desc, .buf = buf, .n = n };
    for (uint32_t i = 0; i < n; i++)
        desc[i].addr = (uintptr_t)(buf + i * E1000_BUF_SIZE);
}

static void e1000_tx_reclaim(struct e1000_tx_ring *t)
{
    while (t->clean != t->next && (t->desc[t->clean].status & E1000_TXD_DONE)) {
        t->failed += (t->desc[t->clean].status & E1000_TXD_FAILED) != 0;
        t->clean = (t->clean + 1) % t->n;
    }
}

/* Copies a frame of at most E1000_BUF_SIZE bytes into the ring. False: full. On true the
 * caller writes t->next to the tail register. */
bool e1000_tx_put(struct e1000_tx_ring *t, const uint8_t *frame, size_t len)
{
    e1000_tx_reclaim(t);
    uint32_t after = (t->next + 1) % t->n;
    if (after == t->clean || len > E1000_BUF_SIZE)
        return false;
    volatile struct e1000_tx_desc *d = &t->desc[t->next];
    memcpy(t->buf + t->next * E1000_BUF_SIZE, frame, len);
    d->length = len;
    d->cso = d->css = d->special = 0;
    d->status = 0;
    d->cmd = E1000_TXD_LAST | E1000_TXD_FCS | E1000_TXD_REPORT;
    dma_barrier();                       // all of it, before the tail moves
    t->next = after;
    return true;
}
