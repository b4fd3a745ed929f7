/*
 * Reads a Paddle program as a graph. The nodes are the ops of block 0; an op
 * that runs other blocks (while, conditional_block) is one node, which reads
 * and gives what its blocks read and give outside of themselves.
 */
#include "graph/paddle_own.h"

#include <stdlib.h>
#include <string.h>

struct texts {
    kerf_pd_text *text; /* owned */
    size_t count, room;
};

struct reader {
    kerf_graph *g;
    kerf_paddle *p;
    kerf_detail *why;
    uint32_t op; /* of block 0 */
    /* What its sub-blocks read and give outside of themselves. */
    struct texts reads, writes;
    uint32_t chain[KERF_PD_DEPTH_MAX]; /* blocks, from the outermost */
    size_t depth;
};

static kerf_err read_program(struct reader *r, const kerf_model_bytes *m);
static kerf_err add_params(struct reader *r);
static kerf_err add_feed(struct reader *r, const kerf_pd_args *args);
static kerf_err add_fetch(struct reader *r, const kerf_pd_args *args);
static kerf_err add_op(struct reader *r, const kerf_pd_args *args);
static kerf_err visit_block(struct reader *r, uint32_t from, uint32_t block);

static kerf_err
read_paddle(kerf_graph *g, const kerf_model_bytes *m, kerf_detail *why)
{
    struct reader r = {.g = g, .why = why};
    kerf_err err;

    r.p = calloc(1, sizeof *r.p);
    g->own->state = r.p;
    if (r.p == NULL)
        return kerf_fail(why, KERF_ENOMEM, "out of memory");
    err = read_program(&r, m);
    if (err == KERF_OK)
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

static void
close_paddle(void *state)
{
    kerf_paddle *p = state;

    if (p == NULL)
        return;
    kerf_pdmodel_close(&p->program);
    free(p->record);
    free(p->by_name);
    free(p->parent);
    free(p->runner);
    free(p->feed);
    free(p->fetch);
    free(p);
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
                                             .close = close_paddle,
                                             .write = kerf_paddle_write,
                                             .join = kerf_paddle_join,
                                             .is_shape_op = is_shape_op};

struct named {
    kerf_pd_text name;
    uint32_t var;
};

static int
compare_named(const void *a, const void *b)
{
    return kerf_pd_text_compare(&((const struct named *)a)->name,
                                &((const struct named *)b)->name);
}

/* A block cannot have two variables of one name. */
static kerf_err
sort_vars(kerf_paddle *p, kerf_detail *why)
{
    const kerf_pdmodel *m = &p->program;
    struct named *named = malloc((m->var_count + 1) * sizeof *named);
    char safe[KERF_PD_SAFE];
    kerf_err err = KERF_OK;

    p->by_name = calloc(m->var_count + 1, sizeof *p->by_name);
    if (named == NULL || p->by_name == NULL) {
        free(named);
        return kerf_fail(why, KERF_ENOMEM, "out of memory");
    }
    for (uint32_t i = 0; i < m->var_count; i++)
        named[i] = (struct named){m->var[i].name, i};
    for (size_t b = 0; b < m->block_count; b++) {
        struct named *first = named + m->block[b].first_var;
        size_t count = m->block[b].var_count;

        if (count > 0)
            qsort(first, count, sizeof *named, compare_named);
        for (size_t i = 1; i < count && err == KERF_OK; i++) {
            if (compare_named(&first[i - 1], &first[i]) == 0)
                err = kerf_fail(why, KERF_ECORRUPT,
                                "block %zu declares '%s' twice", b,
                                kerf_pd_text_safe(safe, &first[i].name));
        }
    }
    for (size_t i = 0; i < m->var_count; i++)
        p->by_name[i] = named[i].var;
    free(named);
    return err;
}

uint32_t
kerf_paddle_var(const kerf_paddle *p, uint32_t block, const kerf_pd_text *name)
{
    const kerf_pd_block *b = &p->program.block[block];
    size_t low = b->first_var, high = low + b->var_count;

    while (low < high) {
        size_t at = low + (high - low) / 2;
        uint32_t var = p->by_name[at];
        int order = kerf_pd_text_compare(name, &p->program.var[var].name);

        if (order == 0)
            return var;
        if (order < 0)
            high = at;
        else
            low = at + 1;
    }
    return KERF_GRAPH_NONE;
}

uint32_t
kerf_paddle_param(const kerf_paddle *p, const kerf_pd_text *name)
{
    size_t low = 0, high = p->program.param_count;

    while (low < high) {
        size_t at = low + (high - low) / 2;
        int order = kerf_pd_text_compare(name, &p->program.param[at].name);

        if (order == 0)
            return (uint32_t)at;
        if (order < 0)
            high = at;
        else
            low = at + 1;
    }
    return KERF_GRAPH_NONE;
}

static kerf_err
read_program(struct reader *r, const kerf_model_bytes *m)
{
    kerf_paddle *p = r->p;
    kerf_err err =
        kerf_pdmodel_open(&p->program, m->graph, m->graph_len, r->why);

    if (err != KERF_OK)
        return err;
    p->bytes = m->graph;
    p->len = m->graph_len;
    r->g->version = p->program.version;
    p->record = calloc(p->program.param_count + 1, sizeof *p->record);
    p->parent = malloc(p->program.block_count * sizeof *p->parent);
    p->runner = malloc(p->program.block_count * sizeof *p->runner);
    p->feed = calloc(p->program.op_count + 1, sizeof *p->feed);
    p->fetch = calloc(p->program.op_count + 1, sizeof *p->fetch);
    if (p->record == NULL || p->parent == NULL || p->runner == NULL ||
        p->feed == NULL || p->fetch == NULL)
        return kerf_fail(r->why, KERF_ENOMEM, "out of memory");
    err = sort_vars(p, r->why);
    if (err != KERF_OK)
        return err;
    memset(p->parent, 0xFF, p->program.block_count * sizeof *p->parent);
    memset(p->runner, 0xFF, p->program.block_count * sizeof *p->runner);
    return kerf_pdiparams_check(&p->program, m->weights,
                                m->weights != NULL ? m->weights_len : 0,
                                p->record, r->why);
}

static kerf_err
fail_name(const struct reader *r, kerf_err err, const kerf_pd_text *name,
          const char *what)
{
    char safe[KERF_PD_SAFE], type[KERF_PD_SAFE];

    return kerf_fail(r->why, err, "op %u (%s): '%s' %s", r->op,
                     kerf_pd_text_safe(type, &r->p->program.op[r->op].type),
                     kerf_pd_text_safe(safe, name), what);
}

static bool
is_param(const kerf_pd_var *var)
{
    return var->is_persistable && var->kind == KERF_PD_TENSOR;
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

        if (var != KERF_GRAPH_NONE && !is_param(&m->var[var]))
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

static kerf_err
push_text(struct texts *list, const kerf_pd_text *text)
{
    if (list->count == list->room) {
        size_t room = list->room == 0 ? 64 : 2 * list->room;
        kerf_pd_text *bigger = room > KERF_GRAPH_LINKS_MAX
                                   ? NULL
                                   : realloc(list->text, room * sizeof *bigger);

        if (bigger == NULL)
            return KERF_ENOMEM;
        list->text = bigger;
        list->room = room;
    }
    list->text[list->count++] = *text;
    return KERF_OK;
}

static int
compare_texts(const void *a, const void *b)
{
    return kerf_pd_text_compare(a, b);
}

/* Each once, in the order of names. */
static void
sort_texts(struct texts *list)
{
    size_t kept = 0;

    if (list->count == 0)
        return;
    qsort(list->text, list->count, sizeof *list->text, compare_texts);
    for (size_t i = 1; i < list->count; i++) {
        if (compare_texts(&list->text[kept], &list->text[i]) != 0)
            list->text[++kept] = list->text[i];
    }
    list->count = kept + 1;
}

/*
 * Ops that write their own parameters back as they are when a network only
 * runs: batch_norm gives MeanOut and VarianceOut, quantisation its scales. That
 * is no new value of them.
 */
static bool
keeps_params(const kerf_pd_text *type)
{
    static const char *const begins[] = {"batch_norm",
                                         "sync_batch_norm",
                                         "inplace_abn",
                                         "fake_",
                                         "moving_average_abs_max_scale",
                                         "quantize_linear",
                                         "dequantize_linear"};

    for (size_t i = 0; i < sizeof begins / sizeof *begins; i++) {
        size_t len = strlen(begins[i]);

        if (type->len >= len && memcmp(type->at, begins[i], len) == 0)
            return true;
    }
    return false;
}

static bool
is_kept(const struct reader *r, const kerf_pd_op *op, const kerf_pd_text *name)
{
    return keeps_params(&op->type) &&
           kerf_paddle_param(r->p, name) != KERF_GRAPH_NONE;
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
add_write(struct reader *r, const kerf_pd_text *name)
{
    uint32_t var = kerf_paddle_var(r->p, 0, name);
    bool is_param = kerf_paddle_param(r->p, name) != KERF_GRAPH_NONE;
    uint32_t v = KERF_GRAPH_NONE;
    kerf_err err;

    if (var == KERF_GRAPH_NONE && !is_param)
        return fail_name(r, KERF_ECORRUPT, name, "is not declared");
    err = kerf_graph_add_out(r->g, name->at, name->len, &v, r->why);
    if (err != KERF_OK)
        return err;
    if (var != KERF_GRAPH_NONE)
        set_type(r, v, var);
    if (is_param) /* a halve's input cannot be its parameter, too */
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
    /* A block may not run, or not give: then the old value stays. */
    for (size_t i = 0; i < r->writes.count && err == KERF_OK && has_blocks;
         i++) {
        const kerf_pd_text *name = &r->writes.text[i];

        if (kerf_graph_lookup(r->g, name->at, name->len) != KERF_GRAPH_NONE)
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
    kerf_err err = KERF_OK;

    r->reads.count = 0;
    r->writes.count = 0;
    r->depth = 0;
    for (size_t i = 0; i < args->block_count && err == KERF_OK; i++)
        err = visit_block(r, 0, args->block[i]);
    for (size_t i = 0; i < args->arg_count && err == KERF_OK; i++) {
        const kerf_pd_text *name = &args->arg[i].name;

        if (args->arg[i].is_out)
            err =
                push_text(is_kept(r, op, name) ? &r->reads : &r->writes, name);
    }
    if (err == KERF_OK)
        err =
            kerf_graph_add_node(r->g, op->type.at, op->type.len, "", 0, &node);
    if (err != KERF_OK)
        return kerf_fail(r->why, err, "op %u (%s)%s: %s", r->op,
                         kerf_pd_text_safe(safe, &op->type),
                         args->block_count > 0 ? ", or a block of it" : "",
                         kerf_err_text(err));
    r->g->node[node].origin = r->op;
    sort_texts(&r->reads);
    if (args->block_count > 0)
        sort_texts(&r->writes);
    err = add_reads(r, args);
    for (size_t i = 0; i < r->writes.count && err == KERF_OK; i++)
        err = add_write(r, &r->writes.text[i]);
    return err;
}

/* Whether the blocks that are being visited have it for themselves. */
static bool
is_local(const struct reader *r, const kerf_pd_text *name)
{
    for (size_t i = r->depth; i-- > 0;) {
        uint32_t var = kerf_paddle_var(r->p, r->chain[i], name);

        if (var != KERF_GRAPH_NONE)
            return !r->p->program.var[var].is_persistable;
    }
    return false;
}

static kerf_err
visit_op(struct reader *r, uint32_t block, const kerf_pd_op *op)
{
    kerf_pd_args args = {0};
    kerf_err err = kerf_pd_args_read(&args, op);

    for (size_t i = 0; i < args.block_count && err == KERF_OK; i++)
        err = visit_block(r, block, args.block[i]);
    for (size_t i = 0; i < args.arg_count && err == KERF_OK; i++) {
        const kerf_pd_text *name = &args.arg[i].name;
        bool is_write = args.arg[i].is_out && !is_kept(r, op, name);

        if (!is_local(r, name))
            err = push_text(is_write ? &r->writes : &r->reads, name);
    }
    kerf_pd_args_fini(&args);
    return err;
}

/* Collects what a block, run by an op of block from, reads and gives outside.
 * Parents stand before their children, so that no block runs itself. */
static kerf_err
visit_block(struct reader *r, uint32_t from, uint32_t block)
{
    const kerf_pdmodel *m = &r->p->program;
    const kerf_pd_block *b;
    kerf_err err = KERF_OK;

    if (block <= from || block >= m->block_count ||
        r->p->parent[block] != KERF_GRAPH_NONE)
        return KERF_ECORRUPT;
    if (r->depth == KERF_PD_DEPTH_MAX)
        return KERF_ETOOBIG;
    r->p->parent[block] = from;
    r->p->runner[block] = r->op;
    b = &m->block[block];
    r->chain[r->depth++] = block;
    for (size_t i = 0; i < b->op_count && err == KERF_OK; i++)
        err = visit_op(r, block, &m->op[b->first_op + i]);
    r->depth--;
    for (size_t i = 0; i < b->var_count && err == KERF_OK; i++) {
        const kerf_pd_var *var = &m->var[b->first_var + i];

        /* The block is kept as a whole, with what it declares. */
        if (is_param(var))
            err = push_text(&r->reads, &var->name);
    }
    return err;
}
