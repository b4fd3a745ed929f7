#include "cloud/slots.h"

#include "cloud/served.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct kerf_group {
    kerf_group *next, *next_open;
    kerf_slots *slots;
    size_t size;
    unsigned used; /* a bit per slot; under the lock */
    bool is_open;  /* in that list; under the lock */
    kerf_slot *slot[KERF_BATCH_MOST];
    kerf_tensor *in; /* per input: of all slots */
    /* Blocks are numbered as a heap: the whole group is 1, its halves are 2
     * and 3, ..., its slots size to 2 * size - 1. Made at first use. */
    kerf_tensor *out;       /* [block][output], of blocks of 2 and more */
    kerf_request **request; /* [worker][block] */
};

static kerf_net *
tail_of(const kerf_slots *s)
{
    return s->nets[0][0];
}

static size_t
number_of(const kerf_slot *slot, size_t level)
{
    return (slot->group->size + slot->at) >> level;
}

static void
free_slot(kerf_slot *slot, size_t in, size_t out)
{
    if (slot == NULL)
        return;
    for (size_t i = 0; slot->coded != NULL && i < in; i++)
        free(slot->coded[i].blob);
    free(slot->block);
    free(slot->coded);
    free(slot->in);
    kerf_tensors_free(slot->out, out);
    free(slot->out);
    free(slot->out_room);
    free(slot->answer);
    free(slot->head);
    free(slot);
}

static void
free_group(kerf_group *g)
{
    kerf_net *tail = tail_of(g->slots);
    size_t in = kerf_net_in_count(tail);
    size_t out = kerf_net_out_count(tail);
    size_t requests = g->slots->workers * 2 * g->size;

    for (size_t i = 0; g->request != NULL && i < requests; i++)
        kerf_request_free(g->request[i]);
    for (size_t i = 0; i < g->size; i++)
        free_slot(g->slot[i], in, out);
    kerf_tensors_free(g->in, in);
    kerf_tensors_free(g->out, g->size * out);
    free(g->request);
    free(g->in);
    free(g->out);
    free(g);
}

static kerf_err
fill_slot(kerf_slot *slot)
{
    const kerf_group *g = slot->group;
    kerf_net *tail = tail_of(g->slots);
    size_t in = kerf_net_in_count(tail);
    size_t out = kerf_net_out_count(tail);
    kerf_err err = KERF_OK;

    slot->in = calloc(in, sizeof *slot->in);
    slot->coded = calloc(in, sizeof *slot->coded);
    slot->out = calloc(out, sizeof *slot->out);
    slot->out_room = calloc(out, sizeof *slot->out_room);
    slot->answer = calloc(out, sizeof *slot->answer);
    slot->head_cap = kerf_head_len(KERF_TENSORS_ROOM(out));
    slot->head = malloc(slot->head_cap);
    if (slot->in == NULL || slot->coded == NULL || slot->out == NULL ||
        slot->out_room == NULL || slot->answer == NULL || slot->head == NULL)
        return KERF_ENOMEM;
    for (size_t i = 0; i < in; i++) {
        const kerf_port *port = kerf_net_in(tail, i);
        size_t bytes = g->in[i].bytes / g->size;

        slot->in[i] =
            (kerf_tensor){.dtype = port->dtype,
                          .shape = port->shape,
                          .data = (uint8_t *)g->in[i].data + slot->at * bytes,
                          .bytes = bytes};
    }
    for (size_t i = 0; err == KERF_OK && i < out; i++) {
        const kerf_port *port = kerf_net_out(tail, i);

        if (kerf_shape_is_static(&port->shape))
            err = kerf_tensor_alloc(&slot->out[i], port->dtype, &port->shape);
    }
    return err;
}

/* The memory of `count` slots for one port. */
static kerf_err
alloc_port(kerf_tensor *t, const kerf_port *port, size_t count)
{
    kerf_shape shape = port->shape;

    if (count > 1)
        shape.dims[0] = (int64_t)count; /* it was 1: batch.c has looked */
    return kerf_tensor_alloc(t, port->dtype, &shape);
}

static kerf_err
fill_group(kerf_group *g)
{
    kerf_net *tail = tail_of(g->slots);
    size_t in = kerf_net_in_count(tail);
    size_t out = kerf_net_out_count(tail);
    kerf_err err = KERF_OK;

    g->in = calloc(in, sizeof *g->in);
    g->out = calloc(g->size * out, sizeof *g->out);
    g->request = calloc(g->slots->workers * 2 * g->size, sizeof *g->request);
    if (g->in == NULL || g->out == NULL || g->request == NULL)
        return KERF_ENOMEM;
    for (size_t i = 0; err == KERF_OK && i < in; i++)
        err = alloc_port(&g->in[i], kerf_net_in(tail, i), g->size);
    for (size_t i = 0; err == KERF_OK && i < g->size; i++) {
        kerf_slot *slot = calloc(1, sizeof *slot);

        if (slot == NULL)
            return KERF_ENOMEM;
        g->slot[i] = slot;
        slot->group = g;
        slot->at = i;
        err = fill_slot(slot);
    }
    return err;
}

static kerf_group *
make_group(kerf_slots *s)
{
    kerf_group *g = calloc(1, sizeof *g);

    if (g == NULL)
        return NULL;
    g->slots = s;
    g->size = (size_t)1 << (s->levels - 1);
    if (fill_group(g) == KERF_OK)
        return g;
    free_group(g);
    return NULL;
}

void
kerf_slots_init(kerf_slots *s, size_t workers, size_t most)
{
    *s = (kerf_slots){.workers = workers, .most = most, .levels = 1};
    (void)pthread_mutex_init(&s->lock, NULL);
}

