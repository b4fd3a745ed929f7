/*
 * What clouds offer: a short list, of which fetch.c works on the first. Of
 * those that wait the manifest's text is kept, and no more than a bound of them
 * all.
 */
#include "edge/fetch_own.h"

#include "base/log.h"

#include <stdlib.h>
#include <string.h>

void
kerf_fetch_free_wanted(kerf_wanted *w)
{
    kerf_manifest_fini(&w->manifest);
    free(w->json);
}

void
kerf_fetch_drop_first(kerf_fetcher *f)
{
    kerf_fetch_free_wanted(&f->wanted[0]);
    f->count--;
    memmove(&f->wanted[0], &f->wanted[1], f->count * sizeof f->wanted[0]);
    f->state = KERF_FETCH_IDLE;
}

/* The first one that is not under way. */
static size_t
first_waiting(const kerf_fetcher *f)
{
    return f->state == KERF_FETCH_IDLE || f->count == 0 ? 0 : 1;
}

void
kerf_fetch_drop_waiting(kerf_fetcher *f)
{
    size_t keep = first_waiting(f);

    while (f->count > keep)
        kerf_fetch_free_wanted(&f->wanted[--f->count]);
}

void
kerf_fetch_drop_offered(kerf_fetcher *f)
{
    size_t keep = first_waiting(f);

    for (size_t i = keep; i < f->count; i++) {
        if (f->wanted[i].stored)
            f->wanted[keep++] = f->wanted[i];
        else
            kerf_fetch_free_wanted(&f->wanted[i]);
    }
    f->count = keep;
}

static uint64_t
waiting_bytes(const kerf_fetcher *f)
{
    uint64_t bytes = 0;

    for (size_t i = first_waiting(f); i < f->count; i++)
        bytes += f->wanted[i].json_len;
    return bytes;
}

/* The last goes: it is kept at most, and is offered again in the next session.
 */
static void
drop_last(kerf_fetcher *f)
{
    kerf_wanted *w = &f->wanted[f->count - 1];

    kerf_log(KERF_LOG_WARN, "edge.offer_dropped",
             "model=%s waiting=%zu most=%d bytes=%llu most_bytes=%zu",
             w->manifest.name, f->count, KERF_OFFERS_MAX,
             (unsigned long long)waiting_bytes(f), KERF_OFFERS_BYTES);
    kerf_fetch_free_wanted(w);
    f->count--;
}

/* The one to run comes right after the one under way. */
static void
add_wanted(kerf_fetcher *f, const kerf_wanted *w)
{
    size_t at = w->run ? first_waiting(f) : f->count;

    if (f->count == KERF_OFFERS_MAX)
        drop_last(f);
    at = at > f->count ? f->count : at;
    memmove(&f->wanted[at + 1], &f->wanted[at],
            (f->count - at) * sizeof f->wanted[0]);
    f->wanted[at] = *w;
    memcpy(f->wanted[at].id, w->manifest.id, sizeof w->id);
    memcpy(f->wanted[at].name, w->manifest.name, sizeof w->name);
    f->count++;
    while (waiting_bytes(f) > KERF_OFFERS_BYTES)
        drop_last(f);
}

void
kerf_fetch_add(kerf_edge *edge, const kerf_wanted *wanted)
{
    edge->has_unserved = false;
    add_wanted(&edge->fetch, wanted);
    kerf_fetch_work(edge);
}

kerf_err
kerf_fetch_offer_head(kerf_edge *edge, const kerf_frame_in *frame,
                      kerf_sink *sink, kerf_detail *why)
{
    kerf_fetcher *f = &edge->fetch;
    kerf_err err =
        kerf_offer_get(&f->offer, frame->meta, frame->header.meta_len, why);

    if (err != KERF_OK)
        return err;
    if (f->offer.manifest_len > KERF_MANIFEST_MAX)
        return kerf_fail(why, KERF_ETOOBIG, "a manifest of %u bytes",
                         f->offer.manifest_len);
    free(f->manifest_json);
    f->manifest_json = malloc((size_t)f->offer.manifest_len + 1);
    if (f->manifest_json == NULL)
        return KERF_ENOMEM;
    sink->count = 1;
    sink->piece[0] = f->manifest_json;
    sink->len[0] = f->offer.manifest_len;
    return KERF_OK;
}

