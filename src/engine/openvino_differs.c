/*
 * Each rule was found by running one op in Paddle 3.3.1 and in OpenVINO
 * 2026.4.1; tests/e2e/test_engine_differs.py runs them again, so that a later
 * OpenVINO which has mended one is seen.
 */
#include "engine/openvino_differs.h"

#include "base/text.h"
#include "graph/pdmodel.h"
#include "paddle.pb-c.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef Kerf__Paddle__OpDesc op_desc;
typedef Kerf__Paddle__OpDesc__Attr op_attr;

enum {
    SEARCHES_MOST = 1000 /* for variables, one by one: a hostile program may
                            have a million of these, and of ops */
};

struct place {
    const kerf_pdmodel *program;
    const op_desc *op;
    unsigned searches;
};

static const op_attr *
find_attr(const op_desc *op, const char *name)
{
    for (size_t i = 0; i < op->n_attrs; i++) {
        if (strcmp(op->attrs[i]->name, name) == 0)
            return op->attrs[i];
    }
    return NULL;
}

static bool
is_true(const op_desc *op, const char *name)
{
    const op_attr *a = find_attr(op, name);

    return a != NULL && a->has_b && a->b;
}

static bool
is_text(const op_desc *op, const char *name, const char *text)
{
    const op_attr *a = find_attr(op, name);

    return a != NULL && a->s != NULL && strcmp(a->s, text) == 0;
}

/* Whether any of the integers is another one than that. */
static bool
has_other(const op_desc *op, const char *name, int32_t than)
{
    const op_attr *a = find_attr(op, name);

    for (size_t i = 0; a != NULL && i < a->n_ints; i++) {
        if (a->ints[i] != than)
            return true;
    }
    return false;
}

/* The argument of a slot, when it has one. */
static const char *
argument(Kerf__Paddle__OpDesc__Var *const *vars, size_t count, const char *slot)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(vars[i]->parameter, slot) == 0 && vars[i]->n_arguments > 0)
            return vars[i]->arguments[0];
    }
    return NULL;
}

/* What is known of the tensor in that slot; NULL: nothing. */
static const kerf_pd_desc *
find_tensor(struct place *at, const char *slot)
{
    const char *name = argument(at->op->inputs, at->op->n_inputs, slot);

    if (name == NULL || at->searches == SEARCHES_MOST)
        return NULL;
    at->searches++;
    for (size_t i = 0; i < at->program->var_count; i++) {
        const kerf_pd_var *v = &at->program->var[i];

        if (v->desc.is_known && kerf_pd_text_is(&v->name, name))
            return &v->desc;
    }
    return NULL;
}

static const char *
look_at_arg(struct place *at)
{
    return is_true(at->op, "keepdims")
               ? "the axis that keepdim keeps is dropped"
               : NULL;
}

static const char *
look_at_conv(struct place *at)
{
    /* Paddle sets them to 1. */
    return is_text(at->op, "padding_algorithm", "SAME") &&
                   has_other(at->op, "dilations", 1)
               ? "with padding SAME, dilations count"
               : NULL;
}

/* The size that a transposed convolution gives by itself; a double, so that
 * nothing can overflow. Negative: not known. */
static double
own_size(struct place *at, size_t side)
{
    const kerf_pd_desc *x = find_tensor(at, "Input");
    const kerf_pd_desc *filter = find_tensor(at, "Filter");
    const op_attr *stride = find_attr(at->op, "strides");
    const op_attr *dilation = find_attr(at->op, "dilations");
    const op_attr *pad = find_attr(at->op, "paddings");
    double padded;

    if (x == NULL || filter == NULL || stride == NULL || dilation == NULL ||
        pad == NULL || x->shape.rank != 4 || filter->shape.rank != 4 ||
        x->shape.dims[2 + side] < 0 || stride->n_ints != 2 ||
        dilation->n_ints != 2 || (pad->n_ints != 2 && pad->n_ints != 4) ||
        !is_text(at->op, "data_format", "NCHW"))
        return -1.0;
    padded = pad->n_ints == 2 ? 2.0 * pad->ints[side]
                              : (double)pad->ints[2 * side] +
                                    (double)pad->ints[2 * side + 1];
    return ((double)x->shape.dims[2 + side] - 1.0) * stride->ints[side] +
           dilation->ints[side] * ((double)filter->shape.dims[2 + side] - 1.0) +
           1.0 - padded;
}

static const char *
look_at_conv_transpose(struct place *at)
{
    const op_attr *size = find_attr(at->op, "output_size");

    if (is_text(at->op, "padding_algorithm", "SAME"))
        return "padding SAME pads nothing";
    if (has_other(at->op, "output_padding", 0))
        return "output_padding is left out";
    for (size_t i = 0; size != NULL && size->n_ints == 2 && i < 2; i++) {
        double own = own_size(at, i);

        if (own >= 0.0 && own != (double)size->ints[i])
            return "output_size is left out";
    }
    return NULL;
}

/* Other paddings at the two ends of a side; two numbers are for both ends. */
static bool
is_lopsided(const op_desc *op)
{
    const op_attr *a = find_attr(op, "paddings");

    return a != NULL && a->n_ints == 4 &&
           (a->ints[0] != a->ints[1] || a->ints[2] != a->ints[3]);
}

