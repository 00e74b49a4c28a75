/* net.c: tangled from nbs/net/07_ip.ipynb. Edit the notebook, not this file. */

/* ---- nbs/net/07_ip.ipynb § The edge: a card, a clock, a configuration ---- */

/* net.c: connects the IP stack to the network card, the clock and the configuration.
 *
 * Order 50: the address is set (static) or asked for (DHCP). From then on the poll
 * function moves frames from the card into the stack, a bounded number at a time, and
 * lets time pass. */
#include "net/net.h"

#include "base/config.h"
#include "base/kernel.h"
#include "base/stdio.h"
#include "base/string.h"
#include "base/time.h"
#include "net/dhcp.h"
#include "net/netdev.h"

CONFIG_KEY(ip, "IPv4 address, as 10.0.2.15 or 10.0.2.15/24; default: ask a DHCP server");
CONFIG_KEY(netmask, "netmask of a fixed address; default 255.255.255.0");
CONFIG_KEY(gateway, "router of a fixed address; default: none");

_Static_assert(NETDEV_FRAME_MAX == ETH_FRAME_MAX, "card and stack agree on a frame");

struct ip_stack net_stack;
static struct dhcp net_dhcp;
static uint8_t net_frame[NETDEV_FRAME_MAX];
static uint64_t net_started_ms;

bool net_ready(void)
{
    return net_stack.addr != 0;
}

static void net_tx(void *ctx, const uint8_t *frame, size_t len)
{
    (void)ctx;
    netdev->tx(netdev, frame, len);              // a refused frame is counted by the card
}

static void net_announce(uint32_t addr, uint32_t netmask, uint32_t gateway,
                         const char *how)
{
    char a[16], g[16];
    kprintf("[net] ip=%s/%d gw=%s (%s)\n", ip_format(a, addr), ip_prefix_len(netmask),
            gateway ? ip_format(g, gateway) : "none", how);
}

static void net_dhcp_send(void *ctx, uint32_t dst, const uint8_t *msg, size_t len)
{
    (void)ctx;
    udp_send(&net_stack, DHCP_CLIENT_PORT, dst, DHCP_SERVER_PORT, msg, len, time_ms());
}

static void net_dhcp_changed(void *ctx, const struct dhcp_lease *l)
{
    (void)ctx;
    if (!l) {
        kprintf("[net] address lost: the DHCP server did not renew it. "
                "Asking for another\n");
        ip_set_address(&net_stack, 0, 0, 0);
        return;
    }
    if (l->addr != net_stack.addr || l->netmask != net_stack.netmask
        || l->gateway != net_stack.gateway) {
        net_announce(l->addr, l->netmask, l->gateway, "dhcp");
        kprintf("[net] lease of %u s from the DHCP server after %u ms and %u messages\n",
                l->lease_s, (unsigned)(time_ms() - net_started_ms), net_dhcp.sent);
    }
    ip_set_address(&net_stack, l->addr, l->netmask, l->gateway);
}

static void net_dhcp_input(void *ctx, uint32_t src, uint16_t sport, const uint8_t *data,
                           size_t len, uint64_t now_ms)
{
    (void)ctx, (void)src, (void)sport;
    dhcp_input(&net_dhcp, data, len, now_ms);
}

/* `key`'s value as an address; *out stays as it is when the key is absent. */
static bool net_config_addr(const char *key, uint32_t *out)
{
    const char *text = config_get(key);
    if (!text || ip_parse(text, out))
        return true;
    kprintf("[net] %s=%s is not an IPv4 address\n", key, text);
    return false;
}

