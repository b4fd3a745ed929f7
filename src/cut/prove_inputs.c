/*
 * The inputs of a proof: seeded tensors, files of the caller.
 */
#include "cut/prove_own.h"

#include "base/text.h"
#include "source/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static kerf_err
add_run(kerf_proof_view *v, const kerf_port *port, size_t count,
        kerf_proof_run **out, kerf_detail *why)
{
    kerf_proof_run *bigger = realloc(v->run, (v->count + 1) * sizeof *v->run);
    kerf_proof_run *run;
    kerf_err err = KERF_OK;

    if (bigger == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory for an input");
    v->run = bigger;
    run = &v->run[v->count++];
    *run = (kerf_proof_run){.in_count = count};
    for (size_t i = 0; i < count && err == KERF_OK; i++)
        err = kerf_tensor_alloc(&run->in[i], port[i].dtype, &port[i].shape);
    *out = run;
    return err == KERF_OK ? err : kerf_fail(why, err, "no memory for an input");
}

/* The inputs as they are, static. */
static size_t
raw_ports(const kerf_cut_model *m, kerf_port *port)
{
    size_t count = m->graph->input_count;

    for (size_t i = 0; i < count; i++) {
        port[i] = m->in[i];
        port[i].shape = m->fixed[i];
    }
    return count;
}

static kerf_err
add_seeded(kerf_prover *p, uint64_t seed, kerf_detail *why)
{
    kerf_port port[KERF_PORTS_MAX];
    size_t count = raw_ports(p->model, port);
    kerf_proof_run *run = NULL;
    kerf_err err = add_run(&p->view[0], port, count, &run, why);
    uint64_t state = seed;

    if (err != KERF_OK)
        return err;
    run->is_seeded = true;
    run->seed = seed;
    (void)snprintf(run->name, sizeof run->name, "seed %llu",
                   (unsigned long long)seed);
    for (size_t i = 0; i < count; i++)
        kerf_tensor_fill_seeded(&run->in[i], &state);
    return KERF_OK;
}

static bool
has_seed(const kerf_proof_view *v, uint64_t seed)
{
    for (size_t i = 0; i < v->count; i++) {
        if (v->run[i].seed == seed)
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
         err == KERF_OK && p->view[0].count < KERF_PROOF_SEEDED_LEAST; seed++) {
        if (!has_seed(&p->view[0], seed))
            err = add_seeded(p, seed, why);
    }
    return err;
}

/* Every item of the source, once. */
static kerf_err
take_items(kerf_proof_view *v, kerf_source *source, const kerf_port *port,
           size_t count, kerf_detail *why)
{
    for (;;) {
        kerf_proof_run *run = NULL;
        kerf_item item;
        kerf_err err = add_run(v, port, count, &run, why);

        if (err == KERF_OK)
            err = kerf_source_next(source, run->in, &item, why);
        if (err == KERF_ECLOSED) { /* the last was one too many */
            kerf_tensors_free(run->in, count);
            v->count--;
            return KERF_OK;
        }
        if (err == KERF_OK && item.err != KERF_OK)
            return kerf_fail(why, item.err, "%s", item.why.text);
        if (err != KERF_OK)
            return err;
        (void)kerf_text_safe(run->name, sizeof run->name, item.name);
        if (v->count > KERF_PROOF_INPUTS_MAX)
            return kerf_fail(why, KERF_ETOOBIG,
                             "--input: more than %d inputs to prove with",
                             KERF_PROOF_INPUTS_MAX);
    }
}

/* The card's rules against the input that takes the picture. */
static kerf_err
settle_image(kerf_prover *p, kerf_port *port, kerf_detail *why)
{
    kerf_cut_model *m = p->model;
    size_t i = m->image_port;
    kerf_err err;

    if (i == KERF_PORTS_MAX)
        return kerf_fail(why, KERF_EINVAL,
                         "--input: no single input of rank 4 to take an image: "
                         "give .npy files");
    m->card.is_image = true;
    err = kerf_card_settle(&m->card, &port[i].shape, why);
    if (err != KERF_OK)
        return err;
    port[i].dtype = KERF_U8;
    port[i].shape = (kerf_shape){.rank = 4,
                                 .dims = {1, m->card.height, m->card.width,
                                          kerf_card_channels(&m->card)}};
    return KERF_OK;
}

static kerf_err
add_given(kerf_prover *p, const kerf_proof_opts *opts, kerf_detail *why)
{
    bool raw = kerf_source_is_raw(opts->input, opts->input_count);
    kerf_proof_view *v = &p->view[raw ? 0 : 1];
    kerf_port port[KERF_PORTS_MAX];
    kerf_source_opts source_opts = {.spec = opts->input,
                                    .spec_count = opts->input_count,
                                    .port = port,
                                    .repeat = 1};
    kerf_source *source = NULL;
    kerf_err err = KERF_OK;

    source_opts.port_count = raw_ports(p->model, port);
    if (!raw) {
        err = settle_image(p, port, why);
        source_opts.card = &p->model->card;
        source_opts.image_port = p->model->image_port;
    }
    if (err == KERF_OK)
        err = kerf_source_new(&source, &source_opts, why);
    if (err == KERF_OK)
        err = take_items(v, source, port, source_opts.port_count, why);
    kerf_source_free(source);
    return err;
}

kerf_err
kerf_prover_inputs(kerf_prover *p, const kerf_proof_opts *opts,
                   kerf_detail *why)
{
    kerf_err err = add_all_seeded(p, why);

    p->view[1].is_image = true;
    if (err == KERF_OK && opts->input_count > 0)
        err = add_given(p, opts, why);
    return err;
}
