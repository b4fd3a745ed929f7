/*
 * What the caller is told, in its own thread: answers and notes.
 */
#include "edge/edge.h"

#include <stdlib.h>
#include <string.h>

static void
show_dropped(kerf_edge *edge, const kerf_note *n)
{
    kerf_edge_result a = {.index = n->index,
                          .name = n->name,
                          .err = n->err,
                          .why = n->text,
                          .via = KERF_VIA_QUEUED,
                          .earlier = n->earlier};

    if (edge->events.answer != NULL)
        edge->events.answer(edge->events.ctx, &a);
}

static void
show_note(kerf_edge *edge, const kerf_note *n)
{
    const kerf_edge_events *e = &edge->events;

    switch (n->kind) {
    case KERF_NOTE_STATE:
        if (e->state != NULL)
            e->state(e->ctx, n->connected, n->text);
        break;
    case KERF_NOTE_PROGRESS:
        if (e->progress != NULL)
            e->progress(e->ctx, n->name, n->got, n->size, n->wire);
        break;
    case KERF_NOTE_RECEIVED:
        if (e->received != NULL) {
            e->received(e->ctx, &(kerf_edge_file){.name = n->name,
                                                  .size = n->size,
                                                  .reused = n->reused,
                                                  .resumed = n->resumed,
                                                  .wire = n->wire,
                                                  .ns = n->ns});
        }
        break;
    case KERF_NOTE_MODEL:
        if (e->model != NULL)
            e->model(e->ctx, n->name, n->id, n->err, n->text);
        break;
    case KERF_NOTE_SIGNATURE:
        if (e->signature != NULL)
            e->signature(e->ctx, n->name, &n->signature);
        break;
    case KERF_NOTE_SKIPPED:
        if (e->skipped != NULL)
            e->skipped(e->ctx, n->index, n->name, n->err, n->text);
        break;
    case KERF_NOTE_DROPPED:
        show_dropped(edge, n);
        break;
    case KERF_NOTE_DONE:
        break;
    }
}

/* The program whose card goes with the answer, which stays as long as this is
 * shown; NULL: it is a request from disk, of another one. */
static const kerf_program *
borrow_program(kerf_edge *edge, const kerf_flight *f)
{
    const kerf_program *p = f->program;
    uint8_t bundle[KERF_BUNDLE_ID_LEN];

    if (f->record == NULL)
        return p;
    /* A TENSOR's meta begins with it. */
    memcpy(bundle, f->head + KERF_HEADER_LEN, sizeof bundle);
    (void)pthread_mutex_lock(&edge->lock);
    p = edge->current;
    if (p != NULL && memcmp(p->manifest.id, bundle, sizeof bundle) == 0)
        edge->borrows = 1;
    else
        p = NULL;
    (void)pthread_mutex_unlock(&edge->lock);
    return p;
}

static void
show_answer(kerf_edge *edge, kerf_flight *f)
{
    const kerf_program *p = borrow_program(edge, f);
    kerf_edge_result a = {.index = f->index,
                          .name = f->item.path[0] != '\0' ? f->item.path
                                                          : f->item.name,
                          .card = p != NULL && p->has_card ? &p->card : NULL,
                          .err = f->err,
                          .why = f->why.text,
                          .via = f->via,
                          .late = f->late,
                          .earlier = f->record != NULL &&
                                     kerf_queue_is_earlier(edge, f->record_seq),
                          .record = f->record_seq,
                          .stages = f->stages,
                          .start_ns = f->start_ns,
                          .bytes_sent = f->bytes_sent,
                          .bytes_received = f->bytes_received,
                          .tensor_bytes = f->tensor_bytes,
                          .coded_bytes = f->coded_bytes,
                          .codec = f->codec,
                          .sent_count = p != NULL ? p->sent_count : 0,
                          .sent = p != NULL ? p->sent : NULL,
                          .count = f->err == KERF_OK ? f->result_count : 0,
                          .output = f->result};

    if (f->queued && edge->events.queued != NULL)
        edge->events.queued(edge->events.ctx, a.index, a.name);
    else if (!f->queued && edge->events.answer != NULL)
        edge->events.answer(edge->events.ctx, &a);
    if (f->record == NULL) {
        kerf_edge_free_flight(edge, f);
        return;
    }
    (void)pthread_mutex_lock(&edge->lock);
    edge->borrows = 0;
    (void)pthread_mutex_unlock(&edge->lock);
    kerf_queue_told(edge, f);
}

void
kerf_edge_show(kerf_edge *edge, kerf_event *event)
{
    if (event->flight != NULL) {
        show_answer(edge, event->flight);
    } else {
        show_note(edge, event->note);
        free(event->note);
    }
}
