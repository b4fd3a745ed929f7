#include "cloud/served.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "cloud/batch.h"
#include "engine/load_card.h"
#include "engine/probe.h"
#include "model/units.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_PROBES 2

static _Atomic uint64_t made;

kerf_served *
kerf_served_ref(kerf_served *s)
{
    (void)atomic_fetch_add(&s->refs, 1);
    return s;
}

void
kerf_served_unref(kerf_served *s)
{
    if (s == NULL || atomic_fetch_sub(&s->refs, 1) != 1)
        return;
    kerf_slots_fini(&s->slots);
    for (size_t i = 0; i < KERF_ROLE_COUNT; i++)
        kerf_packed_fini(&s->packed[i]);
    kerf_manifest_fini(&s->manifest);
    kerf_pair_fini(&s->pair);
    free(s->manifest_json);
    free(s);
}

uint64_t
kerf_served_bytes(const kerf_served *s)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < s->manifest.file_count; i++)
        sum += s->manifest.file[i].size;
    return sum;
}

/* Head without preprocessing; the card's size settles free dims. */
static kerf_err
load_head(kerf_engine *engine, const kerf_pair *pair, kerf_net **out,
          kerf_detail *why)
{
    kerf_model_bytes bytes = kerf_pair_bytes(pair, true);
    kerf_err err;

    err = kerf_engine_load_raw(engine, out, &bytes,
                               pair->has_card ? &pair->card : NULL, why);
    return err == KERF_OK ? err : kerf_fail_in(why, err, "head");
}

/* The head's answer to the probe joins the manifest. */
static kerf_err
prove(kerf_served *s, kerf_net *head, const kerf_probe *probe, kerf_detail *why)
{
    kerf_manifest *m = &s->manifest;
    kerf_err err = kerf_probe_run_pair(head, s->tail, probe, m->probe_tolerance,
                                       &m->probe[m->probe_count], why);

    if (err == KERF_OK)
        m->probe_count++;
    return err;
}

static kerf_err
prove_all(kerf_served *s, kerf_net *head, kerf_detail *why)
{
    const kerf_card *card = &s->pair.card;
    size_t n = s->pair.has_card ? card->probe_count : 0;
    kerf_err err = KERF_OK;

    s->manifest.probe_tolerance = KERF_PROBE_TOLERANCE;
    s->manifest.probe =
        calloc(n > 0 ? n : DEFAULT_PROBES, sizeof *s->manifest.probe);
    if (s->manifest.probe == NULL)
        return KERF_ENOMEM;
    for (size_t i = 0; err == KERF_OK && i < n; i++)
        err = prove(s, head, &card->probe[i], why);
    for (size_t i = 0; err == KERF_OK && n == 0 && i < DEFAULT_PROBES; i++)
        err = prove(s, head, &(kerf_probe){.seed = i + 1}, why);
    return err;
}

static kerf_err
load_tails(kerf_served *s, kerf_engine *engine, const kerf_net *head,
           kerf_detail *why)
{
    kerf_model_bytes bytes = kerf_pair_bytes(&s->pair, false);
    kerf_net **nets = calloc(s->slots.workers, sizeof(kerf_net *));
    kerf_err err = KERF_OK;

    if (nets == NULL)
        return KERF_ENOMEM;
    s->slots.nets = nets;
    for (size_t w = 0; err == KERF_OK && w < s->slots.workers; w++)
        err = kerf_engine_load_tail(engine, &nets[w], &bytes, head, why);
    s->tail = nets[0];
    return err;
}

static kerf_err
load_batches(kerf_served *s, kerf_engine *engine, size_t most, kerf_detail *why)
{
    kerf_model_bytes bytes = kerf_pair_bytes(&s->pair, false);

    return kerf_batch_load(s, engine, &bytes, most, why);
}

static kerf_err
time_tail(kerf_served *s, kerf_slot *slot, kerf_detail *why)
{
    kerf_request *request = NULL;
    kerf_err err = kerf_slot_request(slot, 0, &request, why);
    uint64_t start_ns = kerf_now_ns();

    if (err == KERF_OK)
        err = kerf_request_run(request, why);
    if (err == KERF_OK)
        atomic_store(&s->price.ns, kerf_now_ns() - start_ns);
    return err;
}

/* In all sizes: the first run of each is the slow one, too. */
static kerf_err
warm_bunch(kerf_slots *s, size_t w, kerf_slot *slot, kerf_detail *why)
{
    kerf_slot *same[KERF_BATCH_MOST];
    kerf_err err = KERF_OK;

    for (size_t k = 0; k < s->batch_most; k++)
        same[k] = slot;
    for (size_t n = 2; err == KERF_OK && n <= s->batch_most; n++)
        err = kerf_bunch_run(&s->bunch[w], same, n, why);
    return err;
}

