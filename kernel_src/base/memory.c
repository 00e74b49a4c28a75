/* memory.c: tangled from nbs/base/04_memory.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/04_memory.ipynb § The arena ---- */

/* base/memory.c: arena, heap and memory map (see memory.h).
 * The heap's invariants, which heap_check verifies: blocks tile [0, size); no two
 * neighbours are both free; every free block is in the list of its bin, and only those;
 * every header carries a seal over its own fields; guard bytes behind each request and
 * poison in free blocks are intact. Called from the main loop only, never from an
 * interrupt. */
#include "base/memory.h"
#include "base/bootinfo.h"
#include "base/panic.h"
#include "base/stdio.h"
#include "base/string.h"

static bool is_pow2(size_t n) { return n != 0 && (n & (n - 1)) == 0; }

void arena_init(struct arena *a, void *base, size_t cap)
{
    *a = (struct arena){.base = base, .cap = cap};
}

/* Takes `size` bytes at a multiple of `align`, a power of two. NULL, and no change, when
 * the rest of the arena cannot hold them. */
void *arena_alloc(struct arena *a, size_t size, size_t align)
{
    KASSERT(is_pow2(align));
    uint8_t *next = a->base + a->used;
    size_t left = a->cap - a->used;
    size_t gap = (0 - (uintptr_t)next) & (align - 1);
    if (gap > left || size > left - gap)
        return NULL;
    a->used += gap + size;
    return next + gap;
}

/* ---- nbs/base/04_memory.ipynb § The heap ---- */

/* A block is a header and a payload. Offsets and sizes are 32 bits wide on every machine,
 * so that the host twin has the kernel's layout. `size` counts the header and is a
 * multiple of 16. */
struct heap_block {
    uint32_t seal;                 /* over the other three, the place and the state */
    uint32_t size;
    uint32_t prev_size;            /* of the block in front; 0: this is the first */
    uint32_t request;              /* bytes the caller asked for */
};
_Static_assert(sizeof(struct heap_block) == HEAP_ALIGN, "the payload must stay aligned");

struct heap_links { uint32_t next, prev; };      /* in front of a free block's payload */

#define HEAP_HEADER ((uint32_t)sizeof(struct heap_block))
#define HEAP_BLOCK_MIN (2 * HEAP_HEADER)
#define HEAP_NONE UINT32_MAX
#define HEAP_GUARD 0xFD            /* fills the payload behind the request */
#define HEAP_GUARD_MIN 8
#define HEAP_POISON 0xDF /* fills a free payload behind the links, and dead headers */
#define HEAP_POISON_MAX 64         /* this much of it: enough to catch most, and cheap */

enum heap_state { HEAP_USED = 0x75736564, HEAP_FREE = 0x66726565 };

static struct heap_block *block_at(const struct heap *h, uint32_t offset)
{
    return (struct heap_block *)(h->base + offset);
}

static uint32_t offset_of(const struct heap *h, const struct heap_block *b)
{
    return (uint32_t)((const uint8_t *)b - h->base);
}

static uint8_t *payload_of(struct heap_block *b) { return (uint8_t *)(b + 1); }
static uint32_t payload_size(const struct heap_block *b) { return b->size - HEAP_HEADER; }
static struct heap_links *links_of(struct heap_block *b)
{
    return (struct heap_links *)(b + 1);
}

static struct heap_block *next_of(const struct heap *h, struct heap_block *b)
{
    uint32_t end = offset_of(h, b) + b->size;
    return end < h->stats.size ? block_at(h, end) : NULL;
}

static uint32_t seal_for(const struct heap *h, const struct heap_block *b,
                         enum heap_state s)
{
    uint32_t x = (uint32_t)s ^ offset_of(h, b);
    x = (x ^ b->size) * 0x9e3779b1u; /* an odd factor loses nothing and mixes upwards */
    x = (x ^ x >> 15 ^ b->prev_size) * 0x9e3779b1u;
    return x ^ x >> 15 ^ b->request;
}

static bool is_in_state(const struct heap *h, const struct heap_block *b,
                        enum heap_state s)
{
    return b->seal == seal_for(h, b, s);
}

static void set_state(struct heap *h, struct heap_block *b, enum heap_state s)
{
    b->seal = seal_for(h, b, s);
}

/* Free or used? A neighbour that is neither was hit by a stray write: stop here. */
static bool is_free(const struct heap *h, struct heap_block *b)
{
    if (is_in_state(h, b, HEAP_FREE))
        return true;
    if (!is_in_state(h, b, HEAP_USED))
        panic("heap: the header of %p was overwritten, perhaps from the block before it",
              (void *)payload_of(b));
    return false;
}

