/*
 * Reads a Paddle program as a graph. The nodes are the ops of block 0; an op
 * that runs other blocks (while, conditional_block) is one node, which reads
 * and gives what its blocks read and give outside of themselves.
 */
#include "graph/paddle_own.h"

#include <stdlib.h>
#include <string.h>

struct reader {
    kerf_graph *g;
    kerf_paddle *p;
    kerf_detail *why;
    uint32_t op;                 /* of block 0 */
    kerf_pd_texts reads, writes; /* of that op; see kerf_paddle_effects() */
};

static kerf_err add_params(struct reader *r);
static kerf_err add_feed(struct reader *r, const kerf_pd_args *args);
static kerf_err add_fetch(struct reader *r, const kerf_pd_args *args);
static kerf_err add_op(struct reader *r, const kerf_pd_args *args);

static kerf_err
read_paddle(kerf_graph *g, const kerf_model_bytes *m, kerf_detail *why)
{
    struct reader r = {.g = g, .why = why};
    kerf_err err = kerf_paddle_open(&r.p, m, why);

    if (err != KERF_OK)
        return err;
    g->own->state = r.p; /* the graph's from here */
    g->version = r.p->program.version;
    err = add_params(&r);
    for (uint32_t i = 0; err == KERF_OK && i < r.p->program.block[0].op_count;
         i++) {
        const kerf_pd_op *op = &r.p->program.op[i];
        kerf_pd_args args = {0};

        r.op = i;
        err = kerf_pd_args_read(&args, op);
        if (err != KERF_OK)
            err = kerf_fail(why, err, "op %u: %s", i, kerf_err_text(err));
        else if (kerf_pd_text_is(&op->type, "feed"))
            err = add_feed(&r, &args);
        else if (kerf_pd_text_is(&op->type, "fetch"))
            err = add_fetch(&r, &args);
        else
            err = add_op(&r, &args);
        kerf_pd_args_fini(&args);
    }
    if (err == KERF_OK && g->output_count == 0)
        err = kerf_fail(why, KERF_ENOTSUP,
                        "the program has no fetch op: it is not an exported "
                        "model, save it with save_inference_model");
    free(r.reads.text);
    free(r.writes.text);
    return err;
}

static bool
is_shape_op(const char *op)
{
    static const char *const ops[] = {
        "shape",
        "size",
        "prior_box",
        "density_prior_box",
        "anchor_generator",
        "fill_constant_batch_size_like",
    };

    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        if (strcmp(op, ops[i]) == 0)
            return true;
    }
    return false;
}

const kerf_graph_format kerf_graph_paddle = {.read = read_paddle,
                                             .close = kerf_paddle_close,
                                             .write = kerf_paddle_write,
                                             .join = kerf_paddle_join,
                                             .is_shape_op = is_shape_op};

static kerf_err
fail_name(const struct reader *r, kerf_err err, const kerf_pd_text *name,
          const char *what)
{
    char safe[KERF_PD_SAFE], type[KERF_PD_SAFE];

    return kerf_fail(r->why, err, "op %u (%s): '%s' %s", r->op,
                     kerf_pd_text_safe(type, &r->p->program.op[r->op].type),
                     kerf_pd_text_safe(safe, name), what);
}

static kerf_err
add_params(struct reader *r)
{
    const kerf_pdmodel *m = &r->p->program;

    for (size_t i = 0; i < m->param_count; i++) {
        const kerf_pd_text *name = &m->param[i].name;
        const kerf_pd_record *record = &r->p->record[i];
        uint32_t v = KERF_GRAPH_NONE, var = kerf_paddle_var(r->p, 0, name);
        char safe[KERF_PD_SAFE];
        kerf_err err = kerf_graph_add_value(r->g, name->at, name->len,
                                            KERF_VALUE_PARAM, &v);

        if (var != KERF_GRAPH_NONE && !kerf_pd_var_is_param(&m->var[var]))
            err = KERF_ECORRUPT; /* another block says it is one */
        if (err != KERF_OK)
            return kerf_fail(r->why, err, "parameter '%s': %s",
                             kerf_pd_text_safe(safe, name), kerf_err_text(err));
        r->g->value[v].type = KERF_VALUE_TENSOR;
        r->g->value[v].dtype = record->desc.dtype;
        r->g->value[v].shape = record->desc.shape;
        r->g->value[v].is_shaped = true;
        r->g->value[v].bytes = record->data_len;
        r->g->value[v].origin = var;
    }
    return KERF_OK;
}