/* Reads a fixed address; false: none is configured, or it is unusable (and said so). */
static bool net_config_read(uint32_t *addr, uint32_t *netmask, uint32_t *gateway)
{
    const char *text = config_get("ip");
    char part[16];
    if (!text || strcmp(text, "dhcp") == 0)
        return false;
    *netmask = 0xffffff00;
    *gateway = 0;
    const char *slash = strchr(text, '/');
    size_t n = slash ? (size_t)(slash - text) : strlen(text);
    strlcpy(part, text, n + 1 < sizeof part ? n + 1 : sizeof part);
    bool good = n < sizeof part && ip_parse(part, addr) && *addr != 0;
    if (slash) {
        uint32_t bits = 0;
        for (const char *p = slash + 1; *p && bits <= 32; p++)
            bits = isdigit(*p) ? bits * 10 + (uint32_t)(*p - '0') : 33;
        good = good && slash[1] && bits >= 1 && bits <= 32;
        *netmask = good ? 0xffffffffu << (32 - bits) : 0;
    }
    if (!good) {
        kprintf("[net] ip=%s is not an IPv4 address (like 10.0.2.15 or 10.0.2.15/24)\n",
                text);
        return false;
    }
    if (!net_config_addr("netmask", netmask) || !net_config_addr("gateway", gateway))
        return false;
    if (ip_prefix_len(*netmask) < 1) {
        kprintf("[net] netmask=%s is not a netmask\n", config_get("netmask"));
        return false;
    }
    return true;
}

static void net_start(void)
{
    if (!netdev) {
        kprintf("[net] no address: there is no network card to reach anybody with\n");
        return;
    }
    uint32_t addr, netmask, gateway;
    ip_init(&net_stack, netdev->mac, net_tx, NULL);
    net_started_ms = net_stack.now_ms = time_ms();
    if (net_config_read(&addr, &netmask, &gateway)) {
        net_announce(addr, netmask, gateway, "static");
        ip_set_address(&net_stack, addr, netmask, gateway);
        return;
    }
    udp_bind(&net_stack, DHCP_CLIENT_PORT, net_dhcp_input, NULL);
    uint32_t seed = (uint32_t)time_us() * 2654435761u ^ (uint32_t)time_unix();
    dhcp_init(&net_dhcp, netdev->mac, seed, net_dhcp_send, net_dhcp_changed, NULL);
    dhcp_start(&net_dhcp, time_ms());
}
INITCALL(50, net_start);

static void net_report_conflict(void)
{
    static uint64_t said_ms;
    static uint32_t seen;
    uint32_t n = net_stack.stats.verdict[IP_DROP_ARP_CONFLICT];
    if (n == seen || (said_ms && time_ms() - said_ms < ARP_DEFEND_MS))
        return;
    const uint8_t *m = net_stack.conflict_mac;
    char a[16];
    kprintf("[net] address conflict: %02x:%02x:%02x:%02x:%02x:%02x also claims %s "
            "(%u times)\n", m[0], m[1], m[2], m[3], m[4], m[5],
            ip_format(a, net_stack.addr), n - seen);
    seen = n;
    said_ms = time_ms();
}

static bool net_poll(void)
{
    if (!netdev)
        return false;
    int frames = 0;
    size_t len;
    while (frames < NET_POLL_FRAMES_MAX
           && (len = netdev->rx(netdev, net_frame, sizeof net_frame)) != 0) {
        ip_input(&net_stack, net_frame, len, time_ms());
        frames++;
    }
    ip_tick(&net_stack, time_ms());
    if (net_dhcp.state != DHCP_OFF)
        dhcp_tick(&net_dhcp, time_ms());
    net_report_conflict();
    return frames > 0;
}
POLL(net_poll);

void net_print_stats(void)
{
    const struct ip_stats *s = &net_stack.stats;
    kprintf("[net] %u frames in\n", s->rx_frames);
    for (int i = 0; i < IP_VERDICT_COUNT; i++)
        if (s->verdict[i])
            kprintf("[net] %8u %s\n", s->verdict[i], ip_verdict_name((enum ip_verdict)i));
    for (int i = 0; i < IP_EVENT_COUNT; i++)
        if (s->event[i])
            kprintf("[net] %8u %s\n", s->event[i], ip_event_name((enum ip_event)i));
}
