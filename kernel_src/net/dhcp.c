/* dhcp.c: tangled from nbs/net/07_ip.ipynb. Edit the notebook, not this file. */

/* ---- nbs/net/07_ip.ipynb § DHCP: asking for an address ---- */

/* dhcp.c: the DHCP client; see dhcp.h. Parsing first, the state machine second. */
#include "net/dhcp.h"

#include "base/string.h"

static bool option_number(uint32_t *out, struct view v)
{
    const uint8_t *p = view_take(&v, 4);
    if (!p || v.len)
        return false;
    *out = get_be32(p);
    return true;
}

static bool option_byte(uint8_t *out, struct view v)
{
    if (v.len != 1)
        return false;
    *out = v.at[0];
    return true;
}

/* False: the length is not one that this option can have. */
static bool option_take(struct dhcp_message *m, uint8_t code, struct view v)
{
    switch (code) {
    case DHCP_OPT_NETMASK:  return option_number(&m->netmask, v);
    case DHCP_OPT_LEASE:    return option_number(&m->lease_s, v);
    case DHCP_OPT_SERVER:   return option_number(&m->server, v);
    case DHCP_OPT_T1:       return option_number(&m->t1_s, v);
    case DHCP_OPT_T2:       return option_number(&m->t2_s, v);
    case DHCP_OPT_TYPE:     return option_byte(&m->type, v);
    case DHCP_OPT_OVERLOAD: return option_byte(&m->overload, v);
    case DHCP_OPT_ROUTER:                          // a list, best first: we use one
        if (v.len < 4 || v.len % 4)
            return false;
        m->router = get_be32(v.at);
        return true;
    default:
        return true;
    }
}

static bool options_parse(struct dhcp_message *m, struct view area)
{
    const uint8_t *code;
    while ((code = view_take(&area, 1)) && *code != DHCP_OPT_END) {
        if (*code == DHCP_OPT_PAD)
            continue;
        const uint8_t *len = view_take(&area, 1);
        const uint8_t *value = len ? view_take(&area, *len) : NULL;
        if (!value || !option_take(m, *code, (struct view){ value, *len }))
            return false;
    }
    return true;
}

enum dhcp_verdict dhcp_parse(struct dhcp_message *m, const uint8_t *data, size_t len)
{
    struct view v = { data, len };
    const uint8_t *p = view_take(&v, DHCP_OPTIONS);
    if (!p)
        return DHCP_SHORT;
    if (p[DHCP_OP] != 2 || p[DHCP_HTYPE] != 1 || p[DHCP_HLEN] != 6)
        return DHCP_NOT_REPLY;
    if (get_be32(p + DHCP_COOKIE) != DHCP_COOKIE_VALUE)
        return DHCP_NO_COOKIE;
    *m = (struct dhcp_message){ .xid = get_be32(p + DHCP_XID),
                                .yiaddr = get_be32(p + DHCP_YIADDR) };
    memcpy(m->chaddr, p + DHCP_CHADDR, 6);
    if (!options_parse(m, v))
        return DHCP_BAD_OPTION;
    uint8_t overload = m->overload;                // RFC 2132 §9.3: 1 file, 2 sname
    if ((overload & 1)
        && !options_parse(m, (struct view){ p + DHCP_FILE, DHCP_COOKIE - DHCP_FILE }))
        return DHCP_BAD_OPTION;
    if ((overload & 2)
        && !options_parse(m, (struct view){ p + DHCP_SNAME, DHCP_FILE - DHCP_SNAME }))
        return DHCP_BAD_OPTION;
    return m->type ? DHCP_TAKEN : DHCP_NO_TYPE;
}

#define DHCP_TEXT(name, text) [name] = text,
const char *dhcp_verdict_name(enum dhcp_verdict v)
{
    static const char *const names[DHCP_VERDICT_COUNT] = { DHCP_VERDICTS(DHCP_TEXT) };
    return (unsigned)v < DHCP_VERDICT_COUNT ? names[v] : "?";
}

/* ---- nbs/net/07_ip.ipynb § The state machine ---- */

static uint8_t *option_put(uint8_t *p, uint8_t code, uint32_t value)
{
    p[0] = code;
    p[1] = 4;
    put_be32(p + 2, value);
    return p + 6;
}

