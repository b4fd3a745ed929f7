#include "base/text.h"
#include "cli/cmd.h"
#include "cli/whole.h"
#include "engine/load_card.h"
#include "engine/probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROBES 2

typedef struct card_flags {
    const char *model, *name, *out;
    kerf_rules rules;
    kerf_engine_opts engine;
    kerf_cmd_common common;
    bool force, tensor;
} card_flags;

static const char about[] =
    "Writes the rules of a model down once, NAME.kerf.json beside it: how an\n"
    "image becomes its input, its labels, and probes: what it answers to two\n"
    "seeded inputs, so that every machine can test it before use.";

static int
parse(card_flags *f, int argc, char **argv)
{
    const kerf_opt table[] = {
        {.kind = KERF_OPT_GROUP, .help = "the card"},
        {.name = "name",
         .kind = KERF_OPT_TEXT,
         .to = &f->name,
         .help = "of the model (default: its file's, or its folder's)"},
        {.name = "out",
         .kind = KERF_OPT_TEXT,
         .to = &f->out,
         .value = "FILE",
         .help = "where to (default NAME.kerf.json beside the model)"},
        {.name = "force",
         .kind = KERF_OPT_FLAG,
         .to = &f->force,
         .help = "overwrite a card that is there"},
        {.name = "tensor",
         .kind = KERF_OPT_FLAG,
         .to = &f->tensor,
         .help = "the input is no image: .npy as it is"},
        KERF_RULES_ROWS(&f->rules),
        KERF_CMD_ENGINE_OPTS(&f->engine, &f->common),
        KERF_CMD_LOG_OPT(&f->common),
    };
    const kerf_command command = {.name = "card",
                                  .usage = "MODEL [flags]",
                                  .about = about,
                                  .opt = table,
                                  .opt_count = sizeof table / sizeof *table,
                                  .arg = &f->model,
                                  .arg_least = 1,
                                  .arg_most = 1,
                                  .arg_name = "MODEL"};

    int rc = kerf_opts_parse(&command, argc, argv);

    if (rc >= 0)
        return rc;
    if (f->tensor && kerf_rules_image(&f->rules) != NULL) {
        return kerf_usage_error("card",
                                "--tensor and --%s: only an image has such a "
                                "rule",
                                kerf_rules_image(&f->rules));
    }
    f->rules.own_card = true;
    kerf_cmd_apply(&f->common, &f->engine);
    return -1;
}

/* Settles the image rules against the model's own input. */
static kerf_err
settle(kerf_whole *w, kerf_detail *why)
{
    kerf_model_bytes bytes = kerf_model_file_bytes(&w->file);
    size_t in_count = 0;
    size_t out_count = 0;
    size_t port;
    kerf_err err = kerf_engine_inspect(w->engine, &bytes, w->in_port, &in_count,
                                       w->out_port, &out_count, why);

    if (err != KERF_OK)
        return kerf_fail_in(why, err, "%s", w->file.graph_path);
    port = kerf_image_port(w->in_port, in_count);
    if (port == KERF_PORTS_MAX) {
        return kerf_fail(why, KERF_EINVAL,
                         "%s: none of its inputs, or more than one, is an "
                         "image (4 dims): use --tensor",
                         w->file.graph_path);
    }
    return kerf_card_settle(&w->card, &w->in_port[port].shape, why);
}

static kerf_err
make_probe(kerf_net *net, kerf_probe *probe, uint64_t seed, kerf_detail *why)
{
    kerf_tensor out[KERF_PORTS_MAX] = {0};
    size_t count = 0;
    kerf_err err = kerf_probe_run(net, seed, out, &count, why);

    if (err != KERF_OK)
        return err;
    /* Outputs whose size depends on the data say nothing stable. */
    err = kerf_probe_sample(probe, seed, out,
                            kerf_net_is_static(net) ? count : 0);
    for (size_t i = 0; i < count; i++)
        kerf_tensor_free(&out[i]);
    return err;
}

