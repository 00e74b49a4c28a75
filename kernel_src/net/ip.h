/* ip.h: tangled from nbs/net/07_ip.ipynb. Edit the notebook, not this file. */

/* ---- nbs/net/07_ip.ipynb § The shape of the stack ---- */

/* ip.h: Ethernet II, ARP, IPv4, ICMP and UDP for one station with one address.
 *
 * Pure: frames and a clock in milliseconds go in, frames come out through `tx`
 * (which must not call back). Addresses are uint32_t in host order, 0 meaning none; MAC
 * addresses are 6 bytes. Every frame that comes in ends in exactly one counter of
 * enum ip_verdict. Outgoing packets are never fragmented; incoming fragments are dropped.
 * Used by net.c (the kernel's one instance), dhcp.c, tcp.c.
 * twin: ip.c (with base/string.c) */
#pragma once
#include "net/wire.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where the fields stand: RFC 894, RFC 826, RFC 791 §3.1, RFC 792, RFC 768. */
enum eth_field { ETH_DST = 0, ETH_SRC = 6, ETH_TYPE = 12, ETH_HEADER = 14 };
enum arp_field {
    ARP_HTYPE = 0, ARP_PTYPE = 2, ARP_HLEN = 4, ARP_PLEN = 5, ARP_OP = 6,
    ARP_SHA = 8, ARP_SPA = 14, ARP_THA = 18, ARP_TPA = 24, ARP_PACKET = 28,
};
enum ipv4_field {
    IPV4_VERSION_IHL = 0, IPV4_TOS = 1, IPV4_LENGTH = 2, IPV4_ID = 4, IPV4_FRAGMENT = 6,
    IPV4_TTL = 8, IPV4_PROTO = 9, IPV4_CHECKSUM = 10, IPV4_SRC = 12, IPV4_DST = 16,
    IPV4_HEADER = 20,
};
enum icmp_field {
    ICMP_TYPE = 0, ICMP_CODE = 1, ICMP_CHECKSUM = 2, ICMP_REST = 4, ICMP_HEADER = 8,
};
enum udp_field {
    UDP_SPORT = 0, UDP_DPORT = 2, UDP_LENGTH = 4, UDP_CHECKSUM = 6, UDP_HEADER = 8,
};

#define ETH_MTU          1500
#define ETH_FRAME_MAX    (ETH_HEADER + ETH_MTU)
#define ETH_TYPE_IPV4    0x0800
#define ETH_TYPE_ARP     0x0806

#define ARP_REQUEST      1
#define ARP_REPLY        2
#define ARP_ENTRIES_MAX  32       // neighbours remembered
#define ARP_WAITING_MAX  8        // packets, for all neighbours together, awaiting ARP
#define ARP_RETRY_MS     1000     // RFC 1122 §2.3.2.1: between requests for one address
#define ARP_TRIES_MAX    3
#define ARP_REFRESH_MS   45000    // an entry in use is asked for again from here on
#define ARP_KNOWN_MS     60000    // and forgotten here
#define ARP_ASKS_PER_S   50       // requests a second, for all addresses together
#define ARP_DEFEND_MS    10000    // RFC 5227 §2.4: DEFEND_INTERVAL

#define IP_PAYLOAD_MAX   (ETH_MTU - IPV4_HEADER)
#define IP_TTL           64
#define IP_DF            0x4000   // flags and offset, 16 bits: don't fragment
#define IP_MF            0x2000   // more fragments
#define IP_OFFSET        0x1fff
#define IP_BROADCAST     0xffffffffu
#define IP_PROTO_ICMP    1
#define IP_PROTO_TCP     6
#define IP_PROTO_UDP     17
#define IP_HANDLERS_MAX  4

#define ICMP_ECHO_REPLY      0
#define ICMP_UNREACHABLE     3
#define ICMP_ECHO            8
#define ICMP_CODE_PROTOCOL   2    // codes of ICMP_UNREACHABLE
#define ICMP_CODE_PORT       3
#define ICMP_ERRORS_PER_S    10   // error messages a second, and at once

#define UDP_PAYLOAD_MAX  (IP_PAYLOAD_MAX - UDP_HEADER)
#define UDP_BINDS_MAX    8

