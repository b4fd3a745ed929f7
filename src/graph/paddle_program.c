#include "graph/paddle_own.h"

#include <stdlib.h>
#include <string.h>

static kerf_err sort_vars(kerf_paddle *p, kerf_detail *why);

static kerf_err
fill(kerf_paddle *p, const kerf_model_bytes *m, kerf_detail *why)
{
    kerf_err err =
        kerf_pdmodel_sort_ports(m->graph, m->graph_len, &p->own, why);

    p->bytes = p->own != NULL ? p->own : m->graph;
    p->len = m->graph_len;
    if (err == KERF_OK)
        err = kerf_pdmodel_open(&p->program, p->bytes, p->len, why);
    if (err != KERF_OK)
        return err;
    p->record = calloc(p->program.param_count + 1, sizeof *p->record);
    p->parent = malloc(p->program.block_count * sizeof *p->parent);
    p->runner = malloc(p->program.block_count * sizeof *p->runner);
    p->feed = calloc(p->program.op_count + 1, sizeof *p->feed);
    p->fetch = calloc(p->program.op_count + 1, sizeof *p->fetch);
    if (p->record == NULL || p->parent == NULL || p->runner == NULL ||
        p->feed == NULL || p->fetch == NULL)
        return kerf_fail(why, KERF_ENOMEM, "out of memory");
    err = sort_vars(p, why);
    if (err != KERF_OK)
        return err;
    memset(p->parent, 0xFF, p->program.block_count * sizeof *p->parent);
    memset(p->runner, 0xFF, p->program.block_count * sizeof *p->runner);
    return kerf_pdiparams_check(&p->program, m->weights,
                                m->weights != NULL ? m->weights_len : 0,
                                p->record, why);
}

kerf_err
kerf_paddle_open(kerf_paddle **out, const kerf_model_bytes *m, kerf_detail *why)
{
    kerf_paddle *p = calloc(1, sizeof *p);
    kerf_err err;

    if (p == NULL)
        return kerf_fail(why, KERF_ENOMEM, "out of memory");
    err = fill(p, m, why);
    if (err != KERF_OK) {
        kerf_paddle_close(p);
        return err;
    }
    *out = p;
    return KERF_OK;
}

void
kerf_paddle_close(void *state)
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
    free(p->own);
    free(p);
}

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
