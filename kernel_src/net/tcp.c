/* tcp.c: tangled from nbs/net/08_tcp.ipynb. Edit the notebook, not this file. */

/* ---- nbs/net/08_tcp.ipynb § The first number ---- */

/* tcp.c: RFC 9293's state machine. tcp.h tells what it promises.
 *
 * Order: numbers, parsing and writing, buffers, the two halves of a connection (receive,
 * send), its life, the states' input, timers, and what applications call.
 * Invariants: snd_una <= snd_nxt <= snd_max, tx_seq <= snd_nxt in synchronized states,
 * rcv_nxt <= rcv_adv <= rcv_nxt + TCP_RX_MAX (so whatever lies in the window fits), and
 * whoever has something outstanding or waiting has a timer running. */
#include "net/tcp.h"

#include "base/memory.h"
#include "base/string.h"
#include "net/ip.h"
#include "net/wire.h"

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

_Static_assert((TCP_RX_MAX & (TCP_RX_MAX - 1)) == 0, "rings wrap with a mask");
_Static_assert((TCP_TX_MAX & (TCP_TX_MAX - 1)) == 0, "rings wrap with a mask");
_Static_assert(TCP_RX_MAX <= 65535, "a larger window needs the window scale option");

static uint64_t rotl(uint64_t x, int n) { return x << n | x >> (64 - n); }

static void sip_rounds(uint64_t v[4], int n)
{
    while (n--) {
        v[0] += v[1]; v[1] = rotl(v[1], 13) ^ v[0]; v[0] = rotl(v[0], 32);
        v[2] += v[3]; v[3] = rotl(v[3], 16) ^ v[2];
        v[0] += v[3]; v[3] = rotl(v[3], 21) ^ v[0];
        v[2] += v[1]; v[1] = rotl(v[1], 17) ^ v[2]; v[2] = rotl(v[2], 32);
    }
}

static uint64_t get_le64(const uint8_t *p, size_t n)
{
    uint64_t x = 0;
    for (size_t i = 0; i < n; i++)
        x |= (uint64_t)p[i] << 8 * i;
    return x;
}

