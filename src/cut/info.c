#include "cut/info.h"

#include "cut/halves.h"
#include "graph/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { /* of ONNX's ModelProto and OperatorSetIdProto */
       MODEL_IR_VERSION = 1,
       MODEL_PRODUCER_NAME = 2,
       MODEL_PRODUCER_VERSION = 3,
       MODEL_OPSET = 8,
       OPSET_DOMAIN = 1,
       OPSET_VERSION = 2,
};

static void
copy_text(char *out, size_t cap, const kerf_wire_field *f)
{
    (void)snprintf(out, cap, "%.*s", (int)(f->len < cap ? f->len : cap - 1),
                   (const char *)f->bytes);
}

static void
read_opset(kerf_cut_info *info, const kerf_wire_field *field)
{
    kerf_rd inside = kerf_wire_inside(field);
    kerf_wire_field f;
    kerf_opset *set;

    if (info->opset_count == KERF_OPSETS_MAX)
        return;
    set = &info->opset[info->opset_count++];
    while (kerf_wire_next(&inside, &f)) {
        if (f.number == OPSET_DOMAIN && f.wire == 2)
            copy_text(set->domain, sizeof set->domain, &f);
        else if (f.number == OPSET_VERSION && f.wire == 0)
            set->version = (int64_t)f.value;
    }
}

static void
read_onnx(kerf_cut_info *info, const kerf_cut_model *m)
{
    kerf_rd r = {.at = m->file.graph, .left = m->file.graph_len};
    char name[64] = "";
    char version[56] = "";
    kerf_wire_field f;

    while (kerf_wire_next(&r, &f)) {
        if (f.number == MODEL_IR_VERSION && f.wire == 0)
            info->ir_version = (int64_t)f.value;
        else if (f.number == MODEL_PRODUCER_NAME && f.wire == 2)
            copy_text(name, sizeof name, &f);
        else if (f.number == MODEL_PRODUCER_VERSION && f.wire == 2)
            copy_text(version, sizeof version, &f);
        else if (f.number == MODEL_OPSET && f.wire == 2)
            read_opset(info, &f);
    }
    (void)snprintf(info->producer, sizeof info->producer, "%s%s%s", name,
                   name[0] != '\0' && version[0] != '\0' ? " " : "", version);
}

static void
count_params(kerf_cut_info *info, const kerf_graph *g)
{
    for (size_t i = 0; i < g->value_count; i++) {
        const kerf_value *v = &g->value[i];
        size_t elements = 0;

        if (v->kind != KERF_VALUE_PARAM && v->bytes == 0)
            continue;
        info->params++;
        info->param_bytes += v->bytes;
        if (v->is_shaped && kerf_shape_count(&v->shape, &elements) == KERF_OK)
            info->param_elements += elements;
    }
}

static int
compare_names(const void *a, const void *b)
{
    return strcmp(((const kerf_op_count *)a)->op,
                  ((const kerf_op_count *)b)->op);
}

static int
compare_counts(const void *a, const void *b)
{
    const kerf_op_count *x = a;
    const kerf_op_count *y = b;

    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    return strcmp(x->op, y->op);
}

/* Each op once, with its count: sorted by name, then joined. */
static kerf_err
count_ops(kerf_cut_info *info, const kerf_graph *g)
{
    size_t kept = 0;

    info->op = calloc(g->node_count + 1, sizeof *info->op);
    if (info->op == NULL)
        return KERF_ENOMEM;
    for (size_t i = 0; i < g->node_count; i++) {
        info->op[i] = (kerf_op_count){.op = g->node[i].op, .count = 1};
        info->const_nodes += g->node[i].is_const;
        info->shape_nodes += !g->node[i].is_const && g->node[i].is_shape_only;
    }
    qsort(info->op, g->node_count, sizeof *info->op, compare_names);
    for (size_t i = 0; i < g->node_count; i++) {
        if (kept > 0 && strcmp(info->op[kept - 1].op, info->op[i].op) == 0)
            info->op[kept - 1].count++;
        else
            info->op[kept++] = info->op[i];
    }
    qsort(info->op, kept, sizeof *info->op, compare_counts);
    info->op_count = kept;
    return KERF_OK;
}

/* Is the op named in the engine's words, as "Conv" in "Conv-17, Relu-17"? */
static bool
is_named(const char *words, const char *op)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    size_t len = strlen(op);

    for (const char *at = strstr(words, op); at != NULL && len > 0;
         at = strstr(at + 1, op)) {
        if ((at == words || strchr(letters, at[-1]) == NULL) &&
            (at[len] == '\0' || strchr(letters, at[len]) == NULL))
            return true;
    }
    return false;
}

/* Ports of what the engine reads are not looked at. */
static kerf_err
inspect(kerf_engine *engine, const kerf_model_bytes *bytes, kerf_detail *why)
{
    kerf_port *port = calloc((size_t)2 * KERF_PORTS_MAX, sizeof *port);
    size_t in = 0;
    size_t out = 0;
    kerf_err err;

    if (port == NULL)
        return KERF_ENOMEM;
    err = kerf_engine_inspect(engine, bytes, port, &in, port + KERF_PORTS_MAX,
                              &out, why);
    free(port);
    return err;
}

/* Large weights take memory, and do not matter to what it can read. */
static bool
reads_hollow(const kerf_cut_model *m, kerf_engine *engine)
{
    kerf_halves h = {0}; /* only one: the whole */
    kerf_half *whole = &h.half[0];
    kerf_part part = {0};
    kerf_err err = kerf_part_whole(m->graph, &part);

    part.is_hollow = true;
    if (err == KERF_OK)
        err = kerf_graph_write(m->graph, &part, &whole->graph, &whole->weights,
                               NULL);
    if (err == KERF_OK)
        err = kerf_half_gather(whole, m->file.format, NULL);
    if (err == KERF_OK)
        err = inspect(engine, &whole->bytes, NULL);
    kerf_part_fini(&part);
    kerf_halves_fini(&h);
    return err == KERF_OK;
}

static void
ask_engine(kerf_cut_info *info, const kerf_cut_model *m, kerf_engine *engine)
{
    kerf_model_bytes bytes = kerf_cut_bytes(m);
    const char *lacks;
    kerf_err err = KERF_OK;

    if (!reads_hollow(m, engine))
        err = inspect(engine, &bytes, &info->engine_why);
    (void)snprintf(info->engine, sizeof info->engine, "%s",
                   kerf_engine_version(engine));
    info->engine_reads = err == KERF_OK;
    if (err != KERF_OK && info->engine_why.text[0] == '\0')
        (void)kerf_fail(&info->engine_why, err, "%s", kerf_err_text(err));
    lacks = err == KERF_OK ? NULL : strstr(info->engine_why.text, "lacks the");
    for (size_t i = 0; i < info->op_count; i++) {
        kerf_op_count *op = &info->op[i];

        op->is_lacking = !kerf_engine_has_op(engine, m->file.format, op->op) ||
                         (lacks != NULL && is_named(lacks, op->op));
    }
}

kerf_err
kerf_cut_info_make(kerf_cut_info *info, const kerf_cut_model *m,
                   kerf_engine *engine)
{
    kerf_err err;

    *info = (kerf_cut_info){0};
    if (m->file.format == KERF_FORMAT_ONNX)
        read_onnx(info, m);
    count_params(info, m->graph);
    err = count_ops(info, m->graph);
    if (err == KERF_OK)
        ask_engine(info, m, engine);
    return err;
}

void
kerf_cut_info_fini(kerf_cut_info *info)
{
    free(info->op);
    *info = (kerf_cut_info){0};
}
