/* virtq.c: tangled from nbs/net/06_virtio_net.ipynb. Edit the notebook, not this file. */

/* ---- nbs/net/06_virtio_net.ipynb § The virtqueue ---- */

/* virtq.c: the driver's side of a split virtqueue. */
#include "net/virtq.h"

#include "base/panic.h"
#include "net/dma.h"

/* One descriptor is never handed out. The standard would allow it; but a device that
 * compares indices modulo the queue size, as v86 does, takes a full queue for empty. */
void virtq_init(struct virtq *q, volatile struct virtq_memory *m, uint16_t num)
{
    KASSERT(num >= 2 && num <= VIRTQ_SIZE_MAX && (num & (num - 1)) == 0);
    *q = (struct virtq){ .m = m, .num = num };
    m->avail.flags = m->avail.idx = 0;
    m->used.flags = m->used.idx = 0;
    for (uint16_t id = num - 1; id-- > 0;)
        q->free[q->n_free++] = id;                 // so that 0 is on top
}

int virtq_reserve(struct virtq *q)
{
    if (q->n_free == 0)
        return -1;
    uint16_t id = q->free[--q->n_free];
    q->state[id] = VIRTQ_OURS;
    return id;
}

void virtq_release(struct virtq *q, uint16_t id)
{
    KASSERT(id < q->num && q->state[id] == VIRTQ_OURS);
    q->state[id] = VIRTQ_FREE;
    q->free[q->n_free++] = id;
}

/* Puts a buffer of ours into the available ring; virtq_publish shows it to the device. */
void virtq_submit(struct virtq *q, uint16_t id, uint64_t addr, uint32_t len, bool write)
{
    KASSERT(id < q->num && q->state[id] == VIRTQ_OURS);
    volatile struct virtq_desc *d = &q->m->desc[id];
    d->addr = addr;
    d->len = len;
    d->flags = write ? VIRTQ_DESC_WRITE : 0;
    d->next = 0;
    q->cap[id] = write ? len : UINT32_MAX; // for a buffer it only reads, len says nothing
    q->state[id] = VIRTQ_FLYING;
    q->n_flying++;
    q->m->avail.ring[q->avail_idx & (q->num - 1)] = id;
    q->avail_idx++;
}

bool virtq_publish(struct virtq *q)
{
    dma_barrier();                                 // entries first, then the index
    q->m->avail.idx = q->avail_idx;
    dma_fence();                                   // our index first, then its flags
    return !(q->m->used.flags & VIRTQ_USED_NO_NOTIFY);
}

bool virtq_ready(const struct virtq *q)
{
    return !q->broken && q->m->used.idx != q->used_idx;
}

enum virtq_result virtq_take(struct virtq *q, uint16_t *id, uint32_t *len)
{
    uint16_t fresh = q->m->used.idx - q->used_idx;
    if (fresh > q->n_flying)
        q->broken = true;
    if (q->broken)
        return VIRTQ_BROKEN;
    if (fresh == 0)
        return VIRTQ_NONE;
    dma_barrier();                                 // its index first, then the entry
    volatile struct virtq_used_elem *e = &q->m->used.ring[q->used_idx & (q->num - 1)];
    uint32_t i = e->id, n = e->len;    // read once: the device may still write
    q->used_idx++;
    if (i >= q->num || q->state[i] != VIRTQ_FLYING)
        return VIRTQ_BAD_ID;
    q->state[i] = VIRTQ_OURS;
    q->n_flying--;
    *id = i;
    *len = n;
    return n > q->cap[i] ? VIRTQ_BAD_LENGTH : VIRTQ_OK;
}