/* SipHash-2-4 (Aumasson and Bernstein, 2012): only the key's owner can predict it. */
uint64_t tcp_siphash(const uint8_t key[16], const uint8_t *data, size_t len)
{
    uint64_t k0 = get_le64(key, 8), k1 = get_le64(key + 8, 8);
    uint64_t v[4] = { k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d,
                      k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573 };
    for (size_t i = 0; i <= len / 8; i++) {
        uint64_t m = get_le64(data + 8 * i, MIN(len - 8 * i, (size_t)8));
        if (i == len / 8)
            m |= (uint64_t)len << 56;
        v[3] ^= m;
        sip_rounds(v, 2);
        v[0] ^= m;
    }
    v[2] ^= 0xff;
    sip_rounds(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static void put_tuple(uint8_t out[12], uint32_t laddr, uint16_t lport, uint32_t raddr,
                      uint16_t rport)
{
    put_be32(out, laddr);
    put_be32(out + 4, raddr);
    put_be16(out + 8, lport);
    put_be16(out + 10, rport);
}

/* RFC 6528: ISN = M + F(addresses, ports, secret), where M ticks every 4 microseconds. */
uint32_t tcp_isn(const struct tcp *t, uint32_t laddr, uint16_t lport, uint32_t raddr,
                 uint16_t rport)
{
    uint8_t tuple[12];
    put_tuple(tuple, laddr, lport, raddr, rport);
    return (uint32_t)(t->now_ms * 250) + (uint32_t)tcp_siphash(t->secret, tuple, 12);
}

/* ---- nbs/net/08_tcp.ipynb § Reading a segment ---- */

enum { OPTION_END, OPTION_NOP, OPTION_MSS };

/* The MSS option's value; 0: absent. Other options are stepped over. A length that cannot
 * be ends the walk: RFC 9293 §3.1, MUST-7. */
static uint16_t parse_mss(const uint8_t *o, size_t left)
{
    uint16_t mss = 0;
    while (left > 0 && o[0] != OPTION_END) {
        if (o[0] == OPTION_NOP) {
            o++, left--;
            continue;
        }
        if (left < 2 || o[1] < 2 || o[1] > left)
            break;
        if (o[0] == OPTION_MSS && o[1] == 4)
            mss = get_be16(o + 2);
        left -= o[1], o += o[1];
    }
    return mss;
}

enum tcp_parse_result tcp_parse(struct tcp_seg *s, uint32_t src, uint32_t dst,
                                const uint8_t *b, size_t len)
{
    if (len < TCP_HEADER_MIN || len > 65535)
        return TCP_SEG_SHORT;
    if (ip_checksum(b, len, ip_pseudo_sum(src, dst, IP_PROTO_TCP, len)) != 0)
        return TCP_SEG_BAD_CHECKSUM;
    size_t header = (b[12] >> 4) * 4u;
    if (header < TCP_HEADER_MIN || header > len)
        return TCP_SEG_BAD_OFFSET;
    *s = (struct tcp_seg){
        .sport = get_be16(b), .dport = get_be16(b + 2), .seq = get_be32(b + 4),
        .ack = get_be32(b + 8), .flags = b[13] & 0x3f, .window = get_be16(b + 14),
        .mss = parse_mss(b + TCP_HEADER_MIN, header - TCP_HEADER_MIN),
        .data = b + header, .len = (uint32_t)(len - header),
    };
    return TCP_SEG_OK;
}

/* ---- nbs/net/08_tcp.ipynb § Writing one ---- */

/* Sends *s. Its data, if any, lies at t->seg + TCP_HEADER_MIN already; a segment with the
 * MSS option has none. */
static void seg_send(struct tcp *t, uint32_t src, uint32_t dst, const struct tcp_seg *s)
{
    uint8_t *b = t->seg;
    size_t header = TCP_HEADER_MIN + (s->mss ? 4 : 0), len = header + s->len;
    put_be16(b, s->sport);
    put_be16(b + 2, s->dport);
    put_be32(b + 4, s->seq);
    put_be32(b + 8, s->ack);
    b[12] = (uint8_t)(header / 4 << 4);
    b[13] = s->flags;
    put_be16(b + 14, s->window);
    put_be32(b + 16, 0);                     // checksum, urgent pointer
    if (s->mss)
        put_be32(b + 20, OPTION_MSS << 24 | 4 << 16 | s->mss);
    put_be16(b + 16, ip_checksum(b, len, ip_pseudo_sum(src, dst, IP_PROTO_TCP, len)));
    t->stats.tx_segments++;
    t->stats.tx_rst += s->flags & TCP_RST ? 1 : 0;
    t->out(t->ctx, src, dst, b, len);
}

static uint32_t seg_space(const struct tcp_seg *s)
{
    return s->len + (s->flags & TCP_SYN ? 1 : 0) + (s->flags & TCP_FIN ? 1 : 0);
}

/* The answer to a segment that belongs nowhere: RFC 9293 §3.10.7.1. Never to an RST. */
static void reset_reply(struct tcp *t, uint32_t src, uint32_t dst,
                        const struct tcp_seg *s)
{
    if (s->flags & TCP_RST)
        return;
    struct tcp_seg r = { .sport = s->dport, .dport = s->sport, .flags = TCP_RST };
    if (s->flags & TCP_ACK) {
        r.seq = s->ack;
    } else {
        r.flags |= TCP_ACK;
        r.ack = s->seq + seg_space(s);
    }
    seg_send(t, dst, src, &r);
}

/* ---- nbs/net/08_tcp.ipynb § The receiving half: a ring and islands ---- */

static void ring_put(struct tcp_ring *r, uint32_t at, const uint8_t *data, uint32_t n)
{
    uint32_t i = (r->head + at) & (r->cap - 1), first = MIN(n, r->cap - i);
    memcpy(r->buf + i, data, first);
    memcpy(r->buf, data + first, n - first);
}

static void ring_get(const struct tcp_ring *r, uint32_t at, uint8_t *out, uint32_t n)
{
    uint32_t i = (r->head + at) & (r->cap - 1), first = MIN(n, r->cap - i);
    memcpy(out, r->buf + i, first);
    memcpy(out + first, r->buf, n - first);
}

static void ring_drop(struct tcp_ring *r, uint32_t n)
{
    r->head = (r->head + n) & (r->cap - 1);
    r->len -= n;
}

static void ring_free(struct tcp_ring *r)
{
    kfree(r->buf);
    r->buf = NULL;
    r->head = r->len = 0;
}

/* Notes that [start, end) is here. Neighbours and overlaps become one range. False: too
 * many islands already; only the one that continues the stream is always taken. */
static bool range_add(struct tcp_conn *c, uint32_t start, uint32_t end)
{
    struct tcp_range *r = c->range;
    uint32_t i = 0, n = c->n_ranges;
    while (i < n && tcp_seq_lt(r[i].end, start))
        i++;
    uint32_t j = i;
    bool in_order = start == c->rcv_nxt;
    for (; j < n && tcp_seq_le(r[j].start, end); j++) {
        start = tcp_seq_lt(r[j].start, start) ? r[j].start : start;
        end = tcp_seq_lt(end, r[j].end) ? r[j].end : end;
    }
    if (i == j && n >= TCP_RANGES_MAX && !in_order)
        return false;
    memmove(r + i + 1, r + j, (n - j) * sizeof *r);
    c->n_ranges = n - (j - i) + 1;
    r[i] = (struct tcp_range){ start, end };
    return true;
}

/* Keeps a segment's data, which conn_trim has cut to the window. After tcp_release nobody
 * will read it: then what is in order is counted, and thrown away. */
static void conn_store(struct tcp_conn *c, const struct tcp_seg *s)
{
    uint32_t ahead = s->seq - c->rcv_nxt;
    if (c->owner == TCP_OWNER_NONE) {
        c->rcv_nxt += ahead == 0 ? s->len : 0;
        return;
    }
    if (s->len == 0 || !range_add(c, s->seq, s->seq + s->len))
        return;
    ring_put(&c->rx, c->rx.len + ahead, s->data, s->len);
    if (c->range[0].start != c->rcv_nxt)
        return;
    c->rx.len += c->range[0].end - c->rcv_nxt;
    c->rcv_nxt = c->range[0].end;
    c->n_ranges--;
    memmove(c->range, c->range + 1, c->n_ranges * sizeof c->range[0]);
}

/* ---- nbs/net/08_tcp.ipynb § The window, and what lies outside ---- */

static uint32_t conn_window(const struct tcp_conn *c) { return c->rcv_adv - c->rcv_nxt; }

/* RFC 9293 §3.10.7.4, first check: does any of it lie in the window? A full window still
 * takes a segment that starts exactly at its edge, for its ACK. */
static bool conn_acceptable(const struct tcp_conn *c, const struct tcp_seg *s)
{
    uint32_t space = seg_space(s), window = conn_window(c);
    if (space == 0 || window == 0)
        return s->seq - c->rcv_nxt <= window;
    return tcp_seq_lt(s->seq, c->rcv_adv) && tcp_seq_lt(c->rcv_nxt, s->seq + space);
}

/* Cuts off what we have already and what lies beyond the window, or beyond the FIN.
 * False: nothing is left. */
static bool conn_trim(const struct tcp_conn *c, struct tcp_seg *s)
{
    uint32_t old = tcp_seq_lt(s->seq, c->rcv_nxt) ? c->rcv_nxt - s->seq : 0;
    if (old > s->len)
        return false;
    s->seq += old, s->data += old, s->len -= old;
    uint32_t edge = c->fin_known && tcp_seq_lt(c->fin_seq, c->rcv_adv) ? c->fin_seq
                                                                       : c->rcv_adv;
    if (!tcp_seq_le(s->seq, edge))
        return false;
    uint32_t room = edge - s->seq;
    if (s->flags & TCP_FIN && s->len >= room && edge == c->rcv_adv)
        s->flags &= ~TCP_FIN;                // its own place is outside
    s->len = MIN(s->len, room);
    return s->len > 0 || s->flags & TCP_FIN;
}

/* The window to advertise now. Its right edge moves in large steps only (RFC 9293
 * §3.8.6.2.2), and never back. */
static uint16_t conn_advertise(struct tcp_conn *c)
{
    uint32_t edge = c->rcv_nxt + TCP_RX_MAX - c->rx.len;
    if (tcp_seq_le(c->rcv_adv + MIN(TCP_RX_MAX / 2, TCP_MSS), edge))
        c->rcv_adv = edge;
    return (uint16_t)conn_window(c);
}

/* ---- nbs/net/08_tcp.ipynb § Speaking for a connection ---- */

static void conn_emit(struct tcp *t, struct tcp_conn *c, uint8_t flags, uint32_t seq,
                      uint32_t len)
{
    if (len)
        ring_get(&c->tx, seq - c->tx_seq, t->seg + TCP_HEADER_MIN, len);
    struct tcp_seg s = { .sport = c->lport, .dport = c->rport, .seq = seq, .len = len,
                         .flags = flags, .mss = flags & TCP_SYN ? TCP_MSS : 0,
                         .window = TCP_RX_MAX };
    if (flags & TCP_ACK) {
        s.ack = c->rcv_nxt;
        s.window = conn_advertise(c);
        c->ack_due = 0;
        c->delack_at = 0;
    }
    seg_send(t, c->laddr, c->raddr, &s);
}

/* Where a segment without data stands. Not at snd_nxt, which a timeout pulls back; and
 * when a probe has gone beyond a closed window, at the window's edge: the peer would drop
 * what lies outside. */
static uint32_t conn_seq(const struct tcp_conn *c)
{
    uint32_t edge = c->snd_una + c->snd_wnd;
    bool outside = c->state >= TCP_ESTABLISHED && tcp_seq_lt(edge, c->snd_max);
    return outside ? edge : c->snd_max;
}

static void conn_ack(struct tcp *t, struct tcp_conn *c)
{
    conn_emit(t, c, TCP_ACK, conn_seq(c), 0);
}

/* An ACK that asks: was that really you? A true peer answers with an RST that fits.
 * RFC 5961 §7 wants these counted, lest two confused peers ask each other for ever. */
static void conn_challenge(struct tcp *t, struct tcp_conn *c)
{
    if (t->now_ms - c->challenge_ms >= 1000) {
        c->challenge_ms = t->now_ms;
        c->challenges = 0;
    }
    if (c->challenges++ >= TCP_CHALLENGE_MAX)
        return;
    t->stats.challenges++;
    conn_ack(t, c);
}

/* ---- nbs/net/08_tcp.ipynb § How long is "again"? ---- */

static void timer_set(struct tcp *t, uint64_t *at, uint64_t delay_ms)
{
    *at = t->now_ms + delay_ms;
    t->wake_ms = MIN(t->wake_ms, *at);
}

/* RFC 6298 §5.5: doubled for each try without an answer, up to a bound. */
static void rexmit_set(struct tcp *t, struct tcp_conn *c)
{
    uint64_t delay = (uint64_t)c->rto_ms << MIN(c->backoff, 16u);
    timer_set(t, &c->rexmit_at, MIN(delay, (uint64_t)TCP_RTO_MAX_MS));
}

/* RFC 6298 §2: a smoothed round trip and its mean deviation, in integers. srtt8 is
 * 8 SRTT, rttvar4 is 4 RTTVAR, so that the gains 1/8 and 1/4 lose no bits. */
static void rtt_sample(struct tcp_conn *c, uint64_t elapsed_ms)
{
    int32_t r = (int32_t)MAX(MIN(elapsed_ms, (uint64_t)TCP_RTO_MAX_MS), (uint64_t)1);
    if (c->srtt8 == 0) {
        c->srtt8 = (uint32_t)r * 8;
        c->rttvar4 = (uint32_t)r * 2;
    } else {
        int32_t d = r - (int32_t)c->srtt8 / 8;
        c->rttvar4 += (uint32_t)((d < 0 ? -d : d) - (int32_t)c->rttvar4 / 4);
        c->srtt8 += (uint32_t)d;
    }
    uint32_t rto = c->srtt8 / 8 + MAX(c->rttvar4, 1u);
    c->rto_ms = MIN(MAX(rto, (uint32_t)TCP_RTO_MIN_MS), (uint32_t)TCP_RTO_MAX_MS);
    c->backoff = 0;
}

/* One segment from snd_una on, whatever was sent before: a retransmission, or, into a
 * window of zero, a probe of one byte (RFC 9293 §3.8.6.1). Returns what it covered. */
static uint32_t conn_resend(struct tcp *t, struct tcp_conn *c)
{
    uint32_t n = MIN(MIN(c->tx.len, (uint32_t)c->mss), MAX(c->snd_wnd, 1u));
    bool fin = c->fin_queued && n == c->tx.len;
    uint32_t end = c->snd_una + n + (fin ? 1 : 0);
    conn_emit(t, c, TCP_ACK | (n ? TCP_PSH : 0) | (fin ? TCP_FIN : 0), c->snd_una, n);
    c->snd_max = tcp_seq_lt(c->snd_max, end) ? end : c->snd_max;
    c->rtt_timing = false;                   // Karn: an ACK could answer either copy
    return end - c->snd_una;
}

/* ---- nbs/net/08_tcp.ipynb § How much may be under way? ---- */

static void cc_init(struct tcp_conn *c, bool syn_lost)
{
    uint32_t m = c->mss;                     // RFC 5681 §3.1
    c->cwnd = syn_lost ? m : m > 1095 ? 3 * m : 4 * m;
    c->ssthresh = TCP_TX_MAX;                // as good as infinite
    c->recover = c->iss;
    c->recovering = false;
    c->dupacks = 0;
}

static void cc_loss(struct tcp_conn *c)
{
    c->ssthresh = MAX((c->snd_max - c->snd_una) / 2, 2u * c->mss);
    c->recover = c->snd_max;
    c->dupacks = 0;
}

/* A first-time duplicate ACK is a segment that left the network, or one out of order. The
 * third means loss (RFC 5681 §3.2), if more than `recover` is confirmed: up to there, the
 * peer may be answering copies of what it has (RFC 6582 §3.2 step 2). */
static void cc_duplicate(struct tcp *t, struct tcp_conn *c)
{
    if (c->recovering) {
        c->cwnd = MIN(c->cwnd + c->mss, (uint32_t)TCP_TX_MAX);
        return;
    }
    if (++c->dupacks != TCP_DUPACKS || !tcp_seq_lt(c->recover, c->snd_una))
        return;
    cc_loss(c);
    c->recovering = true;
    c->cwnd = c->ssthresh + TCP_DUPACKS * c->mss;
    t->stats.fast_retransmits++;
    conn_resend(t, c);
    rexmit_set(t, c);
}

static void cc_acked(struct tcp *t, struct tcp_conn *c, uint32_t acked)
{
    uint32_t m = c->mss;
    c->dupacks = 0;
    if (c->recovering && tcp_seq_lt(c->snd_una, c->recover)) {
        c->cwnd -= MIN(acked, c->cwnd);      // RFC 6582 §3.2: a partial ACK shows the
        c->cwnd = MAX(c->cwnd + m, m);       // next hole; fill it at once
        t->stats.fast_retransmits++;
        conn_resend(t, c);
        return;
    }
    if (c->recovering) {
        c->recovering = false;
        c->cwnd = c->ssthresh;
        return;
    }
    c->cwnd += c->cwnd < c->ssthresh ? MIN(acked, m) : MAX(m * m / c->cwnd, 1u);
    c->cwnd = MIN(c->cwnd, (uint32_t)TCP_TX_MAX);    // more than that is never queued
}

/* ---- nbs/net/08_tcp.ipynb § Sending ---- */

/* Something is queued that was not transmitted since the last timeout. */
static bool conn_unsent(const struct tcp_conn *c)
{
    uint32_t at = c->snd_nxt - c->tx_seq;
    return at < c->tx.len || (at == c->tx.len && c->fin_queued);
}

/* One segment if both windows have room and it is worth a header: full, or the last, or
 * half of what the peer can take (RFC 9293 §3.8.6.2.1). */
static bool conn_output_one(struct tcp *t, struct tcp_conn *c)
{
    if (!conn_unsent(c))
        return false;
    uint32_t window = MIN(c->snd_wnd, c->cwnd), flight = c->snd_nxt - c->snd_una;
    uint32_t room = window > flight ? window - flight : 0;
    uint32_t left = c->tx.len - (c->snd_nxt - c->tx_seq);
    uint32_t n = MIN(MIN(left, room), (uint32_t)c->mss);
    bool fin = c->fin_queued && n == left && room > n;
    if (n == 0 && !fin)
        return false;
    if (n < left && n < c->mss && n < c->snd_wnd_max / 2)
        return false;
    if (!c->rtt_timing && c->snd_nxt == c->snd_max) {
        c->rtt_timing = true;
        c->rtt_seq = c->snd_nxt;
        c->rtt_start_ms = t->now_ms;
    }
    uint8_t push = n && n == left ? TCP_PSH : 0;
    conn_emit(t, c, TCP_ACK | push | (fin ? TCP_FIN : 0), c->snd_nxt, n);
    c->snd_nxt += n + (fin ? 1 : 0);
    c->snd_max = tcp_seq_lt(c->snd_max, c->snd_nxt) ? c->snd_nxt : c->snd_max;
    return true;
}

static bool state_sends(enum tcp_state s)
{
    return s == TCP_ESTABLISHED || s == TCP_CLOSE_WAIT || s == TCP_FIN_WAIT_1 ||
           s == TCP_CLOSING || s == TCP_LAST_ACK;
}

/* Sends what may be sent, then sees to the timer: it runs while anything is in flight,
 * and also while something waits for the peer's window to open. */
static void conn_output(struct tcp *t, struct tcp_conn *c)
{
    if (state_sends(c->state)) {
        while (conn_output_one(t, c))
            ;
        if (!c->rexmit_at && (c->snd_una != c->snd_max || conn_unsent(c)))
            rexmit_set(t, c);
    }
    if (c->ack_due >= 2)
        conn_ack(t, c);
}

/* ---- nbs/net/08_tcp.ipynb § The table ---- */

/* The end of a connection. Heap goes back at once, except data that the application may
 * still read; the slot goes back when no application holds it. */
static void conn_done(struct tcp_conn *c, enum tcp_error why)
{
    c->state = TCP_CLOSED;
    c->error = why;
    c->rexmit_at = c->delack_at = c->wait_at = 0;
    c->ack_due = 0;
    ring_free(&c->tx);
    if (why != TCP_ERROR_NONE || c->owner != TCP_OWNER_APP)
        ring_free(&c->rx);
    if (c->owner != TCP_OWNER_APP)
        c->used = false;
}

static struct tcp_conn *conn_find(struct tcp *t, uint32_t laddr, uint16_t lport,
                                  uint32_t raddr, uint16_t rport)
{
    for (struct tcp_conn *c = t->conn; c < t->conn + TCP_CONN_MAX; c++)
        if (c->used && c->state != TCP_CLOSED && c->rport == rport && c->lport == lport &&
            c->raddr == raddr && c->laddr == laddr)
            return c;
    return NULL;
}

/* Who gives way to a newcomer, least loss first. Of these states, only SYN_RCVD occurs in
 * the queue; all others have been released, or are held and do not yield. */
static const enum tcp_state yielding[] = {
    TCP_TIME_WAIT, TCP_SYN_RCVD, TCP_FIN_WAIT_2,
    TCP_CLOSING, TCP_LAST_ACK, TCP_FIN_WAIT_1,
};

/* May a newcomer have c's place? Never if an application holds the handle; in TIME_WAIT
 * at once; else when its peer has had a second to answer, or to finish. */
static bool conn_yields(const struct tcp *t, const struct tcp_conn *c, enum tcp_state s)
{
    if (!c->used || c->state != s || c->owner == TCP_OWNER_APP)
        return false;
    return s == TCP_TIME_WAIT || t->now_ms - c->since_ms >= TCP_GRACE_MS;
}

/* Ends the oldest connection in state s that yields; lport 0: on any port. */
static struct tcp_conn *conn_evict(struct tcp *t, enum tcp_state s, uint16_t lport)
{
    struct tcp_conn *oldest = NULL;
    for (struct tcp_conn *c = t->conn; c < t->conn + TCP_CONN_MAX; c++)
        if (conn_yields(t, c, s) && (!lport || c->lport == lport) &&
            (!oldest || (int32_t)(c->serial - oldest->serial) < 0))
            oldest = c;
    if (oldest) {
        t->stats.recycled++;
        conn_done(oldest, TCP_ERROR_TIMEOUT);
    }
    return oldest;
}

/* A slot and a receive buffer: the window we advertise is memory that we have. NULL: no
 * room. What was there before is forgotten. */
static struct tcp_conn *conn_new(struct tcp *t, uint32_t laddr, uint16_t lport,
                                 uint32_t raddr, uint16_t rport)
{
    struct tcp_conn *c = t->conn;
    while (c < t->conn + TCP_CONN_MAX && c->used)
        c++;
    if (c == t->conn + TCP_CONN_MAX)
        c = NULL;
    for (size_t i = 0; !c && i < sizeof yielding / sizeof *yielding; i++)
        c = conn_evict(t, yielding[i], 0);
    if (!c)
        return NULL;
    uint8_t *rx = kmalloc(TCP_RX_MAX);
    if (!rx)
        return NULL;
    memset(c, 0, sizeof *c);
    c->used = true;
    c->laddr = laddr, c->lport = lport, c->raddr = raddr, c->rport = rport;
    c->serial = ++t->serial;
    c->since_ms = t->now_ms;
    c->rx = (struct tcp_ring){ .buf = rx, .cap = TCP_RX_MAX };
    c->tx = (struct tcp_ring){ .cap = TCP_TX_MAX };
    c->mss = TCP_MSS_DEFAULT;
    c->rto_ms = TCP_RTO_INITIAL_MS;
    return c;
}

/* ---- nbs/net/08_tcp.ipynb § Opening ---- */

/* Sends our SYN (with an ACK, if the peer's came) and waits for the answer. */
static void conn_syn(struct tcp *t, struct tcp_conn *c)
{
    uint8_t flags = c->state == TCP_SYN_RCVD ? TCP_SYN | TCP_ACK : TCP_SYN;
    conn_emit(t, c, flags, c->iss, 0);
    rexmit_set(t, c);
}

static void conn_open(struct tcp *t, struct tcp_conn *c, enum tcp_state s, uint32_t iss)
{
    c->state = s;
    c->iss = c->snd_una = iss;
    c->snd_nxt = c->snd_max = c->tx_seq = iss + 1;
    c->rtt_timing = true;
    c->rtt_seq = iss;
    c->rtt_start_ms = t->now_ms;
    conn_syn(t, c);
}

/* What the peer's SYN tells. */
static void conn_learn(struct tcp_conn *c, const struct tcp_seg *s)
{
    c->irs = s->seq;
    c->rcv_nxt = s->seq + 1;
    c->rcv_adv = c->rcv_nxt + TCP_RX_MAX;
    uint16_t mss = s->mss ? s->mss : TCP_MSS_DEFAULT;
    c->mss = MIN(MAX(mss, TCP_MSS_MIN), TCP_MSS);
}

/* Both SYNs are acknowledged; `s` is the segment that did it. */
static void conn_established(struct tcp *t, struct tcp_conn *c, const struct tcp_seg *s)
{
    bool syn_lost = c->retries > 0;
    if (c->rtt_timing)
        rtt_sample(c, t->now_ms - c->rtt_start_ms);
    else if (syn_lost)
        c->rto_ms = TCP_RTO_AFTER_SYN_MS;
    c->rtt_timing = false;
    c->backoff = c->retries = 0;
    c->rexmit_at = 0;
    c->snd_una = c->iss + 1;
    c->snd_wnd = c->snd_wnd_max = s->window;
    c->snd_wl1 = s->seq;
    c->snd_wl2 = s->ack;
    cc_init(c, syn_lost);
    c->state = c->fin_queued ? TCP_FIN_WAIT_1 : TCP_ESTABLISHED;
    if (c->passive)
        t->stats.opened_passive++;
    else
        t->stats.opened_active++;
}

/* ---- nbs/net/08_tcp.ipynb § Closing ---- */

static void conn_time_wait(struct tcp *t, struct tcp_conn *c)
{
    c->state = TCP_TIME_WAIT;
    c->serial = ++t->serial;                 // from here on its age counts
    c->rexmit_at = 0;
    ring_free(&c->tx);
    timer_set(t, &c->wait_at, TCP_TIME_WAIT_MS);
}

static void conn_fin_wait_2(struct tcp *t, struct tcp_conn *c)
{
    c->state = TCP_FIN_WAIT_2;
    if (c->owner == TCP_OWNER_NONE)
        timer_set(t, &c->wait_at, TCP_FIN_WAIT_2_MS);
}

static void conn_reset(struct tcp *t, struct tcp_conn *c, enum tcp_error why)
{
    if (c->state != TCP_SYN_SENT && c->state != TCP_TIME_WAIT)
        conn_emit(t, c, TCP_RST | TCP_ACK, conn_seq(c), 0);
    conn_done(c, why);
}

/* ---- nbs/net/08_tcp.ipynb § What an ACK does ---- */

/* Everything before `ack` has arrived there. */
static void ack_new(struct tcp *t, struct tcp_conn *c, uint32_t ack)
{
    uint32_t acked = ack - c->snd_una, bytes = MIN(ack - c->tx_seq, c->tx.len);
    if (c->rtt_timing && tcp_seq_lt(c->rtt_seq, ack)) {
        rtt_sample(c, t->now_ms - c->rtt_start_ms);
        c->rtt_timing = false;
    }
    ring_drop(&c->tx, bytes);
    c->tx_seq += bytes;
    c->snd_una = ack;
    c->snd_nxt = tcp_seq_lt(c->snd_nxt, ack) ? ack : c->snd_nxt;
    c->retries = 0;
    c->rexmit_at = 0;                        // RFC 6298 §5.2 and §5.3
    cc_acked(t, c, acked);
    if (!c->recovering && tcp_seq_lt(c->recover, ack - 1))
        c->recover = ack - 1;                // just behind, not half a circle
    if (c->snd_una != c->snd_max)
        rexmit_set(t, c);
    if (c->tx.len == 0)
        ring_free(&c->tx);
}

/* RFC 9293 §3.10.7.4: an older segment must not bring back an older window. True if the
 * segment changed it. */
static bool ack_window(struct tcp *t, struct tcp_conn *c, const struct tcp_seg *s)
{
    if (!tcp_seq_lt(c->snd_wl1, s->seq) &&
        !(c->snd_wl1 == s->seq && tcp_seq_le(c->snd_wl2, s->ack)))
        return false;
    bool changed = c->snd_wnd != s->window;
    if (c->snd_wnd == 0 && s->window > 0) {
        c->backoff = c->retries = 0;         // probing is over
        c->rexmit_at = 0;
        c->snd_nxt = c->snd_una;             // a probe may have been thrown away
    }
    c->snd_wnd = s->window;
    c->snd_wnd_max = MAX(c->snd_wnd_max, c->snd_wnd);
    c->snd_wl1 = s->seq;
    c->snd_wl2 = s->ack;
    if (c->snd_wnd == 0 && c->owner != TCP_OWNER_NONE)
        c->retries = 0;                      // full, but alive: MUST-37
    (void)t;
    return changed;
}

/* Our FIN is acknowledged. False: that was the last thing, and c is gone. */
static bool ack_fin(struct tcp *t, struct tcp_conn *c)
{
    if (!c->fin_queued || c->snd_una != c->tx_seq + 1)
        return true;
    if (c->state == TCP_FIN_WAIT_1)
        conn_fin_wait_2(t, c);
    else if (c->state == TCP_CLOSING)
        conn_time_wait(t, c);
    else if (c->state == TCP_LAST_ACK)
        conn_done(c, TCP_ERROR_NONE);
    return c->state != TCP_CLOSED;
}

/* False: the segment has been dealt with (and c may be gone). */
static bool input_ack(struct tcp *t, struct tcp_conn *c, const struct tcp_seg *s)
{
    if (c->state == TCP_SYN_RCVD) {
        if (s->ack != c->iss + 1) {
            reset_reply(t, c->raddr, c->laddr, s);
            return false;
        }
        conn_established(t, c, s);
    }
    if (tcp_seq_lt(c->snd_max, s->ack) ||
        tcp_seq_lt(s->ack, c->snd_una - c->snd_wnd_max)) {
        conn_challenge(t, c);                // RFC 5961 §5.2
        return false;
    }
    if (tcp_seq_lt(s->ack, c->snd_una))
        return true;                         // old news, but its data may be new
    bool changed = ack_window(t, c, s);
    if (s->ack != c->snd_una)
        ack_new(t, c, s->ack);
    else if (c->snd_una != c->snd_max && seg_space(s) == 0 && !changed && c->snd_wnd)
        cc_duplicate(t, c);
    return ack_fin(t, c);
}

/* ---- nbs/net/08_tcp.ipynb § What data and FIN do ---- */

static void input_fin(struct tcp *t, struct tcp_conn *c)
{
    c->fin_rcvd = true;
    c->rcv_nxt++;
    c->ack_due = 2;
    if (c->state == TCP_ESTABLISHED)
        c->state = TCP_CLOSE_WAIT;
    else if (c->state == TCP_FIN_WAIT_1)
        c->state = TCP_CLOSING;
    else if (c->state == TCP_FIN_WAIT_2)
        conn_time_wait(t, c);
}

/* Data and FIN. ACKs at once what the peer should hear of at once: a gap, a gap filled, a
 * duplicate, every second segment; the rest waits TCP_DELACK_MS for company. */
static void input_text(struct tcp *t, struct tcp_conn *c, struct tcp_seg *s)
{
    if (seg_space(s) == 0 || c->fin_rcvd)
        return;
    if (!conn_trim(c, s)) {
        t->stats.rx_duplicate++;
        c->ack_due = 2;
        return;
    }
    bool gap = s->seq != c->rcv_nxt || c->n_ranges > 0;
    t->stats.rx_out_of_order += s->seq != c->rcv_nxt;
    conn_store(c, s);
    uint32_t have = c->n_ranges ? c->range[c->n_ranges - 1].end : c->rcv_nxt;
    if (s->flags & TCP_FIN && !c->fin_known && tcp_seq_le(have, s->seq + s->len)) {
        c->fin_known = true;
        c->fin_seq = s->seq + s->len;
    }
    c->ack_due = gap ? 2 : c->ack_due + 1;
    if (c->fin_known && c->rcv_nxt == c->fin_seq)
        input_fin(t, c);
    if (c->ack_due == 1)
        timer_set(t, &c->delack_at, TCP_DELACK_MS);
}

/* ---- nbs/net/08_tcp.ipynb § The order of the questions ---- */

/* RFC 9293 §3.10.7.4, from RFC 5961 §3: only the exact number resets; a guess that lands
 * in the window is asked back. In TIME_WAIT nobody may cut the wait short (RFC 1337). */
static void input_rst(struct tcp *t, struct tcp_conn *c, const struct tcp_seg *s)
{
    t->stats.rx_rst++;
    if (c->state == TCP_TIME_WAIT)
        return;
    if (s->seq == c->rcv_nxt)
        conn_done(c, TCP_ERROR_RESET);
    else if (s->seq - c->rcv_nxt < conn_window(c))
        conn_challenge(t, c);
}

/* A SYN where none belongs. True: it was the simultaneous open's SYN+ACK, and what
 * follows the SYN is to be processed. */
static bool input_late_syn(struct tcp *t, struct tcp_conn *c, struct tcp_seg *s)
{
    if (c->state != TCP_SYN_RCVD || s->seq != c->irs) {
        conn_challenge(t, c);                // RFC 5961 §4
        return false;
    }
    if (!(s->flags & TCP_ACK)) {
        conn_emit(t, c, TCP_SYN | TCP_ACK, c->iss, 0);
        c->rtt_timing = false;               // Karn: an ACK could answer either copy
        return false;
    }
    s->flags &= ~TCP_SYN;
    s->seq++;
    return true;
}

/* The states from SYN_RCVD on: the checks of RFC 9293 §3.10.7.4, but RST and SYN first,
 * as they bring a rule of their own. */
static void input_synchronized(struct tcp *t, struct tcp_conn *c, struct tcp_seg *s)
{
    if (s->flags & TCP_RST) {
        input_rst(t, c, s);
        return;
    }
    if (s->flags & TCP_SYN && !input_late_syn(t, c, s))
        return;
    if (!conn_acceptable(c, s)) {
        t->stats.rx_duplicate++;
        if (c->state == TCP_TIME_WAIT && s->flags & TCP_FIN)
            timer_set(t, &c->wait_at, TCP_TIME_WAIT_MS);
        if (seg_space(s))
            conn_ack(t, c);                  // our ACK was lost: say it again
        else
            conn_challenge(t, c);
        return;
    }
    if (!(s->flags & TCP_ACK) || !input_ack(t, c, s))
        return;
    if (s->len && c->state == TCP_FIN_WAIT_2 && c->owner == TCP_OWNER_NONE) {
        conn_reset(t, c, TCP_ERROR_ABORTED); // SHLD-3: nobody will ever read this
        return;
    }
    input_text(t, c, s);
    conn_output(t, c);
}

/* RFC 9293 §3.10.7.3. */
static void input_syn_sent(struct tcp *t, struct tcp_conn *c, struct tcp_seg *s)
{
    bool acked = s->flags & TCP_ACK && s->ack == c->iss + 1;
    if (s->flags & TCP_ACK && !acked) {
        reset_reply(t, c->raddr, c->laddr, s);
        return;
    }
    if (s->flags & TCP_RST) {
        t->stats.rx_rst++;
        if (acked)
            conn_done(c, TCP_ERROR_RESET);
        return;
    }
    if (!(s->flags & TCP_SYN))
        return;
    conn_learn(c, s);
    if (!acked) {                            // both called at the same moment
        c->state = TCP_SYN_RCVD;
        conn_syn(t, c);
        return;
    }
    s->flags &= ~TCP_SYN;
    s->seq++;
    conn_established(t, c, s);
    input_text(t, c, s);
    c->ack_due = 2;
    conn_output(t, c);
}

static struct tcp_listener *listener_find(struct tcp *t, uint16_t port)
{
    for (struct tcp_listener *l = t->listener; l < t->listener + TCP_LISTEN_MAX; l++)
        if (l->port == port && port)
            return l;
    return NULL;
}

/* Room for one more that nobody has accepted yet? */
static bool listener_room(struct tcp *t, const struct tcp_listener *l)
{
    int waiting = 0;
    for (struct tcp_conn *c = t->conn; c < t->conn + TCP_CONN_MAX; c++)
        waiting += c->used && c->lport == l->port && c->owner == TCP_OWNER_QUEUE;
    return waiting < l->backlog || conn_evict(t, TCP_SYN_RCVD, l->port);
}

/* RFC 9293 §3.10.7.2. `iss` is for the new connection. */
static void input_listen(struct tcp *t, struct tcp_listener *l, uint32_t src,
                         uint32_t dst, const struct tcp_seg *s, uint32_t iss)
{
    if (s->flags & TCP_RST)
        return;
    if (s->flags & TCP_ACK) {
        reset_reply(t, src, dst, s);
        return;
    }
    if (!(s->flags & TCP_SYN) || s->flags & TCP_FIN)
        return;
    struct tcp_conn *c = NULL;
    if (listener_room(t, l))
        c = conn_new(t, dst, s->dport, src, s->sport);
    if (!c) {
        t->stats.syn_dropped++;              // it will be sent again
        return;
    }
    c->passive = true;
    c->owner = TCP_OWNER_QUEUE;
    conn_learn(c, s);
    conn_open(t, c, TCP_SYN_RCVD, iss);
}

/* RFC 9293 §3.6.1 (MAY-2): a SYN beyond everything the old connection received can only
 * be a new one. It starts above all that the old one sent. */
static bool time_wait_reuse(struct tcp_conn *c, const struct tcp_seg *s, uint32_t *iss)
{
    if (c->state != TCP_TIME_WAIT || c->owner == TCP_OWNER_APP ||
        (s->flags & (TCP_SYN | TCP_ACK | TCP_RST)) != TCP_SYN ||
        !tcp_seq_lt(c->rcv_nxt, s->seq))
        return false;
    if (!tcp_seq_lt(c->snd_max, *iss))
        *iss = c->snd_max + 64000;
    conn_done(c, TCP_ERROR_NONE);
    return true;
}

static bool address_is_unicast(uint32_t a) { return a != 0 && a >> 29 != 7; }

void tcp_input(struct tcp *t, uint32_t src, uint32_t dst, const uint8_t *seg, size_t len,
               uint64_t now_ms)
{
    struct tcp_seg s;
    t->now_ms = now_ms;
    t->stats.rx_segments++;
    if (!address_is_unicast(src) || !address_is_unicast(dst) ||
        (t->local_ip && dst != t->local_ip))
        return;                              // MUST-57, MUST-63
    enum tcp_parse_result r = tcp_parse(&s, src, dst, seg, len);
    if (r != TCP_SEG_OK) {
        t->stats.rx_bad_checksum += r == TCP_SEG_BAD_CHECKSUM;
        t->stats.rx_malformed += r != TCP_SEG_BAD_CHECKSUM;
        return;
    }
    struct tcp_conn *c = conn_find(t, dst, s.dport, src, s.sport);
    struct tcp_listener *l = listener_find(t, s.dport);
    uint32_t iss = tcp_isn(t, dst, s.dport, src, s.sport);
    if (c && !(l && time_wait_reuse(c, &s, &iss))) {
        if (c->state == TCP_SYN_SENT)
            input_syn_sent(t, c, &s);
        else
            input_synchronized(t, c, &s);
    } else if (l) {
        input_listen(t, l, src, dst, &s, iss);
    } else {
        reset_reply(t, src, dst, &s);
    }
}

/* ---- nbs/net/08_tcp.ipynb § Time ---- */

/* The retransmission timer ran out. Also the persist timer: into a window of zero the
 * same step is a probe, which says nothing about the network and leaves cwnd alone. */
static void rexmit_fire(struct tcp *t, struct tcp_conn *c)
{
    bool opening = c->state == TCP_SYN_SENT || c->state == TCP_SYN_RCVD;
    if (c->retries++ >= (opening ? TCP_SYN_RETRIES_MAX : TCP_RETRIES_MAX)) {
        t->stats.timeouts++;
        conn_reset(t, c, TCP_ERROR_TIMEOUT);
        return;
    }
    c->backoff++;
    c->rtt_timing = false;
    if (opening) {
        t->stats.retransmits++;
        conn_syn(t, c);
        return;
    }
    bool probe = c->snd_wnd == 0, lost = !probe && c->snd_una != c->snd_max;
    if (lost && c->retries == 1)
        cc_loss(c);
    if (lost) {
        c->cwnd = c->mss;                    // RFC 5681 §3.1: the loss window
        c->recover = c->snd_max;
        c->recovering = false;
    }
    t->stats.retransmits += lost;
    t->stats.probes += probe;
    uint32_t n = conn_resend(t, c);
    c->snd_nxt = c->snd_una + (probe ? 0 : n);
    rexmit_set(t, c);
}

static bool due(uint64_t *at, uint64_t now_ms)
{
    if (*at == 0 || now_ms < *at)
        return false;
    *at = 0;
    return true;
}

static uint64_t earlier(uint64_t wake_ms, uint64_t at)
{
    return at && at < wake_ms ? at : wake_ms;
}

void tcp_tick(struct tcp *t, uint64_t now_ms)
{
    t->now_ms = now_ms;
    if (now_ms < t->wake_ms)
        return;
    t->wake_ms = UINT64_MAX;
    for (struct tcp_conn *c = t->conn; c < t->conn + TCP_CONN_MAX; c++) {
        if (!c->used)
            continue;
        if (due(&c->delack_at, now_ms))
            conn_ack(t, c);
        if (due(&c->rexmit_at, now_ms))
            rexmit_fire(t, c);
        if (due(&c->wait_at, now_ms))        // TIME_WAIT is over, or FIN_WAIT_2 too long
            conn_reset(t, c,
                       c->state == TCP_TIME_WAIT ? TCP_ERROR_NONE : TCP_ERROR_TIMEOUT);
        t->wake_ms = earlier(t->wake_ms, c->rexmit_at);
        t->wake_ms = earlier(t->wake_ms, c->delack_at);
        t->wake_ms = earlier(t->wake_ms, c->wait_at);
    }
}

/* ---- nbs/net/08_tcp.ipynb § What applications call ---- */

void tcp_init(struct tcp *t, uint32_t local_ip, const uint8_t secret[16], tcp_out out,
              void *ctx)
{
    memset(t, 0, sizeof *t);
    memcpy(t->secret, secret, 16);
    t->local_ip = local_ip;
    t->out = out;
    t->ctx = ctx;
    t->wake_ms = UINT64_MAX;
}

void tcp_set_address(struct tcp *t, uint32_t local_ip) { t->local_ip = local_ip; }

int tcp_listen(struct tcp *t, uint16_t port, int backlog)
{
    if (port == 0 || backlog < 1 || listener_find(t, port))
        return -1;
    for (struct tcp_listener *l = t->listener; l < t->listener + TCP_LISTEN_MAX; l++)
        if (l->port == 0) {
            *l = (struct tcp_listener){ port, backlog };
            return 0;
        }
    return -1;
}

struct tcp_conn *tcp_accept(struct tcp *t, uint16_t port)
{
    struct tcp_conn *first = NULL;
    for (struct tcp_conn *c = t->conn; c < t->conn + TCP_CONN_MAX; c++)
        if (c->used && c->owner == TCP_OWNER_QUEUE && c->lport == port &&
            c->state >= TCP_ESTABLISHED &&
            (!first || (int32_t)(c->serial - first->serial) < 0))
            first = c;
    if (first)
        first->owner = TCP_OWNER_APP;
    return first;
}

#define EPHEMERAL_FIRST 49152    // RFC 6335 §6
#define EPHEMERAL_COUNT 16384

/* RFC 6056 §3.3.3: where the search for a free port starts is a secret of each peer. */
struct tcp_conn *tcp_connect(struct tcp *t, uint32_t dst, uint16_t dport, uint64_t now_ms)
{
    t->now_ms = now_ms;
    if (!t->local_ip || !dport || !address_is_unicast(dst))
        return NULL;
    uint8_t tuple[12];
    put_tuple(tuple, t->local_ip, 0, dst, dport);
    uint32_t start = (uint32_t)tcp_siphash(t->secret, tuple, 12) + t->serial;
    uint16_t lport = 0;
    for (uint32_t i = 0; i <= TCP_CONN_MAX; i++) {    // more ports than connections
        lport = (uint16_t)(EPHEMERAL_FIRST + (start + i) % EPHEMERAL_COUNT);
        if (!conn_find(t, t->local_ip, lport, dst, dport) && !listener_find(t, lport))
            break;
    }
    struct tcp_conn *c = conn_new(t, t->local_ip, lport, dst, dport);
    if (!c)
        return NULL;
    c->owner = TCP_OWNER_APP;
    conn_open(t, c, TCP_SYN_SENT, tcp_isn(t, c->laddr, lport, dst, dport));
    return c;
}

size_t tcp_recv_avail(struct tcp *t, struct tcp_conn *c)
{
    (void)t;
    return c->rx.buf ? c->rx.len : 0;
}

/* The peer hears of the room we made when it is half the buffer, or when what it last
 * heard left it too little to send a full segment. */
size_t tcp_recv(struct tcp *t, struct tcp_conn *c, uint8_t *buf, size_t cap)
{
    uint32_t n = (uint32_t)MIN(tcp_recv_avail(t, c), cap);
    if (n == 0)
        return 0;
    ring_get(&c->rx, 0, buf, n);
    ring_drop(&c->rx, n);
    if (c->state < TCP_ESTABLISHED || c->fin_rcvd)
        return n;
    uint32_t gain = c->rcv_nxt + TCP_RX_MAX - c->rx.len - c->rcv_adv;
    if (gain >= TCP_RX_MAX / 2 || (gain >= TCP_MSS && conn_window(c) < TCP_MSS))
        conn_ack(t, c);
    return n;
}

static bool conn_takes_data(const struct tcp_conn *c)
{
    return !c->fin_queued && (c->state == TCP_ESTABLISHED || c->state == TCP_CLOSE_WAIT ||
                              c->state == TCP_SYN_SENT || c->state == TCP_SYN_RCVD);
}

size_t tcp_send_space(struct tcp *t, struct tcp_conn *c)
{
    (void)t;
    return conn_takes_data(c) ? TCP_TX_MAX - c->tx.len : 0;
}

size_t tcp_send(struct tcp *t, struct tcp_conn *c, const uint8_t *data, size_t len,
                uint64_t now_ms)
{
    t->now_ms = now_ms;
    uint32_t n = (uint32_t)MIN(tcp_send_space(t, c), len);
    if (n == 0)
        return 0;
    if (!c->tx.buf)
        c->tx.buf = kmalloc(TCP_TX_MAX);
    if (!c->tx.buf)
        return 0;
    ring_put(&c->tx, c->tx.len, data, n);
    c->tx.len += n;
    conn_output(t, c);
    return n;
}

size_t tcp_send_unacked(struct tcp *t, struct tcp_conn *c)
{
    (void)t;
    return c->tx.len;
}

void tcp_close(struct tcp *t, struct tcp_conn *c, uint64_t now_ms)
{
    t->now_ms = now_ms;
    if (c->state == TCP_CLOSED || c->fin_queued)
        return;
    if (c->state == TCP_SYN_SENT) {
        conn_done(c, TCP_ERROR_NONE);
        return;
    }
    c->fin_queued = true;                    // in SYN_RCVD it waits for ESTABLISHED
    if (c->state == TCP_ESTABLISHED)
        c->state = TCP_FIN_WAIT_1;
    else if (c->state == TCP_CLOSE_WAIT)
        c->state = TCP_LAST_ACK;
    conn_output(t, c);
}

void tcp_abort(struct tcp *t, struct tcp_conn *c, uint64_t now_ms)
{
    t->now_ms = now_ms;
    if (c->state != TCP_CLOSED)
        conn_reset(t, c, TCP_ERROR_ABORTED);
}

void tcp_release(struct tcp *t, struct tcp_conn *c)
{
    if (c->owner != TCP_OWNER_APP)
        return;
    c->owner = TCP_OWNER_NONE;
    c->since_ms = t->now_ms;                 // from here on its age counts
    c->serial = ++t->serial;
    ring_free(&c->rx);
    c->n_ranges = 0;
    if (c->state == TCP_CLOSED)
        c->used = false;
    else if (c->state == TCP_FIN_WAIT_2)
        conn_fin_wait_2(t, c);
    else
        tcp_close(t, c, t->now_ms);
}

enum tcp_state tcp_state(const struct tcp_conn *c) { return c->state; }

const char *tcp_state_name(enum tcp_state s)
{
    static const char *const names[] = {
        "CLOSED", "LISTEN", "SYN_SENT", "SYN_RCVD", "ESTABLISHED", "FIN_WAIT_1",
        "FIN_WAIT_2", "CLOSE_WAIT", "CLOSING", "LAST_ACK", "TIME_WAIT",
    };
    return (unsigned)s < sizeof names / sizeof *names ? names[s] : "?";
}

bool tcp_fin_came(const struct tcp_conn *c) { return c->fin_rcvd; }

bool tcp_eof(const struct tcp_conn *c) { return c->fin_rcvd && c->rx.len == 0; }

bool tcp_is_dead(const struct tcp_conn *c) { return c->state == TCP_CLOSED; }

int tcp_count(const struct tcp *t, enum tcp_state s)
{
    int n = 0;
    for (const struct tcp_conn *c = t->conn; c < t->conn + TCP_CONN_MAX; c++)
        n += c->used && c->state == s;
    return n;
}
