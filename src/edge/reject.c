#include "edge/reject.h"

#include "base/clock.h"
#include "edge/edge.h"

bool
kerf_reject_is_final(kerf_err err)
{
    /* What is not permitted may be by then: by a clock, by what ran since. */
    return err != KERF_OK && err != KERF_EDENIED &&
           !kerf_ready_is_passing((uint16_t)err);
}

void
kerf_reject_note(kerf_rejects *r, uint64_t text, kerf_err err, const char *why)
{
    kerf_reject *at = &r->at[r->next];

    if (!kerf_reject_is_final(err) || kerf_reject_find(r, text) != NULL)
        return;
    at->text = text;
    (void)kerf_fail(&at->why, err, "%s", why);
    at->err = err;
    r->next = (r->next + 1) % KERF_REJECTS;
}

const kerf_reject *
kerf_reject_find(const kerf_rejects *r, uint64_t text)
{
    for (size_t i = 0; i < KERF_REJECTS; i++) {
        if (r->at[i].err != KERF_OK && r->at[i].text == text)
            return &r->at[i];
    }
    return NULL;
}

void
kerf_reject_ask(kerf_edge *edge, kerf_err err, const char *line)
{
    kerf_rejects *r = &edge->rejects;

    if (edge->control == NULL || edge->link < KERF_LINK_DIAL2) {
        kerf_edge_finish(edge, err, line);
        return;
    }
    r->asked = true;
    r->asked_ns = kerf_now_ns();
    r->err = err;
    (void)kerf_fail(&r->line, err, "%s", line);
    if (kerf_conn_send_meta(edge->control, KERF_FRAME_PING, 0, NULL, 0) !=
        KERF_OK)
        kerf_edge_finish(edge, err, line);
}

void
kerf_reject_on_offer(kerf_edge *edge)
{
    edge->rejects.asked = false;
}

void
kerf_reject_on_pong(kerf_edge *edge, uint64_t echo_ns)
{
    kerf_rejects *r = &edge->rejects;

    if (!r->asked || echo_ns < r->asked_ns)
        return;
    r->asked = false;
    kerf_edge_finish(edge, r->err, r->line.text);
}