/* What the variable's declaration says of a value. */
static void
set_type(struct reader *r, uint32_t value, uint32_t var)
{
    const kerf_pd_var *d = &r->p->program.var[var];
    kerf_value *v = &r->g->value[value];

    v->origin = var;
    v->type = KERF_VALUE_OTHER;
    if (d->kind != KERF_PD_TENSOR || !d->desc.is_known)
        return;
    v->type = KERF_VALUE_TENSOR;
    v->dtype = d->desc.dtype;
    v->shape = d->desc.shape;
    v->is_shaped = d->desc.shape.rank > 0; /* no dims: nobody said */
    for (uint32_t i = 0; i < v->shape.rank; i++) {
        if (v->shape.dims[i] < 0)
            v->shape.dims[i] = -1;
    }
}

/* The one argument of a feed or fetch op on that side; NULL. */
static const kerf_pd_text *
only_arg(const kerf_pd_args *args, bool is_out)
{
    const kerf_pd_text *found = NULL;

    for (size_t i = 0; i < args->arg_count; i++) {
        if (args->arg[i].is_out != is_out)
            continue;
        if (found != NULL)
            return NULL;
        found = &args->arg[i].name;
    }
    return found;
}

static kerf_err
add_feed(struct reader *r, const kerf_pd_args *args)
{
    const kerf_pd_text *name = only_arg(args, true);
    uint32_t var, v = KERF_GRAPH_NONE;
    kerf_err err;

    if (name == NULL)
        return kerf_fail(r->why, KERF_ECORRUPT,
                         "op %u (feed) does not give one tensor", r->op);
    var = kerf_paddle_var(r->p, 0, name);
    if (var == KERF_GRAPH_NONE)
        return fail_name(r, KERF_ECORRUPT, name, "is not declared");
    if (kerf_graph_lookup(r->g, name->at, name->len) != KERF_GRAPH_NONE)
        return fail_name(r, KERF_ECORRUPT, name, "has a value already");
    err = kerf_graph_add_value(r->g, name->at, name->len, KERF_VALUE_INPUT, &v);
    if (err == KERF_OK)
        err = kerf_graph_add_input(r->g, v);
    if (err != KERF_OK)
        return fail_name(r, err, name, kerf_err_text(err));
    set_type(r, v, var);
    r->p->feed[r->p->feed_count++] = r->op;
    return KERF_OK;
}

static kerf_err
add_fetch(struct reader *r, const kerf_pd_args *args)
{
    const kerf_pd_text *name = only_arg(args, false);
    uint32_t v;
    kerf_err err;

    if (name == NULL)
        return kerf_fail(r->why, KERF_ECORRUPT,
                         "op %u (fetch) does not take one tensor", r->op);
    v = kerf_graph_lookup(r->g, name->at, name->len);
    if (v == KERF_GRAPH_NONE)
        return fail_name(r, KERF_ECORRUPT, name,
                         "is an output, and nothing gives it");
    err = kerf_graph_add_output(r->g, v);
    if (err != KERF_OK)
        return fail_name(r, err, name, kerf_err_text(err));
    r->p->fetch[r->p->fetch_count++] = r->op;
    return KERF_OK;
}

/* A variable that an op finds as it was declared, empty: each half has its
 * own. */
static kerf_err
add_blank(struct reader *r, const kerf_pd_text *name, uint32_t var)
{
    uint32_t v = KERF_GRAPH_NONE;
    kerf_err err =
        kerf_graph_add_value(r->g, name->at, name->len, KERF_VALUE_PARAM, &v);

    if (err != KERF_OK)
        return fail_name(r, err, name, kerf_err_text(err));
    r->g->value[v].type = KERF_VALUE_OTHER;
    r->g->value[v].origin = var;
    return KERF_OK;
}

static kerf_err
add_read(struct reader *r, const kerf_pd_text *name, bool may_be_blank)
{
    if (kerf_graph_lookup(r->g, name->at, name->len) == KERF_GRAPH_NONE) {
        uint32_t var = kerf_paddle_var(r->p, 0, name);
        kerf_err err = KERF_OK;

        if (var == KERF_GRAPH_NONE)
            return fail_name(r, KERF_ECORRUPT, name, "is not declared");
        if (may_be_blank || r->p->program.var[var].kind != KERF_PD_TENSOR)
            err = add_blank(r, name, var);
        if (err != KERF_OK)
            return err;
    }
    return kerf_graph_add_in(r->g, name->at, name->len, r->why);
}

