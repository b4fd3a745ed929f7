#include "cloud/slots.h"

#include "cloud/served.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static kerf_net *
tail_of(const kerf_slots *s)
{
    return s->nets[0];
}

static void
free_slot(kerf_slot *slot, const kerf_slots *s)
{
    kerf_net *tail = tail_of(s);
    size_t in = kerf_net_in_count(tail);

    for (size_t w = 0; slot->request != NULL && w < s->workers; w++)
        kerf_request_free(slot->request[w]);
    for (size_t i = 0; slot->coded != NULL && i < in; i++)
        free(slot->coded[i].blob);
    free(slot->request);
    free(slot->block);
    free(slot->coded);
    kerf_tensors_free(slot->in, in);
    free(slot->in);
    kerf_tensors_free(slot->out, kerf_net_out_count(tail));
    free(slot->out);
    free(slot->out_room);
    free(slot->head);
    free(slot);
}

static kerf_err
fill_slot(kerf_slot *slot, const kerf_slots *s)
{
    kerf_net *tail = tail_of(s);
    size_t in = kerf_net_in_count(tail);
    size_t out = kerf_net_out_count(tail);
    kerf_err err = KERF_OK;

    slot->request = calloc(s->workers, sizeof(kerf_request *));
    slot->in = calloc(in, sizeof *slot->in);
    slot->coded = calloc(in, sizeof *slot->coded);
    slot->out = calloc(out, sizeof *slot->out);
    slot->out_room = calloc(out, sizeof *slot->out_room);
    slot->head_cap = kerf_head_len(KERF_TENSORS_ROOM(out));
    slot->head = malloc(slot->head_cap);
    if (slot->request == NULL || slot->in == NULL || slot->coded == NULL ||
        slot->out == NULL || slot->out_room == NULL || slot->head == NULL)
        return KERF_ENOMEM;
    for (size_t i = 0; err == KERF_OK && i < in + out; i++) {
        const kerf_port *port =
            i < in ? kerf_net_in(tail, i) : kerf_net_out(tail, i - in);
        kerf_tensor *t = i < in ? &slot->in[i] : &slot->out[i - in];

        if (kerf_shape_is_static(&port->shape))
            err = kerf_tensor_alloc(t, port->dtype, &port->shape);
    }
    return err;
}

static kerf_slot *
make_slot(const kerf_slots *s)
{
    kerf_slot *slot = calloc(1, sizeof *slot);

    if (slot == NULL || fill_slot(slot, s) == KERF_OK)
        return slot;
    free_slot(slot, s);
    return NULL;
}

void
kerf_slots_init(kerf_slots *s, size_t workers, size_t most)
{
    *s = (kerf_slots){.workers = workers, .most = most, .batch_most = 1};
    (void)pthread_mutex_init(&s->lock, NULL);
}

void
kerf_slots_fini(kerf_slots *s)
{
    while (s->all != NULL) {
        kerf_slot *slot = s->all;

        s->all = slot->next_made;
        free_slot(slot, s);
    }
    for (size_t w = 0; s->bunch != NULL && w < s->workers; w++)
        kerf_bunch_fini(&s->bunch[w]);
    for (size_t w = 0; s->nets != NULL && w < s->workers; w++)
        kerf_net_free(s->nets[w]);
    free(s->bunch);
    free(s->nets);
    (void)pthread_mutex_destroy(&s->lock);
}

/* How many spare slots there may be: at least one. */
static size_t
spare_of(const kerf_slots *s)
{
    kerf_net *tail = tail_of(s);
    size_t in = kerf_net_in_count(tail);
    size_t ports = in + kerf_net_out_count(tail);
    size_t bytes = 1;
    size_t spare;

    for (size_t i = 0; i < ports; i++) {
        const kerf_port *port =
            i < in ? kerf_net_in(tail, i) : kerf_net_out(tail, i - in);
        size_t more = 0; /* an output that is not static: not known yet */

        if (kerf_shape_bytes(&port->shape, port->dtype, &more) == KERF_OK)
            bytes += more;
    }
    spare = KERF_SLOT_SPARE_BYTES / bytes;
    return spare < 1                      ? 1
           : spare > KERF_SLOT_SPARE_MOST ? KERF_SLOT_SPARE_MOST
                                          : spare;
}

/* Under the lock. */
static bool
has_room(const kerf_slots *s, size_t held)
{
    size_t left = s->most > s->used ? s->most - s->used : 0;

    return held == 0 ? s->used < s->most + s->spare
                     : held < KERF_SLOT_SHARE * left;
}

/* Under the lock. NULL: none is free, or enough are in use. */
static kerf_slot *
take_free(kerf_slots *s, size_t held)
{
    kerf_slot *slot = s->open;

    if (!has_room(s, held) || slot == NULL)
        return NULL;
    s->open = slot->next_free;
    s->used++;
    return slot;
}

