/* net.h: tangled from nbs/net/07_ip.ipynb. Edit the notebook, not this file. */

/* ---- nbs/net/07_ip.ipynb § The edge: a card, a clock, a configuration ---- */

/* net.h: the kernel's one IP stack, on the one network card.
 *
 * net.c feeds it from the card, drives its clock, and gives it an address: the one that
 * the configuration names (ip, netmask, gateway), or what a DHCP server leases. Without a
 * card the stack is there, has no address, and sends nothing. */
#pragma once
#include "net/ip.h"

#define NET_POLL_FRAMES_MAX 32       // frames in one poll, so that others run

extern struct ip_stack net_stack;
bool net_ready(void);                // we have an address
void net_print_stats(void);          // every counter that is not zero
