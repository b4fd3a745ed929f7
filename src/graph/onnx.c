/*
 * Reads an ONNX model. Its messages are walked where they stand: the state of
 * such a graph is a list of the fields of model and graph, each with its place
 * in the file, and what is written later is put together from those.
 */
#include "graph/onnx_own.h"

#include "graph/ops.h"
#include "onnx.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIELDS_MAX ((size_t)4 * KERF_GRAPH_VALUES_MAX)

struct reader {
    kerf_graph *g;
    kerf_onnx *k;
    const kerf_model_bytes *m;
    bool has_random; /* a function of the model may be random */
    kerf_detail *why;
};

static kerf_err read_model(struct reader *rd);
static kerf_err read_fields(struct reader *rd, kerf_onnx_fields *fields,
                            kerf_rd r);
static kerf_err add_params(struct reader *rd);
static kerf_err add_inputs(struct reader *rd);
static kerf_err add_outputs(struct reader *rd);
static kerf_err read_infos(struct reader *rd);

static kerf_err
read_onnx(kerf_graph *g, const kerf_model_bytes *m, kerf_detail *why)
{
    struct reader rd = {.g = g, .m = m, .why = why};
    kerf_err err;

    rd.k = calloc(1, sizeof *rd.k);
    if (rd.k == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory for a graph");
    g->own->state = rd.k;
    err = read_model(&rd);
    if (err == KERF_OK)
        err = add_params(&rd);
    if (err == KERF_OK)
        err = add_inputs(&rd);
    if (err == KERF_OK)
        err = kerf_onnx_add_nodes(g, rd.k, rd.has_random, why);
    if (err == KERF_OK)
        err = add_outputs(&rd);
    if (err == KERF_OK)
        err = read_infos(&rd);
    return err;
}

static void
close_onnx(void *state)
{
    kerf_onnx *k = state;

    if (k == NULL)
        return;
    kerf_onnx_files_fini(&k->files);
    free(k->model.at);
    free(k->graph.at);
    free(k->node);
    free(k->info);
    free(k);
}

/* A tensor whose data may be in another file. */
static kerf_err
see_outside(void *context, const uint8_t *tensor, size_t len, kerf_detail *why)
{
    const struct reader *rd = context;
    kerf_onnx_tensor t;
    kerf_err err = kerf_onnx_tensor_read(&t, tensor, len, why);

    rd->k->has_outside = true;
    if (err == KERF_OK && t.is_outside && rd->k->files.dir == NULL)
        err = kerf_onnx_files_init(&rd->k->files, rd->m->path, why);
    if (err == KERF_OK && t.is_outside)
        err = kerf_onnx_files_add(&rd->k->files, tensor, len, why);
    return err;
}

/* *version is set when the OperatorSetIdProto is about ONNX's own ops. */
static bool
read_opset(const kerf_wire_field *f, int64_t *version)
{
    Kerf__Onnx__OperatorSetIdProto *set =
        kerf__onnx__operator_set_id_proto__unpack(NULL, f->len, f->bytes);
    bool is_own = set != NULL && kerf_onnx_is_default(
                                     kerf_onnx_field_text(f->bytes, f->len, 1));

    if (is_own)
        *version = set->version;
    if (set != NULL)
        kerf__onnx__operator_set_id_proto__free_unpacked(set, NULL);
    return is_own;
}

/* Functions are not followed: whether one may be random. */
static void
read_function(struct reader *rd, const kerf_wire_field *function)
{
    kerf_rd r = kerf_wire_inside(function);
    kerf_wire_field f;

    while (kerf_wire_next(&r, &f)) {
        kerf_onnx_text op;
        char text[KERF_ONNX_OP_MAX];
        kerf_op_trait trait;

        if (f.number == ONNX_FUNCTION_OPSET && f.wire == 2)
            read_opset(&f, &rd->k->function_opset);
        if (kerf_onnx_inside(KERF_ONNX_FUNCTION, &f) != KERF_ONNX_NODE)
            continue;
        op = kerf_onnx_field_text(f.bytes, f.len, ONNX_NODE_OP);
        (void)snprintf(
            text, sizeof text, "%.*s",
            (int)(op.len < KERF_ONNX_OP_MAX ? op.len : KERF_ONNX_OP_MAX),
            op.len == 0 ? "" : op.at);
        trait = kerf_op_find(text)->trait;
        rd->has_random |= trait == KERF_OP_RANDOM || trait == KERF_OP_CONTROL;
    }
}

static kerf_err
read_model_field(struct reader *rd, const kerf_wire_field *f, bool *has_graph)
{
    switch (f->number) {
    case ONNX_MODEL_IR_VERSION:
        memcpy(&rd->k->ir_version, &f->value, sizeof f->value);
        return KERF_OK;
    case ONNX_MODEL_OPSET:
        rd->k->has_opset |= read_opset(f, &rd->g->version);
        return KERF_OK;
    case ONNX_MODEL_FUNCTION:
        read_function(rd, f);
        return KERF_OK;
    case ONNX_MODEL_GRAPH:
        if (*has_graph)
            return kerf_fail(rd->why, KERF_ECORRUPT,
                             "the model has two graphs");
        *has_graph = true;
        return read_fields(rd, &rd->k->graph, kerf_wire_inside(f));
    default:
        return KERF_OK;
    }
}

static kerf_err
read_model(struct reader *rd)
{
    const kerf_model_bytes *m = rd->m;
    bool has_graph = false;
    /* One who sent bytes has no folder here that could hold more of them. */
    kerf_err err =
        m->path == NULL
            ? kerf_onnx_check_whole(m->graph, m->graph_len, rd->why)
            : kerf_onnx_each_outside(KERF_ONNX_MODEL, m->graph, m->graph_len,
                                     see_outside, rd, rd->why);

    if (err == KERF_OK)
        err = read_fields(rd, &rd->k->model,
                          (kerf_rd){.at = m->graph, .left = m->graph_len});
    for (size_t i = 0; i < rd->k->model.count && err == KERF_OK; i++)
        err = read_model_field(rd, &rd->k->model.at[i].f, &has_graph);
    if (err == KERF_OK && !has_graph)
        err = kerf_fail(rd->why, KERF_ECORRUPT,
                        "the .onnx has no graph: is it an ONNX model?");
    if (rd->k->ir_version < 3) /* from before there were opsets */
        rd->k->has_opset = true;
    return err;
}

/* The fields of model and graph that are looked into. */
static bool
is_of_wire(const struct reader *rd, const kerf_onnx_fields *fields,
           const kerf_wire_field *f)
{
    if (fields == &rd->k->graph) {
        return f->wire == 2 || !(f->number == ONNX_GRAPH_NODE ||
                                 f->number == ONNX_GRAPH_PARAM ||
                                 (f->number >= ONNX_GRAPH_INPUT &&
                                  f->number <= ONNX_GRAPH_SPARSE));
    }
    return f->number == ONNX_MODEL_IR_VERSION
               ? f->wire == 0
               : f->wire == 2 || !(f->number == ONNX_MODEL_GRAPH ||
                                   f->number == ONNX_MODEL_OPSET ||
                                   f->number == ONNX_MODEL_FUNCTION);
}

static kerf_err
read_fields(struct reader *rd, kerf_onnx_fields *fields, kerf_rd r)
{
    kerf_wire_field f;

    while (kerf_wire_next(&r, &f)) {
        void *at = fields->at;
        kerf_err err = kerf_graph_grow(&at, fields->count, &fields->room,
                                       FIELDS_MAX, sizeof *fields->at);

        fields->at = at;
        if (err != KERF_OK)
            return kerf_fail(rd->why, err, "the model's fields: %s",
                             kerf_err_text(err));
        if (!is_of_wire(rd, fields, &f))
            return kerf_fail(rd->why, KERF_ECORRUPT,
                             "field %u of the %s is damaged", f.number,
                             fields == &rd->k->graph ? "graph" : "model");
        fields->at[fields->count++] =
            (kerf_onnx_field){.f = f, .value = KERF_GRAPH_NONE};
    }
    if (r.bad)
        return kerf_fail(rd->why, KERF_ECORRUPT,
                         "the .onnx is not a whole ONNX model");
    return KERF_OK;
}

/* A value whose name is new. */
static kerf_err
add_value(struct reader *rd, kerf_onnx_text name, kerf_value_kind kind,
          uint32_t *out)
{
    kerf_err err;

    if (name.len == 0)
        return kerf_fail(rd->why, KERF_ECORRUPT,
                         "an input, initializer or output has no name");
    if (kerf_graph_lookup(rd->g, name.at, name.len) != KERF_GRAPH_NONE)
        return kerf_onnx_fail(rd->why, KERF_ECORRUPT, name,
                              "is given twice: in ONNX a name has one meaning");
    err = kerf_graph_add_value(rd->g, name.at, name.len, kind, out);
    return err == KERF_OK
               ? err
               : kerf_onnx_fail(rd->why, err, name, kerf_err_text(err));
}

static kerf_err
add_params(struct reader *rd)
{
    kerf_err err = KERF_OK;

    for (uint32_t i = 0; i < rd->k->graph.count && err == KERF_OK; i++) {
        kerf_onnx_field *field = &rd->k->graph.at[i];
        const kerf_wire_field *f = &field->f;
        kerf_onnx_tensor t;

        if (f->number == ONNX_GRAPH_PARAM)
            err = kerf_onnx_tensor_read(&t, f->bytes, f->len, rd->why);
        else if (f->number == ONNX_GRAPH_SPARSE)
            err = kerf_onnx_sparse_read(&t, f->bytes, f->len, rd->why);
        else
            continue;
        if (err == KERF_OK)
            err = add_value(rd, t.name, KERF_VALUE_PARAM, &field->value);
        if (err == KERF_OK) {
            kerf_onnx_set_tensor(&rd->g->value[field->value], &t);
            rd->g->value[field->value].origin = i;
        }
    }
    return err;
}

static kerf_onnx_text
name_of(const kerf_onnx_field *field)
{
    return kerf_onnx_field_text(field->f.bytes, field->f.len, ONNX_INFO_NAME);
}

/* Old models list initializers among the inputs; those are none. */
static kerf_err
add_inputs(struct reader *rd)
{
    kerf_err err = KERF_OK;

    for (uint32_t i = 0; i < rd->k->graph.count && err == KERF_OK; i++) {
        kerf_onnx_field *field = &rd->k->graph.at[i];
        kerf_onnx_text name;

        if (field->f.number != ONNX_GRAPH_INPUT)
            continue;
        name = name_of(field);
        field->value = kerf_graph_lookup(rd->g, name.at, name.len);
        if (field->value != KERF_GRAPH_NONE &&
            rd->g->value[field->value].kind == KERF_VALUE_PARAM)
            continue;
        err = add_value(rd, name, KERF_VALUE_INPUT, &field->value);
        if (err == KERF_OK)
            err = kerf_graph_add_input(rd->g, field->value);
    }
    return err;
}

static kerf_err
add_outputs(struct reader *rd)
{
    kerf_err err = KERF_OK;

    for (size_t i = 0; i < rd->k->graph.count && err == KERF_OK; i++) {
        kerf_onnx_field *field = &rd->k->graph.at[i];
        kerf_onnx_text name;

        if (field->f.number != ONNX_GRAPH_OUTPUT)
            continue;
        name = name_of(field);
        field->value = kerf_graph_lookup(rd->g, name.at, name.len);
        if (name.len == 0 || field->value == KERF_GRAPH_NONE)
            return kerf_onnx_fail(
                rd->why, KERF_ECORRUPT, name,
                "is an output of the model, and nothing gives it");
        err = kerf_graph_add_output(rd->g, field->value);
    }
    return err;
}

/* How much a value info says. */
static int
rank_of(const kerf_value *v)
{
    return v->type == KERF_VALUE_OTHER     ? 2
           : v->type == KERF_VALUE_UNTYPED ? 0
                                           : 1 + v->is_shaped;
}

/* Takes what a field of the graph says about a value, if it says more. */
static kerf_err
read_info(struct reader *rd, uint32_t field)
{
    kerf_onnx_field *at = &rd->k->graph.at[field];
    kerf_value *v;
    kerf_value told;
    kerf_err err;

    if (at->value == KERF_GRAPH_NONE)
        return KERF_OK;
    v = &rd->g->value[at->value];
    told = *v;
    err = kerf_onnx_info_read(&told, at->f.bytes, at->f.len, rd->why);
    if (err != KERF_OK)
        return err;
    if (rank_of(&told) >= rank_of(v) ||
        rd->k->info[at->value] == KERF_GRAPH_NONE)
        rd->k->info[at->value] = field;
    if (rank_of(&told) >= rank_of(v) && !v->is_const)
        *v = told;
    return KERF_OK;
}

static kerf_err
read_infos(struct reader *rd)
{
    /* The network's ports come last: they are what others rely on. */
    static const uint32_t turns[] = {ONNX_GRAPH_INFO, ONNX_GRAPH_OUTPUT,
                                     ONNX_GRAPH_INPUT};
    size_t bytes = (rd->g->value_count + 1) * sizeof *rd->k->info;
    kerf_err err = KERF_OK;

    rd->k->info = malloc(bytes);
    if (rd->k->info == NULL)
        return kerf_fail(rd->why, KERF_ENOMEM, "no memory for %zu values",
                         rd->g->value_count);
    memset(rd->k->info, 0xFF, bytes); /* KERF_GRAPH_NONE */
    for (size_t i = 0; i < rd->k->graph.count; i++) {
        kerf_onnx_field *field = &rd->k->graph.at[i];

        if (field->f.number == ONNX_GRAPH_INFO ||
            field->f.number == ONNX_GRAPH_ANNOTATION) {
            kerf_onnx_text name = name_of(field);

            field->value = kerf_graph_lookup(rd->g, name.at, name.len);
        }
    }
    for (size_t turn = 0; turn < sizeof turns / sizeof *turns; turn++) {
        for (uint32_t i = 0; i < rd->k->graph.count && err == KERF_OK; i++) {
            if (rd->k->graph.at[i].f.number == turns[turn])
                err = read_info(rd, i);
        }
    }
    return err;
}

static bool
is_shape_op(const char *op)
{
    return strcmp(op, "Shape") == 0 || strcmp(op, "Size") == 0;
}

const kerf_graph_format kerf_graph_onnx = {
    .read = read_onnx,
    .close = close_onnx,
    .write = kerf_onnx_write,
    .join = kerf_onnx_join,
    .is_shape_op = is_shape_op,
};
