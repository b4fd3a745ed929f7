#include "edge/program.h"

#include "base/bytes.h"
#include "base/large.h"
#include "engine/load_card.h"
#include "engine/probe.h"
#include "net/lend.h"

#include <stdlib.h>
#include <string.h>

/* Larger outputs are not of one memory for all flights. */
#define SHARED_MOST ((size_t)8 << 20)
_Static_assert(SHARED_MOST <= KERF_TENSOR_BYTES_MAX / KERF_FLIGHTS_MAX,
               "the bound of a tensor is not one of all flights");

bool
kerf_flight_make_room(kerf_flight *f, size_t i)
{
    size_t page = kerf_page_size();
    size_t bytes = f->out[i].bytes;

    if (f->coded[i] == NULL) /* in pages of its own */
        f->coded[i] = kerf_large_alloc(bytes > page ? bytes : page);
    return f->coded[i] != NULL;
}

/* Where there is no memory for other pages, who still reads these, after a
 * connection that was given up, is told by the frame's hash. */
void
kerf_flight_take_back(kerf_flight *f)
{
    if (!f->program->has_pages || (f->lent_on == 0 && !f->strays))
        return;
    for (size_t i = 0; i < f->program->sent_count; i++) {
        bool coded = f->packed[i] != KERF_CODEC_RAW;

        /* Any block of a coded one may have been sent as it is. */
        if (!coded || (f->in_blocks >> i & 1) != 0)
            (void)!kerf_lend_take_back(f->out[i].data, f->out[i].bytes);
        if (coded)
            (void)!kerf_lend_take_back(f->coded[i], f->out[i].bytes);
    }
    f->lent_on = 0;
    f->strays = false;
}

static void
fini_flight(const kerf_program *p, kerf_flight *f)
{
    if (f->out != NULL)
        kerf_flight_take_back(f);
    kerf_request_free(f->request);
    kerf_tensors_free(f->in, kerf_net_in_count(p->net));
    for (size_t i = 0; i < p->sent_count; i++) {
        free(f->coded[i]);
        if (f->out != NULL && p->outs[i].data == NULL)
            kerf_tensor_free(&f->out[i]);
    }
    free(f->in);
    free(f->out);
    free(f->head);
    free(f->block);
    for (size_t i = 0; i < KERF_PORTS_MAX; i++)
        free(f->result[i].data);
}

void
kerf_program_free(kerf_program *p)
{
    if (p == NULL)
        return;
    for (size_t i = 0; i < p->flights; i++)
        fini_flight(p, &p->flight[i]);
    free(p->flight);
    kerf_tensors_free(p->outs, p->sent_count);
    kerf_request_free(p->tail_request);
    kerf_net_free(p->tail);
    kerf_net_free(p->net);
    kerf_card_fini(&p->card);
    kerf_manifest_fini(&p->manifest);
    kerf_hold_free(p->hold);
    free(p);
}

static kerf_err
place_out(const kerf_program *p, kerf_flight *f, size_t i)
{
    const kerf_tensor *all = &p->outs[i];
    kerf_tensor *t = &f->out[i];

    if (all->data == NULL)
        return kerf_tensor_alloc(t, p->sent[i].dtype, &p->sent[i].shape);
    *t = (kerf_tensor){.dtype = p->sent[i].dtype, .shape = p->sent[i].shape};
    t->data = (uint8_t *)all->data +
              (size_t)(f - p->flight) * (size_t)all->shape.dims[1];
    return kerf_shape_bytes(&t->shape, t->dtype, &t->bytes);
}

static kerf_err
init_flight(kerf_program *p, kerf_flight *f, kerf_detail *why)
{
    size_t in_count = kerf_net_in_count(p->net);
    kerf_err err = KERF_OK;

    f->program = p;
    f->head = calloc(1, kerf_head_len(KERF_TENSORS_ROOM(p->sent_count)));
    f->in = calloc(in_count, sizeof *f->in);
    f->out = calloc(p->sent_count, sizeof *f->out);
    if (f->head == NULL || f->in == NULL || f->out == NULL)
        return KERF_ENOMEM;
    for (size_t i = 0; err == KERF_OK && i < in_count; i++) {
        const kerf_port *port = kerf_net_in(p->net, i);

        err = kerf_tensor_alloc(&f->in[i], port->dtype, &port->shape);
    }
    for (size_t i = 0; err == KERF_OK && i < p->sent_count; i++)
        err = place_out(p, f, i);
    /* A request of its own: binding another pointer to a shared one costs some
     * 10 us each time. */
    if (err == KERF_OK)
        err = kerf_request_new(&f->request, p->net, why);
    for (size_t i = 0; err == KERF_OK && i < in_count; i++)
        err = kerf_request_bind_in(f->request, i, f->in[i].data, why);
    for (size_t i = 0; err == KERF_OK && i < p->sent_count; i++)
        err = kerf_request_bind_out(f->request, i, f->out[i].data, why);
    return err;
}