static void dhcp_ask(struct dhcp *d, enum dhcp_type type, uint64_t now_ms)
{
    static const uint8_t wanted[] = { DHCP_OPT_NETMASK, DHCP_OPT_ROUTER, DHCP_OPT_LEASE,
                                      DHCP_OPT_T1, DHCP_OPT_T2 };
    uint8_t m[DHCP_MESSAGE] = { [DHCP_OP] = 1, [DHCP_HTYPE] = 1, [DHCP_HLEN] = 6 };
    bool has_address = d->state == DHCP_RENEWING || d->state == DHCP_REBINDING;
    uint64_t secs = (now_ms - d->started_ms) / 1000;
    put_be32(m + DHCP_XID, d->xid);
    put_be16(m + DHCP_SECS, secs > 0xffff ? 0xffff : (uint16_t)secs);
    put_be16(m + DHCP_FLAGS, has_address ? 0 : DHCP_FLAG_BROADCAST);
    put_be32(m + DHCP_CIADDR, has_address ? d->lease.addr : 0);
    memcpy(m + DHCP_CHADDR, d->mac, 6);
    put_be32(m + DHCP_COOKIE, DHCP_COOKIE_VALUE);

    uint8_t *p = m + DHCP_OPTIONS;
    *p++ = DHCP_OPT_TYPE;
    *p++ = 1;
    *p++ = (uint8_t)type;
    if (d->state == DHCP_REQUESTING) {             // RFC 2131 §4.3.2: only in this state
        p = option_put(p, DHCP_OPT_ADDRESS, d->offered);
        p = option_put(p, DHCP_OPT_SERVER, d->server);
    }
    *p++ = DHCP_OPT_WANTED;
    *p++ = sizeof wanted;
    memcpy(p, wanted, sizeof wanted);
    p[sizeof wanted] = DHCP_OPT_END;

    bool to_server = d->state == DHCP_RENEWING;
    d->sent++;
    d->send(d->ctx, to_server ? d->lease.server : 0xffffffff, m, sizeof m);
}
_Static_assert(DHCP_OPTIONS + 3 + 12 + 2 + 5 + 1 <= DHCP_MESSAGE, "the longest fits");

static uint32_t dhcp_random(struct dhcp *d)
{
    d->rng ^= d->rng << 13;
    d->rng ^= d->rng >> 17;
    d->rng ^= d->rng << 5;
    return d->rng;
}

/* 50 ms, 100, 200, ... 64 s, each shaken by up to a quarter. */
static uint32_t dhcp_backoff(struct dhcp *d)
{
    uint32_t ms = DHCP_RETRY_FIRST_MS;
    for (uint32_t i = 0; i < d->tries && ms < DHCP_RETRY_MAX_MS; i++)
        ms *= 2;
    if (ms > DHCP_RETRY_MAX_MS)
        ms = DHCP_RETRY_MAX_MS;
    d->tries++;
    return ms - ms / 4 + dhcp_random(d) % (ms / 2);
}

static void dhcp_enter(struct dhcp *d, enum dhcp_state state, uint64_t now_ms)
{
    d->state = state;
    d->tries = 0;
    d->next_ms = now_ms;
    if (state != DHCP_REQUESTING)             // an offer and its request share theirs
        d->xid = dhcp_random(d);
    if (state == DHCP_SELECTING || state == DHCP_RENEWING)
        d->started_ms = now_ms;               // RFC 2131 §2: what `secs` counts from
    d->asked_ms = now_ms;
}

void dhcp_init(struct dhcp *d, const uint8_t mac[6], uint32_t seed, dhcp_send send,
               dhcp_changed changed, void *ctx)
{
    *d = (struct dhcp){ .send = send, .changed = changed, .ctx = ctx };
    memcpy(d->mac, mac, 6);
    d->rng = seed ^ get_be32(mac + 2);
    if (d->rng == 0)
        d->rng = 1;
}

void dhcp_start(struct dhcp *d, uint64_t now_ms)
{
    dhcp_enter(d, DHCP_SELECTING, now_ms);
    dhcp_tick(d, now_ms);
}

static void dhcp_lose(struct dhcp *d, uint64_t now_ms)
{
    bool had = d->lease.addr != 0;
    d->lease = (struct dhcp_lease){ 0 };
    if (had)
        d->changed(d->ctx, NULL);
    dhcp_enter(d, DHCP_SELECTING, now_ms);
}

static uint64_t dhcp_half_way(uint64_t now_ms, uint64_t end_ms)
{
    uint64_t pause = (end_ms - now_ms) / 2;
    if (pause < DHCP_RENEW_MIN_MS)
        pause = DHCP_RENEW_MIN_MS;
    return pause < end_ms - now_ms ? now_ms + pause : end_ms;
}

