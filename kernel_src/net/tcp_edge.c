/* tcp_edge.c: tangled from nbs/net/08_tcp.ipynb. Edit the notebook, not this file. */

/* ---- nbs/net/08_tcp.ipynb § The edge ---- */

/* tcp_edge.c: the kernel's one TCP, on the kernel's IP stack and clock.
 *
 * Order 55: gathers the secret and hooks onto IP's protocol 6. The poll function keeps
 * TCP's address the same as IP's and drives its timers. */
#include "net/tcp.h"

#include <cpuid.h>

#include "base/io.h"
#include "base/kernel.h"
#include "base/stdio.h"
#include "base/string.h"
#include "base/time.h"
#include "net/net.h"

struct tcp net_tcp;

#define SECRET_ROUNDS 32    // port reads whose duration is mixed in

static uint64_t edge_tsc(void)
{
    uint32_t lo, hi;
    __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
    return (uint64_t)hi << 32 | lo;
}

/* Intel SDM vol. 1 §7.3.17: RDRAND may fail for a moment; the carry flag tells. */
static bool edge_rdrand(uint32_t *out)
{
    uint32_t a, b, c, d;
    uint8_t ok = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_RDRND))
        return false;
    for (int i = 0; i < 10 && !ok; i++)
        __asm__ volatile("rdrand %0; setc %1" : "=r"(*out), "=qm"(ok) : : "cc");
    return ok;
}

/* pool = hash of (pool, value): what was in it stays in it. */
static void edge_mix(uint8_t pool[16], uint64_t value)
{
    uint64_t next[2];
    uint8_t in[9];
    memcpy(in, &value, 8);
    for (in[8] = 0; in[8] < 2; in[8]++)
        next[in[8]] = tcp_siphash(pool, in, sizeof in);
    memcpy(pool, next, 16);
}

/* Returns what to tell about the quality. */
static const char *edge_secret(uint8_t pool[16])
{
    uint32_t random;
    bool good = true;
    memset(pool, 0, 16);
    edge_mix(pool, (uint64_t)time_unix());
    edge_mix(pool, boot_tsc);
    edge_mix(pool, (uint64_t)net_stack.mac[4] << 8 | net_stack.mac[5]);
    for (int i = 0; i < SECRET_ROUNDS; i++) {
        inb(0x61);                           // slow, and never equally slow
        edge_mix(pool, edge_tsc());
    }
    for (int i = 0; i < 4; i++) {
        good = good && edge_rdrand(&random);
        edge_mix(pool, good ? random : 0);
    }
    return good ? "RDRAND, clocks" : "clocks only (no RDRAND)";
}

static void edge_out(void *ctx, uint32_t src, uint32_t dst, const uint8_t *seg,
                     size_t len)
{
    (void)ctx;
    if (src == net_stack.addr)               // not what is left of an address we lost
        ip_send(&net_stack, IP_PROTO_TCP, dst, seg, len, net_tcp.now_ms);
}

static void edge_input(void *ctx, uint32_t src, uint32_t dst, const uint8_t *payload,
                       size_t len, uint64_t now_ms)
{
    (void)ctx;
    tcp_input(&net_tcp, src, dst, payload, len, now_ms);
}

static void edge_init(void)
{
    uint8_t secret[16];
    const char *how = edge_secret(secret);
    tcp_init(&net_tcp, net_stack.addr, secret, edge_out, NULL);
    memset(secret, 0, sizeof secret);
    if (!ip_on_proto(&net_stack, IP_PROTO_TCP, edge_input, NULL))
        kprintf("[tcp] no room among IP's protocols: TCP will hear nothing\n");
    kprintf("[tcp] %d connections, windows of %d bytes, initial RTO %d ms, "
            "secret from %s\n", TCP_CONN_MAX, TCP_RX_MAX, TCP_RTO_INITIAL_MS, how);
}
INITCALL(55, edge_init);

static bool edge_poll(void)
{
    if (net_tcp.local_ip != net_stack.addr)
        tcp_set_address(&net_tcp, net_stack.addr);
    tcp_tick(&net_tcp, time_ms());
    return false;
}
POLL(edge_poll);