/* Makes `b` `size` bytes long, and tells the block behind it. Both are sealed anew. */
static void resize(struct heap *h, struct heap_block *b, uint32_t size, enum heap_state s)
{
    b->size = size;
    set_state(h, b, s);
    struct heap_block *next = next_of(h, b);
    if (next) {
        enum heap_state next_state = is_free(h, next) ? HEAP_FREE : HEAP_USED;
        next->prev_size = size;
        set_state(h, next, next_state);
    }
}

/* ---- nbs/base/04_memory.ipynb § Size classes ---- */

/* Size classes: exact below 8 units of 16 bytes, then four to each power of two. */
static int bin_of(uint32_t size)
{
    uint32_t units = size / HEAP_ALIGN;
    if (units < 8)
        return (int)units;
    int log = 31 - __builtin_clz(units);
    return 8 + (log - 3) * 4 + (int)(units >> (log - 2) & 3);
}

/* The first bin whose every block holds `size` bytes. */
static int bin_fitting(uint32_t size)
{
    int bin = bin_of(size);
    return bin_of(size - HEAP_ALIGN) == bin ? bin + 1 : bin;
}

/* The first bin at or above `bin` that is not empty; -1 if none. */
static int bin_search(const struct heap *h, int bin)
{
    for (int w = bin / 32; w < HEAP_MAP_WORDS; w++) {
        uint32_t bits = h->map[w];
        if (w == bin / 32)
            bits &= ~0u << bin % 32;
        if (bits)
            return w * 32 + __builtin_ctz(bits);
    }
    return -1;
}

/* ---- nbs/base/04_memory.ipynb § Free blocks ---- */

static uint32_t poison_size(const struct heap_block *b)
{
    uint32_t n = payload_size(b) - (uint32_t)sizeof(struct heap_links);
    return n < HEAP_POISON_MAX ? n : HEAP_POISON_MAX;
}

static bool is_filled(const uint8_t *p, uint8_t with, uint32_t n)
{
    while (n && *p == with)
        p++, n--;
    return n == 0;
}

static bool poison_intact(struct heap_block *b)
{
    return is_filled((uint8_t *)(links_of(b) + 1), HEAP_POISON, poison_size(b));
}

static bool is_free_at(const struct heap *h, uint32_t at)
{
    return at % HEAP_ALIGN == 0 && at <= h->stats.size - HEAP_BLOCK_MIN &&
           is_in_state(h, block_at(h, at), HEAP_FREE);
}

static bool links_intact(const struct heap *h, struct heap_block *b)
{
    struct heap_links l = *links_of(b);
    uint32_t at = offset_of(h, b);
    if (l.next != HEAP_NONE &&
        (!is_free_at(h, l.next) || links_of(block_at(h, l.next))->prev != at))
        return false;
    if (l.prev == HEAP_NONE)
        return h->bin[bin_of(b->size)] == at;
    return is_free_at(h, l.prev) && links_of(block_at(h, l.prev))->next == at;
}

static void expect_untouched(const struct heap *h, struct heap_block *b)
{
    bool sound = is_in_state(h, b, HEAP_FREE) && poison_intact(b);
    if (!sound || !links_intact(h, b))
        panic("heap: free block at %p (%u bytes)%s was written to after it was freed",
              (void *)payload_of(b), payload_size(b),
              sound ? ", or a neighbour in its list," : "");
}

/* Puts a block whose size is settled among the free ones. */
static void insert(struct heap *h, struct heap_block *b)
{
    int bin = bin_of(b->size);
    uint32_t at = offset_of(h, b);
    *links_of(b) = (struct heap_links){.next = h->bin[bin], .prev = HEAP_NONE};
    if (h->bin[bin] != HEAP_NONE)
        links_of(block_at(h, h->bin[bin]))->prev = at;
    h->bin[bin] = at;
    h->map[bin / 32] |= 1u << bin % 32;
    memset(links_of(b) + 1, HEAP_POISON, poison_size(b));
    set_state(h, b, HEAP_FREE);
    h->stats.n_free++;
}

static void remove(struct heap *h, struct heap_block *b)
{
    expect_untouched(h, b);
    struct heap_links links = *links_of(b);
    int bin = bin_of(b->size);
    if (links.prev != HEAP_NONE)
        links_of(block_at(h, links.prev))->next = links.next;
    else
        h->bin[bin] = links.next;
    if (links.next != HEAP_NONE)
        links_of(block_at(h, links.next))->prev = links.prev;
    if (h->bin[bin] == HEAP_NONE)
        h->map[bin / 32] &= ~(1u << bin % 32);
    h->stats.n_free--;
}