/* The list needs no more of it than who it is and who signed it. */
static void
strip(kerf_manifest *m)
{
    kerf_manifest light = *m;

    for (size_t i = 0; i < KERF_PARTS_MAX; i++) {
        light.file[i].unit = NULL;
        light.file[i].unit_count = 0;
    }
    light.probe = NULL;
    light.probe_count = 0;
    kerf_manifest_fini(m);
    *m = light;
}

kerf_err
kerf_fetch_expand(kerf_wanted *w, kerf_detail *why)
{
    kerf_manifest whole = {0};
    kerf_err err;

    if (w->json == NULL)
        return KERF_OK;
    err = kerf_manifest_parse(&whole, w->json, w->json_len, why);
    if (err != KERF_OK)
        return err;
    kerf_manifest_fini(&w->manifest);
    w->manifest = whole;
    free(w->json);
    w->json = NULL;
    w->json_len = 0;
    return KERF_OK;
}

/* Only the last one that is to run does: one before it that is under way is not
 * wanted any more, nor is an older one of the same model that comes in to be
 * kept. What came of it stays in the store, for this one, and for when it is
 * offered again. */
static bool
is_outdated(const kerf_fetcher *f, const kerf_wanted *newer)
{
    const kerf_wanted *old = &f->wanted[0];

    return first_waiting(f) == 1 && !old->stored &&
           memcmp(old->id, newer->manifest.id, sizeof old->id) != 0 &&
           (old->run ? newer->run
                     : strcmp(old->name, newer->manifest.name) == 0);
}

/* Nor are those that wait to be run. */
static void
drop_outdated(kerf_fetcher *f)
{
    size_t keep = first_waiting(f);

    for (size_t i = keep; i < f->count; i++) {
        if (f->wanted[i].run && !f->wanted[i].stored)
            kerf_fetch_free_wanted(&f->wanted[i]);
        else
            f->wanted[keep++] = f->wanted[i];
    }
    f->count = keep;
}

/* Reads the manifest that came, and has no more of it than a list needs. */
static kerf_err
take_manifest(kerf_fetcher *f, kerf_wanted *w, kerf_detail *why)
{
    kerf_err err = kerf_manifest_parse(&w->manifest, w->json, w->json_len, why);

    if (err != KERF_OK)
        return kerf_fail_in(why, err, "manifest from the cloud");
    strip(&w->manifest);
    if (memcmp(w->manifest.id, f->offer.bundle, sizeof w->manifest.id) != 0)
        return kerf_fail(why, KERF_EMISMATCH,
                         "the manifest is of another bundle than its OFFER");
    return KERF_OK;
}

kerf_err
kerf_fetch_offer(kerf_edge *edge, kerf_detail *why)
{
    kerf_fetcher *f = &edge->fetch;
    kerf_wanted w = {.run = f->offer.run,
                     .json = f->manifest_json,
                     .json_len = f->offer.manifest_len};
    kerf_err err = take_manifest(f, &w, why);
    bool outdated;

    f->manifest_json = NULL;
    if (err != KERF_OK) {
        kerf_fetch_free_wanted(&w);
        return err;
    }
    w.text = kerf_xxh3(w.json, w.json_len);
    if (w.run) {
        kerf_again_drop(edge);
        f->again = KERF_OK;
        kerf_reject_on_offer(edge);
    }
    if (!w.run && edge->opts.model != NULL && edge->current == NULL &&
        f->count == 0)
        kerf_edge_tell_state(edge, true,
                             "connected; the cloud has %s, waiting for %s",
                             w.manifest.name, edge->opts.model);
    if (w.run)
        drop_outdated(f);
    outdated = is_outdated(f, &w);
    kerf_fetch_add(edge, &w);
    f->left |= outdated;
    if (outdated && f->state == KERF_FETCH_RECEIVE)
        kerf_fetch_end_early(edge, KERF_FETCH_END_LEAVE);
    return KERF_OK;
}
