/*
 * Every file is a rope: fields of protobuf messages (for Paddle by the numbers
 * of framework.proto), and one buffer with a layer's weights, which is seen
 * again and again.
 */
#include "bench/chain.h"

#include "bench/onnx_out.h"
#include "cut/fresh.h"
#include "graph/wire.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEED 4
#define WIDTH_LEAST 16
#define NAME 24 /* of a tensor, with its end */

struct maker {
    const kerf_chain *chain;
    uint64_t width;
    const uint8_t *data;    /* f32 [width, width]; the first row is the bias */
    kerf_rope graph, extra; /* extra: .pdiparams or .data */
};

/* "h3": what layer 3 takes; w3, b3: its weights; m3, a3: steps in it. */
static char *
name_of(char out[NAME], char kind, int layer)
{
    (void)snprintf(out, NAME, "%c%d", kind, layer);
    return out;
}

static size_t
data_bytes(const struct maker *m, char kind)
{
    return (kind == 'b' ? m->width : m->width * m->width) * sizeof(float);
}

/* ---- Paddle ----------------------------------------------------------- */

enum { PD_FP32 = 5, PD_TENSOR = 7, PD_FEED = 9, PD_FETCH = 10 };
enum { PD_INT = 0, PD_BOOL = 6, PD_VERSION = 2006000 };

static void
put_desc(const struct maker *m, char kind, kerf_rope *desc)
{
    kerf_wire_put_int(desc, 1, PD_FP32);
    if (kind != 'b')
        kerf_wire_put_int(desc, 2, kind == 'w' ? m->width : 1);
    kerf_wire_put_int(desc, 2, m->width);
}

static void
put_var(const struct maker *m, kerf_rope *block, const char *name,
        unsigned kind)
{
    kerf_rope var = {0}, type = {0}, dense = {0}, desc = {0};

    kerf_wire_put_int(&type, 1, kind);
    if (kind == PD_TENSOR) {
        put_desc(m, name[0], &desc);
        kerf_wire_put_rope(&dense, 1, &desc);
        kerf_wire_put_rope(&type, 3, &dense);
    }
    kerf_wire_put_text(&var, 1, name);
    kerf_wire_put_rope(&var, 2, &type);
    kerf_wire_put_int(&var, 3,
                      kind != PD_TENSOR || name[0] == 'w' || name[0] == 'b');
    kerf_wire_put_rope(block, 3, &var);
}

static void
put_slot(kerf_rope *op, uint32_t field, const char *slot, const char *name)
{
    kerf_rope var = {0};

    kerf_wire_put_text(&var, 1, slot);
    kerf_wire_put_text(&var, 2, name);
    kerf_wire_put_rope(op, field, &var);
}

/* A flag (field 10) or an integer (field 3). */
static void
put_attr(kerf_rope *op, const char *name, unsigned type, int64_t value)
{
    kerf_rope attr = {0};

    kerf_wire_put_text(&attr, 1, name);
    kerf_wire_put_int(&attr, 2, type);
    kerf_wire_put_int(&attr, type == PD_BOOL ? 10 : 3, (uint64_t)value);
    kerf_wire_put_rope(op, 4, &attr);
}

static void
put_op(kerf_rope *ops, const char *type, const char *x, const char *y,
       const char *out)
{
    kerf_rope op = {0};

    put_slot(&op, 1, "X", x);
    if (y != NULL)
        put_slot(&op, 1, "Y", y);
    put_slot(&op, 2, "Out", out);
    kerf_wire_put_text(&op, 3, type);
    if (strcmp(type, "matmul_v2") == 0) {
        put_attr(&op, "trans_x", PD_BOOL, 0);
        put_attr(&op, "trans_y", PD_BOOL, 0);
    } else if (y != NULL) {
        put_attr(&op, "axis", PD_INT, -1);
    } else if (strcmp(type, "relu") != 0) {
        put_attr(&op, "col", PD_INT, 0);
    }
    kerf_wire_put_rope(ops, 4, &op);
}

static void
put_record(struct maker *m, char kind)
{
    kerf_rope desc = {0};
    uint8_t head[20] = {0}; /* version, lod levels, version, length */

    put_desc(m, kind, &desc);
    head[16] = (uint8_t)desc.len;
    kerf_rope_copy(&m->extra, head, sizeof head);
    kerf_rope_move(&m->extra, &desc);
    kerf_rope_view(&m->extra, m->data, data_bytes(m, kind));
}

