/* ip.c: tangled from nbs/net/07_ip.ipynb. Edit the notebook, not this file. */

/* ---- nbs/net/07_ip.ipynb § A checksum that carries ---- */

/* ip.c: Ethernet II, ARP, IPv4, ICMP and UDP, pure. See ip.h for the protocol of its use.
 *
 * Top to bottom: checksum and text, frames, ARP, IPv4 in, IPv4 out, ICMP, UDP. Input is
 * parsed into a small struct of meanings first (eth_parse, arp_parse, ...) and acted upon
 * second. Nothing that arrives can make it read outside the frame or loop; what it sends
 * to others than the sender, or larger than what came, is held to a rate. */
#include "net/ip.h"

#include "base/string.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "ip_checksum swaps at the end");

uint16_t ip_checksum(const uint8_t *data, size_t len, uint32_t sum)
{
    uint64_t total = 0;
    uint32_t word;
    for (; len >= 4; data += 4, len -= 4) {
        __builtin_memcpy(&word, data, 4);
        total += word;
    }
    for (size_t i = 0; i < len; i++)
        total += (uint32_t)data[i] << 8 * i;
    while (total >> 16)
        total = (total & 0xffff) + (total >> 16);
    total = (uint64_t)sum + __builtin_bswap16((uint16_t)total);
    while (total >> 16)
        total = (total & 0xffff) + (total >> 16);
    return (uint16_t)~total;
}

/* ---- nbs/net/07_ip.ipynb § The shape of the stack ---- */

bool ip_parse(const char *text, uint32_t *addr)
{
    uint32_t value = 0;
    for (int part = 0; part < 4; part++) {
        if (part && *text++ != '.')
            return false;
        if (!isdigit(*text) || (*text == '0' && isdigit(text[1])))
            return false;
        uint32_t n = 0;
        for (int digits = 0; isdigit(*text); digits++) {
            if (digits == 3)
                return false;
            n = n * 10 + (uint32_t)(*text++ - '0');
        }
        if (n > 255)
            return false;
        value = value << 8 | n;
    }
    if (*text)
        return false;
    *addr = value;
    return true;
}

char *ip_format(char buf[16], uint32_t addr)
{
    char *p = buf;
    for (int shift = 24; shift >= 0; shift -= 8) {
        uint32_t n = addr >> shift & 0xff;
        if (n >= 100)
            *p++ = (char)('0' + n / 100);
        if (n >= 10)
            *p++ = (char)('0' + n / 10 % 10);
        *p++ = (char)('0' + n % 10);
        *p++ = shift ? '.' : '\0';
    }
    return buf;
}

int ip_prefix_len(uint32_t netmask)
{
    uint32_t host_bits = ~netmask;
    if (host_bits & (host_bits + 1))
        return -1;                   // ones after a zero: not a mask
    return netmask ? __builtin_popcount(netmask) : 0;
}

static void count(struct ip_stack *s, enum ip_event e) { s->stats.event[e]++; }

