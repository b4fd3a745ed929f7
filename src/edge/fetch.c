/*
 * Models coming in. Offers wait in a short list (fetch_offers.c); the first is
 * worked on:
 *
 *     IDLE -> CHECK -> OPEN -> RECEIVE -> LOAD -> IDLE
 *                       ^_________|  |
 *                        damaged     +--> DRAIN -> IDLE   broken off
 *
 * But for RECEIVE and DRAIN all of these read files, or compile, so they are
 * done by the loader thread, one at a time, while the loop does other things;
 * in RECEIVE it is the threads of fetch_writer.c that unpack and write, and
 * hash, sync and publish.
 */
#include "edge/fetch_own.h"
#include "edge/trusted.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
kerf_fetch_ready(kerf_edge *edge, const uint8_t *bundle, kerf_err err,
                 const char *why)
{
    kerf_ready m = {.err = (uint16_t)err};
    uint8_t meta[KERF_TEXT_MAX + 64];

    if (edge->control == NULL || edge->link < KERF_LINK_DIAL2)
        return;
    memcpy(m.bundle, bundle, sizeof m.bundle);
    (void)snprintf(m.reason, sizeof m.reason, "%s", why);
    (void)!kerf_conn_send_meta(edge->control, KERF_FRAME_READY, 0, meta,
                               kerf_ready_put(meta, sizeof meta, &m));
}

/* Whether it was rejected before, and the caller knows. */
static bool
is_told(const kerf_edge *edge, const kerf_wanted *w)
{
    return !w->stored && kerf_reject_find(&edge->rejects, w->text) != NULL;
}

static void
drop_given_up(kerf_edge *edge)
{
    kerf_fetcher *f = &edge->fetch;

    kerf_fetch_drop_parts(f);
    kerf_again_take(edge, f->again);
    kerf_fetch_drop_first(f);
}

/* Nothing runs, and no other one that is to run is known: nothing will. */
static bool
is_last_hope(kerf_edge *edge)
{
    const kerf_fetcher *f = &edge->fetch;
    bool last = f->wanted[0].run;

    for (size_t i = 1; i < f->count; i++)
        last = last && !f->wanted[i].run;
    (void)pthread_mutex_lock(&edge->lock);
    last = last && edge->current == NULL && edge->next == NULL;
    (void)pthread_mutex_unlock(&edge->lock);
    return last;
}

/* Another one took its place, and then the link broke: when it is back that one
 * is offered again, and dropped till then. */
static bool
is_offered_again(const kerf_edge *edge)
{
    return edge->fetch.left &&
           (edge->control == NULL || edge->link < KERF_LINK_DIAL2);
}

void
kerf_fetch_give_up(kerf_edge *edge, kerf_err err, const char *why)
{
    kerf_fetcher *f = &edge->fetch;
    kerf_manifest *m = &f->wanted[0].manifest;
    bool fatal = is_last_hope(edge) && !is_offered_again(edge);

    kerf_fetch_ready(edge, m->id, err, why);
    if (!is_told(edge, &f->wanted[0])) {
        kerf_edge_tell_model(edge, m->name, "", err, why);
        if (f->state == KERF_FETCH_LOAD)
            kerf_reject_note(&edge->rejects, f->wanted[0].text, err, why);
    }
    if (fatal) {
        kerf_detail line;

        (void)kerf_fail(&line, err, "model %s: %s", m->name, why);
        kerf_reject_ask(edge, err, line.text);
    }
    f->again = fatal || f->left ? KERF_OK : err;
    if (f->state == KERF_FETCH_RECEIVE)
        kerf_fetch_end_early(edge, KERF_FETCH_END_DROP);
    else
        drop_given_up(edge);
}

void
kerf_fetch_on_ended(kerf_edge *edge)
{
    kerf_fetcher *f = &edge->fetch;

    if (f->end == KERF_FETCH_END_KEEP) {
        kerf_fetch_keep(f);
        kerf_fetch_drop_first(f); /* the offer will come again */
    } else {
        drop_given_up(edge);
    }
    kerf_fetch_work(edge);
}

