/* tcp.h: tangled from nbs/net/08_tcp.ipynb. Edit the notebook, not this file. */

/* ---- nbs/net/08_tcp.ipynb § Numbers on a circle ---- */

/* tcp.h: the transmission control protocol (RFC 9293) as a pure state machine.
 *
 * Segments and a clock go in (tcp_input, tcp_tick), segments come out (the `out` callback
 * of tcp_init, which must not call back into this file). No hardware, no globals; buffers
 * come from kmalloc. Times are milliseconds, addresses and ports are in host order.
 * A handle from tcp_accept or tcp_connect stays valid until tcp_release, whatever the
 * network does meanwhile; the core frees the connection itself once both ends are done.
 * Nothing that arrives can panic. Called by tcp_edge.c and http_server.c.
 * twin: tcp.c (with ip.c for ip_checksum, and base/string.c) */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Sequence numbers wrap; "before": less than half the circle ahead. RFC 9293 §3.4. */
static inline bool tcp_seq_lt(uint32_t a, uint32_t b) { return (int32_t)(a - b) < 0; }
static inline bool tcp_seq_le(uint32_t a, uint32_t b) { return (int32_t)(a - b) <= 0; }

/* ---- nbs/net/08_tcp.ipynb § Limits and states ---- */

#define TCP_CONN_MAX     96       // connections in any state, TIME_WAIT included
#define TCP_LISTEN_MAX   8        // ports listened on
#define TCP_RX_MAX       16384    // receive buffer = largest window (power of two)
#define TCP_TX_MAX       16384    // send buffer (power of two)
#define TCP_RANGES_MAX   8        // islands of out-of-order data kept per connection

#define TCP_MSS          1460     // what a 1500-byte Ethernet payload leaves for data
#define TCP_MSS_DEFAULT  536      // the peer named none: RFC 9293 §3.7.1
#define TCP_MSS_MIN      64       // smaller offers would only multiply our headers
#define TCP_HEADER_MIN   20
#define TCP_HEADER_MAX   60
#define TCP_SEGMENT_MAX  (TCP_HEADER_MIN + TCP_MSS)

#define TCP_RTO_INITIAL_MS   1000     // RFC 6298 §2.1
#define TCP_RTO_AFTER_SYN_MS 3000     // a SYN timed out: RFC 6298 §5.7
#define TCP_RTO_MIN_MS       200      // RFC 6298 §2.4 says 1 s; see the design note
#define TCP_RTO_MAX_MS       60000
#define TCP_RETRIES_MAX      10       // transmissions without an answer, then give up
#define TCP_SYN_RETRIES_MAX  5
#define TCP_DUPACKS          3        // RFC 5681 §3.2
#define TCP_DELACK_MS        10       // RFC 9293 §3.8.6.3 allows 500
#define TCP_TIME_WAIT_MS     60000    // 2 MSL, with an MSL of 30 s
#define TCP_FIN_WAIT_2_MS    10000    // nobody reads any more, the peer does not close
#define TCP_GRACE_MS         1000     // half-open or released for longer: may give way
#define TCP_CHALLENGE_MAX    10       // challenge ACKs a second, each: RFC 5961 §7

enum tcp_flags {
    TCP_FIN = 0x01, TCP_SYN = 0x02, TCP_RST = 0x04,
    TCP_PSH = 0x08, TCP_ACK = 0x10, TCP_URG = 0x20,
};

/* RFC 9293 §3.3.2. TCP_LISTEN is the state of a listener, never of a connection. */
enum tcp_state {
    TCP_CLOSED, TCP_LISTEN, TCP_SYN_SENT, TCP_SYN_RCVD, TCP_ESTABLISHED, TCP_FIN_WAIT_1,
    TCP_FIN_WAIT_2, TCP_CLOSE_WAIT, TCP_CLOSING, TCP_LAST_ACK, TCP_TIME_WAIT,
};

/* Why a connection is CLOSED. */
enum tcp_error {
    TCP_ERROR_NONE,       // open, or closed in order by both ends
    TCP_ERROR_RESET,      // the peer sent RST
    TCP_ERROR_TIMEOUT,    // the peer stopped answering
    TCP_ERROR_ABORTED,    // tcp_abort
};

/* ---- nbs/net/08_tcp.ipynb § A segment ---- */

/* A segment after tcp_parse: numbers in host order, data still where it arrived. */
struct tcp_seg {
    uint16_t sport, dport, window;
    uint16_t mss;            // 0: the option was absent
    uint32_t seq, ack;
    uint8_t flags;           // enum tcp_flags
    const uint8_t *data;
    uint32_t len;            // bytes of data
};

enum tcp_parse_result {
    TCP_SEG_OK, TCP_SEG_SHORT, TCP_SEG_BAD_OFFSET, TCP_SEG_BAD_CHECKSUM,
};

/* ---- nbs/net/08_tcp.ipynb § What a connection remembers ---- */

/* `len` bytes from `head` on, wrapping at `cap`; buf is NULL until it is needed. */
struct tcp_ring {
    uint8_t *buf;
    uint32_t head, len, cap;
};

struct tcp_range { uint32_t start, end; };    // sequence numbers, end excluded

enum tcp_owner { TCP_OWNER_NONE, TCP_OWNER_QUEUE, TCP_OWNER_APP };

struct tcp_conn {
    enum tcp_state state;
    enum tcp_error error;
    enum tcp_owner owner;    // who may still ask about it: queue, application, nobody
    bool used;               // the slot is taken
    bool passive;            // began as a SYN to a listener
    uint16_t lport, rport;
    uint32_t laddr, raddr;
    uint32_t serial;         // order of creation (accept), of letting go (recycling)

