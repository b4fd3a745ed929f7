/*
 * Two halves as one model again, proved against the two in a row.
 */
#include "cut/make.h"

#include "base/clock.h"
#include "base/text.h"
#include "cut/cards.h"
#include "model/probe_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The joined model while it is made. */
struct joined {
    kerf_rope graph, weights;
    kerf_map map[2];
    kerf_cut_model model; /* its bytes are the maps */
};

static void
fini(struct joined *j)
{
    kerf_cut_close(&j->model);
    kerf_map_close(&j->map[0]);
    kerf_map_close(&j->map[1]);
    kerf_rope_fini(&j->graph);
    kerf_rope_fini(&j->weights);
}

static const char *
ending(kerf_format format, bool weights)
{
    if (format == KERF_FORMAT_ONNX)
        return weights ? NULL : ".onnx";
    return weights ? ".pdiparams" : ".pdmodel";
}

static kerf_err
check_names(const kerf_fresh *files, kerf_format format, const char *name,
            bool card, kerf_detail *why)
{
    const char *ends[] = {ending(format, false), ending(format, true),
                          card ? ".kerf.json" : NULL};
    char file[KERF_PART_NAME];
    char safe[KERF_NAME_MAX];

    if (!kerf_text_is_name(name) || strlen(name) >= KERF_NAME_MAX) {
        return kerf_fail(why, KERF_EINVAL,
                         "--name %s: a model's name is 1 to %d of letters, "
                         "digits, '.', '_', '-'",
                         kerf_text_safe(safe, sizeof safe, name),
                         KERF_NAME_MAX - 1);
    }
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        kerf_err err;

        if (ends[i] == NULL)
            continue;
        (void)snprintf(file, sizeof file, "%s%s", name, ends[i]);
        err = kerf_fresh_claim(files, file, why);
        if (err != KERF_OK)
            return err;
    }
    return KERF_OK;
}

/* Writes graph and weights, and maps what was written. */
static kerf_err
write_files(struct joined *j, kerf_fresh *files, kerf_format format,
            const char *name, kerf_detail *why)
{
    kerf_err err = KERF_OK;

    for (int i = 0; i < 2 && err == KERF_OK; i++) {
        char file[KERF_PART_NAME];
        kerf_fresh_item item = {.name = file,
                                .rope = i == 0 ? &j->graph : &j->weights};

        if (ending(format, i == 1) == NULL)
            continue;
        (void)snprintf(file, sizeof file, "%s%s", name, ending(format, i == 1));
        err = kerf_fresh_add(files, &item, 1, why);
        if (err == KERF_OK)
            err = kerf_map_open(&j->map[i], files->file[files->count - 1].temp,
                                KERF_MODEL_BYTES_MAX, why);
    }
    return err;
}

/* The joined model, with the rules of the head, to be proved. */
static kerf_err
open_joined(struct joined *j, const kerf_cut_model *head, const char *name,
            const char *const *shape, size_t shape_count, kerf_detail *why)
{
    kerf_cut_model *m = &j->model;
    kerf_model_bytes bytes;
    kerf_err err;

    /* No path: it has no name yet, and all is inside. */
    kerf_card_init(&m->card);
    m->file.format = head->file.format;
    (void)snprintf(m->file.name, sizeof m->file.name, "%s", name);
    m->file.graph = j->map[0].data;
    m->file.graph_len = j->map[0].len;
    m->file.weights = j->map[1].len > 0 ? j->map[1].data : NULL;
    m->file.weights_len = j->map[1].len;
    bytes = kerf_cut_bytes(m);
    err = kerf_graph_open(&m->graph, &bytes, why);
    if (err != KERF_OK)
        return kerf_fail_in(why, err, "joined");
    m->card.width = head->card.width;
    m->card.height = head->card.height;
    m->card.layout = head->card.layout;
    m->card.given = head->card.given & (KERF_GIVEN_SIZE | KERF_GIVEN_LAYOUT);
    return kerf_cut_settle(m, shape, shape_count, why);
}

static kerf_err
prove(struct joined *j, const kerf_cut_model *head, const kerf_cut_model *tail,
      const kerf_make_opts *opts, kerf_made *made, kerf_prover **prover,
      kerf_detail *why)
{
    kerf_model_bytes a = kerf_cut_bytes(head);
    kerf_model_bytes b = kerf_cut_bytes(tail);
    uint64_t start = kerf_now_ns();
    kerf_err err =
        kerf_prover_new(prover, opts->engine, &j->model, &opts->proof, why);

    if (err == KERF_OK)
        err = kerf_prover_check(*prover, NULL, &a, &b, &made->proof, why);
    if (err == KERF_OK && !made->proof.ok) {
        err = kerf_fail(why, KERF_EMISMATCH,
                        "the joined model is not its halves, nothing was "
                        "written: %s",
                        made->proof.why.text);
    }
    made->prove_ns = kerf_now_ns() - start;
    return err;
}

static kerf_err
write_card(kerf_fresh *files, const kerf_cut_model *head,
           const kerf_cut_model *tail, const char *name,
           const kerf_prover *prover, kerf_detail *why)
{
    kerf_probe *probe = NULL;
    size_t probe_count = 0;
    char file[KERF_PART_NAME];
    kerf_rope rope = {0};
    kerf_fresh_item item = {.name = file, .rope = &rope};
    char *text = NULL;
    kerf_err err = KERF_OK;

    if (prover != NULL)
        err = kerf_prover_probes(prover, &probe, &probe_count);
    if (err == KERF_OK)
        err = kerf_cards_joined(&head->card, &tail->card, name, probe,
                                probe_count, &text, why);
    if (err == KERF_OK) {
        (void)snprintf(file, sizeof file, "%s.kerf.json", name);
        kerf_rope_view(&rope, text, strlen(text));
        err = kerf_fresh_add(files, &item, 1, why);
    }
    kerf_rope_fini(&rope);
    kerf_probes_free(probe, probe_count);
    free(text);
    return err;
}

kerf_err
kerf_make_joined(kerf_fresh *files, const kerf_cut_model *head,
                 const kerf_cut_model *tail, const char *const *shape,
                 size_t shape_count, const kerf_make_opts *opts,
                 kerf_made *made, kerf_detail *why)
{
    struct joined *j = calloc(1, sizeof *j);
    bool card = head->has_card || tail->has_card;
    kerf_prover *prover = NULL;
    kerf_err err;

    *made = (kerf_made){0};
    if (j == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory for a model");
    err = check_names(files, head->file.format, opts->name, card, why);
    if (err == KERF_OK)
        err = kerf_graph_join(head->graph, tail->graph, &j->graph, &j->weights,
                              why);
    if (err == KERF_OK)
        err = write_files(j, files, head->file.format, opts->name, why);
    if (err == KERF_OK && opts->engine != NULL)
        err = open_joined(j, head, opts->name, shape, shape_count, why);
    if (err == KERF_OK && opts->engine != NULL)
        err = prove(j, head, tail, opts, made, &prover, why);
    if (err == KERF_OK && card)
        err = write_card(files, head, tail, opts->name, prover, why);
    if (err == KERF_OK)
        err = kerf_fresh_commit(files, why);
    kerf_prover_free(prover);
    fini(j);
    free(j);
    return err;
}