void heap_init(struct heap *h, void *base, size_t size)
{
    size_t gap = (0 - (uintptr_t)base) & (HEAP_ALIGN - 1);
    KASSERT(size >= gap + HEAP_BLOCK_MIN && size <= HEAP_SIZE_MAX);
    size = (size - gap) & ~(size_t)(HEAP_ALIGN - 1);

    *h = (struct heap){.base = (uint8_t *)base + gap,
                       .stats = {.size = size, .free = size}};
    memset(h->bin, 0xff, sizeof h->bin);
    struct heap_block *b = block_at(h, 0);
    *b = (struct heap_block){.size = (uint32_t)size};
    insert(h, b);
}

/* ---- nbs/base/04_memory.ipynb § Allocating ---- */

/* Bytes that a block needs for `size` and its guard; 0: more than any heap has. */
static uint32_t block_size(size_t size)
{
    if (size > HEAP_SIZE_MAX)
        return 0;
    size_t n = HEAP_HEADER + size + HEAP_GUARD_MIN;
    return (uint32_t)((n + HEAP_ALIGN - 1) & ~(size_t)(HEAP_ALIGN - 1));
}

/* A free block of at least `size` bytes. The head of any bin above the class of `size`
 * will do, so the map answers at once. Only if there is none, the class itself is
 * searched. */
static struct heap_block *find(const struct heap *h, uint32_t size)
{
    int bin = bin_search(h, bin_fitting(size));
    if (bin >= 0)
        return block_at(h, h->bin[bin]);
    for (uint32_t at = h->bin[bin_of(size)]; at != HEAP_NONE;) {
        struct heap_block *b = block_at(h, at);
        if (b->size >= size)
            return b;
        expect_untouched(h, b);
        at = links_of(b)->next;
    }
    return NULL;
}

/* Cuts what `b` has beyond `size` off into a free block, if it is enough for one. */
static void cut(struct heap *h, struct heap_block *b, uint32_t size)
{
    uint32_t rest = b->size - size;
    if (rest < HEAP_BLOCK_MIN)
        return;
    b->size = size;
    struct heap_block *tail = next_of(h, b);
    *tail = (struct heap_block){.prev_size = size};
    resize(h, tail, rest, HEAP_FREE);
    insert(h, tail);
}

/* The last steps of handing out `b`: what the caller gets ends in guard bytes. */
static void *hand_out(struct heap *h, struct heap_block *b, size_t request)
{
    b->request = (uint32_t)request;
    set_state(h, b, HEAP_USED);
    memset(payload_of(b) + request, HEAP_GUARD, payload_size(b) - request);
    return payload_of(b);
}

static void account(struct heap *h, struct heap_block *b, int sign)
{
    struct heap_stats *s = &h->stats;
    uint32_t n = (uint32_t)sign;
    s->used += (size_t)sign * b->size;
    s->free -= (size_t)sign * b->size;
    s->requested += (size_t)sign * b->request;
    s->n_blocks += n;
    if (s->used > s->peak)
        s->peak = s->used;
}

void *heap_alloc(struct heap *h, size_t size)
{
    uint32_t need = block_size(size);
    struct heap_block *b = need ? find(h, need) : NULL;
    if (!b) {
        h->stats.n_refused++;
        return NULL;
    }
    remove(h, b);
    cut(h, b, need);
    void *p = hand_out(h, b, size);
    account(h, b, +1);
    h->stats.n_allocs++;
    return p;
}

/* ---- nbs/base/04_memory.ipynb § Freeing ---- */

/* The block of a pointer that the caller claims to hold. If it is not so: panic. */
static struct heap_block *held(struct heap *h, void *p, const char *what)
{
    size_t at = (size_t)((uint8_t *)p - h->base);
    if (at < HEAP_HEADER || at >= h->stats.size || at % HEAP_ALIGN != 0)
        panic("heap: %s of %p, which is no heap pointer (heap: %p, %u bytes)", what, p,
              (void *)h->base, (unsigned)h->stats.size);
    struct heap_block *b = (struct heap_block *)p - 1;
    if (!is_in_state(h, b, HEAP_USED)) {
        if (is_in_state(h, b, HEAP_FREE))
            panic("heap: %s of %p (%u bytes), which is already free", what, p,
                  b->request);
        if (is_filled((uint8_t *)b, HEAP_POISON, HEAP_HEADER))
            panic("heap: %s of %p, which is already free (and merged)", what, p);
        panic("heap: %s of %p: no block starts here, or its header was overwritten", what,
              p);
    }
    if (!is_filled(payload_of(b) + b->request, HEAP_GUARD, payload_size(b) - b->request))
        panic("heap: %p (%u bytes) was written past its end", p, b->request);
    return b;
}