    /* Sending: RFC 9293 §3.3.1. snd_max is the RFC's SND.NXT: one past all that was ever
     * sent. snd_nxt is where the next transmission starts; a timeout pulls it back. */
    uint32_t iss, snd_una, snd_nxt, snd_max;
    uint32_t snd_wnd, snd_wnd_max, snd_wl1, snd_wl2;
    struct tcp_ring tx;      // tx.head holds sequence number tx_seq
    uint32_t tx_seq;
    bool fin_queued;         // close was called: a FIN follows the last byte of tx
    uint16_t mss;            // largest segment we send

    uint32_t irs, rcv_nxt, rcv_adv;    // rcv_adv: right edge of the window last sent
    struct tcp_ring rx;                // rx.len bytes are in order and unread
    struct tcp_range range[TCP_RANGES_MAX + 1];    // sorted, apart; one that continues
    uint32_t n_ranges;
    bool fin_known, fin_rcvd;          // the FIN's place is known; all before it came
    uint32_t fin_seq;

    uint32_t cwnd, ssthresh, recover, dupacks;    // RFC 5681, RFC 6582
    bool recovering;
    uint32_t srtt8, rttvar4, rto_ms;              // RFC 6298; scaled by 8 and by 4
    bool rtt_timing;
    uint32_t rtt_seq;
    uint64_t rtt_start_ms;
    uint32_t backoff, retries;

    uint64_t rexmit_at, delack_at, wait_at;       // deadlines in ms; 0: not running
    uint32_t ack_due;                             // segments received, not yet answered
    uint64_t since_ms;                            // when it began, or was released
    uint64_t challenge_ms;
    uint32_t challenges;
};

struct tcp_listener { uint16_t port; int backlog; };

struct tcp_stats {
    uint32_t rx_segments, tx_segments, rx_bad_checksum, rx_malformed, rx_rst, tx_rst;
    uint32_t opened_passive, opened_active, retransmits, fast_retransmits, probes;
    uint32_t rx_out_of_order, rx_duplicate, challenges, syn_dropped, recycled, timeouts;
};

typedef void (*tcp_out)(void *ctx, uint32_t src, uint32_t dst, const uint8_t *seg,
                        size_t len);

struct tcp {
    uint32_t local_ip;
    uint8_t secret[16];      // key of the initial sequence numbers
    tcp_out out;
    void *ctx;
    uint64_t now_ms, wake_ms;    // the clock as last told; no timer is due before wake_ms
    uint32_t serial;
    struct tcp_listener listener[TCP_LISTEN_MAX];
    struct tcp_stats stats;
    uint8_t seg[TCP_SEGMENT_MAX];
    struct tcp_conn conn[TCP_CONN_MAX];
};

void tcp_init(struct tcp *t, uint32_t local_ip, const uint8_t secret[16], tcp_out out,
              void *ctx);
void tcp_set_address(struct tcp *t, uint32_t local_ip);    // 0: none yet, accept any
void tcp_input(struct tcp *t, uint32_t src, uint32_t dst, const uint8_t *seg, size_t len,
               uint64_t now_ms);
void tcp_tick(struct tcp *t, uint64_t now_ms);

/* 0, or -1 when the port is taken or TCP_LISTEN_MAX are listened on. `backlog` bounds the
 * connections that nobody has accepted yet; further SYNs are dropped, and come again. */
int tcp_listen(struct tcp *t, uint16_t port, int backlog);
struct tcp_conn *tcp_accept(struct tcp *t, uint16_t port);    // NULL: none waiting
struct tcp_conn *tcp_connect(struct tcp *t, uint32_t dst, uint16_t dport,
                             uint64_t now_ms);

/* Both return the count of bytes they took: 0 when empty or full, closed or dead. What
 * was sent leaves at once as far as the windows allow; there is no Nagle delay. */
size_t tcp_recv(struct tcp *t, struct tcp_conn *c, uint8_t *buf, size_t cap);
size_t tcp_recv_avail(struct tcp *t, struct tcp_conn *c);
size_t tcp_send(struct tcp *t, struct tcp_conn *c, const uint8_t *data, size_t len,
                uint64_t now_ms);
size_t tcp_send_space(struct tcp *t, struct tcp_conn *c);
size_t tcp_send_unacked(struct tcp *t, struct tcp_conn *c);    // queued or not confirmed

/* close: nothing more to say. Queued data, then a FIN; reading goes on (half-close).
 * abort: RST, both buffers dropped. release: gives the handle back, exactly once; what is
 * not closed yet is closed first. The core finishes FIN and TIME_WAIT alone. */
void tcp_close(struct tcp *t, struct tcp_conn *c, uint64_t now_ms);
void tcp_abort(struct tcp *t, struct tcp_conn *c, uint64_t now_ms);
void tcp_release(struct tcp *t, struct tcp_conn *c);

enum tcp_state tcp_state(const struct tcp_conn *c);
const char *tcp_state_name(enum tcp_state s);
bool tcp_fin_came(const struct tcp_conn *c);   // the peer has said all, read or not
bool tcp_eof(const struct tcp_conn *c);        // the peer's FIN came, all data is read
bool tcp_is_dead(const struct tcp_conn *c);    // CLOSED: reset, timed out, or done
int tcp_count(const struct tcp *t, enum tcp_state s);    // connections in that state

/* Exposed for the tests. */
uint64_t tcp_siphash(const uint8_t key[16], const uint8_t *data, size_t len);
uint32_t tcp_isn(const struct tcp *t, uint32_t laddr, uint16_t lport, uint32_t raddr,
                 uint16_t rport);
enum tcp_parse_result tcp_parse(struct tcp_seg *s, uint32_t src, uint32_t dst,
                                const uint8_t *bytes, size_t len);

/* tcp_edge.c: the kernel's one instance. */
extern struct tcp net_tcp;
