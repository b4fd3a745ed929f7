/*
 * What an op changes outside of itself: its outputs, and what the blocks that
 * it runs read and give that is not their own.
 */
#include "graph/paddle_own.h"

#include <stdlib.h>
#include <string.h>

struct walk {
    kerf_paddle *p;
    uint32_t op; /* of block 0 */
    kerf_pd_texts *reads, *writes;
    uint32_t chain[KERF_PD_DEPTH_MAX]; /* blocks, from the outermost */
    size_t depth;
};

static kerf_err visit_block(struct walk *w, uint32_t from, uint32_t block);

static kerf_err
push_text(kerf_pd_texts *list, const kerf_pd_text *text)
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
sort_texts(kerf_pd_texts *list)
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
is_kept(const kerf_paddle *p, const kerf_pd_op *op, const kerf_pd_text *name)
{
    return keeps_params(&op->type) &&
           kerf_paddle_param(p, name) != KERF_GRAPH_NONE;
}

kerf_err
kerf_paddle_effects(kerf_paddle *p, uint32_t op, const kerf_pd_args *args,
                    kerf_pd_texts *reads, kerf_pd_texts *writes)
{
    struct walk w = {.p = p, .op = op, .reads = reads, .writes = writes};
    kerf_err err = KERF_OK;

    reads->count = 0;
    writes->count = 0;
    for (size_t i = 0; i < args->block_count && err == KERF_OK; i++)
        err = visit_block(&w, 0, args->block[i]);
    for (size_t i = 0; i < args->arg_count && err == KERF_OK; i++) {
        const kerf_pd_text *name = &args->arg[i].name;

        if (args->arg[i].is_out)
            err = push_text(
                is_kept(p, &p->program.op[op], name) ? reads : writes, name);
    }
    sort_texts(reads);
    if (args->block_count > 0)
        sort_texts(writes);
    return err;
}

/* Whether the blocks that are being visited have it for themselves. */
static bool
is_local(const struct walk *w, const kerf_pd_text *name)
{
    for (size_t i = w->depth; i-- > 0;) {
        uint32_t var = kerf_paddle_var(w->p, w->chain[i], name);

        if (var != KERF_GRAPH_NONE)
            return !w->p->program.var[var].is_persistable;
    }
    return false;
}

static kerf_err
visit_op(struct walk *w, uint32_t block, const kerf_pd_op *op)
{
    kerf_pd_args args = {0};
    kerf_err err = kerf_pd_args_read(&args, op);

    for (size_t i = 0; i < args.block_count && err == KERF_OK; i++)
        err = visit_block(w, block, args.block[i]);
    for (size_t i = 0; i < args.arg_count && err == KERF_OK; i++) {
        const kerf_pd_text *name = &args.arg[i].name;
        bool is_write = args.arg[i].is_out && !is_kept(w->p, op, name);

        if (!is_local(w, name))
            err = push_text(is_write ? w->writes : w->reads, name);
    }
    kerf_pd_args_fini(&args);
    return err;
}

/* Collects what a block, run by an op of block from, reads and gives outside.
 * Parents stand before their children, so that no block runs itself. */
static kerf_err
visit_block(struct walk *w, uint32_t from, uint32_t block)
{
    const kerf_pdmodel *m = &w->p->program;
    const kerf_pd_block *b;
    kerf_err err = KERF_OK;

    if (block <= from || block >= m->block_count ||
        w->p->parent[block] != KERF_GRAPH_NONE)
        return KERF_ECORRUPT;
    if (w->depth == KERF_PD_DEPTH_MAX)
        return KERF_ETOOBIG;
    w->p->parent[block] = from;
    w->p->runner[block] = w->op;
    b = &m->block[block];
    w->chain[w->depth++] = block;
    for (size_t i = 0; i < b->op_count && err == KERF_OK; i++)
        err = visit_op(w, block, &m->op[b->first_op + i]);
    w->depth--;
    for (size_t i = 0; i < b->var_count && err == KERF_OK; i++) {
        const kerf_pd_var *var = &m->var[b->first_var + i];

        /* The block is kept as a whole, with what it declares. */
        if (kerf_pd_var_is_param(var))
            err = push_text(w->reads, &var->name);
    }
    return err;
}