/* Joins `b` with the block behind it. The header in the middle is dead: mark it so. */
static void absorb_next(struct heap *h, struct heap_block *b, struct heap_block *next,
                        enum heap_state s)
{
    uint32_t size = b->size + next->size;
    memset(next, HEAP_POISON, HEAP_HEADER);
    resize(h, b, size, s);
}

void heap_free(struct heap *h, void *p)
{
    if (!p)
        return;
    struct heap_block *b = held(h, p, "free"), *next = next_of(h, b);
    account(h, b, -1);
    h->stats.n_frees++;

    if (next && is_free(h, next)) {
        remove(h, next);
        absorb_next(h, b, next, HEAP_FREE);
    }
    if (b->prev_size) {
        struct heap_block *prev = block_at(h, offset_of(h, b) - b->prev_size);
        if (is_free(h, prev)) {
            remove(h, prev);
            absorb_next(h, prev, b, HEAP_FREE);
            b = prev;
        }
    }
    insert(h, b);
}

/* ---- nbs/base/04_memory.ipynb § Growing in place ---- */

/* Grows or shrinks in place if it can, else moves the block. NULL: it is as it was. */
void *heap_realloc(struct heap *h, void *p, size_t size)
{
    if (!p)
        return heap_alloc(h, size);
    struct heap_block *b = held(h, p, "realloc"), *next = next_of(h, b);
    uint32_t need = block_size(size), old = b->request;
    bool next_free = next && is_free(h, next);
    uint32_t room = b->size + (next_free ? next->size : 0);
    if (need && need <= room) {
        account(h, b, -1);
        if (next_free) { /* take all of it, then give the rest back */
            remove(h, next);
            absorb_next(h, b, next, HEAP_USED);
        }
        cut(h, b, need);
        hand_out(h, b, size);
        account(h, b, +1);
        return p;
    }
    void *moved = heap_alloc(h, size);
    if (moved) {
        memcpy(moved, p, old < size ? old : size);
        heap_free(h, p);
    }
    return moved;
}

struct heap_stats heap_get_stats(const struct heap *h)
{
    struct heap_stats s = h->stats;
    for (int bin = HEAP_BINS - 1; bin >= 0 && s.largest_free == 0; bin--)
        for (uint32_t at = h->bin[bin]; at != HEAP_NONE;) {
            struct heap_block *b = block_at(h, at);
            if (payload_size(b) > s.largest_free)
                s.largest_free = payload_size(b);
            at = links_of(b)->next;
        }
    return s;
}

/* ---- nbs/base/04_memory.ipynb § Checking everything ---- */

struct census { size_t used, free, requested; uint32_t n_blocks, n_free; };

/* What is wrong with one block, seen from its neighbours; NULL: nothing. */
static const char *check_block(const struct heap *h, struct heap_block *b,
                               uint32_t prev_size, bool prev_free, struct census *c)
{
    bool used = is_in_state(h, b, HEAP_USED);
    if (!used && !is_in_state(h, b, HEAP_FREE))
        return "header overwritten";
    if (b->size < HEAP_BLOCK_MIN || b->size % HEAP_ALIGN || b->prev_size != prev_size ||
        b->size > h->stats.size - offset_of(h, b))
        return "sizes do not tile";
    if (used) {
        c->used += b->size;
        c->requested += b->request;
        c->n_blocks++;
        uint32_t guard = payload_size(b) - b->request;
        return is_filled(payload_of(b) + b->request, HEAP_GUARD, guard)
                   ? NULL
                   : "written past its end";
    }
    c->free += b->size;
    c->n_free++;
    if (prev_free)
        return "two free neighbours";
    return poison_intact(b) ? NULL : "written after free";
}

/* Follows every bin's list; the number of blocks seen, or HEAP_NONE if one is broken. */
static uint32_t check_bins(const struct heap *h)
{
    uint32_t seen = 0;
    for (int bin = 0; bin < HEAP_BINS; bin++) {
        uint32_t prev = HEAP_NONE;
        if ((h->bin[bin] != HEAP_NONE) != (h->map[bin / 32] >> bin % 32 & 1))
            return HEAP_NONE;
        for (uint32_t at = h->bin[bin]; at != HEAP_NONE; prev = at,
                      at = links_of(block_at(h, at))->next) {
            if (at > h->stats.size - HEAP_BLOCK_MIN || at % HEAP_ALIGN ||
                seen++ > h->stats.n_free)
                return HEAP_NONE;
            struct heap_block *b = block_at(h, at);
            if (!is_in_state(h, b, HEAP_FREE) || bin_of(b->size) != bin ||
                links_of(b)->prev != prev)
                return HEAP_NONE;
        }
    }
    return seen;
}