void dhcp_tick(struct dhcp *d, uint64_t now_ms)
{
    if (d->state == DHCP_BOUND && now_ms >= d->lease.t1_ms)
        dhcp_enter(d, DHCP_RENEWING, now_ms);
    if (d->state == DHCP_RENEWING && now_ms >= d->lease.t2_ms)
        dhcp_enter(d, DHCP_REBINDING, now_ms);
    if (d->state >= DHCP_BOUND && now_ms >= d->lease.end_ms)
        dhcp_lose(d, now_ms);
    if (d->state == DHCP_OFF || d->state == DHCP_BOUND || now_ms < d->next_ms)
        return;
    if (d->state == DHCP_REQUESTING && d->tries == DHCP_REQUESTS_MAX)
        dhcp_enter(d, DHCP_SELECTING, now_ms);
    dhcp_ask(d, d->state == DHCP_SELECTING ? DHCP_DISCOVER : DHCP_REQUEST, now_ms);
    if (d->state == DHCP_RENEWING)
        d->next_ms = dhcp_half_way(now_ms, d->lease.t2_ms);
    else if (d->state == DHCP_REBINDING)
        d->next_ms = dhcp_half_way(now_ms, d->lease.end_ms);
    else
        d->next_ms = now_ms + dhcp_backoff(d);
}

static bool dhcp_is_station(uint32_t a)
{
    return a >> 24 != 0 && a >> 24 != 127 && a >> 28 < 14;
}

static uint32_t dhcp_classic_mask(uint32_t a)
{
    return a >> 31 == 0 ? 0xff000000 : a >> 30 == 2 ? 0xffff0000 : 0xffffff00;
}

static bool dhcp_usable(const struct dhcp_message *m)
{
    return dhcp_is_station(m->yiaddr) && m->server != 0
        && (m->type == DHCP_OFFER || m->lease_s != 0);
}

static void dhcp_bind(struct dhcp *d, const struct dhcp_message *m)
{
    struct dhcp_lease *l = &d->lease;
    uint32_t ones = ~m->netmask;
    bool mask_ok = m->netmask != 0 && (ones & (ones + 1)) == 0;
    *l = (struct dhcp_lease){
        .addr = m->yiaddr, .server = m->server, .lease_s = m->lease_s,
        .netmask = mask_ok ? m->netmask : dhcp_classic_mask(m->yiaddr),
        .gateway = dhcp_is_station(m->router) && m->router != m->yiaddr ? m->router : 0,
        .t1_ms = UINT64_MAX, .t2_ms = UINT64_MAX, .end_ms = UINT64_MAX,
    };
    if (m->lease_s != DHCP_FOREVER) {
        uint64_t lease_ms = (uint64_t)m->lease_s * 1000;
        uint64_t t1 = (uint64_t)m->t1_s * 1000, t2 = (uint64_t)m->t2_s * 1000;
        if (t1 == 0 || t2 <= t1 || lease_ms <= t2) {
            t1 = lease_ms / 2;
            t2 = lease_ms - lease_ms / 8;
        }
        l->t1_ms = d->asked_ms + t1;
        l->t2_ms = d->asked_ms + t2;
        l->end_ms = d->asked_ms + lease_ms;
    }
    d->state = DHCP_BOUND;
    d->naks = 0;
    d->changed(d->ctx, l);
}

static enum dhcp_verdict dhcp_take(struct dhcp *d, const struct dhcp_message *m,
                                   uint64_t now_ms)
{
    bool renewing = d->state == DHCP_RENEWING || d->state == DHCP_REBINDING;
    bool from_ours = d->state == DHCP_REBINDING
        || m->server == (renewing ? d->lease.server : d->server);
    if (d->state == DHCP_SELECTING && m->type == DHCP_OFFER) {
        if (!dhcp_usable(m))
            return DHCP_UNUSABLE;
        d->offered = m->yiaddr;
        d->server = m->server;
        dhcp_enter(d, DHCP_REQUESTING, now_ms);
        dhcp_tick(d, now_ms);
        return DHCP_TAKEN;
    }
    if ((d->state != DHCP_REQUESTING && !renewing) || !from_ours)
        return DHCP_UNEXPECTED;
    if (m->type == DHCP_NAK) {
        dhcp_lose(d, now_ms);
        d->tries = d->naks++;
        d->next_ms = now_ms + dhcp_backoff(d);
        return DHCP_TAKEN;
    }
    if (m->type != DHCP_ACK)
        return DHCP_UNEXPECTED;
    if (!dhcp_usable(m) || m->yiaddr != (renewing ? d->lease.addr : d->offered))
        return DHCP_UNUSABLE;
    dhcp_bind(d, m);
    return DHCP_TAKEN;
}

enum dhcp_verdict dhcp_input(struct dhcp *d, const uint8_t *data, size_t len,
                             uint64_t now_ms)
{
    struct dhcp_message m;
    enum dhcp_verdict v = dhcp_parse(&m, data, len);
    if (v == DHCP_TAKEN && (m.xid != d->xid || memcmp(m.chaddr, d->mac, 6) != 0))
        v = DHCP_NOT_OURS;
    if (v == DHCP_TAKEN)
        v = dhcp_take(d, &m, now_ms);
    d->verdict[v]++;
    return v;
}