/* Without the lock, since it makes memory; room for it was counted. */
static void
grow(kerf_slots *s)
{
    kerf_slot *slot = make_slot(s);

    (void)pthread_mutex_lock(&s->lock);
    if (slot == NULL) {
        s->made--;
    } else {
        slot->next_made = s->all;
        s->all = slot;
        slot->next_free = s->open;
        s->open = slot;
    }
    (void)pthread_mutex_unlock(&s->lock);
}

kerf_slot *
kerf_slot_take(kerf_served *served, kerf_lane *lane)
{
    kerf_slots *s = &served->slots;
    size_t held = lane != NULL ? kerf_lane_share(lane) : 0;
    bool may_grow;
    kerf_slot *slot;

    (void)pthread_mutex_lock(&s->lock);
    if (s->spare == 0)
        s->spare = spare_of(s);
    slot = take_free(s, held);
    may_grow =
        slot == NULL && s->made < s->most + s->spare && has_room(s, held);
    s->made += may_grow ? 1 : 0;
    (void)pthread_mutex_unlock(&s->lock);
    if (may_grow) {
        grow(s);
        (void)pthread_mutex_lock(&s->lock);
        slot = take_free(s, held);
        (void)pthread_mutex_unlock(&s->lock);
    }
    if (slot == NULL)
        return NULL;
    slot->served = kerf_served_ref(served);
    slot->lane = lane;
    slot->job.of = slot;
    if (lane != NULL) {
        slot->job.line = &lane->line;
        (void)atomic_fetch_add(&lane->held, 1);
    }
    return slot;
}

size_t
kerf_slots_used(kerf_slots *s)
{
    size_t used;

    (void)pthread_mutex_lock(&s->lock);
    used = s->used;
    (void)pthread_mutex_unlock(&s->lock);
    return used;
}

void
kerf_slot_give(kerf_slot *slot)
{
    kerf_served *served = slot->served;
    kerf_slots *s = &served->slots;
    kerf_lane *lane = slot->lane;
    bool done = slot->done;

    if (slot->conn != NULL) {
        (void)kerf_conn_count(slot->conn, -1);
        kerf_conn_unref(slot->conn);
    }
    slot->conn = NULL;
    slot->lane = NULL;
    slot->done = false;
    (void)pthread_mutex_lock(&s->lock);
    s->used--;
    slot->next_free = s->open;
    s->open = slot;
    (void)pthread_mutex_unlock(&s->lock);
    if (lane != NULL)
        (void)atomic_fetch_sub(&lane->held, /* it may be freed now */
                               done ? 1 + KERF_LANE_DONE : 1);
    kerf_served_unref(served);
}

void
kerf_slot_done(kerf_slot *slot, bool done)
{
    if (done)
        (void)atomic_fetch_add(&slot->lane->held, KERF_LANE_DONE);
    else
        (void)atomic_fetch_sub(&slot->lane->held, KERF_LANE_DONE);
    slot->done = done;
}

kerf_err
kerf_slot_request(kerf_slot *slot, size_t w, kerf_request **out,
                  kerf_detail *why)
{
    kerf_net *net = slot->served->slots.nets[w];
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

void
kerf_slot_begin(kerf_slot *slot)
{
    slot->block_count = slot->block_most = slot->decoded = 0;
    atomic_store(&slot->arrived, 0);
    atomic_store(&slot->ahead, 0);
    slot->ahead_err = KERF_OK;
}

kerf_err
kerf_slot_code_blocks(kerf_slot *slot, size_t i)
{
    size_t bytes = slot->in[i].bytes; /* all blobs are smaller than values */
    kerf_err err = kerf_slot_code(slot, i, KERF_CODEC_RAW, bytes);

    if (err != KERF_OK)
        return err;
    slot->coded[i].len = 0;
    slot->block_most += bytes / sizeof(float) / KERF_BLOCK_VALUES_MIN + 1;
    if (slot->block_most > slot->block_room) {
        kerf_coded_block *bigger = calloc(slot->block_most, sizeof *bigger);

        if (bigger == NULL)
            return KERF_ENOMEM;
        free(slot->block);
        slot->block = bigger;
        slot->block_room = slot->block_most;
    }
    return KERF_OK;
}

void *
kerf_slot_add_block(kerf_slot *slot, const kerf_tensor_block *block)
{
    kerf_coded *c = &slot->coded[block->tensor];
    kerf_coded_block *b = &slot->block[slot->block_count++];

    *b = (kerf_coded_block){.tensor = block->tensor,
                            .codec = (kerf_codec_id)block->codec,
                            .first = block->first,
                            .count = block->count,
                            .at = c->len,
                            .len = block->len};
    if (b->codec == KERF_CODEC_RAW)
        return (float *)slot->in[b->tensor].data + b->first;
    c->len += b->len;
    return c->blob + b->at;
}
