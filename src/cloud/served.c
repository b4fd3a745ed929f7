#include "cloud/served.h"

#include "base/bytes.h"
#include "engine/load_card.h"
#include "engine/probe.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_PROBES 2

static void
free_slot(kerf_slot *slot)
{
    size_t in = kerf_net_in_count(slot->served->tail);
    size_t out = kerf_net_out_count(slot->served->tail);

    for (size_t i = 0; slot->coded != NULL && i < in; i++)
        free(slot->coded[i].blob);
    free(slot->coded);
    kerf_tensors_free(slot->in, in);
    kerf_tensors_free(slot->out, out);
    for (size_t w = 0; slot->request != NULL && w < slot->served->workers; w++)
        kerf_request_free(slot->request[w]);
    free(slot->request);
    free(slot->in);
    free(slot->out);
    free(slot->out_room);
    free(slot->head);
    free(slot);
}

static kerf_err
fill_slot(kerf_slot *slot)
{
    kerf_net *tail = slot->served->tail;
    size_t in = kerf_net_in_count(tail);
    size_t out = kerf_net_out_count(tail);
    kerf_err err = KERF_OK;

    slot->request = calloc(slot->served->workers, sizeof(kerf_request *));
    slot->in = calloc(in, sizeof *slot->in);
    slot->coded = calloc(in, sizeof *slot->coded);
    slot->out = calloc(out, sizeof *slot->out);
    slot->out_room = calloc(out, sizeof *slot->out_room);
    slot->head_cap = kerf_head_len(KERF_TENSORS_ROOM(out));
    slot->head = malloc(slot->head_cap);
    if (slot->request == NULL || slot->in == NULL || slot->coded == NULL ||
        slot->out == NULL || slot->out_room == NULL || slot->head == NULL)
        return KERF_ENOMEM;
    for (size_t i = 0; err == KERF_OK && i < in; i++) {
        const kerf_port *port = kerf_net_in(tail, i);

        err = kerf_tensor_alloc(&slot->in[i], port->dtype, &port->shape);
    }
    for (size_t i = 0; err == KERF_OK && i < out; i++) {
        const kerf_port *port = kerf_net_out(tail, i);

        if (kerf_shape_is_static(&port->shape))
            err = kerf_tensor_alloc(&slot->out[i], port->dtype, &port->shape);
    }
    return err;
}

static kerf_slot *
make_slot(kerf_served *s)
{
    kerf_slot *slot = calloc(1, sizeof *slot);

    if (slot == NULL)
        return NULL;
    slot->served = s;
    if (fill_slot(slot) == KERF_OK)
        return slot;
    free_slot(slot);
    return NULL;
}

kerf_err
kerf_slot_request(kerf_slot *slot, size_t w, kerf_request **out,
                  kerf_detail *why)
{
    kerf_net *net = slot->served->nets[w];
    kerf_request *request = NULL;
    kerf_err err;

    if (slot->request[w] != NULL) {
        *out = slot->request[w];
        return KERF_OK;
    }
    err = kerf_request_new(&request, net, why);
    for (size_t i = 0; err == KERF_OK && i < kerf_net_in_count(net); i++)
        err = kerf_request_bind_in(request, i, slot->in[i].data, why);
    for (size_t i = 0; err == KERF_OK && i < kerf_net_out_count(net); i++) {
        if (kerf_shape_is_static(&kerf_net_out(net, i)->shape))
            err = kerf_request_bind_out(request, i, slot->out[i].data, why);
    }
    if (err != KERF_OK) {
        kerf_request_free(request);
        return err;
    }
    *out = slot->request[w] = request;
    return KERF_OK;
}

kerf_err
kerf_slot_code(kerf_slot *slot, size_t i, kerf_codec_id codec, size_t len)
{
    kerf_coded *c = &slot->coded[i];

    if (len > c->room) {
        uint8_t *bigger = malloc(len);

        if (bigger == NULL)
            return KERF_ENOMEM;
        free(c->blob);
        c->blob = bigger;
        c->room = len;
    }
    c->codec = codec;
    c->len = len;
    return KERF_OK;
}