static const char *
look_at_pool(struct place *at)
{
    const op_attr *size = find_attr(at->op, "ksize");

    if (is_true(at->op, "adaptive")) {
        return size != NULL && size->n_ints == 2 &&
                       (size->ints[0] == 1) != (size->ints[1] == 1)
                   ? "an adaptive size of 1 on one side is taken for both"
                   : NULL;
    }
    if (is_text(at->op, "pooling_type", "avg") &&
        !is_true(at->op, "exclusive") && !is_true(at->op, "global_pooling") &&
        is_text(at->op, "padding_algorithm", "EXPLICIT") &&
        (is_lopsided(at->op) ||
         (is_true(at->op, "ceil_mode") && has_other(at->op, "paddings", 0)))) {
        return "padding that counts for the mean is counted otherwise at the "
               "borders";
    }
    return NULL;
}

/* Made smaller, and not by a whole number. */
static bool
is_uneven(double ratio)
{
    return ratio > 1.0 && fabs(ratio - round(ratio)) > 1e-4;
}

static const char *
look_at_nearest(struct place *at)
{
    static const char *const sides[] = {"out_h", "out_w"};
    static const char wrong[] = "other pixels are taken when the size shrinks";
    const op_desc *op = at->op;
    const op_attr *scale = find_attr(op, "scale");
    bool is_last = is_text(op, "data_layout", "NHWC");
    const kerf_pd_desc *x;

    for (size_t i = 0; scale != NULL && i < scale->n_floats; i++) {
        if (scale->floats[i] > 0.0F && is_uneven(1.0 / scale->floats[i]))
            return wrong;
    }
    if ((scale != NULL && scale->n_floats > 0) ||
        argument(op->inputs, op->n_inputs, "OutSize") != NULL ||
        argument(op->inputs, op->n_inputs, "SizeTensor") != NULL)
        return NULL;
    x = find_tensor(at, "X");
    for (size_t i = 0; x != NULL && x->shape.rank == 4 && i < 2; i++) {
        const op_attr *out = find_attr(op, sides[i]);
        double in = (double)x->shape.dims[(is_last ? 1 : 2) + i];

        if (out != NULL && out->i > 0 && is_uneven(in / out->i))
            return wrong;
    }
    return NULL;
}

static const char *
look_at_floordiv(struct place *at)
{
    const kerf_pd_desc *x = find_tensor(at, "X");

    return x != NULL && (x->dtype == KERF_F32 || x->dtype == KERF_F64 ||
                         x->dtype == KERF_F16)
               ? "floats are divided without the floor"
               : NULL;
}

static const struct rule {
    const char *type;
    /* What is wrong, or NULL. */
    const char *(*look)(struct place *at);
} rules[] = {
    {"arg_max", look_at_arg},
    {"arg_min", look_at_arg},
    {"conv2d", look_at_conv},
    {"depthwise_conv2d", look_at_conv},
    {"conv2d_transpose", look_at_conv_transpose},
    {"depthwise_conv2d_transpose", look_at_conv_transpose},
    {"pool2d", look_at_pool},
    {"max_pool2d_with_index", look_at_pool},
    {"nearest_interp", look_at_nearest},
    {"nearest_interp_v2", look_at_nearest},
    {"elementwise_floordiv", look_at_floordiv},
};

static bool
look_at(struct place *at, const kerf_pd_op *bytes, kerf_detail *what)
{
    const struct rule *rule = NULL;
    const char *wrong = NULL;
    const char *out;
    char safe[KERF_PD_SAFE];
    op_desc *op;

    for (size_t i = 0; i < sizeof rules / sizeof *rules && rule == NULL; i++) {
        if (kerf_pd_text_is(&bytes->type, rules[i].type))
            rule = &rules[i];
    }
    if (rule == NULL)
        return false;
    op = kerf__paddle__op_desc__unpack(NULL, bytes->len, bytes->bytes);
    if (op == NULL) /* the engine will say what is wrong with it */
        return false;
    at->op = op;
    wrong = rule->look(at);
    if (wrong != NULL) {
        out = argument(op->outputs, op->n_outputs, "Out");
        if (out == NULL)
            out = argument(op->outputs, op->n_outputs, "Output");
        (void)kerf_fail(
            what, KERF_EMISMATCH, "%s of %s: %s", rule->type,
            kerf_text_safe(safe, sizeof safe, out == NULL ? "?" : out), wrong);
    }
    kerf__paddle__op_desc__free_unpacked(op, NULL);
    return wrong != NULL;
}

bool
kerf_openvino_differs(const kerf_model_bytes *m, kerf_detail *what)
{
    kerf_pdmodel program = {0};
    struct place at = {.program = &program};
    bool found = false;

    if (m->format != KERF_FORMAT_PADDLE ||
        kerf_pdmodel_open(&program, m->graph, m->graph_len, NULL) != KERF_OK)
        return false;
    for (size_t i = 0; i < program.op_count && !found; i++)
        found = look_at(&at, &program.op[i], what);
    kerf_pdmodel_close(&program);
    return found;
}
