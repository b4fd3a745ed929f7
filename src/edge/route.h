/*
 * route.h - which of several clouds: the next one at once when one is lost, and
 * back to an earlier one of the list when it has been well for a while.
 *
 *     probes, while another than the first is used:
 *         dial -> HELLO (probe) -> WELCOME -> close        well
 *         anything else                                    not well
 *     as many in a row as `need` says: back to it. When it is lost soon after
 *     that, need doubles, so that a cloud that comes and goes is left alone.
 *
 * On the loop's thread, but for kerf_route_parse().
 */
#ifndef KERF_EDGE_ROUTE_H
#define KERF_EDGE_ROUTE_H

#include "net/conn.h"

struct kerf_edge;

#define KERF_ADDRESSES_MAX 8

typedef struct kerf_address {
    char host[256];
    int port;
    char shown[300];              /* host:port, safe to print */
    char said_why[KERF_TEXT_MAX]; /* it is away; "": it is not */
} kerf_address;

typedef struct kerf_route {
    kerf_address at[KERF_ADDRESSES_MAX];
    size_t count, now; /* now: that is dialled or used */
    unsigned tried;    /* bit per address, since the last pause */
    uint64_t up_ns;    /* since when `now` is used */
    bool returned;     /* ... because it was well again */
    /* Probes of those before `now`. */
    kerf_timer *timer;
    kerf_dial *dial;
    kerf_conn *conn;
    bool probing;
    size_t candidate;
    unsigned well, need; /* probes in a row; that are asked for */
    uint64_t pause_ms;
} kerf_route;

/* "HOST[:PORT],..." or "[V6]:PORT"; port: where none is said. Errors:
 * KERF_EINVAL. */
KERF_NODISCARD kerf_err kerf_route_parse(kerf_route *route, const char *hosts,
                                         int port, kerf_detail *why);
KERF_NODISCARD kerf_err kerf_route_init(struct kerf_edge *edge);
void kerf_route_close(struct kerf_edge *edge);
const kerf_address *kerf_route_now(const struct kerf_edge *edge);
/* The session, or the attempt to get one, is over. Sets the next address; true:
 * dial it at once. was_up, fruitful: it was attached; it brought an answer. */
bool kerf_route_lost(struct kerf_edge *edge, bool was_up, bool fruitful);
/* Goes to this one, which is well again. */
void kerf_route_go(struct kerf_edge *edge, size_t to);
void kerf_route_stop(struct kerf_edge *edge); /* probes no more */
/* What is trusted has changed: so may what is thought of a probe. */
void kerf_route_recheck(struct kerf_edge *edge);
void kerf_route_up(struct kerf_edge *edge); /* attached */

#endif
