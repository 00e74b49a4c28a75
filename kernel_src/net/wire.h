/* wire.h: tangled from nbs/net/07_ip.ipynb. Edit the notebook, not this file. */

/* ---- nbs/net/07_ip.ipynb § Bytes, not structs ---- */

/* wire.h: numbers as they stand in packets, and views that cannot be overrun.
 *
 * Packets are bytes. Nothing in this book casts them to a struct: a number is read with
 * get_be16 or get_be32 from bytes whose presence was checked before. */
#pragma once
#include <stddef.h>
#include <stdint.h>

static inline uint16_t get_be16(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }
static inline uint32_t get_be32(const uint8_t *p)
{
    return (uint32_t)get_be16(p) << 16 | get_be16(p + 2);
}
static inline void put_be16(uint8_t *p, uint16_t v) { p[0] = v >> 8; p[1] = (uint8_t)v; }
static inline void put_be32(uint8_t *p, uint32_t v)
{
    put_be16(p, v >> 16);
    put_be16(p + 2, (uint16_t)v);
}

/* `len` bytes starting at `at`. */
struct view {
    const uint8_t *at;
    size_t len;
};

/* Cuts n bytes off the front of v and returns where they are; NULL, with v as it was,
 * when fewer are left. */
static inline const uint8_t *view_take(struct view *v, size_t n)
{
    if (n > v->len)
        return NULL;
    const uint8_t *p = v->at;
    v->at += n;
    v->len -= n;
    return p;
}