void
kerf_slots_clear(kerf_slots *s)
{
    while (s->all != NULL) {
        kerf_group *g = s->all;

        s->all = g->next;
        free_group(g);
    }
    s->open = s->current = NULL;
    s->made = 0;
}

void
kerf_slots_fini(kerf_slots *s)
{
    kerf_slots_clear(s);
    for (size_t level = 0; level < KERF_BATCH_LEVELS; level++) {
        for (size_t w = 0; s->nets[level] != NULL && w < s->workers; w++)
            kerf_net_free(s->nets[level][w]);
        free(s->nets[level]);
    }
    (void)pthread_mutex_destroy(&s->lock);
}

static bool
is_full(const kerf_group *g)
{
    return g->used == (1u << g->size) - 1;
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

/* Under the lock. Neighbours are taken together, so that they may be answered
 * together. NULL: none is free, or enough are in use. */
static kerf_slot *
take_free(kerf_slots *s, size_t held)
{
    kerf_group *g = s->current;
    size_t at = 0;

    if (!has_room(s, held))
        return NULL;
    if (g == NULL || is_full(g)) {
        g = s->open;
        if (g == NULL)
            return NULL;
        s->open = g->next_open;
        g->is_open = false;
        s->current = g;
    }
    while ((g->used >> at & 1) != 0)
        at++;
    g->used |= 1u << at;
    s->used++;
    return g->slot[at];
}

/* Without the lock, since it makes memory; room for it was counted. */
static void
grow(kerf_slots *s, size_t size)
{
    kerf_group *g = make_group(s);

    (void)pthread_mutex_lock(&s->lock);
    if (g == NULL) {
        s->made -= size;
    } else {
        g->next = s->all;
        s->all = g;
        g->next_open = s->open;
        g->is_open = true;
        s->open = g;
    }
    (void)pthread_mutex_unlock(&s->lock);
}

kerf_slot *
kerf_slot_take(kerf_served *served, kerf_lane *lane)
{
    kerf_slots *s = &served->slots;
    size_t held = lane != NULL ? kerf_lane_share(lane) : 0;
    size_t size = (size_t)1 << (s->levels - 1);
    bool may_grow;
    kerf_slot *slot;

    (void)pthread_mutex_lock(&s->lock);
    if (s->spare == 0)
        s->spare = spare_of(s);
    slot = take_free(s, held);
    may_grow =
        slot == NULL && s->made < s->most + s->spare && has_room(s, held);
    s->made += may_grow ? size : 0;
    (void)pthread_mutex_unlock(&s->lock);
    if (may_grow) {
        grow(s, size);
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
    kerf_group *g = slot->group;
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
    g->used &= ~(1u << slot->at);
    s->used--;
    if (g != s->current && !g->is_open) {
        g->next_open = s->open;
        g->is_open = true;
        s->open = g;
    }
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

kerf_slot **
kerf_slot_block(const kerf_slot *slot, size_t level)
{
    return &slot->group->slot[slot->at >> level << level];
}

/* Where output i of the slot's block goes. */
static kerf_err
bind_out(kerf_slot *slot, size_t level, kerf_request *request, size_t i,
         kerf_detail *why)
{
    const kerf_group *g = slot->group;
    kerf_net *tail = tail_of(g->slots);
    const kerf_port *port = kerf_net_out(tail, i);
    kerf_tensor *out;
    kerf_err err = KERF_OK;

    if (level == 0 && !kerf_shape_is_static(&port->shape))
        return KERF_OK;
    out = level == 0
              ? &slot->out[i]
              : &g->out[number_of(slot, level) * kerf_net_out_count(tail) + i];
    if (out->data == NULL) /* the first worker to run this block */
        err = alloc_port(out, port, (size_t)1 << level);
    if (err == KERF_OK)
        err = kerf_request_bind_out(request, i, out->data, why);
    return err;
}

kerf_err
kerf_slot_request(kerf_slot *slot, size_t level, size_t w, kerf_request **out,
                  kerf_detail *why)
{
    const kerf_group *g = slot->group;
    kerf_request **kept = &g->request[w * 2 * g->size + number_of(slot, level)];
    kerf_net *net = g->slots->nets[level][w];
    kerf_slot *first = *kerf_slot_block(slot, level);
    kerf_request *request = NULL;
    kerf_err err;

    if (*kept != NULL) {
        *out = *kept;
        return KERF_OK;
    }
    err = kerf_request_new(&request, net, why);
    for (size_t i = 0; err == KERF_OK && i < kerf_net_in_count(net); i++)
        err = kerf_request_bind_in(request, i, first->in[i].data, why);
    for (size_t i = 0; err == KERF_OK && i < kerf_net_out_count(net); i++)
        err = bind_out(slot, level, request, i, why);
    if (err != KERF_OK) {
        kerf_request_free(request);
        return err;
    }
    *out = *kept = request;
    return KERF_OK;
}

void
kerf_slot_share(kerf_slot *slot, size_t level)
{
    const kerf_group *g = slot->group;
    kerf_slot **block = kerf_slot_block(slot, level);
    size_t outs = kerf_net_out_count(tail_of(g->slots));
    const kerf_tensor *out =
        level > 0 ? &g->out[number_of(slot, level) * outs] : NULL;

    for (size_t k = 0; k < (size_t)1 << level; k++) {
        for (size_t i = 0; i < outs; i++) {
            kerf_tensor *answer = &block[k]->answer[i];

            *answer = block[k]->out[i];
            if (out != NULL)
                answer->data = (uint8_t *)out[i].data + k * answer->bytes;
        }
    }
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
