/*
 * The worker: an input, the head, and wait until the loop has sent what the
 * head gave.
 */
#include "legacy/edge.h"

#include "base/clock.h"

/* Waits for a head. False: stopping. */
static bool
wait_for_head(kerf_legacy_edge *edge)
{
    bool go_on;

    (void)pthread_mutex_lock(&edge->lock);
    while (!edge->stopping && edge->head == NULL && edge->next == NULL)
        (void)pthread_cond_wait(&edge->changed, &edge->lock);
    go_on = !edge->stopping;
    if (edge->head == NULL) {
        edge->head = edge->next;
        edge->next = NULL;
    }
    (void)pthread_mutex_unlock(&edge->lock);
    return go_on;
}

/* The loop may have loaded a newer head meanwhile. False: it takes other
 * inputs than the one at hand. */
static bool
take_newer(kerf_legacy_edge *edge)
{
    kerf_legacy_head *next;
    bool fits;

    (void)pthread_mutex_lock(&edge->lock);
    next = edge->next;
    edge->next = NULL;
    (void)pthread_mutex_unlock(&edge->lock);
    if (next == NULL)
        return true;
    fits = kerf_legacy_head_take_input(next, edge->head);
    kerf_legacy_head_free(edge->head);
    edge->head = next;
    edge->source_for = NULL;
    return fits;
}

/* The source for this head's inputs: made once, told when they change. */
static kerf_err
fit_source(kerf_legacy_edge *edge, kerf_detail *why)
{
    const kerf_legacy_head *h = edge->head;
    size_t count = kerf_net_in_count(h->net);
    kerf_port port[KERF_PORTS_MAX];
    kerf_source_opts o = {.spec = edge->opts.inputs,
                          .spec_count = edge->opts.input_count,
                          .port = port,
                          .port_count = count,
                          .card = h->raw ? NULL : &h->card,
                          .image_port = h->image_port,
                          .repeat = edge->opts.repeat,
                          .rate_hz = edge->opts.rate_hz,
                          .random_period_ms = KERF_RANDOM_PERIOD_MS,
                          .watch = edge->opts.watch};
    kerf_source *source = NULL;
    kerf_err err;

    for (size_t i = 0; i < count; i++)
        port[i] = *kerf_net_in(h->net, i);
    edge->source_for = h;
    if (edge->source != NULL)
        return kerf_source_refit(edge->source, &o, why);
    err = kerf_source_new(&source, &o, why);
    if (err != KERF_OK)
        return err;
    (void)pthread_mutex_lock(&edge->lock);
    edge->source = source;
    if (edge->stopping)
        kerf_source_stop(source);
    (void)pthread_mutex_unlock(&edge->lock);
    return KERF_OK;
}

/* Hands the note to the loop and waits until it is empty again. */
static void
hand_over(kerf_legacy_edge *edge, kerf_legacy_note_kind kind)
{
    (void)pthread_mutex_lock(&edge->lock);
    edge->note.kind = kind;
    edge->full = true;
    (void)pthread_mutex_unlock(&edge->lock);
    kerf_loop_post(edge->loop, &edge->posted);
    (void)pthread_mutex_lock(&edge->lock);
    while (edge->full)
        (void)pthread_cond_wait(&edge->changed, &edge->lock);
    (void)pthread_mutex_unlock(&edge->lock);
}

static void
run_head(kerf_legacy_edge *edge)
{
    kerf_legacy_note *n = &edge->note;
    kerf_legacy_head *h = edge->head;
    uint64_t taken_ns = kerf_now_ns();
    uint64_t head_ns;

    n->head = h;
    n->err = kerf_legacy_head_run(h, &n->why);
    head_ns = kerf_now_ns();
    n->send.head_len = kerf_legacy_put_tensor(n->send.head, sizeof n->send.head,
                                              n->item.index, &h->out.shape);
    n->send.data = h->out.data;
    n->send.len = h->out.bytes;
    n->send.at = 0;
    n->encoded_ns = kerf_now_ns();
    n->stages = (kerf_stages){0};
    n->stages.ns[KERF_STAGE_CAPTURE] = n->item.capture_ns;
    n->stages.ns[KERF_STAGE_PREPROCESS] = n->item.preprocess_ns;
    n->stages.ns[KERF_STAGE_HEAD] = head_ns - taken_ns;
    n->stages.ns[KERF_STAGE_ENCODE] = n->encoded_ns - head_ns;
    hand_over(edge, n->err == KERF_OK ? KERF_LEGACY_NOTE_TENSOR
                                      : KERF_LEGACY_NOTE_FAILED);
}

/* KERF_ECLOSED: no more inputs, or stopping. */
static kerf_err
do_one(kerf_legacy_edge *edge, kerf_detail *why)
{
    kerf_item *item = &edge->note.item;
    kerf_err err = KERF_OK;

    if (!wait_for_head(edge))
        return KERF_ECLOSED;
    (void)take_newer(edge);
    if (edge->source_for != edge->head)
        err = fit_source(edge, why);
    if (err == KERF_OK)
        err = kerf_source_next(edge->source, edge->head->in, item, why);
    if (err != KERF_OK)
        return err;
    if (!take_newer(edge) && item->err == KERF_OK)
        item->err = kerf_fail(&item->why, KERF_EMISMATCH,
                              "the model was replaced by one with other "
                              "inputs");
    if (item->err != KERF_OK)
        hand_over(edge, KERF_LEGACY_NOTE_SKIPPED);
    else
        run_head(edge);
    return KERF_OK;
}

void *
kerf_legacy_worker_run(void *ctx)
{
    kerf_legacy_edge *edge = ctx;
    kerf_detail why = {{0}};
    kerf_err err;

    do
        err = do_one(edge, &why);
    while (err == KERF_OK);
    edge->note.err = err == KERF_ECLOSED ? KERF_OK : err;
    edge->note.why = why;
    hand_over(edge, KERF_LEGACY_NOTE_DONE);
    return NULL;
}
