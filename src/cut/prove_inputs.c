/*
 * The inputs of a proof: seeded tensors, files of the caller.
 */
#include "cut/prove_own.h"

#include "base/rng.h"
#include "base/text.h"
#include "engine/load_card.h"
#include "source/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SQUARE = 16,      /* pixels */
    SQUARES_SEED = 1, /* of the inputs that are no picture */
};

/* A new run with memory for the inputs. */
static kerf_err
add_run(kerf_prover *p, kerf_proof_run **out, kerf_detail *why)
{
    const kerf_cut_model *m = p->model;
    kerf_proof_run *bigger =
        realloc(p->run, (p->run_count + 1) * sizeof *p->run);
    kerf_proof_run *run;
    kerf_err err = KERF_OK;

    if (bigger == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory for an input");
    p->run = bigger;
    run = &p->run[p->run_count++];
    *run = (kerf_proof_run){.in_count = m->graph->input_count};
    for (size_t i = 0; i < run->in_count && err == KERF_OK; i++)
        err = kerf_tensor_alloc(&run->in[i], m->in[i].dtype, &m->fixed[i]);
    *out = run;
    return err == KERF_OK ? err : kerf_fail(why, err, "no memory for an input");
}

static kerf_err
add_seeded(kerf_prover *p, uint64_t seed, kerf_detail *why)
{
    kerf_proof_run *run = NULL;
    kerf_err err = add_run(p, &run, why);
    uint64_t state = seed;

    if (err != KERF_OK || run == NULL)
        return err;
    run->is_seeded = true;
    run->seed = seed;
    (void)snprintf(run->name, sizeof run->name, "seed %llu",
                   (unsigned long long)seed);
    for (size_t i = 0; i < run->in_count; i++)
        kerf_tensor_fill_seeded(&run->in[i], &state);
    return KERF_OK;
}

/* Squares of one value each, -2 to 2 as after normalisation. */
static void
fill_squares(kerf_tensor *t)
{
    const int64_t *d = t->shape.dims;
    float *at = t->data;

    for (int64_t i = 0; i < d[0] * d[1] * d[2] * d[3]; i++) {
        uint64_t x = (uint64_t)(i % d[3] / SQUARE);
        uint64_t y = (uint64_t)(i / d[3] % d[2] / SQUARE);
        uint64_t square = (uint64_t)(i / d[3] / d[2]) << 32 | y << 16 | x;

        *at++ = kerf_rng_unit(&square) * 4.0f - 2.0f;
    }
}

/* Networks that look for something answer next to nothing to noise: one input
 * has edges and areas. */
static kerf_err
add_squares(kerf_prover *p, kerf_detail *why)
{
    const kerf_cut_model *m = p->model;
    size_t image = kerf_image_port(m->in, m->graph->input_count);
    kerf_proof_run *run;
    kerf_err err;

    if (image == KERF_PORTS_MAX || m->in[image].dtype != KERF_F32)
        return KERF_OK;
    err = add_seeded(p, SQUARES_SEED, why);
    if (err != KERF_OK)
        return err;
    run = &p->run[p->run_count - 1];
    run->is_seeded = false; /* no probe */
    (void)snprintf(run->name, sizeof run->name, "squares");
    fill_squares(&run->in[image]);
    return KERF_OK;
}

static bool
has_seed(const kerf_prover *p, uint64_t seed)
{
    for (size_t i = 0; i < p->run_count; i++) {
        if (p->run[i].seed == seed)
            return true;
    }
    return false;
}

static kerf_err
add_all_seeded(kerf_prover *p, kerf_detail *why)
{
    const kerf_card *card = &p->model->card;
    kerf_err err = KERF_OK;

    for (size_t i = 0; i < card->probe_count && err == KERF_OK; i++)
        err = add_seeded(p, card->probe[i].seed, why);
    for (uint64_t seed = 1;
         err == KERF_OK && p->run_count < KERF_PROOF_SEEDED_LEAST; seed++) {
        if (!has_seed(p, seed))
            err = add_seeded(p, seed, why);
    }
    return err;
}

/* Inputs of the caller on their way from the source to the network. */
struct given {
    kerf_source *source;
    kerf_port port[KERF_PORTS_MAX]; /* what the source gives */
    size_t image_port;              /* KERF_PORTS_MAX: no pictures */
    kerf_tensor picture;            /* u8 [1, height, width, channels] */
};

/* A picture as the network takes it, by the card's formula. */
static void
put_picture(const kerf_card *card, const kerf_tensor *picture, kerf_tensor *to)
{
    size_t channels = (size_t)kerf_card_channels(card);
    size_t pixels = picture->bytes / channels;
    bool nchw = card->layout == KERF_LAYOUT_NCHW;
    const uint8_t *from = picture->data;
    float *out = to->data;

    for (size_t i = 0; i < pixels; i++) {
        for (size_t c = 0; c < channels; c++) {
            float v = (float)from[i * channels + c] * card->scale;

            out[nchw ? c * pixels + i : i * channels + c] =
                (v - card->mean[c]) / card->std[c];
        }
    }
}

/* Every item of the source, once. */
static kerf_err
take_items(kerf_prover *p, struct given *g, kerf_detail *why)
{
    for (;;) {
        kerf_tensor dest[KERF_PORTS_MAX];
        kerf_proof_run *run = NULL;
        kerf_item item;
        kerf_err err = add_run(p, &run, why);

        if (err != KERF_OK)
            return err;
        memcpy(dest, run->in, sizeof dest);
        if (g->image_port < run->in_count)
            dest[g->image_port] = g->picture;
        err = kerf_source_next(g->source, dest, &item, why);
        if (err == KERF_ECLOSED) { /* the last was one too many */
            kerf_tensors_free(run->in, run->in_count);
            p->run_count--;
            return KERF_OK;
        }
        if (err == KERF_OK && item.err != KERF_OK)
            err = kerf_fail(why, item.err, "%s", item.why.text);
        if (err == KERF_OK && p->run_count > KERF_PROOF_INPUTS_MAX)
            err = kerf_fail(why, KERF_ETOOBIG,
                            "--input: more than %d inputs to prove with",
                            KERF_PROOF_INPUTS_MAX);
        if (err != KERF_OK)
            return err;
        (void)kerf_text_safe(run->name, sizeof run->name, item.name);
        if (g->image_port < run->in_count)
            put_picture(&p->model->card, &g->picture, &run->in[g->image_port]);
    }
}

/* The card's rules against the input that takes the picture. */
static kerf_err
settle_picture(kerf_prover *p, struct given *g, kerf_detail *why)
{
    kerf_cut_model *m = p->model;
    kerf_port *port = &g->port[m->image_port];
    kerf_err err;

    if (m->image_port == KERF_PORTS_MAX || port->dtype != KERF_F32)
        return kerf_fail(why, KERF_EINVAL,
                         "--input: no single f32 input of rank 4 to take an "
                         "image: give .npy files");
    m->card.is_image = true;
    err = kerf_card_settle(&m->card, &port->shape, why);
    if (err != KERF_OK)
        return err;
    g->image_port = m->image_port;
    port->dtype = KERF_U8;
    port->shape = (kerf_shape){.rank = 4,
                               .dims = {1, m->card.height, m->card.width,
                                        kerf_card_channels(&m->card)}};
    err = kerf_tensor_alloc(&g->picture, KERF_U8, &port->shape);
    return err == KERF_OK ? err
                          : kerf_fail(why, err, "no memory for a picture");
}

static kerf_err
add_given(kerf_prover *p, const kerf_proof_opts *opts, kerf_detail *why)
{
    const kerf_cut_model *m = p->model;
    struct given g = {.image_port = KERF_PORTS_MAX};
    kerf_source_opts source = {.spec = opts->input,
                               .spec_count = opts->input_count,
                               .port = g.port,
                               .port_count = m->graph->input_count,
                               .repeat = 1};
    kerf_err err = KERF_OK;

    for (size_t i = 0; i < source.port_count; i++) {
        g.port[i] = m->in[i];
        g.port[i].shape = m->fixed[i];
    }
    if (!kerf_source_is_raw(opts->input, opts->input_count)) {
        err = settle_picture(p, &g, why);
        source.card = &m->card;
        source.image_port = m->image_port;
    }
    if (err == KERF_OK)
        err = kerf_source_new(&g.source, &source, why);
    if (err == KERF_OK)
        err = take_items(p, &g, why);
    kerf_source_free(g.source);
    kerf_tensor_free(&g.picture);
    return err;
}

kerf_err
kerf_prover_inputs(kerf_prover *p, const kerf_proof_opts *opts,
                   kerf_detail *why)
{
    kerf_err err = add_all_seeded(p, why);

    if (err == KERF_OK)
        err = add_squares(p, why);
    if (err == KERF_OK && opts->input_count > 0)
        err = add_given(p, opts, why);
    return err;
}
