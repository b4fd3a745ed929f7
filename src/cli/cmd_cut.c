/*
 * cmd_cut.c - `kerf cut`: list the cuts of a model, make one and prove it.
 */
#include "cli/cut_cmd.h"
#include "cli/cut_list.h"
#include "cli/json_line.h"
#include "source/source.h"

#include <stdio.h>
#include <stdlib.h>

static const char about[] =
    "Lists where a Paddle or ONNX model can be cut in two, and what each cut\n"
    "costs. With --at: writes the head and the tail of one cut, and proves "
    "that\n"
    "together they answer as the whole does. MODEL is as for kerf run; halves\n"
    "can be cut again.";

static int
check_modes(const kerf_cut_flags *f)
{
    int modes = (f->at != NULL) + f->prove + f->info + f->join;
    bool makes = f->at != NULL || f->join;
    bool proves = (makes && !f->no_proof) || f->prove;

    if (modes > 1)
        return kerf_usage_error("cut", "--at, --prove, --info and --join: one "
                                       "at a time");
    if (f->join != (f->arg[1] != NULL))
        return f->join
                   ? kerf_usage_error("cut", "--join takes HEAD and TAIL")
                   : kerf_usage_error("cut", "%s: unexpected word", f->arg[1]);
    if (makes && f->out == NULL)
        return kerf_usage_error("cut", "--out DIR is missing");
    if (!makes &&
        (f->out != NULL || f->name != NULL || f->force || f->no_proof)) {
        return kerf_usage_error("cut", "--%s goes with --at or --join",
                                f->out != NULL    ? "out"
                                : f->name != NULL ? "name"
                                : f->force        ? "force"
                                                  : "no-proof");
    }
    if (!proves && (f->input.count > 0 || f->has_tolerance)) {
        return kerf_usage_error("cut",
                                "--%s goes with a proof: --at, --join "
                                "or --prove",
                                f->input.count > 0 ? "input" : "tolerance");
    }
    if (f->svg != NULL && modes > 0)
        return kerf_usage_error("cut", "--svg draws the list of cuts: not "
                                       "with --at, --prove, --info or --join");
    return -1;
}

/* What the flags say; one command runs in a process. */
static kerf_cut_flags args = {.rules = KERF_RULES_DEFAULTS};

static const kerf_opt table[] = {
    {.kind = KERF_OPT_GROUP, .help = "look"},
    {.name = "svg",
     .kind = KERF_OPT_TEXT,
     .to = &args.svg,
     .value = "FILE",
     .help = "draw bytes and parameters along the depth (gnuplot)"},
    {.name = "info",
     .kind = KERF_OPT_FLAG,
     .to = &args.info,
     .help = "what the model is, instead of its cuts"},
    {.name = "json",
     .kind = KERF_OPT_FLAG,
     .to = &args.json,
     .help = "one JSON object per line on stdout"},
    {.kind = KERF_OPT_GROUP, .help = "cut"},
    {.name = "at",
     .kind = KERF_OPT_TEXT,
     .to = &args.at,
     .value = "NAME[,NAME...]",
     .help = "the tensors that cross, or the number of a cut"},
    {.name = "join",
     .kind = KERF_OPT_FLAG,
     .to = &args.join,
     .help = "HEAD and TAIL become one model again"},
    {.name = "out",
     .kind = KERF_OPT_TEXT,
     .to = &args.out,
     .value = "DIR",
     .help = "where to write; made when it is not there"},
    {.name = "name",
     .kind = KERF_OPT_TEXT,
     .to = &args.name,
     .help = "of the pair (default: the model's)"},
    {.name = "force",
     .kind = KERF_OPT_FLAG,
     .to = &args.force,
     .help = "overwrite files that are there"},
    {.kind = KERF_OPT_GROUP, .help = "prove"},
    {.name = "prove",
     .kind = KERF_OPT_FLAG,
     .to = &args.prove,
     .help = "prove every cut of the list; nothing is written"},
    {.name = "no-proof",
     .kind = KERF_OPT_FLAG,
     .to = &args.no_proof,
     .help = "write without a proof"},
    {.name = "tolerance",
     .kind = KERF_OPT_REAL,
     .to = &args.tolerance,
     .given = &args.has_tolerance,
     .min = 0,
     .max = 1,
     .help = "parts of an output's range (default 1e-05 for f32)",
     .no_default = true},
    {.name = "input",
     .kind = KERF_OPT_LIST,
     .to = &args.input,
     .help = "prove with these too: images, folders, .npy"},
    {.name = "shape",
     .kind = KERF_OPT_LIST,
     .to = &args.shape,
     .value = "NAME=1x3x224x224...",
     .help = "of inputs that the model leaves open"},
    KERF_RULES_ROWS(&args.rules),
    KERF_CMD_ENGINE_OPTS(&args.engine, &args.common),
    KERF_CMD_LOG_OPT(&args.common),
};