static bool
may_be_lent(const kerf_program *p)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < p->sent_count; i++) {
        size_t bytes = 0;

        if (kerf_shape_bytes(&p->sent[i].shape, p->sent[i].dtype, &bytes) ==
            KERF_OK)
            sum += kerf_align_up(bytes, KERF_PIECE_ALIGN);
    }
    return sum >= KERF_LEND_LEAST;
}

/* One memory for all flights: it fills huge pages where one would not. Those
 * that do fill them get one each. */
static kerf_err
make_outs(kerf_program *p, size_t flights)
{
    size_t align;
    kerf_err err = KERF_OK;

    p->has_pages = may_be_lent(p);
    align = p->has_pages ? kerf_page_size() : KERF_TENSOR_ALIGN;
    for (size_t i = 0; err == KERF_OK && i < p->sent_count; i++) {
        kerf_shape all = {.rank = 2, .dims = {(int64_t)flights}};
        size_t bytes = 0;

        err = kerf_shape_bytes(&p->sent[i].shape, p->sent[i].dtype, &bytes);
        all.dims[1] = (int64_t)kerf_align_up(bytes == 0 ? 1 : bytes, align);
        if (err == KERF_OK && bytes <= SHARED_MOST)
            err = kerf_tensor_alloc(&p->outs[i], KERF_U8, &all);
    }
    return err;
}

static kerf_err
make_flights(kerf_program *p, size_t flights, kerf_detail *why)
{
    kerf_err err = make_outs(p, flights);

    if (err != KERF_OK)
        return err;
    p->flight = calloc(flights, sizeof *p->flight);
    if (p->flight == NULL)
        return KERF_ENOMEM;
    p->flights = flights;
    for (size_t i = 0; err == KERF_OK && i < flights; i++)
        err = init_flight(p, &p->flight[i], why);
    return err;
}

static kerf_err
run_probes(const kerf_program *p, kerf_net *net, kerf_detail *why)
{
    for (size_t i = 0; i < p->manifest.probe_count; i++) {
        const kerf_probe *probe = &p->manifest.probe[i];
        kerf_tensor out[KERF_PORTS_MAX];
        size_t count = 0;
        kerf_err err = kerf_probe_run(net, probe->seed, out, &count, why);

        if (err != KERF_OK)
            return err;
        err = kerf_probe_check(probe, out, count, p->manifest.probe_tolerance,
                               why);
        kerf_tensors_free(out, count);
        if (err != KERF_OK)
            return err;
    }
    return KERF_OK;
}

/* Our own tail, proved with the head as the cloud does it: by the card's
 * probes, or else that it runs. */
static kerf_err
load_tail(kerf_program *p, kerf_engine *engine, kerf_net *head,
          const kerf_model_bytes *bytes, kerf_detail *why)
{
    size_t n = p->has_card ? p->card.probe_count : 0;
    const kerf_probe any = {.seed = 1};
    kerf_err err = kerf_engine_load_tail(engine, &p->tail, bytes, head, why);

    for (size_t i = 0; err == KERF_OK && i < (n > 0 ? n : 1); i++)
        err =
            kerf_probe_run_pair(head, p->tail, n > 0 ? &p->card.probe[i] : &any,
                                p->manifest.probe_tolerance, NULL, why);
    if (err == KERF_OK)
        err = kerf_request_new(&p->tail_request, p->tail, why);
    return err;
}

/* Without it the program is as good as those of a cloud that keeps its tail. */
static void
try_tail(kerf_program *p, kerf_engine *engine, kerf_net *head,
         const kerf_model_bytes *bytes)
{
    p->has_tried_tail = true;
    if (load_tail(p, engine, head, bytes, &p->tail_why) == KERF_OK)
        return;
    if (p->tail_why.text[0] == '\0')
        (void)kerf_fail(&p->tail_why, KERF_ENOMEM, "out of memory");
    kerf_request_free(p->tail_request);
    kerf_net_free(p->tail);
    p->tail_request = NULL;
    p->tail = NULL;
}

/* Probes go straight into the model's inputs, so they need the network without
 * preprocessing, also where images will be used. */