/* Before it does: if it crashes on it, the cloud can tell. */
static void
say_loading(kerf_edge *edge)
{
    const kerf_wanted *w = &edge->fetch.wanted[0];
    uint8_t meta[KERF_BUNDLE_ID_LEN + 8];

    if (!w->run || edge->control == NULL || edge->link < KERF_LINK_DIAL2)
        return;
    (void)!kerf_conn_send_meta(
        edge->control, KERF_FRAME_LOADING, 0, meta,
        kerf_loading_put(meta, sizeof meta, w->manifest.id));
}

void
kerf_fetch_to_loader(kerf_edge *edge, kerf_fetch_state state)
{
    kerf_fetcher *f = &edge->fetch;

    f->state = state;
    if (state == KERF_FETCH_LOAD)
        say_loading(edge);
    if (kerf_queue_push(edge->loads, f) == KERF_OK)
        return;
    f->state = KERF_FETCH_IDLE; /* stopping: nothing will be fetched */
    kerf_fetch_drop_parts(f);
    kerf_fetch_drop_waiting(f);
}

/* What is in the store, and no cloud to ask for better. */
static void
tell_not_used(kerf_edge *edge, const kerf_manifest *m, const char *why)
{
    kerf_detail line;

    (void)kerf_fail(&line, KERF_ECORRUPT,
                    "the head of %s in --store cannot be used: %s", m->name,
                    why);
    kerf_edge_tell_state(edge, edge->link == KERF_LINK_UP, "%s", line.text);
    if (edge->link != KERF_LINK_UP)
        kerf_local_none(edge, line.text);
}

/* Receives what is missing, or loads when that is nothing. */
static void
on_checked(kerf_edge *edge)
{
    kerf_fetcher *f = &edge->fetch;
    kerf_manifest *m = &f->wanted[0].manifest;
    size_t part = 0;

    while (part < m->file_count && !(f->missing >> part & 1))
        part++;
    if (part >= m->file_count) {
        kerf_fetch_to_loader(edge, KERF_FETCH_LOAD);
    } else if (f->wanted[0].stored) {
        kerf_detail why;

        (void)kerf_fail(&why, KERF_ECORRUPT, "%s is missing or damaged",
                        m->file[part].name);
        tell_not_used(edge, m, why.text);
        kerf_fetch_drop_first(f);
    } else if (f->cut || edge->control == NULL) {
        kerf_fetch_drop_first(f); /* the offer will come again */
    } else {
        kerf_fetch_to_loader(edge, KERF_FETCH_OPEN);
    }
}

/* What came damaged is asked for again. */
void
kerf_fetch_on_whole(kerf_edge *edge)
{
    kerf_fetcher *f = &edge->fetch;

    kerf_fetch_to_loader(edge,
                         f->missing == 0 ? KERF_FETCH_LOAD : KERF_FETCH_OPEN);
}

static bool
takes_tails(const kerf_edge *edge)
{
    return edge->opts.offline == KERF_OFFLINE_LOCAL && edge->control != NULL &&
           (edge->welcome.features & KERF_FEATURE_TAILS) != 0;
}

/* Whether the bundle runs already, or is about to; after a reconnect, mostly.
 * READY is said here only for what runs: kerf_link_on_switched() says it for
 * the one to come, when nothing of the old one is in flight. */
static bool
is_running(kerf_edge *edge, const uint8_t *id)
{
    const kerf_program *p;
    bool runs;
    bool next;

    (void)pthread_mutex_lock(&edge->lock);
    p = edge->current;
    runs = edge->next == NULL && p != NULL &&
           memcmp(p->manifest.id, id, KERF_BUNDLE_ID_LEN) == 0 &&
           (p->has_tried_tail || !takes_tails(edge));
    p = edge->next;
    next = p != NULL && memcmp(p->manifest.id, id, KERF_BUNDLE_ID_LEN) == 0;
    if (runs)
        kerf_link_unstrand(edge);
    kerf_edge_stir(edge);
    if (runs)
        kerf_fetch_ready(edge, id, KERF_OK, "");
    return runs || next;
}