#define IP_VERDICTS(X) \
    X(IP_RX_OK,             "") \
    X(IP_RX_ARP,            "ARP taken") \
    X(IP_RX_ECHO,           "ICMP echo answered") \
    X(IP_RX_UDP,            "UDP delivered") \
    X(IP_RX_HANDLER,        "delivered to a protocol above") \
    X(IP_DROP_ETH_SHORT,    "dropped: shorter than an Ethernet header") \
    X(IP_DROP_ETH_OTHER,    "dropped: frame for another station") \
    X(IP_DROP_ETH_SOURCE,   "dropped: impossible source MAC") \
    X(IP_DROP_ETH_TYPE,     "dropped: neither IPv4 nor ARP") \
    X(IP_DROP_ARP_SHORT,    "dropped: ARP too short") \
    X(IP_DROP_ARP_FIELDS,   "dropped: ARP not of Ethernet and IPv4") \
    X(IP_DROP_ARP_OTHER,    "dropped: ARP between others") \
    X(IP_DROP_ARP_UNASKED,  "dropped: ARP reply nobody asked for") \
    X(IP_DROP_ARP_CONFLICT, "dropped: ARP claims our address") \
    X(IP_DROP_SHORT,        "dropped: shorter than an IPv4 header") \
    X(IP_DROP_VERSION,      "dropped: IP version is not 4") \
    X(IP_DROP_HEADER,       "dropped: IPv4 header length") \
    X(IP_DROP_LENGTH,       "dropped: IPv4 total length") \
    X(IP_DROP_CHECKSUM,     "dropped: IPv4 header checksum") \
    X(IP_DROP_OTHER,        "dropped: packet for another address") \
    X(IP_DROP_MISMATCH,     "dropped: sent to everybody, addressed to one") \
    X(IP_DROP_SOURCE,       "dropped: impossible source address") \
    X(IP_DROP_FRAGMENT,     "dropped: fragment (not reassembled)") \
    X(IP_DROP_PROTOCOL,     "dropped: no such protocol here") \
    X(IP_DROP_ICMP_SHORT,   "dropped: ICMP too short") \
    X(IP_DROP_ICMP_CHECKSUM, "dropped: ICMP checksum") \
    X(IP_DROP_ICMP_TYPE,    "dropped: ICMP message not acted upon") \
    X(IP_DROP_ICMP_BROADCAST, "dropped: ICMP echo to everybody") \
    X(IP_DROP_UDP_SHORT,    "dropped: UDP too short") \
    X(IP_DROP_UDP_LENGTH,   "dropped: UDP length") \
    X(IP_DROP_UDP_CHECKSUM, "dropped: UDP checksum") \
    X(IP_DROP_UDP_PORT,     "dropped: nobody listens on that UDP port")
#define IP_EVENTS(X) \
    X(IP_TX_FRAMES,         "frames sent") \
    X(IP_TX_TOO_LONG,       "not sent: does not fit in one frame") \
    X(IP_TX_NO_ADDRESS,     "not sent: we have no address yet") \
    X(IP_TX_NO_ROUTE,       "not sent: no route") \
    X(IP_ARP_ASKED,         "ARP requests sent") \
    X(IP_ARP_HELD_BACK,     "ARP requests held back by a rate limit") \
    X(IP_ARP_ANSWERED,      "ARP requests answered") \
    X(IP_ARP_GAVE_UP,       "ARP: no answer, gave up") \
    X(IP_ARP_EVICTED,       "ARP entries that made room for others") \
    X(IP_ARP_WAIT_DROPPED,  "packets dropped while waiting for ARP") \
    X(IP_UNREACHABLE_SENT,  "ICMP unreachable sent") \
    X(IP_UNREACHABLE_HELD_BACK, "ICMP unreachable held back by the rate limit")

#define IP_ENUM(name, text) name,
enum ip_verdict { IP_VERDICTS(IP_ENUM) IP_VERDICT_COUNT };
enum ip_event { IP_EVENTS(IP_ENUM) IP_EVENT_COUNT };

struct ip_stats {
    uint32_t rx_frames;                     // the sum of all verdicts, always
    uint32_t verdict[IP_VERDICT_COUNT];
    uint32_t event[IP_EVENT_COUNT];
};

enum arp_state { ARP_FREE, ARP_ASKING, ARP_KNOWN };

struct arp_entry {
    enum arp_state state;
    uint32_t addr;
    uint8_t mac[6];                  // meaningful in ARP_KNOWN
    uint8_t tries;                   // requests since the last answer
    uint64_t asked_ms, known_ms, used_ms;
};

/* A complete frame, but for the destination MAC. */
struct arp_waiting {
    uint32_t hop;                    // 0: the slot is free
    size_t len;
    uint8_t frame[ETH_FRAME_MAX];
};

/* So much a second: tokens in thousandths. */
struct ip_bucket {
    uint32_t millitokens;
    uint64_t filled_ms;
};

