/*
 * Leaving a cloud in peace: it stops (BYE), or an earlier one of the list is
 * well again. Nothing new is sent on the session; when what was sent is
 * answered, or after the time for a dead peer, the next one is dialled.
 */
#include "base/clock.h"
#include "edge/link_own.h"

static size_t
count_sent(kerf_edge *edge)
{
    kerf_flight *list[KERF_FLIGHTS_LISTED];
    size_t sent;
    size_t n;

    (void)pthread_mutex_lock(&edge->lock);
    sent = edge->streaming != NULL ? 1 : 0;
    n = kerf_link_flights(edge, list);
    for (size_t i = 0; i < n; i++)
        sent += list[i]->state == KERF_FLIGHT_SENT;
    (void)pthread_mutex_unlock(&edge->lock);
    return sent;
}

void
kerf_link_part(kerf_edge *edge, size_t to)
{
    if (edge->link == KERF_LINK_DOWN || edge->parting)
        return;
    (void)pthread_mutex_lock(&edge->lock);
    edge->parting = true;
    (void)pthread_mutex_unlock(&edge->lock);
    edge->part_to = to;
    edge->part_until_ns = kerf_now_ns() + edge->beat.dead_ns;
    kerf_loop_post(edge->loop, &edge->part);
}

void
kerf_link_on_part(void *ctx)
{
    kerf_edge *edge = ctx;

    if (!edge->parting)
        return;
    if (edge->link == KERF_LINK_UP && kerf_now_ns() < edge->part_until_ns &&
        count_sent(edge) > 0)
        return; /* posted again with each answer, and by each heartbeat */
    if (edge->part_to == KERF_PART_NEXT)
        kerf_link_down(edge, "it is stopping");
    else
        kerf_link_go(edge, edge->part_to);
}