void
kerf_fetch_work(kerf_edge *edge)
{
    kerf_fetcher *f = &edge->fetch;

    while (f->state == KERF_FETCH_IDLE && f->count > 0) {
        const kerf_manifest *m = &f->wanted[0].manifest;

        const kerf_reject *bad =
            kerf_reject_find(&edge->rejects, f->wanted[0].text);

        f->cut = f->left = false;
        if (kerf_trusted_is_news(edge, m)) {
            kerf_fetch_to_loader(edge, KERF_FETCH_RENEW);
            continue;
        }
        if (is_running(edge, m->id)) {
            kerf_fetch_drop_first(f);
            continue;
        }
        if (bad != NULL && !f->wanted[0].stored) {
            kerf_fetch_give_up(edge, bad->err, bad->why.text);
            continue;
        }
        f->tails = takes_tails(edge);
        f->missing = 0;
        memset(f->file, 0, sizeof f->file);
        kerf_fetch_to_loader(edge, KERF_FETCH_CHECK);
    }
}

static void
take_program(kerf_edge *edge)
{
    kerf_fetcher *f = &edge->fetch;
    kerf_program *replaced;

    (void)pthread_mutex_lock(&edge->lock);
    replaced = edge->next;
    edge->next = f->program;
    (void)pthread_mutex_unlock(&edge->lock);
    kerf_program_free(replaced);
    f->program = NULL;
    kerf_again_forget(edge);
    kerf_edge_free_flight(edge, NULL);
}

static void
on_opened(kerf_edge *edge)
{
    kerf_fetcher *f = &edge->fetch;

    if (!f->cut && edge->control != NULL) {
        kerf_fetch_receive(edge);
        return;
    }
    kerf_fetch_keep(f);
    kerf_fetch_drop_first(f); /* the offer will come again */
}

void
kerf_fetch_on_loader(void *ctx)
{
    kerf_edge *edge = ctx;
    kerf_fetcher *f = &edge->fetch;
    const kerf_manifest *m = &f->wanted[0].manifest;

    if (f->left && f->state != KERF_FETCH_LOAD &&
        f->state != KERF_FETCH_RENEW) {
        kerf_fetch_drop_parts(f);
        kerf_fetch_drop_first(f);
    } else if (f->wanted[0].stored &&
               (f->err == KERF_EDENIED || f->err == KERF_EAGAIN)) {
        tell_not_used(edge, m, f->why.text);
        kerf_fetch_drop_first(f);
    } else if (f->err != KERF_OK) {
        kerf_fetch_give_up(edge, f->err,
                           *f->why.text ? f->why.text : kerf_err_text(f->err));
    } else if (f->state == KERF_FETCH_CHECK) {
        on_checked(edge);
    } else if (f->state == KERF_FETCH_OPEN) {
        on_opened(edge);
    } else if (f->state == KERF_FETCH_RENEW) {
        kerf_trusted_renew(edge, m, &f->says);
        if (is_running(edge, m->id) || f->left || f->cut || !f->wanted[0].run)
            kerf_fetch_drop_first(f);
        else
            f->state = KERF_FETCH_IDLE; /* another one runs since: load it */
    } else {
        if (f->program != NULL)
            take_program(edge);
        kerf_fetch_drop_first(f);
    }
    kerf_fetch_work(edge);
}

void
kerf_fetch_cut(kerf_edge *edge)
{
    kerf_fetcher *f = &edge->fetch;

    f->asked_count = 0;
    f->full = false;
    f->cut = true;
    if (f->writer != NULL)
        kerf_fetch_drop_reading(f); /* the connections are gone */
    kerf_again_drop(edge);
    kerf_fetch_drop_offered(f);
    free(f->manifest_json);
    f->manifest_json = NULL;
    if (f->state == KERF_FETCH_RECEIVE)
        kerf_fetch_end_early(edge, KERF_FETCH_END_KEEP);
    kerf_fetch_work(edge);
}

kerf_err
kerf_fetch_init(kerf_edge *edge)
{
    return kerf_writer_new(&edge->fetch.writer, edge->loop,
                           kerf_fetch_on_written, edge);
}

void
kerf_fetch_fini(kerf_edge *edge)
{
    kerf_fetcher *f = &edge->fetch;

    kerf_fetch_drop_parts(f);
    kerf_fetch_drop_kept(f);
    if (f->writer != NULL)
        kerf_fetch_drop_reading(f);
    kerf_writer_free(f->writer);
}
