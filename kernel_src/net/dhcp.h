/* dhcp.h: tangled from nbs/net/07_ip.ipynb. Edit the notebook, not this file. */

/* ---- nbs/net/07_ip.ipynb § DHCP: asking for an address ---- */

/* dhcp.h: a DHCP client (RFC 2131) as a pure state machine.
 *
 * Messages (the payload of UDP, port 68) and a clock go in; messages to port 67 go out
 * through `send`; `changed` tells of an address won or lost. Neither callback may call
 * back. The first usable offer is taken. What is not here: DHCPDECLINE, DHCPRELEASE,
 * DHCPINFORM, and probing the address before use (see the chapter).
 * twin: dhcp.c (with base/string.c) */
#pragma once
#include "net/wire.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DHCP_SERVER_PORT   67
#define DHCP_CLIENT_PORT   68
#define DHCP_COOKIE_VALUE  0x63825363u    // RFC 2131 §3: "options follow"
#define DHCP_FLAG_BROADCAST 0x8000        // "answer to everybody: I have no address yet"

/* RFC 2131 §2 */
enum dhcp_field {
    DHCP_OP = 0, DHCP_HTYPE = 1, DHCP_HLEN = 2, DHCP_HOPS = 3, DHCP_XID = 4,
    DHCP_SECS = 8, DHCP_FLAGS = 10, DHCP_CIADDR = 12, DHCP_YIADDR = 16, DHCP_SIADDR = 20,
    DHCP_GIADDR = 24, DHCP_CHADDR = 28, DHCP_SNAME = 44, DHCP_FILE = 108,
    DHCP_COOKIE = 236, DHCP_OPTIONS = 240,
    DHCP_MESSAGE = 300,                   // what we send; RFC 1542 §2.1 wants this much
};

/* RFC 2132 */
enum dhcp_option {
    DHCP_OPT_PAD = 0, DHCP_OPT_NETMASK = 1, DHCP_OPT_ROUTER = 3, DHCP_OPT_ADDRESS = 50,
    DHCP_OPT_LEASE = 51, DHCP_OPT_OVERLOAD = 52, DHCP_OPT_TYPE = 53, DHCP_OPT_SERVER = 54,
    DHCP_OPT_WANTED = 55, DHCP_OPT_T1 = 58, DHCP_OPT_T2 = 59, DHCP_OPT_END = 255,
};

enum dhcp_type {
    DHCP_DISCOVER = 1, DHCP_OFFER = 2, DHCP_REQUEST = 3, DHCP_ACK = 5, DHCP_NAK = 6,
};

#define DHCP_VERDICTS(X) \
    X(DHCP_TAKEN,       "taken") \
    X(DHCP_SHORT,       "shorter than the fixed fields") \
    X(DHCP_NOT_REPLY,   "not a server's message for Ethernet") \
    X(DHCP_NO_COOKIE,   "no options behind it (plain BOOTP)") \
    X(DHCP_BAD_OPTION,  "an option is cut off or has a wrong length") \
    X(DHCP_NO_TYPE,     "no message type") \
    X(DHCP_NOT_OURS,    "of another exchange or for another station") \
    X(DHCP_UNEXPECTED,  "not what we wait for") \
    X(DHCP_UNUSABLE,    "what it offers cannot be used")
#define DHCP_ENUM(name, text) name,
enum dhcp_verdict { DHCP_VERDICTS(DHCP_ENUM) DHCP_VERDICT_COUNT };

struct dhcp_message {
    uint8_t type, overload;
    uint32_t xid, yiaddr;
    uint8_t chaddr[6];
    uint32_t netmask, router, server, lease_s, t1_s, t2_s;    // 0: the option was absent
};

enum dhcp_verdict dhcp_parse(struct dhcp_message *m, const uint8_t *data, size_t len);
const char *dhcp_verdict_name(enum dhcp_verdict v);

/* ---- nbs/net/07_ip.ipynb § The state machine ---- */

#define DHCP_RETRY_FIRST_MS  50
#define DHCP_RETRY_MAX_MS    64000        // RFC 2131 §4.1
#define DHCP_REQUESTS_MAX    10           // unanswered REQUESTs before starting over
#define DHCP_RENEW_MIN_MS    60000        // RFC 2131 §4.4.5
#define DHCP_FOREVER         0xffffffffu  // a lease that does not end

enum dhcp_state {
    DHCP_OFF, DHCP_SELECTING, DHCP_REQUESTING, DHCP_BOUND, DHCP_RENEWING, DHCP_REBINDING,
};

struct dhcp_lease {
    uint32_t addr, netmask, gateway, server;    // gateway 0: none
    uint32_t lease_s;
    uint64_t t1_ms, t2_ms, end_ms;              // on the caller's clock
};

typedef void (*dhcp_send)(void *ctx, uint32_t dst, const uint8_t *msg, size_t len);
typedef void (*dhcp_changed)(void *ctx, const struct dhcp_lease *lease);    // NULL: lost

struct dhcp {
    enum dhcp_state state;
    uint8_t mac[6];
    uint32_t xid, rng;                          // one xid for each exchange
    uint32_t tries, naks;                       // naks: refusals since the last lease
    uint64_t started_ms, asked_ms, next_ms;     // asked: first REQUEST of this exchange
    uint32_t offered, server;                   // what we are asking for, and whom
    struct dhcp_lease lease;
    uint32_t verdict[DHCP_VERDICT_COUNT];
    uint32_t sent;
    dhcp_send send;
    dhcp_changed changed;
    void *ctx;
};

/* `seed`: anything that differs between machines and starts. */
void dhcp_init(struct dhcp *d, const uint8_t mac[6], uint32_t seed, dhcp_send send,
               dhcp_changed changed, void *ctx);
void dhcp_start(struct dhcp *d, uint64_t now_ms);     // sends the first DISCOVER
enum dhcp_verdict dhcp_input(struct dhcp *d, const uint8_t *data, size_t len,
                             uint64_t now_ms);
void dhcp_tick(struct dhcp *d, uint64_t now_ms);