kerf_slot *
kerf_slot_take(kerf_served *s)
{
    kerf_slot *slot;
    bool may_grow = false;

    (void)pthread_mutex_lock(&s->lock);
    slot = s->free_slots;
    if (slot != NULL) {
        s->free_slots = slot->next;
    } else if (s->slots < s->slots_max) {
        s->slots++;
        may_grow = true;
    }
    (void)pthread_mutex_unlock(&s->lock);
    if (may_grow) {
        slot = make_slot(s);
        if (slot == NULL) {
            (void)pthread_mutex_lock(&s->lock);
            s->slots--;
            (void)pthread_mutex_unlock(&s->lock);
        }
    }
    if (slot != NULL)
        (void)kerf_served_ref(s);
    return slot;
}

void
kerf_slot_give(kerf_slot *slot)
{
    kerf_served *s = slot->served;

    if (slot->conn != NULL) {
        (void)kerf_conn_count(slot->conn, -1);
        kerf_conn_unref(slot->conn);
    }
    slot->conn = NULL;
    (void)pthread_mutex_lock(&s->lock);
    slot->next = s->free_slots;
    s->free_slots = slot;
    (void)pthread_mutex_unlock(&s->lock);
    kerf_served_unref(s);
}

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
    while (s->free_slots != NULL) {
        kerf_slot *slot = s->free_slots;

        s->free_slots = slot->next;
        free_slot(slot);
    }
    for (size_t i = 0; s->nets != NULL && i < s->workers; i++)
        kerf_net_free(s->nets[i]);
    free(s->nets);
    kerf_manifest_fini(&s->manifest);
    kerf_pair_fini(&s->pair);
    free(s->manifest_json);
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
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
           size_t workers, kerf_detail *why)
{
    kerf_model_bytes bytes = kerf_pair_bytes(&s->pair, false);
    kerf_err err = KERF_OK;

    s->nets = calloc(workers, sizeof(kerf_net *));
    if (s->nets == NULL)
        return KERF_ENOMEM;
    s->workers = workers;
    for (size_t w = 0; err == KERF_OK && w < workers; w++)
        err = kerf_engine_load_tail(engine, &s->nets[w], &bytes, head, why);
    s->tail = s->nets[0];
    return err;
}

/* Every network runs once: the first run is the slow one. */
static kerf_err
warm(kerf_served *s, kerf_detail *why)
{
    kerf_slot *slot = kerf_slot_take(s);
    kerf_err err = slot == NULL ? KERF_ENOMEM : KERF_OK;

    for (size_t w = 0; err == KERF_OK && w < s->workers; w++) {
        kerf_request *request = NULL;

        err = kerf_slot_request(slot, w, &request, why);
        if (err == KERF_OK)
            err = kerf_request_run(request, why);
    }
    if (slot != NULL)
        kerf_slot_give(slot);
    return err;
}

kerf_err
kerf_served_new(kerf_served **out, kerf_engine *engine, kerf_pair *pair,
                size_t workers, size_t slots_max, kerf_detail *why)
{
    kerf_served *s = calloc(1, sizeof *s);
    kerf_net *head = NULL;
    kerf_err err;

    if (s == NULL)
        return KERF_ENOMEM;
    s->refs = 1;
    s->slots_max = slots_max;
    (void)pthread_mutex_init(&s->lock, NULL);
    s->pair = *pair;
    *pair = (kerf_pair){0};
    s->manifest = s->pair.manifest;
    /* the engine is told the format by the pair */
    s->pair.manifest = (kerf_manifest){.format = s->manifest.format};
    err = load_head(engine, &s->pair, &head, why);
    if (err == KERF_OK)
        err = load_tails(s, engine, head, workers, why);
    if (err == KERF_OK)
        err = prove_all(s, head, why);
    kerf_net_free(head);
    kerf_pair_drop(&s->pair, KERF_ROLE_TAIL_GRAPH);
    kerf_pair_drop(&s->pair, KERF_ROLE_TAIL_WEIGHTS);
    if (err == KERF_OK)
        err = warm(s, why);
    if (err == KERF_OK)
        err = kerf_manifest_format(&s->manifest, &s->manifest_json);
    if (err != KERF_OK) {
        kerf_served_unref(s);
        return err;
    }
    s->manifest_len = strlen(s->manifest_json);
    kerf_hex(s->id, s->manifest.id, sizeof s->manifest.id);
    *out = s;
    return KERF_OK;
}