static const kerf_command command = {.name = "cut",
                                     .usage =
                                         "MODEL [--at NAME --out DIR] "
                                         "[flags]\n"
                                         "       kerf cut --join HEAD TAIL "
                                         "--out DIR [flags]",
                                     .about = about,
                                     .opt = table,
                                     .opt_count = sizeof table / sizeof *table,
                                     .arg = args.arg,
                                     .arg_least = 1,
                                     .arg_most = 2,
                                     .arg_name = "MODEL"};

kerf_err
kerf_cut_cmd_open(const kerf_cut_flags *f, bool read, kerf_cut_model *m,
                  kerf_detail *why)
{
    const kerf_rules *r = &f->rules;
    kerf_err err = kerf_cut_open(m, f->arg[0], read, why);

    if (err == KERF_OK && r->card != NULL)
        err = kerf_card_read(&m->card, r->card, why);
    if (err != KERF_OK)
        return err;
    if (!m->has_card && r->card == NULL)
        m->card.is_image = kerf_rules_image(r) != NULL;
    m->has_rules = kerf_rules_given(r);
    m->has_card = m->has_card || m->has_rules;
    err = kerf_rules_apply(r, &m->card, why);
    if (err == KERF_OK)
        err = kerf_cut_settle(m, f->shape.item, f->shape.count, why);
    return err;
}

kerf_err
kerf_cut_cmd_type(const kerf_cut_flags *f, kerf_cut_model *m,
                  kerf_engine **engine, kerf_detail *why)
{
    kerf_err err = kerf_engine_open(engine, &f->engine, why);

    return err == KERF_OK ? kerf_cut_type(m, *engine, why) : err;
}

void
kerf_cut_cmd_note(const kerf_cut_model *m)
{
    if (m->note.text[0] != '\0')
        (void)fprintf(stderr, "kerf: note: %s\n", m->note.text);
}

kerf_proof_opts
kerf_cut_cmd_proof(const kerf_cut_flags *f)
{
    return (kerf_proof_opts){
        .input = f->input.item,
        .input_count = f->input.count,
        .tolerance = f->has_tolerance ? f->tolerance : -1.0,
        .is_bf16 = f->engine.precision == KERF_PRECISION_BF16};
}

static kerf_err
list_cuts(const kerf_cut_flags *f, kerf_cut_model *m, kerf_engine **engine,
          kerf_cut_list *list, kerf_detail *why)
{
    kerf_err err = kerf_cut_cmd_open(f, false, m, why);

    if (err == KERF_OK)
        err = kerf_cut_cmd_type(f, m, engine, why);
    if (err == KERF_OK)
        err = kerf_cut_list_make(list, m, why);
    if (err != KERF_OK)
        return err;
    if (f->svg != NULL)
        err = kerf_cut_plot(list, f->svg, why);
    if (err != KERF_OK)
        return err;
    kerf_cut_cmd_note(m);
    for (size_t i = 0; f->json && i < list->cuts.count; i++)
        kerf_json_line(kerf_cut_json(list, i));
    if (!f->json)
        kerf_cut_show(list, f->arg[0]);
    return KERF_OK;
}

static int
show_list(const kerf_cut_flags *f)
{
    kerf_cut_model *m = calloc(1, sizeof *m); /* tens of KB */
    kerf_cut_list list = {0};
    kerf_engine *engine = NULL;
    kerf_detail why = {{0}};
    kerf_err err =
        m == NULL ? KERF_ENOMEM : list_cuts(f, m, &engine, &list, &why);

    kerf_cut_list_fini(&list);
    if (m != NULL)
        kerf_cut_close(m);
    free(m);
    kerf_engine_close(engine);
    return err == KERF_OK ? 0 : kerf_cmd_failed(err, &why);
}

int
kerf_cmd_cut(int argc, char **argv)
{
    kerf_detail why = {{0}};
    int rc = kerf_opts_parse(&command, argc, argv);

    if (rc < 0)
        rc = check_modes(&args);
    if (rc >= 0)
        return rc;
    kerf_cmd_apply(&args.common, &args.engine);
    /* A mistyped input is said before anything slow. */
    if (args.input.count > 0) {
        kerf_err err =
            kerf_source_check(args.input.item, args.input.count, &why);

        if (err != KERF_OK)
            return kerf_cmd_failed(err, &why);
    }
    if (args.join)
        return kerf_cut_cmd_join(&args);
    if (args.at != NULL)
        return kerf_cut_cmd_at(&args);
    if (args.prove)
        return kerf_cut_cmd_prove(&args);
    return args.info ? kerf_cut_cmd_info(&args) : show_list(&args);
}
