/*
 * link_own.h - the inside of the link to the cloud, shared by link.c (life,
 * control, timers) and link_tensors.c only.
 */
#ifndef KERF_EDGE_LINK_OWN_H
#define KERF_EDGE_LINK_OWN_H

#include "edge/edge.h"

extern const kerf_conn_ops kerf_link_tensor_ops;

#define KERF_FLIGHTS_LISTED (64 + KERF_DRAIN_FLIGHTS)

/* Flights that are on their way, in the order of their ids. Under the lock. */
size_t kerf_link_flights(kerf_edge *edge,
                         kerf_flight *list[KERF_FLIGHTS_LISTED]);
/* What both connections may carry. */
KERF_NODISCARD kerf_err kerf_link_on_common(kerf_edge *edge, kerf_conn *conn,
                                            const kerf_frame_in *frame,
                                            kerf_detail *why);
KERF_NODISCARD kerf_err kerf_link_say_hello(kerf_edge *edge, kerf_conn *conn,
                                            uint32_t asks);
/* Ends the session and dials this cloud of the list. */
void kerf_link_go(kerf_edge *edge, size_t to);
/* part.c: the same in peace. */
#define KERF_PART_NEXT SIZE_MAX
void kerf_link_part(kerf_edge *edge, size_t to);
void kerf_link_on_part(void *edge);
/* The cloud does not know the flight's bundle, and no other one is coming.
 * Under the lock. */
bool kerf_link_is_hopeless(kerf_edge *edge, const kerf_flight *f,
                           uint64_t now_ns);
/* Ends the session, if there is one, and tries again. */
void kerf_link_down(kerf_edge *edge, const char *why);
void kerf_link_on_close(void *edge, kerf_conn *conn, kerf_err err,
                        const char *why);

#endif
