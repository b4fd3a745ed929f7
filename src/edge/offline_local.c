/*
 * Going on alone: a tail that the cloud let us have runs in this process, on
 * the head's own output.
 */
#include "edge/offline.h"

#include "base/clock.h"
#include "edge/trusted.h"

#include <string.h>

/* Output i of the last run becomes the flight's. */
static kerf_err
keep_result(kerf_flight *f, size_t i, kerf_detail *why)
{
    kerf_tensor view;
    kerf_tensor_desc desc = {.codec = KERF_CODEC_RAW};
    kerf_err err = kerf_request_out(f->program->tail_request, i, &view, why);

    if (err != KERF_OK)
        return err;
    desc.dtype = view.dtype;
    desc.shape = view.shape;
    desc.len = view.bytes;
    err = kerf_flight_result(f, i, &desc);
    if (err == KERF_OK && view.bytes > 0)
        memcpy(f->result[i].data, view.data, view.bytes);
    return err;
}

static kerf_err
run_tail(kerf_flight *f, kerf_detail *why)
{
    const kerf_program *p = f->program;
    size_t outs = kerf_net_out_count(p->tail);
    kerf_err err = KERF_OK;

    for (size_t i = 0; err == KERF_OK && i < p->sent_count; i++)
        err = kerf_request_bind_in(p->tail_request, i, f->out[i].data, why);
    if (err == KERF_OK)
        err = kerf_request_run(p->tail_request, why);
    for (size_t i = 0; err == KERF_OK && i < outs; i++)
        err = keep_result(f, i, why);
    f->result_count = (uint16_t)outs;
    return err;
}

static bool
has_expired(kerf_edge *edge, const kerf_flight *f)
{
    bool expired;

    (void)pthread_mutex_lock(&edge->lock);
    expired = f->program->expired;
    (void)pthread_mutex_unlock(&edge->lock);
    return expired;
}

void
kerf_local_run(kerf_edge *edge, kerf_flight *f)
{
    kerf_detail why = {{0}};
    uint64_t start_ns = kerf_now_ns();
    bool too_late = f->deadline_ns != 0 && start_ns > f->deadline_ns;
    kerf_err err = too_late ? kerf_fail(&why, KERF_EDEADLINE,
                                        "not begun here within the deadline")
                   : has_expired(edge, f)
                       ? kerf_fail(&why, KERF_EDENIED,
                                   "the signature of the model expired before "
                                   "it was run")
                       : run_tail(f, &why);
    uint64_t end_ns = kerf_now_ns();
    uint64_t *ns = f->stages.ns;
    uint64_t whole_ns = end_ns - f->start_ns;
    uint64_t known_ns;

    ns[KERF_STAGE_TAIL] = end_ns - start_ns;
    ns[KERF_STAGE_UPLINK] = ns[KERF_STAGE_DOWNLINK] = 0;
    ns[KERF_STAGE_QUEUE] = ns[KERF_STAGE_DECODE] = 0;
    known_ns = kerf_stages_total(&f->stages);
    ns[KERF_STAGE_QUEUE] = whole_ns > known_ns ? whole_ns - known_ns : 0;
    (void)pthread_mutex_lock(&edge->lock);
    f->via = KERF_VIA_LOCAL;
    f->late = f->deadline_ns != 0 && end_ns > f->deadline_ns;
    kerf_edge_answer(edge, f, err, why.text[0] ? why.text : kerf_err_text(err));
    (void)pthread_mutex_unlock(&edge->lock);
}

bool
kerf_local_start(kerf_edge *edge)
{
    kerf_wanted w = {.run = true, .stored = true};

    if (kerf_trusted_stored(edge, &w.manifest) != KERF_OK)
        return false;
    kerf_fetch_add(edge, &w);
    return true;
}

void
kerf_local_none(kerf_edge *edge, const char *why)
{
    kerf_detail line;

    if (edge->opts.offline != KERF_OFFLINE_FAIL)
        return;
    (void)kerf_fail(&line, KERF_ECLOSED, "no cloud for %.3g s, and %s",
                    (double)kerf_beat_dead_ms(edge) / 1e3, why);
    kerf_edge_finish(edge, KERF_ECLOSED, line.text);
}