static kerf_err
load_nets(kerf_program *p, kerf_engine *engine, const kerf_model_bytes *bytes,
          const kerf_model_bytes *tail, kerf_detail *why)
{
    kerf_net *raw = NULL;
    kerf_err err = kerf_engine_load_raw(engine, &raw, bytes,
                                        p->has_card ? &p->card : NULL, why);

    if (err != KERF_OK)
        return err;
    err = run_probes(p, raw, why);
    if (err == KERF_OK && tail != NULL)
        try_tail(p, engine, raw, tail);
    if (p->raw || err != KERF_OK) {
        p->net = raw;
    } else {
        kerf_net_free(raw);
        err = kerf_engine_load_image(engine, &p->net, bytes, &p->card,
                                     &p->image_port, why);
    }
    if (err == KERF_OK && !kerf_net_is_static(p->net))
        err = kerf_fail(why, KERF_ENOTSUP,
                        "the shape of what the head gives depends on the data");
    if (err != KERF_OK)
        return err;
    p->sent_count = kerf_net_out_count(p->net);
    for (size_t i = 0; i < p->sent_count; i++)
        p->sent[i] = *kerf_net_out(p->net, i);
    return KERF_OK;
}

static kerf_err
copy_manifest(kerf_manifest *to, const kerf_manifest *from, kerf_detail *why)
{
    char *json = NULL;
    kerf_err err = kerf_manifest_format(from, &json);

    if (err == KERF_OK)
        err = kerf_manifest_parse(to, json, strlen(json), why);
    free(json);
    return err;
}

kerf_err
kerf_program_read(kerf_program **out, kerf_pair *pair, kerf_store *store,
                  const kerf_manifest *m, bool raw, bool tail, kerf_detail *why)
{
    kerf_program *p = calloc(1, sizeof *p);
    kerf_err err;

    if (p == NULL)
        return KERF_ENOMEM;
    kerf_card_init(&p->card);
    p->raw = raw;
    err = copy_manifest(&p->manifest, m, why);
    if (err == KERF_OK)
        err = kerf_store_hold(&p->hold, store, m->id, why);
    if (err == KERF_OK)
        err = kerf_store_load(store, m, tail, pair, why);
    if (err != KERF_OK) {
        kerf_program_free(p);
        return err;
    }
    p->has_card = pair->has_card;
    if (pair->has_card) {
        p->card = pair->card; /* moved */
        kerf_card_init(&pair->card);
    }
    kerf_hex(p->id, p->manifest.id, sizeof p->manifest.id);
    *out = p;
    return KERF_OK;
}

kerf_err
kerf_program_compile(kerf_program *p, kerf_engine *engine,
                     const kerf_pair *pair, bool tail, size_t flights,
                     kerf_detail *why)
{
    const kerf_model_bytes bytes = kerf_pair_bytes(pair, true);
    const kerf_model_bytes tail_bytes = kerf_pair_bytes(pair, false);
    kerf_err err;

    if (!p->raw && (!p->has_card || !p->card.is_image)) {
        return kerf_fail(why, KERF_EINVAL,
                         "no card says how an image becomes its input: put "
                         "%s.kerf.json beside the pair on the cloud (see "
                         "`kerf card`), or give .npy inputs",
                         p->manifest.name);
    }
    err = load_nets(p, engine, &bytes, tail ? &tail_bytes : NULL, why);
    if (err == KERF_OK)
        err = make_flights(p, flights, why);
    for (size_t i = 0; err == KERF_OK && i < flights; i++)
        err = kerf_request_run(p->flight[i].request, why); /* the slow one */
    return err;
}

void
kerf_flight_sent(void *ctx, kerf_err err)
{
    kerf_flight *f = ctx;

    (void)err; /* a broken connection is the loop's to notice */
    (void)atomic_fetch_sub(&f->sending, 1);
}

kerf_err
kerf_flight_result(kerf_flight *f, size_t i, const kerf_tensor_desc *desc)
{
    kerf_tensor *t = &f->result[i];

    if (t->data == NULL || desc->len > f->result_room[i]) {
        kerf_tensor bigger;
        kerf_err err = kerf_tensor_alloc(&bigger, desc->dtype, &desc->shape);

        if (err != KERF_OK)
            return err;
        free(t->data);
        t->data = bigger.data;
        f->result_room[i] = bigger.bytes;
    }
    t->dtype = desc->dtype;
    t->shape = desc->shape;
    t->bytes = (size_t)desc->len;
    return KERF_OK;
}