bool heap_check(const struct heap *h, char *why, size_t why_cap)
{
    struct census c = {0};
    uint32_t prev_size = 0;
    bool prev_free = false;
    for (uint32_t at = 0; at < h->stats.size; at += prev_size) {
        struct heap_block *b = block_at(h, at);
        const char *wrong = check_block(h, b, prev_size, prev_free, &c);
        if (wrong) {
            snprintf(why, why_cap, "block %p (%u bytes): %s", (void *)payload_of(b),
                     b->request, wrong);
            return false;
        }
        prev_size = b->size;
        prev_free = is_in_state(h, b, HEAP_FREE);
    }
    const struct heap_stats *s = &h->stats;
    if (check_bins(h) != c.n_free) {
        snprintf(why, why_cap, "the bins do not hold the free blocks");
        return false;
    }
    if (c.used != s->used || c.free != s->free || c.requested != s->requested ||
        c.n_blocks != s->n_blocks || c.n_free != s->n_free) {
        snprintf(why, why_cap, "the statistics are wrong");
        return false;
    }
    return true;
}

/* ---- nbs/base/04_memory.ipynb § Which RAM is ours? ---- */

#define REGION_PAGE 4096u
#define REGION_FIRST 0x100000u /* below 1 MiB: BIOS data, video memory, old habits */
#define REGION_LIMIT 0xfffff000u       /* no pointer just past the end may wrap to 0 */
#define REGION_USABLE 1                /* Multiboot 0.6.96, 3.3: "available RAM" */

static struct extent extent_of(const struct boot_region *r)
{
    uint64_t end = r->base + r->size;
    return (struct extent){r->base, end < r->base ? UINT64_MAX : end};  /* it may wrap */
}

static bool contains(struct extent e, uint64_t at) { return e.start <= at && at < e.end; }

struct region_query {
    const struct boot_region *map;
    const struct extent *reserved;
    int n_map, n_reserved;
};

/* The i-th extent to leave alone: reserved ones first, then unusable map entries. */
static bool blocked_at(const struct region_query *q, int i, struct extent *e)
{
    if (i < q->n_reserved) {
        *e = q->reserved[i];
        return e->start < e->end;
    }
    const struct boot_region *r = &q->map[i - q->n_reserved];
    *e = extent_of(r);
    return r->type != REGION_USABLE && e->start < e->end;
}

/* The end of the free range that starts at `at`; `at` itself when it is not free. */
static uint64_t free_until(const struct region_query *q, uint64_t at)
{
    uint64_t end = at;
    for (bool grown = true; grown;) { /* usable entries may overlap or touch: join them */
        grown = false;
        for (int i = 0; i < q->n_map; i++) {
            struct extent e = extent_of(&q->map[i]);
            if (q->map[i].type == REGION_USABLE && e.start <= end && end < e.end) {
                end = e.end;
                grown = true;
            }
        }
    }
    for (int i = 0; i < q->n_reserved + q->n_map; i++) {
        struct extent e;
        if (!blocked_at(q, i, &e))
            continue;
        if (contains(e, at))
            return at;
        if (contains((struct extent){at, end}, e.start))
            end = e.start;
    }
    return end < REGION_LIMIT ? end : REGION_LIMIT;
}

/* Considers the range that starts at `at`, in whole pages. */
static void region_try(const struct region_query *q, uint64_t at, struct extent *best)
{
    if (at < REGION_FIRST)
        at = REGION_FIRST;
    if (at >= REGION_LIMIT)
        return;
    uint64_t page = REGION_PAGE - 1, end = free_until(q, at);
    struct extent e = {(at + page) & ~page, end & ~page};
    if (e.start < e.end && e.end - e.start > best->end - best->start)
        *best = e;
}

/* The largest run of usable, unreserved pages below 4 GiB; false when there is none. A
 * free range can only start where a usable entry starts or a blocked extent ends: try all
 * of those. */
bool region_largest(const struct boot_region *map, int n_map,
                    const struct extent *reserved, int n_reserved, struct extent *out)
{
    struct region_query q = {map, reserved, n_map, n_reserved};
    *out = (struct extent){0, 0};
    for (int i = 0; i < n_map; i++)
        if (map[i].type == REGION_USABLE)
            region_try(&q, map[i].base, out);
    for (int i = 0; i < n_reserved + n_map; i++) {
        struct extent e;
        if (blocked_at(&q, i, &e))
            region_try(&q, e.end, out);
    }
    return out->start < out->end;
}