static kerf_err
add_write(struct reader *r, const kerf_pd_text *name, bool has_blocks)
{
    uint32_t var = kerf_paddle_var(r->p, 0, name);
    bool is_param = kerf_paddle_param(r->p, name) != KERF_GRAPH_NONE;
    bool is_maybe =
        has_blocks &&
        kerf_graph_lookup(r->g, name->at, name->len) == KERF_GRAPH_NONE;
    uint32_t v = KERF_GRAPH_NONE;
    kerf_err err;

    if (var == KERF_GRAPH_NONE && !is_param)
        return fail_name(r, KERF_ECORRUPT, name, "is not declared");
    err = kerf_graph_add_out(r->g, name->at, name->len, &v, r->why);
    if (err != KERF_OK)
        return err;
    if (var != KERF_GRAPH_NONE)
        set_type(r, v, var);
    r->g->value[v].is_maybe =
        is_maybe && r->g->value[v].type == KERF_VALUE_TENSOR;
    /* A half's input cannot be its parameter, too. */
    if (is_param || is_maybe)
        r->g->value[v].type = KERF_VALUE_OTHER;
    return KERF_OK;
}

/* What FLOPs are counted from. */
static void
note_slot(struct reader *r, const kerf_pd_text *slot)
{
    kerf_node *n = &r->g->node[r->g->node_count - 1];
    uint32_t v = r->g->own->link[r->g->own->link_count - 1];

    if (n->data == KERF_GRAPH_NONE &&
        (kerf_pd_text_is(slot, "X") || kerf_pd_text_is(slot, "Input")))
        n->data = v;
    if (n->weight == KERF_GRAPH_NONE &&
        (kerf_pd_text_is(slot, "Filter") || kerf_pd_text_is(slot, "Y") ||
         kerf_pd_text_is(slot, "W") || kerf_pd_text_is(slot, "Weight")))
        n->weight = v;
}

/* An array gets one more element. (And a block may not run, or not give: then
 * the old value stays.) */
static bool
is_added_to(const struct reader *r, const kerf_pd_text *name)
{
    uint32_t var = kerf_paddle_var(r->p, 0, name);

    return var != KERF_GRAPH_NONE &&
           r->p->program.var[var].kind != KERF_PD_TENSOR;
}

static kerf_err
add_reads(struct reader *r, const kerf_pd_args *args)
{
    bool has_blocks = args->block_count > 0;
    kerf_err err = KERF_OK;

    for (size_t i = 0; i < args->arg_count && err == KERF_OK; i++) {
        if (args->arg[i].is_out)
            continue;
        err = add_read(r, &args->arg[i].name, has_blocks);
        if (err == KERF_OK)
            note_slot(r, &args->arg[i].slot);
    }
    for (size_t i = 0; i < r->reads.count && err == KERF_OK; i++)
        err = add_read(r, &r->reads.text[i], true);
    for (size_t i = 0; i < r->writes.count && err == KERF_OK; i++) {
        const kerf_pd_text *name = &r->writes.text[i];

        if ((has_blocks || is_added_to(r, name)) &&
            kerf_graph_lookup(r->g, name->at, name->len) != KERF_GRAPH_NONE)
            err = add_read(r, name, true);
    }
    return err;
}

static kerf_err
add_op(struct reader *r, const kerf_pd_args *args)
{
    const kerf_pd_op *op = &r->p->program.op[r->op];
    char safe[KERF_PD_SAFE];
    uint32_t node = 0;
    kerf_err err;

    err = kerf_paddle_effects(r->p, r->op, args, &r->reads, &r->writes);
    if (err == KERF_OK)
        err =
            kerf_graph_add_node(r->g, op->type.at, op->type.len, "", 0, &node);
    if (err != KERF_OK) {
        return kerf_fail(r->why, err, "op %u (%s)%s: %s", r->op,
                         kerf_pd_text_safe(safe, &op->type),
                         args->block_count > 0 ? ", or a block of it" : "",
                         kerf_err_text(err));
    }
    r->g->node[node].origin = r->op;
    err = add_reads(r, args);
    for (size_t i = 0; i < r->writes.count && err == KERF_OK; i++)
        err = add_write(r, &r->writes.text[i], args->block_count > 0);
    return err;
}