static kerf_err
make_probes(kerf_whole *w, kerf_detail *why)
{
    kerf_model_bytes bytes = kerf_model_file_bytes(&w->file);
    kerf_probe *probe = calloc(PROBES, sizeof *probe);
    kerf_err err;

    if (probe == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory");
    for (size_t i = 0; i < w->card.probe_count; i++)
        kerf_probe_fini(&w->card.probe[i]);
    free(w->card.probe);
    w->card.probe = probe;
    w->card.probe_count = PROBES;
    err = kerf_engine_load_raw(w->engine, &w->net, &bytes,
                               w->card.is_image ? &w->card : NULL, why);
    if (err != KERF_OK)
        return kerf_fail_in(why, err, "%s", w->file.graph_path);
    err = kerf_whole_check_labels(&w->card, w->net, why);
    for (size_t i = 0; i < PROBES && err == KERF_OK; i++)
        err = make_probe(w->net, &probe[i], i + 1, why);
    return err;
}

static kerf_err
format_card(const kerf_whole *w, char **text, kerf_detail *why)
{
    kerf_err err = kerf_card_format(&w->card, text);

    if (err == KERF_ETOOBIG) {
        return kerf_fail(why, err,
                         "the card would have more than %zu bytes: shorter "
                         "labels",
                         KERF_CARD_BYTES_MAX);
    }
    if (err == KERF_ECORRUPT)
        return kerf_fail(why, err,
                         "the card would hold a label that is not UTF-8, or a "
                         "number that is not finite");
    return err;
}

static kerf_err
write_card(const card_flags *f, const kerf_whole *w, kerf_detail *why)
{
    char path[KERF_PATH_MAX];
    char *text = NULL;
    kerf_err err = KERF_OK;

    if (f->out != NULL)
        (void)snprintf(path, sizeof path, "%s", f->out);
    else
        err = kerf_model_file_card(&w->file, path);
    if (err == KERF_OK && kerf_fs_exists(path) && !f->force) {
        err = kerf_fail(why, KERF_EINVAL,
                        "%s is there already: --force to overwrite, --out FILE "
                        "for another place",
                        path);
    }
    if (err == KERF_OK)
        err = format_card(w, &text, why);
    if (err == KERF_OK)
        err = kerf_fs_write(path, text, strlen(text), why);
    if (err == KERF_OK)
        (void)printf("%s: %zu labels, %zu probes\n", path, w->card.label_count,
                     w->card.probe_count);
    free(text);
    return err;
}

/* A name that a card may have: of the flag, else of the card there or the
 * file. */
static kerf_err
settle_name(const card_flags *f, kerf_whole *w, kerf_detail *why)
{
    const char *name = f->name != NULL ? f->name : w->card.name;

    if (!kerf_text_is_name(name) || strlen(name) >= sizeof w->card.name) {
        return kerf_fail(why, KERF_EINVAL,
                         "%s %s: a model's name is 1 to %d of letters, digits, "
                         "'.', '_', '-'%s",
                         f->name != NULL ? "--name" : "model", name,
                         KERF_NAME_MAX - 1,
                         f->name != NULL ? "" : ": give one, --name NAME");
    }
    if (f->name != NULL)
        (void)snprintf(w->card.name, sizeof w->card.name, "%s", f->name);
    return KERF_OK;
}

static kerf_err
make_card(const card_flags *f, kerf_whole *w, kerf_detail *why)
{
    kerf_err err = kerf_whole_find(w, f->model, &f->rules, why);

    if (err == KERF_OK)
        err = settle_name(f, w, why);
    if (err == KERF_OK)
        err = kerf_engine_open(&w->engine, &f->engine, why);
    if (err != KERF_OK)
        return err;
    w->card.is_image = !f->tensor;
    if (w->card.is_image)
        err = settle(w, why);
    if (err == KERF_OK)
        err = make_probes(w, why);
    return err == KERF_OK ? write_card(f, w, why) : err;
}

int
kerf_cmd_card(int argc, char **argv)
{
    card_flags f = {.rules = KERF_RULES_DEFAULTS};
    kerf_whole w = {0};
    kerf_detail why = {.text = ""};
    kerf_err err;
    int rc = parse(&f, argc, argv);

    if (rc >= 0)
        return rc;
    err = make_card(&f, &w, &why);
    kerf_whole_close(&w);
    return err == KERF_OK ? 0 : kerf_cmd_failed(err, &why);
}