static const uint8_t mac_broadcast[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
static const uint8_t mac_none[6];

/* Takes one token, if the bucket has one at this time. Rate and burst are `per_s`. */
static bool bucket_take(struct ip_bucket *b, uint32_t per_s, uint64_t now_ms)
{
    uint64_t passed = now_ms > b->filled_ms ? now_ms - b->filled_ms : 0;
    uint32_t full = per_s * 1000;
    if (passed >= 1000)
        b->millitokens = full;
    else if (b->millitokens + (uint32_t)passed * per_s < full)
        b->millitokens += (uint32_t)passed * per_s;
    else
        b->millitokens = full;
    b->filled_ms = now_ms;
    if (b->millitokens < 1000)
        return false;
    b->millitokens -= 1000;
    return true;
}

void ip_init(struct ip_stack *s, const uint8_t mac[6], ip_tx tx, void *ctx)
{
    memset(s, 0, sizeof *s);
    memcpy(s->mac, mac, 6);
    s->tx = tx;
    s->ctx = ctx;
    s->arp_bucket.millitokens = ARP_ASKS_PER_S * 1000;
    s->icmp_bucket.millitokens = ICMP_ERRORS_PER_S * 1000;
}

/* ---- nbs/net/07_ip.ipynb § Ethernet: is it for us? ---- */

enum ip_verdict eth_parse(struct eth *e, struct view frame)
{
    const uint8_t *p = view_take(&frame, ETH_HEADER);
    if (!p)
        return IP_DROP_ETH_SHORT;
    e->dst = p + ETH_DST;
    e->src = p + ETH_SRC;
    e->type = get_be16(p + ETH_TYPE);
    e->payload = frame;
    return IP_RX_OK;
}

static enum ip_verdict eth_input(struct ip_stack *s, struct view frame)
{
    struct eth e;
    enum ip_verdict v = eth_parse(&e, frame);
    if (v != IP_RX_OK)
        return v;
    bool everybody = memcmp(e.dst, mac_broadcast, 6) == 0;
    if (!everybody && memcmp(e.dst, s->mac, 6) != 0)
        return IP_DROP_ETH_OTHER;
    if ((e.src[0] & 1) || memcmp(e.src, s->mac, 6) == 0)
        return IP_DROP_ETH_SOURCE;
    if (e.type == ETH_TYPE_ARP)
        return arp_input(s, e.payload);
    if (e.type == ETH_TYPE_IPV4)
        return ipv4_input(s, e.payload, everybody);
    return IP_DROP_ETH_TYPE;
}

enum ip_verdict ip_input(struct ip_stack *s, const uint8_t *frame, size_t len,
                         uint64_t now_ms)
{
    s->now_ms = now_ms;
    enum ip_verdict v = eth_input(s, (struct view){ frame, len });
    s->stats.rx_frames++;
    s->stats.verdict[v]++;
    return v;
}

/* Starts a frame; returns where its payload goes. */
static uint8_t *eth_begin(struct ip_stack *s, const uint8_t dst[6], uint16_t type)
{
    memcpy(s->frame + ETH_DST, dst, 6);
    memcpy(s->frame + ETH_SRC, s->mac, 6);
    put_be16(s->frame + ETH_TYPE, type);
    return s->frame + ETH_HEADER;
}

static void eth_end(struct ip_stack *s, size_t payload_len)
{
    count(s, IP_TX_FRAMES);
    s->tx(s->ctx, s->frame, ETH_HEADER + payload_len);
}

/* ---- nbs/net/07_ip.ipynb § ARP: who has this address? ---- */

enum ip_verdict arp_parse(struct arp *a, struct view packet)
{
    const uint8_t *p = view_take(&packet, ARP_PACKET);    // the rest is Ethernet padding
    if (!p)
        return IP_DROP_ARP_SHORT;
    a->op = get_be16(p + ARP_OP);
    a->sha = p + ARP_SHA;
    a->spa = get_be32(p + ARP_SPA);
    a->tpa = get_be32(p + ARP_TPA);
    if (get_be16(p + ARP_HTYPE) != 1 || get_be16(p + ARP_PTYPE) != ETH_TYPE_IPV4
        || p[ARP_HLEN] != 6 || p[ARP_PLEN] != 4)
        return IP_DROP_ARP_FIELDS;
    if ((a->op != ARP_REQUEST && a->op != ARP_REPLY) || (a->sha[0] & 1))
        return IP_DROP_ARP_FIELDS;
    return IP_RX_OK;
}

static void arp_emit(struct ip_stack *s, uint16_t op, const uint8_t eth_dst[6],
                     const uint8_t target_mac[6], uint32_t target)
{
    uint8_t *p = eth_begin(s, eth_dst, ETH_TYPE_ARP);
    put_be16(p + ARP_HTYPE, 1);
    put_be16(p + ARP_PTYPE, ETH_TYPE_IPV4);
    p[ARP_HLEN] = 6;
    p[ARP_PLEN] = 4;
    put_be16(p + ARP_OP, op);
    memcpy(p + ARP_SHA, s->mac, 6);
    put_be32(p + ARP_SPA, s->addr);
    memcpy(p + ARP_THA, target_mac, 6);
    put_be32(p + ARP_TPA, target);
    eth_end(s, ARP_PACKET);
}

/* ---- nbs/net/07_ip.ipynb § Whom to believe ---- */

static struct arp_entry *arp_find(struct ip_stack *s, uint32_t addr)
{
    for (int i = 0; i < ARP_ENTRIES_MAX; i++)
        if (s->arp[i].state != ARP_FREE && s->arp[i].addr == addr)
            return &s->arp[i];
    return NULL;
}

static void arp_forget(struct ip_stack *s, struct arp_entry *e)
{
    for (int i = 0; i < ARP_WAITING_MAX; i++) {
        if (s->waiting[i].hop != e->addr)
            continue;
        s->waiting[i].hop = 0;
        count(s, IP_ARP_WAIT_DROPPED);
    }
    e->state = ARP_FREE;
}

/* Lower: gives way sooner. */
static int arp_rank(const struct ip_stack *s, const struct arp_entry *e)
{
    if (e->state == ARP_FREE)
        return 0;
    if (e->addr == s->gateway)
        return 3;
    return e->state == ARP_ASKING ? 1 : 2;
}

static struct arp_entry *arp_new(struct ip_stack *s, uint32_t addr)
{
    struct arp_entry *e = &s->arp[0];
    for (int i = 1; i < ARP_ENTRIES_MAX; i++) {
        struct arp_entry *c = &s->arp[i];
        int rank = arp_rank(s, c), best = arp_rank(s, e);
        if (rank < best || (rank == best && c->used_ms < e->used_ms))
            e = c;
    }
    if (e->state != ARP_FREE) {
        count(s, IP_ARP_EVICTED);
        arp_forget(s, e);
    }
    *e = (struct arp_entry){ .state = ARP_ASKING, .addr = addr };
    return e;
}

static void arp_ask(struct ip_stack *s, struct arp_entry *e)
{
    if ((e->tries || e->state == ARP_KNOWN) && s->now_ms - e->asked_ms < ARP_RETRY_MS) {
        count(s, IP_ARP_HELD_BACK);
        return;
    }
    if (!bucket_take(&s->arp_bucket, ARP_ASKS_PER_S, s->now_ms)) {
        count(s, IP_ARP_HELD_BACK);
        return;
    }
    e->asked_ms = s->now_ms;
    if (e->tries < UINT8_MAX)
        e->tries++;
    count(s, IP_ARP_ASKED);
    arp_emit(s, ARP_REQUEST, mac_broadcast, mac_none, e->addr);
}

static void arp_wait(struct ip_stack *s, uint32_t hop, size_t frame_len)
{
    struct arp_waiting *w = &s->waiting[s->waiting_next++ % ARP_WAITING_MAX];
    if (w->hop)
        count(s, IP_ARP_WAIT_DROPPED);
    w->hop = hop;
    w->len = frame_len;
    memcpy(w->frame, s->frame, frame_len);
}

static void arp_release(struct ip_stack *s, const struct arp_entry *e)
{
    for (uint32_t i = 0; i < ARP_WAITING_MAX; i++) {
        struct arp_waiting *w = &s->waiting[(s->waiting_next + i) % ARP_WAITING_MAX];
        if (w->hop != e->addr)
            continue;
        w->hop = 0;
        memcpy(w->frame + ETH_DST, e->mac, 6);
        count(s, IP_TX_FRAMES);
        s->tx(s->ctx, w->frame, w->len);
    }
}

/* The frame in s->frame goes to `hop`: now, or when its MAC is known. */
static void arp_output(struct ip_stack *s, uint32_t hop, size_t payload_len)
{
    struct arp_entry *e = arp_find(s, hop);
    if (!e)
        e = arp_new(s, hop);
    e->used_ms = s->now_ms;
    if (e->state == ARP_ASKING) {
        arp_wait(s, hop, ETH_HEADER + payload_len);
        arp_ask(s, e);
        return;
    }
    memcpy(s->frame + ETH_DST, e->mac, 6);
    eth_end(s, payload_len);
    if (s->now_ms - e->known_ms >= ARP_REFRESH_MS)
        arp_ask(s, e);
}

static void arp_hear(struct ip_stack *s, struct arp_entry *e, const uint8_t mac[6],
                     bool answer)
{
    bool open = e->state == ARP_ASKING || s->now_ms - e->asked_ms < ARP_RETRY_MS;
    bool asked = answer && e->tries && open;
    bool same = e->state == ARP_KNOWN && memcmp(e->mac, mac, 6) == 0;
    if (!asked && !same) {
        arp_ask(s, e);
        return;
    }
    memcpy(e->mac, mac, 6);
    e->known_ms = s->now_ms;
    e->tries = 0;
    if (e->state == ARP_ASKING) {
        e->state = ARP_KNOWN;
        arp_release(s, e);
    }
}

static void arp_conflict(struct ip_stack *s, const struct arp *a)
{
    memcpy(s->conflict_mac, a->sha, 6);
    if (s->defended_ms && s->now_ms - s->defended_ms < ARP_DEFEND_MS)
        return;
    s->defended_ms = s->now_ms;
    arp_emit(s, ARP_REQUEST, mac_broadcast, mac_none, s->addr);
}

enum ip_verdict arp_input(struct ip_stack *s, struct view packet)
{
    struct arp a;
    enum ip_verdict v = arp_parse(&a, packet);
    if (v != IP_RX_OK)
        return v;
    if (s->addr == 0)
        return IP_DROP_ARP_OTHER;
    if (a.spa == s->addr) {
        arp_conflict(s, &a);
        return IP_DROP_ARP_CONFLICT;
    }
    struct arp_entry *e = arp_find(s, a.spa);
    if (e)
        arp_hear(s, e, a.sha, a.op == ARP_REPLY && a.tpa == s->addr);
    if (a.op == ARP_REQUEST && a.tpa == s->addr) {
        count(s, IP_ARP_ANSWERED);
        arp_emit(s, ARP_REPLY, a.sha, a.sha, a.spa);
        return IP_RX_ARP;
    }
    if (e)
        return IP_RX_ARP;
    return a.op == ARP_REPLY ? IP_DROP_ARP_UNASKED : IP_DROP_ARP_OTHER;
}

void ip_tick(struct ip_stack *s, uint64_t now_ms)
{
    s->now_ms = now_ms;
    if (now_ms == s->ticked_ms)
        return;
    s->ticked_ms = now_ms;
    for (int i = 0; i < ARP_ENTRIES_MAX; i++) {
        struct arp_entry *e = &s->arp[i];
        if (e->state == ARP_KNOWN && now_ms - e->known_ms >= ARP_KNOWN_MS) {
            arp_forget(s, e);
        } else if (e->state == ARP_ASKING && e->tries < ARP_TRIES_MAX) {
            if (!e->tries || now_ms - e->asked_ms >= ARP_RETRY_MS)
                arp_ask(s, e);
        } else if (e->state == ARP_ASKING && now_ms - e->asked_ms >= ARP_RETRY_MS) {
            count(s, IP_ARP_GAVE_UP);
            arp_forget(s, e);
        }
    }
}

void ip_set_address(struct ip_stack *s, uint32_t addr, uint32_t netmask, uint32_t gateway)
{
    if (s->addr == addr && s->netmask == netmask && s->gateway == gateway)
        return;
    s->addr = addr;
    s->netmask = netmask;
    s->gateway = gateway;
    memset(s->arp, 0, sizeof s->arp);
    memset(s->waiting, 0, sizeof s->waiting);
    s->defended_ms = 0;
    if (addr == 0)
        return;
    arp_emit(s, ARP_REQUEST, mac_broadcast, mac_none, addr);
    if (gateway)
        arp_ask(s, arp_new(s, gateway));
}

/* ---- nbs/net/07_ip.ipynb § IPv4: reading a packet ---- */

enum ip_verdict ipv4_parse(struct ipv4 *ip, struct view packet)
{
    if (packet.len < IPV4_HEADER)
        return IP_DROP_SHORT;
    const uint8_t *p = packet.at;
    size_t header_len = (size_t)(p[IPV4_VERSION_IHL] & 15) * 4;
    size_t total = get_be16(p + IPV4_LENGTH);
    if (p[IPV4_VERSION_IHL] >> 4 != 4)
        return IP_DROP_VERSION;
    if (header_len < IPV4_HEADER || header_len > packet.len)
        return IP_DROP_HEADER;
    if (total < header_len || total > packet.len)
        return IP_DROP_LENGTH;
    if (ip_checksum(p, header_len, 0) != 0)
        return IP_DROP_CHECKSUM;
    *ip = (struct ipv4){
        .header = p, .header_len = header_len,
        .src = get_be32(p + IPV4_SRC), .dst = get_be32(p + IPV4_DST),
        .fragment = get_be16(p + IPV4_FRAGMENT),
        .proto = p[IPV4_PROTO], .ttl = p[IPV4_TTL],
        .payload = { p + header_len, total - header_len },
    };
    return IP_RX_OK;
}

static bool ip_is_everybody(const struct ip_stack *s, uint32_t dst)
{
    if (dst == IP_BROADCAST)
        return true;
    return s->addr && s->netmask < 0xfffffffe && dst == (s->addr | ~s->netmask);
}

static bool ip_is_source(const struct ip_stack *s, uint32_t src)
{
    return src != 0 && src >> 28 < 14            // 224.0.0.0 up: groups and reserved
        && src >> 24 != 127 && src != s->addr && !ip_is_everybody(s, src);
}

enum ip_verdict ipv4_input(struct ip_stack *s, struct view packet, bool everybody)
{
    struct ipv4 ip;
    enum ip_verdict v = ipv4_parse(&ip, packet);
    if (v != IP_RX_OK)
        return v;
    ip.everybody = everybody || ip_is_everybody(s, ip.dst);
    bool ours = s->addr && ip.dst == s->addr;
    bool offered = !s->addr && !everybody && ip.proto == IP_PROTO_UDP;
    if (!ours && !offered && !ip_is_everybody(s, ip.dst))
        return IP_DROP_OTHER;
    if (everybody && !ip_is_everybody(s, ip.dst))
        return IP_DROP_MISMATCH;
    if (!ip_is_source(s, ip.src))
        return IP_DROP_SOURCE;
    if (ip.fragment & (IP_MF | IP_OFFSET))
        return IP_DROP_FRAGMENT;
    return ip_deliver(s, &ip);
}

/* ---- nbs/net/07_ip.ipynb § IPv4: sending one ---- */

static uint8_t *ip_begin(struct ip_stack *s)
{
    return s->frame + ETH_HEADER + IPV4_HEADER;
}

/* Sends `len` bytes that stand at ip_begin. */
static bool ip_emit(struct ip_stack *s, uint8_t proto, uint32_t dst, size_t len)
{
    bool everybody = ip_is_everybody(s, dst);
    if (!s->addr && dst != IP_BROADCAST) {
        count(s, IP_TX_NO_ADDRESS);
        return false;
    }
    uint32_t hop = ((dst ^ s->addr) & s->netmask) == 0 ? dst : s->gateway;
    bool nowhere = hop == 0 || hop == s->addr || dst >> 28 >= 14 || dst >> 24 == 127;
    if (!everybody && nowhere) {
        count(s, IP_TX_NO_ROUTE);
        return false;
    }
    uint8_t *p = eth_begin(s, mac_broadcast, ETH_TYPE_IPV4);
    p[IPV4_VERSION_IHL] = 0x45;
    p[IPV4_TOS] = 0;
    put_be16(p + IPV4_LENGTH, (uint16_t)(IPV4_HEADER + len));
    put_be16(p + IPV4_ID, 0);
    put_be16(p + IPV4_FRAGMENT, IP_DF);
    p[IPV4_TTL] = IP_TTL;
    p[IPV4_PROTO] = proto;
    put_be16(p + IPV4_CHECKSUM, 0);
    put_be32(p + IPV4_SRC, s->addr);
    put_be32(p + IPV4_DST, dst);
    put_be16(p + IPV4_CHECKSUM, ip_checksum(p, IPV4_HEADER, 0));
    if (everybody)
        eth_end(s, IPV4_HEADER + len);
    else
        arp_output(s, hop, IPV4_HEADER + len);
    return true;
}

bool ip_send(struct ip_stack *s, uint8_t proto, uint32_t dst, const uint8_t *payload,
             size_t len, uint64_t now_ms)
{
    s->now_ms = now_ms;
    if (len > IP_PAYLOAD_MAX) {
        count(s, IP_TX_TOO_LONG);
        return false;
    }
    memcpy(ip_begin(s), payload, len);
    return ip_emit(s, proto, dst, len);
}

/* ---- nbs/net/07_ip.ipynb § ICMP: answering and complaining ---- */

enum ip_verdict icmp_input(struct ip_stack *s, const struct ipv4 *ip)
{
    const uint8_t *m = ip->payload.at;
    size_t len = ip->payload.len;
    if (len < ICMP_HEADER)
        return IP_DROP_ICMP_SHORT;
    if (ip_checksum(m, len, 0) != 0)
        return IP_DROP_ICMP_CHECKSUM;
    if (m[ICMP_TYPE] != ICMP_ECHO || m[ICMP_CODE] != 0 || len > IP_PAYLOAD_MAX)
        return IP_DROP_ICMP_TYPE;
    if (ip->everybody)
        return IP_DROP_ICMP_BROADCAST;
    uint8_t *p = ip_begin(s);
    memcpy(p, m, len);
    p[ICMP_TYPE] = ICMP_ECHO_REPLY;
    put_be16(p + ICMP_CHECKSUM, 0);
    put_be16(p + ICMP_CHECKSUM, ip_checksum(p, len, 0));
    ip_emit(s, IP_PROTO_ICMP, ip->src, len);
    return IP_RX_ECHO;
}

static void icmp_unreachable(struct ip_stack *s, const struct ipv4 *ip, uint8_t code)
{
    if (ip->everybody || !s->addr)
        return;
    if (!bucket_take(&s->icmp_bucket, ICMP_ERRORS_PER_S, s->now_ms)) {
        count(s, IP_UNREACHABLE_HELD_BACK);
        return;
    }
    size_t quoted = ip->header_len + (ip->payload.len < 8 ? ip->payload.len : 8);
    uint8_t *p = ip_begin(s);
    p[ICMP_TYPE] = ICMP_UNREACHABLE;
    p[ICMP_CODE] = code;
    put_be16(p + ICMP_CHECKSUM, 0);
    put_be32(p + ICMP_REST, 0);
    memcpy(p + ICMP_HEADER, ip->header, quoted);
    put_be16(p + ICMP_CHECKSUM, ip_checksum(p, ICMP_HEADER + quoted, 0));
    if (ip_emit(s, IP_PROTO_ICMP, ip->src, ICMP_HEADER + quoted))
        count(s, IP_UNREACHABLE_SENT);
}

/* ---- nbs/net/07_ip.ipynb § UDP: ports ---- */

uint32_t ip_pseudo_sum(uint32_t src, uint32_t dst, uint8_t proto, size_t len)
{
    return (src >> 16) + (src & 0xffff) + (dst >> 16) + (dst & 0xffff) + proto
         + (uint32_t)(len & 0xffff);
}

enum ip_verdict udp_parse(struct udp *u, const struct ipv4 *ip)
{
    struct view v = ip->payload;
    const uint8_t *p = view_take(&v, UDP_HEADER);
    if (!p)
        return IP_DROP_UDP_SHORT;
    size_t len = get_be16(p + UDP_LENGTH);
    if (len < UDP_HEADER || len > ip->payload.len)
        return IP_DROP_UDP_LENGTH;
    if (get_be16(p + UDP_CHECKSUM)
        && ip_checksum(p, len, ip_pseudo_sum(ip->src, ip->dst, IP_PROTO_UDP, len)) != 0)
        return IP_DROP_UDP_CHECKSUM;
    *u = (struct udp){ get_be16(p + UDP_SPORT), get_be16(p + UDP_DPORT),
                       { v.at, len - UDP_HEADER } };
    return IP_RX_OK;
}

enum ip_verdict udp_input(struct ip_stack *s, const struct ipv4 *ip)
{
    struct udp u;
    enum ip_verdict v = udp_parse(&u, ip);
    if (v != IP_RX_OK)
        return v;
    for (int i = 0; i < UDP_BINDS_MAX; i++) {
        struct udp_bind *b = &s->bind[i];
        if (!b->fn || b->port != u.dport)
            continue;
        b->fn(b->ctx, ip->src, u.sport, u.data.at, u.data.len, s->now_ms);
        return IP_RX_UDP;
    }
    icmp_unreachable(s, ip, ICMP_CODE_PORT);
    return IP_DROP_UDP_PORT;
}

bool udp_send(struct ip_stack *s, uint16_t sport, uint32_t dst, uint16_t dport,
              const uint8_t *data, size_t len, uint64_t now_ms)
{
    s->now_ms = now_ms;
    if (len > UDP_PAYLOAD_MAX) {
        count(s, IP_TX_TOO_LONG);
        return false;
    }
    uint8_t *p = ip_begin(s);
    put_be16(p + UDP_SPORT, sport);
    put_be16(p + UDP_DPORT, dport);
    put_be16(p + UDP_LENGTH, (uint16_t)(UDP_HEADER + len));
    put_be16(p + UDP_CHECKSUM, 0);
    memcpy(p + UDP_HEADER, data, len);
    uint32_t pseudo = ip_pseudo_sum(s->addr, dst, IP_PROTO_UDP, UDP_HEADER + len);
    uint16_t sum = ip_checksum(p, UDP_HEADER + len, pseudo);
    put_be16(p + UDP_CHECKSUM, sum ? sum : 0xffff);
    return ip_emit(s, IP_PROTO_UDP, dst, UDP_HEADER + len);
}

enum ip_verdict ip_deliver(struct ip_stack *s, const struct ipv4 *ip)
{
    if (ip->proto == IP_PROTO_ICMP)
        return icmp_input(s, ip);
    if (ip->proto == IP_PROTO_UDP)
        return udp_input(s, ip);
    for (int i = 0; i < IP_HANDLERS_MAX; i++) {
        struct ip_proto *h = &s->proto[i];
        if (!h->fn || h->proto != ip->proto)
            continue;
        h->fn(h->ctx, ip->src, ip->dst, ip->payload.at, ip->payload.len, s->now_ms);
        return IP_RX_HANDLER;
    }
    icmp_unreachable(s, ip, ICMP_CODE_PROTOCOL);
    return IP_DROP_PROTOCOL;
}

bool ip_on_proto(struct ip_stack *s, uint8_t proto, ip_handler fn, void *ctx)
{
    struct ip_proto *room = NULL;
    for (int i = IP_HANDLERS_MAX - 1; i >= 0; i--) {
        if (!s->proto[i].fn)
            room = &s->proto[i];
        else if (s->proto[i].proto == proto)
            return false;
    }
    if (!room || !fn || proto == IP_PROTO_ICMP || proto == IP_PROTO_UDP)
        return false;
    *room = (struct ip_proto){ proto, fn, ctx };
    return true;
}

bool udp_bind(struct ip_stack *s, uint16_t port, udp_handler fn, void *ctx)
{
    struct udp_bind *room = NULL;
    for (int i = UDP_BINDS_MAX - 1; i >= 0; i--) {
        if (!s->bind[i].fn)
            room = &s->bind[i];
        else if (s->bind[i].port == port)
            return false;
    }
    if (!room || !fn)
        return false;
    *room = (struct udp_bind){ port, fn, ctx };
    return true;
}

#define IP_TEXT(name, text) [name] = text,
const char *ip_verdict_name(enum ip_verdict v)
{
    static const char *const names[IP_VERDICT_COUNT] = { IP_VERDICTS(IP_TEXT) };
    return (unsigned)v < IP_VERDICT_COUNT ? names[v] : "?";
}

const char *ip_event_name(enum ip_event e)
{
    static const char *const names[IP_EVENT_COUNT] = { IP_EVENTS(IP_TEXT) };
    return (unsigned)e < IP_EVENT_COUNT ? names[e] : "?";
}
