#include "edge/again.h"

#include "edge/edge.h"

#include <stdlib.h>

#define WAIT_LEAST_MS 1000u
#define WAIT_MOST_MS (UINT64_C(5) * 60 * 1000)

static void
try_again(void *ctx)
{
    kerf_edge *edge = ctx;
    kerf_wanted *w = edge->again.wanted;

    if (w == NULL)
        return;
    edge->again.wanted = NULL;
    kerf_fetch_add(edge, w);
    free(w);
}

kerf_err
kerf_again_init(kerf_edge *edge)
{
    return kerf_timer_new(&edge->again.timer, edge->loop, try_again, edge);
}

void
kerf_again_fini(kerf_edge *edge)
{
    kerf_again_drop(edge);
    kerf_timer_free(edge->again.timer);
}

void
kerf_again_take(kerf_edge *edge, kerf_err err)
{
    kerf_again *a = &edge->again;
    kerf_wanted *w = &edge->fetch.wanted[0];

    if (!w->run || w->stored || !kerf_ready_is_passing((uint16_t)err) ||
        edge->control == NULL || edge->fetch.cut)
        return;
    kerf_again_drop(edge);
    a->wanted = malloc(sizeof *a->wanted);
    if (a->wanted == NULL)
        return;
    *a->wanted = *w;
    w->manifest = (kerf_manifest){0};
    w->json = NULL;
    w->json_len = 0;
    a->wait_ms = a->text == w->text ? 2 * a->wait_ms : WAIT_LEAST_MS;
    a->wait_ms = a->wait_ms < WAIT_MOST_MS ? a->wait_ms : WAIT_MOST_MS;
    a->text = w->text;
    kerf_timer_start(a->timer, a->wait_ms, 0);
}

void
kerf_again_forget(kerf_edge *edge)
{
    edge->again.text = 0;
}

void
kerf_again_drop(kerf_edge *edge)
{
    kerf_again *a = &edge->again;

    kerf_timer_stop(a->timer);
    if (a->wanted != NULL)
        kerf_fetch_free_wanted(a->wanted);
    free(a->wanted);
    a->wanted = NULL;
}