typedef void (*ip_tx)(void *ctx, const uint8_t *frame, size_t len);
typedef void (*ip_handler)(void *ctx, uint32_t src, uint32_t dst, const uint8_t *payload,
                           size_t len, uint64_t now_ms);
typedef void (*udp_handler)(void *ctx, uint32_t src, uint16_t sport, const uint8_t *data,
                            size_t len, uint64_t now_ms);

struct ip_proto { uint8_t proto; ip_handler fn; void *ctx; };
struct udp_bind { uint16_t port; udp_handler fn; void *ctx; };

struct ip_stack {
    uint8_t mac[6];
    uint32_t addr, netmask, gateway;         // host order; 0: none
    uint64_t now_ms;                         // the clock as last told
    ip_tx tx;
    void *ctx;
    struct ip_stats stats;
    struct arp_entry arp[ARP_ENTRIES_MAX];
    struct arp_waiting waiting[ARP_WAITING_MAX];
    uint32_t waiting_next;                   // the slot to write next, modulo the size
    uint64_t ticked_ms, defended_ms;
    uint8_t conflict_mac[6];                 // who claimed our address last
    struct ip_bucket arp_bucket, icmp_bucket;
    struct ip_proto proto[IP_HANDLERS_MAX];
    struct udp_bind bind[UDP_BINDS_MAX];
    uint8_t frame[ETH_FRAME_MAX];            // the frame being built
};

/* One's complement sum (RFC 1071) of `data` added to the running `sum`, folded and
 * complemented: what goes into a checksum field. Over data that includes a right
 * checksum: 0. */
uint16_t ip_checksum(const uint8_t *data, size_t len, uint32_t sum);
/* The running sum over the pseudo header that UDP and TCP count in: RFC 768. */
uint32_t ip_pseudo_sum(uint32_t src, uint32_t dst, uint8_t proto, size_t len);

bool ip_parse(const char *text, uint32_t *addr);   // "10.0.2.15", nothing else
char *ip_format(char buf[16], uint32_t addr);      // returns buf
int ip_prefix_len(uint32_t netmask);               // 24 for 255.255.255.0; -1: no mask

void ip_init(struct ip_stack *s, const uint8_t mac[6], ip_tx tx, void *ctx);
/* Also announces the address and asks for the gateway's MAC. addr 0: back to none. */
void ip_set_address(struct ip_stack *s, uint32_t addr, uint32_t netmask,
                    uint32_t gateway);
enum ip_verdict ip_input(struct ip_stack *s, const uint8_t *frame, size_t len,
                         uint64_t now_ms);
void ip_tick(struct ip_stack *s, uint64_t now_ms);

/* True: on its way, or waiting for ARP. False: nothing was sent, an ip_event says why. */
bool ip_send(struct ip_stack *s, uint8_t proto, uint32_t dst, const uint8_t *payload,
             size_t len, uint64_t now_ms);
bool ip_on_proto(struct ip_stack *s, uint8_t proto, ip_handler fn, void *ctx);
bool udp_bind(struct ip_stack *s, uint16_t port, udp_handler fn, void *ctx);
bool udp_send(struct ip_stack *s, uint16_t sport, uint32_t dst, uint16_t dport,
              const uint8_t *data, size_t len, uint64_t now_ms);

const char *ip_verdict_name(enum ip_verdict v);
const char *ip_event_name(enum ip_event e);

/* Inside of ip_input, floor by floor; exposed for the tests. `everybody`: the frame or
 * the packet was a broadcast. */
struct eth { const uint8_t *dst, *src; uint16_t type; struct view payload; };
struct arp { uint16_t op; const uint8_t *sha; uint32_t spa, tpa; };
struct ipv4 {
    const uint8_t *header;
    size_t header_len;               // with options
    uint32_t src, dst;
    uint16_t fragment;               // flags and offset
    uint8_t proto, ttl;
    bool everybody;
    struct view payload;
};
struct udp { uint16_t sport, dport; struct view data; };

enum ip_verdict eth_parse(struct eth *e, struct view frame);
enum ip_verdict arp_parse(struct arp *a, struct view packet);
enum ip_verdict ipv4_parse(struct ipv4 *ip, struct view packet);
enum ip_verdict udp_parse(struct udp *u, const struct ipv4 *ip);
enum ip_verdict arp_input(struct ip_stack *s, struct view packet);
enum ip_verdict ipv4_input(struct ip_stack *s, struct view packet, bool everybody);
enum ip_verdict ip_deliver(struct ip_stack *s, const struct ipv4 *ip);
enum ip_verdict icmp_input(struct ip_stack *s, const struct ipv4 *ip);
enum ip_verdict udp_input(struct ip_stack *s, const struct ipv4 *ip);
