#include "bench/agree.h"

#include "base/stats.h"
#include "bench/boxes.h"
#include "bench/pictures.h"
#include "cut/halves.h"
#include "engine/load_card.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define LEVEL 6

/* A network with memory for its inputs. */
struct lane {
    kerf_net *net;
    kerf_request *request;
    size_t in_count;
    kerf_tensor in[KERF_PORTS_MAX];
};

struct answer {
    size_t top;
    kerf_boxes boxes;
};

struct work {
    const kerf_agree_opts *opts;
    kerf_agree *to;
    struct lane whole, head, tail;
    kerf_codec *codec;
    kerf_pictures *pictures;
    uint8_t *blob; /* as large as all that crosses */
    size_t blob_room;
    struct answer want, got;
    int64_t label;
    kerf_stats smallest[KERF_AGREE_FAMILIES];
    /* Of the picture at hand: */
    double least[KERF_AGREE_FAMILIES];
    bool changed[KERF_AGREE_FAMILIES];
};

static kerf_err
make_lane(struct lane *l, kerf_detail *why)
{
    kerf_err err = kerf_request_new(&l->request, l->net, why);

    for (size_t i = 0; err == KERF_OK && i < kerf_net_in_count(l->net); i++) {
        const kerf_port *port = kerf_net_in(l->net, i);

        err = kerf_tensor_alloc(&l->in[i], port->dtype, &port->shape);
        if (err != KERF_OK)
            return kerf_fail(why, err, "no memory for an input");
        l->in_count = i + 1;
        err = kerf_request_bind_in(l->request, i, l->in[i].data, why);
    }
    return err;
}

static void
drop_lane(struct lane *l)
{
    kerf_request_free(l->request);
    kerf_net_free(l->net);
    kerf_tensors_free(l->in, l->in_count);
}

static kerf_err
load_lanes(struct work *w, kerf_detail *why)
{
    kerf_cut_model *m = w->opts->model;
    kerf_model_bytes bytes = kerf_cut_bytes(m);
    kerf_halves h = {0};
    size_t port = 0;
    kerf_err err;

    if (m->graph->input_count != 1)
        return kerf_fail(why, KERF_ENOTSUP,
                         "a network with one input is needed");
    m->card.is_image = true;
    err = kerf_engine_load_image(w->opts->engine, &w->whole.net, &bytes,
                                 &m->card, &port, why);
    if (err == KERF_OK && kerf_card_channels(&m->card) != 3)
        err = kerf_fail(why, KERF_ENOTSUP, "the network takes no colour");
    if (err == KERF_OK)
        err = kerf_halves_make(&h, m->graph, w->opts->cut, why);
    for (int i = 0; i < KERF_HALF_COUNT && err == KERF_OK; i++)
        err = kerf_half_gather(&h.half[i], m->file.format, why);
    if (err == KERF_OK)
        err = kerf_engine_load_image(w->opts->engine, &w->head.net,
                                     &h.half[KERF_HEAD].bytes, &m->card, &port,
                                     why);
    if (err == KERF_OK)
        err = kerf_engine_load_tail(w->opts->engine, &w->tail.net,
                                    &h.half[KERF_TAIL].bytes, w->head.net, why);
    kerf_halves_fini(&h);
    if (err == KERF_OK)
        err = make_lane(&w->whole, why);
    if (err == KERF_OK)
        err = make_lane(&w->head, why);
    if (err == KERF_OK)
        err = make_lane(&w->tail, why);
    return err;
}

static kerf_err
answer(const struct work *w, struct lane *l, struct answer *a, kerf_detail *why)
{
    kerf_tensor out = {0};
    const float *x;
    kerf_err err = kerf_request_run(l->request, why);

    if (err == KERF_OK)
        err = kerf_request_out(l->request, 0, &out, why);
    if (err != KERF_OK)
        return err;
    if (w->opts->is_boxes) {
        if (kerf_boxes_read(&a->boxes, &out))
            return KERF_OK;
        return kerf_fail(why, KERF_ENOTSUP,
                         "output 0 is not f32 [1, 5 + classes, rows, columns]");
    }
    if (out.dtype != KERF_F32 || out.bytes == 0)
        return kerf_fail(why, KERF_ENOTSUP, "output 0 has no f32 scores");
    x = out.data;
    a->top = 0;
    for (size_t i = 1; i < out.bytes / sizeof *x; i++) {
        if (x[i] > x[a->top])
            a->top = i;
    }
    return KERF_OK;
}