static void
make_paddle(struct maker *m)
{
    static const char kinds[] = "bwmah";
    kerf_rope block = {0}, ops = {0}, version = {0};
    int layers = m->chain->layers;
    char h[NAME], w[NAME], b[NAME], x[NAME], a[NAME];

    kerf_wire_put_int(&block, 1, 0);
    kerf_wire_put_int(&block, 2, UINT64_MAX); /* no parent */
    put_var(m, &block, "feed", PD_FEED);
    put_var(m, &block, "fetch", PD_FETCH);
    put_var(m, &block, name_of(h, 'h', 0), PD_TENSOR);
    put_op(&ops, "feed", "feed", NULL, h);
    for (int i = 0; i < layers; i++) {
        for (const char *kind = kinds; *kind != '\0'; kind++)
            put_var(m, &block, name_of(x, *kind, *kind == 'h' ? i + 1 : i),
                    PD_TENSOR);
        put_op(&ops, "matmul_v2", name_of(h, 'h', i), name_of(w, 'w', i),
               name_of(x, 'm', i));
        put_op(&ops, "elementwise_add", x, name_of(b, 'b', i),
               name_of(a, 'a', i));
        put_op(&ops, "relu", a, NULL, name_of(h, 'h', i + 1));
    }
    put_op(&ops, "fetch", name_of(h, 'h', layers), NULL, "fetch");
    kerf_rope_move(&block, &ops);
    kerf_wire_put_rope(&m->graph, 1, &block);
    kerf_wire_put_int(&version, 1, PD_VERSION);
    kerf_wire_put_rope(&m->graph, 4, &version);
    /* In the order of names: w10 stands before w2, but they are all the same.
     */
    for (int i = 0; i < 2 * layers; i++)
        put_record(m, i < layers ? 'b' : 'w');
}

/* ---- ONNX ------------------------------------------------------------- */

/* A parameter: its data inside, or at the end of the other file. */
static void
put_param(struct maker *m, kerf_onnx *g, char kind, int layer, const char *file)
{
    const int64_t dims[2] = {(int64_t)m->width, (int64_t)m->width};
    size_t rank = kind == 'b' ? 1 : 2;
    char name[NAME];

    (void)name_of(name, kind, layer);
    if (!m->chain->is_outside) {
        kerf_onnx_param(g, name, dims, rank, m->data);
        return;
    }
    kerf_onnx_param_outside(g, name, dims, rank, file, m->extra.len);
    kerf_rope_view(&m->extra, m->data, data_bytes(m, kind));
}

static void
make_onnx(struct maker *m, const char *data_file)
{
    const int64_t dims[2] = {1, (int64_t)m->width};
    kerf_onnx g;
    char h[NAME], w[NAME], b[NAME], x[NAME], a[NAME];

    kerf_onnx_begin(&g, SEED);
    kerf_onnx_input(&g, name_of(h, 'h', 0), dims, 2);
    for (int i = 0; i < m->chain->layers; i++) {
        kerf_onnx_op(&g, "MatMul", name_of(h, 'h', i), name_of(w, 'w', i),
                     name_of(x, 'm', i));
        kerf_onnx_op(&g, "Add", x, name_of(b, 'b', i), name_of(a, 'a', i));
        kerf_onnx_op(&g, "Relu", a, NULL, name_of(h, 'h', i + 1));
        put_param(m, &g, 'w', i, data_file);
        put_param(m, &g, 'b', i, data_file);
    }
    kerf_onnx_output(&g, h, dims, 2);
    kerf_onnx_finish(&g, "chain", &m->graph);
}

/* ---- files ------------------------------------------------------------ */

static kerf_err
write_files(const struct maker *m, const char *dir,
            const kerf_fresh_item item[2], kerf_detail *why)
{
    kerf_fresh *files = calloc(1, sizeof *files); /* tens of KB */
    kerf_err err;

    if (files == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory");
    err = kerf_fresh_open(files, dir, false, why);
    if (err == KERF_OK)
        err = kerf_fresh_add(files, item, m->extra.len > 0 ? 2 : 1, why);
    if (err == KERF_OK)
        err = kerf_fresh_commit(files, why);
    kerf_fresh_fini(files);
    free(files);
    return err;
}

kerf_err
kerf_chain_write(const kerf_chain *chain, const char *dir, const char *name,
                 kerf_detail *why)
{
    bool is_paddle = chain->format == KERF_FORMAT_PADDLE;
    double width = sqrt((double)chain->bytes / sizeof(float) / chain->layers);
    struct maker m = {.chain = chain,
                      .width =
                          width > WIDTH_LEAST ? (uint64_t)width : WIDTH_LEAST};
    /* He et al. 2015: values stay as large from layer to layer. */
    float limit = sqrtf(6 / (float)m.width);
    uint64_t seed = SEED;
    uint8_t *data = kerf_onnx_weights(&seed, m.width * m.width, limit);
    char graph[KERF_PART_NAME], extra[KERF_PART_NAME];
    kerf_fresh_item item[2] = {{.name = graph, .rope = &m.graph},
                               {.name = extra, .rope = &m.extra}};
    kerf_err err;

    if (data == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory for weights");
    m.data = data;
    (void)snprintf(graph, sizeof graph, "%s%s", name,
                   is_paddle ? ".pdmodel" : ".onnx");
    (void)snprintf(extra, sizeof extra, "%s%s", name,
                   is_paddle ? ".pdiparams" : ".data");
    if (is_paddle)
        make_paddle(&m);
    else
        make_onnx(&m, extra);
    err = write_files(&m, dir, item, why);
    kerf_rope_fini(&m.graph);
    kerf_rope_fini(&m.extra);
    free(data);
    return err;
}