/* Every network runs once: the first run is the slow one. And the tail once
 * more, since its jobs cost what it takes from the first one on. */
static kerf_err
warm(kerf_served *s, kerf_detail *why)
{
    kerf_slot *slot = kerf_slot_take(s, NULL);
    kerf_err err = slot == NULL ? KERF_ENOMEM : KERF_OK;

    for (size_t w = 0; err == KERF_OK && w < s->slots.workers; w++) {
        kerf_request *request = NULL;

        err = kerf_slot_request(slot, w, &request, why);
        if (err == KERF_OK)
            err = kerf_request_run(request, why);
        if (err == KERF_OK && s->slots.batch_most > 1)
            err = warm_bunch(&s->slots, w, slot, why);
    }
    if (err == KERF_OK)
        err = time_tail(s, slot, why);
    if (slot != NULL)
        kerf_slot_give(slot);
    return err;
}

static kerf_err
load(kerf_served *s, kerf_engine *engine, const kerf_served_opts *opts,
     kerf_detail *why)
{
    kerf_net *head = NULL;
    kerf_err err = load_head(engine, &s->pair, &head, why);

    if (err == KERF_OK)
        err = load_tails(s, engine, head, why);
    if (err == KERF_OK)
        err = prove_all(s, head, why);
    kerf_net_free(head);
    if (err == KERF_OK)
        err = load_batches(s, engine, opts->batch, why);
    if (!opts->shares_tail) {
        kerf_pair_drop(&s->pair, KERF_ROLE_TAIL_GRAPH);
        kerf_pair_drop(&s->pair, KERF_ROLE_TAIL_WEIGHTS);
    }
    if (err == KERF_OK)
        err = warm(s, why);
    return err;
}

/* What is shipped, for edges that take it packed. */
static kerf_err
pack(kerf_served *s)
{
    kerf_err err = KERF_OK;

    for (size_t i = 0; err == KERF_OK && i < KERF_ROLE_COUNT; i++) {
        if (s->pair.data[i] != NULL) /* tails only where they are shared */
            err = kerf_packed_make(&s->packed[i], s->pair.data[i],
                                   s->pair.len[i]);
    }
    return err;
}

static void
drop_units(kerf_served *s)
{
    for (size_t i = 0; i < s->manifest.file_count; i++)
        kerf_units_drop(&s->manifest.file[i]);
}

/* What is shipped, in units, for edges that have some of it. */
static kerf_err
make_units(kerf_served *s)
{
    kerf_err err = KERF_OK;

    for (size_t i = 0; err == KERF_OK && i < s->manifest.file_count; i++) {
        kerf_file *f = &s->manifest.file[i];

        if (s->pair.data[f->role] != NULL)
            err =
                kerf_units_make(f, s->pair.data[f->role], s->pair.len[f->role]);
    }
    return err;
}

static kerf_err
write_manifest(kerf_served *s)
{
    kerf_err err = kerf_manifest_format(&s->manifest, &s->manifest_json);

    if (err != KERF_OK || strlen(s->manifest_json) <= KERF_MANIFEST_MAX)
        return err;
    free(s->manifest_json);
    s->manifest_json = NULL;
    drop_units(s); /* it works without */
    return kerf_manifest_format(&s->manifest, &s->manifest_json);
}

kerf_err
kerf_served_new(kerf_served **out, kerf_engine *engine, kerf_pair *pair,
                const kerf_served_opts *opts, kerf_detail *why)
{
    kerf_served *s = calloc(1, sizeof *s);
    kerf_err err;

    if (s == NULL)
        return KERF_ENOMEM;
    s->refs = 1;
    s->number = 1 + atomic_fetch_add(&made, 1);
    kerf_slots_init(&s->slots, opts->workers, opts->slots);
    s->pair = *pair;
    *pair = (kerf_pair){0};
    s->manifest = s->pair.manifest;
    s->says = s->pair.says;
    s->sig_why = s->pair.sig_why;
    /* the engine is told the format by the pair */
    s->pair.manifest = (kerf_manifest){.format = s->manifest.format};
    err = load(s, engine, opts, why);
    if (err == KERF_OK && opts->packs)
        err = pack(s);
    if (err == KERF_OK)
        err = make_units(s);
    if (err == KERF_OK)
        err = write_manifest(s);
    if (err != KERF_OK || s->manifest_json == NULL) {
        kerf_served_unref(s);
        return err != KERF_OK ? err : KERF_ENOMEM;
    }
    s->manifest_len = strlen(s->manifest_json);
    kerf_hex(s->id, s->manifest.id, sizeof s->manifest.id);
    *out = s;
    return KERF_OK;
}