/* The way of that place in the list, which is the same for each picture. */
static kerf_agree_way *
way_at(struct work *w, size_t at, kerf_agree_family family, const char *name,
       int id)
{
    kerf_agree_way *way = &w->to->way[at];

    if (at >= w->to->count) {
        *way = (kerf_agree_way){.family = family, .id = id};
        (void)snprintf(way->name, sizeof way->name, "%s", name);
        w->to->count = at + 1;
    }
    return way;
}

/* What w->got is worth. */
static void
score(struct work *w, kerf_agree_way *way, double bytes)
{
    bool same = w->got.top == w->want.top;

    way->bytes += bytes;
    way->same += w->opts->is_boxes
                     ? kerf_boxes_f1(&w->want.boxes, &w->got.boxes)
                     : (double)same;
    way->right += (double)((int64_t)w->got.top == w->label);
    w->changed[way->family] |= !same;
    if (!w->changed[way->family])
        w->least[way->family] = bytes;
}

static kerf_err
deflate_one(struct work *w, const kerf_tensor *t, size_t *bytes)
{
    uLongf len = w->blob_room;

    if (compress2(w->blob, &len, t->data, t->bytes, LEVEL) != Z_OK)
        return KERF_ENOMEM;
    *bytes = len;
    return KERF_OK;
}

/* A tensor of the head to the tail through the codec. */
static kerf_err
carry(struct work *w, const kerf_tensor *from, kerf_tensor *to,
      kerf_codec_id id, size_t *bytes, kerf_detail *why)
{
    kerf_err err = KERF_ETOOBIG;

    if (id == KERF_CODEC_RAW) {
        memcpy(to->data, from->data, from->bytes);
        return deflate_one(w, from, bytes);
    }
    if (from->dtype == KERF_F32)
        err =
            kerf_codec_encode(w->codec, id, from, w->blob, from->bytes, bytes);
    if (err == KERF_OK)
        return kerf_codec_decode(w->codec, id, w->blob, *bytes, to, why);
    if (err != KERF_ETOOBIG)
        return err;
    memcpy(to->data, from->data, from->bytes); /* it goes as it is */
    *bytes = from->bytes;
    return KERF_OK;
}

static kerf_err
try_codec(struct work *w, kerf_agree_way *way, kerf_detail *why)
{
    double bytes = 0;
    kerf_err err = KERF_OK;

    for (size_t i = 0; err == KERF_OK && i < w->tail.in_count; i++) {
        kerf_tensor from = {0};
        size_t len = 0;

        err = kerf_request_out(w->head.request, i, &from, why);
        if (err == KERF_OK)
            err = carry(w, &from, &w->tail.in[i], (kerf_codec_id)way->id, &len,
                        why);
        bytes += (double)len;
    }
    if (err == KERF_OK)
        err = answer(w, &w->tail, &w->got, why);
    if (err == KERF_OK)
        score(w, way, bytes);
    return err;
}

static kerf_agree_family
family_of(int id)
{
    return id >= KERF_CODEC_Q8S   ? KERF_AGREE_QS
           : id >= KERF_CODEC_Q8C ? KERF_AGREE_QC
           : id >= KERF_CODEC_Q8  ? KERF_AGREE_Q
                                  : KERF_AGREE_FLOAT;
}

static kerf_err
try_codecs(struct work *w, kerf_detail *why)
{
    kerf_err err = kerf_request_run(w->head.request, why);

    for (int id = 0; err == KERF_OK && id < KERF_CODEC_COUNT; id++) {
        const char *name =
            id == KERF_CODEC_RAW ? "f32 + zlib" : kerf_codec_name((uint8_t)id);

        err = try_codec(w, way_at(w, (size_t)id, family_of(id), name, id), why);
    }
    return err;
}

