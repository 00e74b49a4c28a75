/* virtq.h: tangled from nbs/net/06_virtio_net.ipynb. Edit the notebook, not this file. */

/* ---- nbs/net/06_virtio_net.ipynb § The virtqueue ---- */

/* virtq.h: the split virtqueue of VIRTIO 1.2 §2.7, as a driver sees it.
 *
 * Pure: memory in, decisions out. Each buffer is one descriptor, no chains. The arrays
 * that the device reads or writes are in struct virtq_memory; what the driver has to
 * believe it keeps in struct virtq, where no device can reach. A descriptor is free, ours
 * or flying. */
// twin: virtq.c
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VIRTQ_SIZE_MAX          128    // descriptors; the standard wants a power of two
#define VIRTQ_DESC_WRITE        2      // the device writes this buffer: §2.7.5
#define VIRTQ_AVAIL_NO_INTERRUPT 1     // §2.7.6: do not interrupt me
#define VIRTQ_USED_NO_NOTIFY    1      // §2.7.8: do not notify me

struct virtq_desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next;
};
struct virtq_used_elem { uint32_t id, len; };

struct virtq_memory {
    struct virtq_desc desc[VIRTQ_SIZE_MAX];
    struct { uint16_t flags, idx, ring[VIRTQ_SIZE_MAX], used_event; } avail;
    uint16_t pad;
    struct { uint16_t flags, idx; struct virtq_used_elem ring[VIRTQ_SIZE_MAX]; } used;
    uint16_t avail_event;
} __attribute__((aligned(16)));
_Static_assert(sizeof(struct virtq_desc) == 16, "§2.7.5");
_Static_assert(offsetof(struct virtq_memory, used) % 4 == 0, "§2.7: used ring, 4 bytes");

enum virtq_state { VIRTQ_FREE, VIRTQ_OURS, VIRTQ_FLYING };

struct virtq {
    volatile struct virtq_memory *m;
    uint16_t num;                          // descriptors in use, a power of two
    uint16_t avail_idx, used_idx;          // our copies: what we submitted, what we took
    uint16_t n_free, n_flying;
    uint16_t free[VIRTQ_SIZE_MAX];         // a stack
    uint8_t state[VIRTQ_SIZE_MAX];
    uint32_t cap[VIRTQ_SIZE_MAX];          // bytes that the device may have written
    bool broken;    // the device contradicted itself: queue abandoned
};

enum virtq_result {
    VIRTQ_NONE,          // nothing has come back
    VIRTQ_OK,
    VIRTQ_BAD_ID,        // it returned a descriptor that it does not have: nothing to do
    VIRTQ_BAD_LENGTH,    // it says that it wrote more than fits; *id is ours again
    VIRTQ_BROKEN,        // it returned more than it has: nothing it says can be believed
};

void virtq_init(struct virtq *q, volatile struct virtq_memory *m, uint16_t num);
int virtq_reserve(struct virtq *q);                    // free → ours; -1: none is free
void virtq_submit(struct virtq *q, uint16_t id, uint64_t addr, uint32_t len, bool write);
bool virtq_publish(struct virtq *q);    // true: the device wants a notification
enum virtq_result virtq_take(struct virtq *q, uint16_t *id, uint32_t *len);   // → ours
void virtq_release(struct virtq *q, uint16_t id);      // ours → free
bool virtq_ready(const struct virtq *q);