static kerf_err
try_pictures(struct work *w, kerf_agree_family family, kerf_detail *why)
{
    static const int quality[] = {95, 90, 85, 80, 70, 60, 50,
                                  40, 30, 20, 15, 10, 5};
    bool is_jpeg = family == KERF_AGREE_JPEG;
    size_t first =
        KERF_CODEC_COUNT + (is_jpeg ? 0 : sizeof quality / sizeof *quality);

    for (size_t i = 0; i < sizeof quality / sizeof *quality; i++) {
        char name[16];
        size_t len = 0;
        kerf_err err = kerf_pictures_recode(
            w->pictures, is_jpeg ? KERF_IMAGE_JPEG : KERF_IMAGE_WEBP,
            quality[i], &w->head.in[0], &w->whole.in[0], &len, why);

        if (err == KERF_OK)
            err = answer(w, &w->whole, &w->got, why);
        if (err != KERF_OK)
            return err;
        (void)snprintf(name, sizeof name, "%s %d", is_jpeg ? "jpeg" : "webp",
                       quality[i]);
        score(w, way_at(w, first + i, family, name, quality[i]), (double)len);
    }
    return KERF_OK;
}

/* One picture, which is in the head's input, in all ways. */
static kerf_err
try_all(struct work *w, kerf_detail *why)
{
    kerf_err err;

    memcpy(w->whole.in[0].data, w->head.in[0].data, w->head.in[0].bytes);
    for (int f = 0; f < KERF_AGREE_FAMILIES; f++) {
        w->changed[f] = false;
        w->least[f] =
            f < KERF_AGREE_JPEG ? w->to->raw_bytes : w->to->picture_bytes;
    }
    err = answer(w, &w->whole, &w->want, why);
    if (err == KERF_OK)
        err = try_codecs(w, why);
    if (err == KERF_OK)
        err = try_pictures(w, KERF_AGREE_JPEG, why);
    if (err == KERF_OK && w->to->has_webp)
        err = try_pictures(w, KERF_AGREE_WEBP, why);
    w->to->right += (double)((int64_t)w->want.top == w->label);
    for (int f = 0; f < KERF_AGREE_FAMILIES; f++)
        kerf_stats_add(&w->smallest[f], w->least[f]);
    return err;
}

static kerf_err
start(struct work *w, kerf_detail *why)
{
    kerf_agree *to = w->to;
    kerf_err err = load_lanes(w, why);

    if (err == KERF_OK)
        err = kerf_codec_new(&w->codec);
    if (err == KERF_OK)
        err = kerf_pictures_open(
            &w->pictures, w->opts->input, w->opts->input_count, w->opts->labels,
            kerf_net_in(w->head.net, 0), &w->opts->model->card, why);
    for (int f = 0; err == KERF_OK && f < KERF_AGREE_FAMILIES; f++)
        err = kerf_stats_init(&w->smallest[f], KERF_PICTURES_MAX);
    if (err != KERF_OK)
        return err;
    for (size_t i = 0; i < w->tail.in_count; i++)
        to->raw_bytes += (double)w->tail.in[i].bytes;
    w->blob_room = compressBound((uLong)to->raw_bytes);
    w->blob = malloc(w->blob_room);
    if (w->blob == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory for blobs");
    to->picture_bytes = (double)w->head.in[0].bytes;
    to->has_labels = w->opts->labels != NULL;
    to->is_boxes = w->opts->is_boxes;
    to->has_webp = kerf_pictures_can_webp();
    return KERF_OK;
}

kerf_err
kerf_agree_run(kerf_agree *out, const kerf_agree_opts *opts, kerf_detail *why)
{
    struct work *w = calloc(1, sizeof *w); /* boxes are tens of KB */
    kerf_err err;

    *out = (kerf_agree){0};
    if (w == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory for a benchmark");
    w->opts = opts;
    w->to = out;
    err = start(w, why);
    while (err == KERF_OK) {
        err = kerf_pictures_next(w->pictures, &w->head.in[0], &w->label, why);
        if (err == KERF_OK)
            err = try_all(w, why);
        out->pictures += err == KERF_OK;
    }
    if (err == KERF_ECLOSED)
        err = out->pictures > 0
                  ? KERF_OK
                  : kerf_fail(why, KERF_EINVAL, "--input: no picture");
    for (int f = 0; f < KERF_AGREE_FAMILIES; f++) {
        out->smallest[f] =
            opts->is_boxes ? 0 : kerf_stats_quantile(&w->smallest[f], 0.5);
        kerf_stats_fini(&w->smallest[f]);
    }
    kerf_pictures_close(w->pictures);
    kerf_codec_free(w->codec);
    drop_lane(&w->whole);
    drop_lane(&w->head);
    drop_lane(&w->tail);
    free(w->blob);
    free(w);
    return err;
}
