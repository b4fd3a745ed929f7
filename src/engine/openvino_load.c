/*
 * From bytes to a compiled network: read, reshape, prep, compile.
 *
 * Who keeps the bytes? The Paddle and ONNX frontends copy what they need while
 * they read. An IR shares its weights with the tensor given, so those are
 * copied into a tensor of OpenVINO's own, which lives as long as the constants.
 */
#include "engine/openvino.h"

#include "base/hash.h"
#include "base/log.h"
#include "engine/openvino_check.h"
#include "engine/openvino_differs.h"
#include "graph/pdmodel.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ov_preprocess_* objects of one image port. */
struct prep {
    ov_preprocess_prepostprocessor_t *ppp;
    ov_preprocess_input_info_t *info;
    ov_preprocess_input_tensor_info_t *tensor;
    ov_preprocess_preprocess_steps_t *steps;
    ov_preprocess_input_model_info_t *model;
    ov_layout_t *tensor_layout, *model_layout;
};

static kerf_err read_model(struct ov_engine *e, const kerf_model_bytes *m,
                           ov_model_t **out, kerf_detail *why);
static kerf_err explain(const kerf_model_bytes *m, kerf_detail *why);
static kerf_err read_port(const ov_output_const_port_t *port, const char *side,
                          size_t i, kerf_port *out, ov_element_type_e *type,
                          kerf_detail *why);
static kerf_err read_ports(const ov_model_t *model, kerf_graph_read *read,
                           kerf_detail *why);
static bool read_shape(const ov_partial_shape_t *from, kerf_shape *out);
static kerf_err add_prep(ov_model_t **model, const kerf_card *card, size_t port,
                         ov_element_type_e type, kerf_detail *why);
static ov_status_e describe(struct prep *p, const kerf_card *card);
static ov_status_e add_steps(struct prep *p, const kerf_card *card,
                             ov_element_type_e type);
static kerf_err fill_net(struct ov_net *n, kerf_detail *why);

/* OpenVINO keeps one last message for all threads, and reading a model decides
 * by its text: one reader at a time. */
static pthread_mutex_t reading = PTHREAD_MUTEX_INITIALIZER;

/* Once for each text, since a model is read again and again. Under the lock. */
static void
warn_of_differences(const kerf_model_bytes *m)
{
    static uint64_t told[64];
    static size_t count;
    const size_t room = sizeof told / sizeof *told;
    kerf_detail what = {{0}};
    uint64_t hash;

    if (!kerf_openvino_differs(m, &what))
        return;
    hash = kerf_xxh3(what.text, strlen(what.text));
    for (size_t i = 0; i < count && i < room; i++) {
        if (told[i] == hash)
            return;
    }
    told[count++ % room] = hash;
    kerf_log(KERF_LOG_WARN, "engine.differs",
             "why=\"OpenVINO computes this otherwise than Paddle\" what=%s",
             KERF_Q(what.text));
}

kerf_err
kerf_openvino_read(kerf_engine *engine, kerf_graph_read *read,
                   const kerf_model_bytes *m, kerf_detail *why)
{
    struct ov_engine *e = (struct ov_engine *)engine;
    kerf_model_bytes sorted = *m;
    uint8_t *own = NULL;
    ov_model_t *model = NULL;
    kerf_err err = kerf_openvino_check(m, why);

    if (err == KERF_OK && m->format == KERF_FORMAT_PADDLE)
        err = kerf_pdmodel_sort_ports(m->graph, m->graph_len, &own, why);
    if (err != KERF_OK)
        return err;
    if (own != NULL)
        sorted.graph = own;
    (void)pthread_mutex_lock(&reading);
    err = read_model(e, &sorted, &model, why);
    if (err == KERF_OK)
        warn_of_differences(m);
    (void)pthread_mutex_unlock(&reading);
    free(own);
    if (err != KERF_OK)
        return err;
    read->own = model;
    return read_ports(model, read, why);
}

void
kerf_openvino_drop(kerf_graph_read *read)
{
    if (read->own != NULL)
        ov_model_free(read->own);
    read->own = NULL;
}

kerf_err
kerf_openvino_peek(const kerf_graph_read *read, size_t i, bool *is_known,
                   kerf_dtype *dtype, kerf_shape *shape, kerf_detail *why)
{
    ov_output_const_port_t *port = NULL;
    ov_partial_shape_t dims = {0};
    ov_element_type_e type;
    kerf_err err = KERF_OK;

    if (ov_model_const_output_by_index(read->own, i, &port) != OK)
        return kerf_openvino_fail(why, KERF_EENGINE, "read an output");
    if (ov_port_get_element_type(port, &type) != OK ||
        ov_port_get_partial_shape(port, &dims) != OK) {
        err = kerf_openvino_fail(why, KERF_EENGINE, "read a port");
    } else {
        *is_known = kerf_openvino_dtype(type, dtype) &&
                    dims.rank.min == dims.rank.max && read_shape(&dims, shape);
        ov_partial_shape_free(&dims);
    }
    ov_output_const_port_free(port);
    return err;
}

kerf_err
kerf_openvino_reshape(kerf_graph_read *read, const kerf_shape *want,
                      kerf_detail *why)
{
    const kerf_ports *in = &read->in;
    ov_dimension_t dims[KERF_PORTS_MAX][KERF_RANK_MAX];
    ov_partial_shape_t shapes[KERF_PORTS_MAX];
    size_t ports[KERF_PORTS_MAX];
    size_t count = 0;

    for (size_t i = 0; i < in->count; i++) {
        int64_t rank = (int64_t)want[i].rank;

        if (read->batch_most == 0 &&
            kerf_shape_equal(&want[i], &in->port[i].shape))
            continue;
        for (uint32_t d = 0; d < want[i].rank; d++)
            dims[count][d] = (ov_dimension_t){want[i].dims[d], want[i].dims[d]};
        if (read->batch_most > 0)
            dims[count][0].max = (int64_t)read->batch_most;
        shapes[count] =
            (ov_partial_shape_t){.rank = {rank, rank}, .dims = dims[count]};
        ports[count++] = i;
    }
    if (count > 0 &&
        ov_model_reshape_by_port_indexes(read->own, ports, shapes, count) != OK)
        return kerf_openvino_fail(why, KERF_EINVAL, "make the shapes static");
    return KERF_OK;
}

kerf_err
kerf_openvino_compile(kerf_engine *engine, kerf_net **out,
                      kerf_graph_read *read, const kerf_shape *want,
                      const kerf_card *prep, size_t image_port,
                      kerf_detail *why)
{
    struct ov_engine *e = (struct ov_engine *)engine;
    struct ov_net *n = calloc(1, sizeof *n);
    ov_model_t *model = read->own;
    ov_status_e status;
    kerf_err err;

    if (n == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory for a network");
    err = kerf_openvino_reshape(read, want, why);
    if (err != KERF_OK)
        goto out;
    if (prep != NULL) {
        kerf_dtype dtype = read->in.port[image_port].dtype;

        err =
            add_prep(&model, prep, image_port, kerf_openvino_type(dtype), why);
        read->own = model;
        if (err != KERF_OK)
            goto out;
    }
    status = ov_core_compile_model(
        e->core, model, e->device, 10, &n->compiled,
        ov_property_key_hint_inference_precision, e->precision,
        ov_property_key_hint_performance_mode, "LATENCY",
        ov_property_key_num_streams, "1", ov_property_key_inference_num_threads,
        e->threads, ov_property_key_hint_enable_cpu_pinning, "NO");
    if (status != OK) {
        err = kerf_openvino_fail(why, KERF_EENGINE,
                                 "OpenVINO cannot compile the model");
        goto out;
    }
    err = fill_net(n, why);
    if (err != KERF_OK)
        goto out;
    *out = &n->base;
    n = NULL;
out:
    if (n != NULL && n->compiled != NULL)
        ov_compiled_model_free(n->compiled);
    free(n);
    return err;
}

static kerf_err
read_model(struct ov_engine *e, const kerf_model_bytes *m, ov_model_t **out,
           kerf_detail *why)
{
    int64_t len = (int64_t)m->weights_len;
    ov_shape_t shape = {.rank = 1, .dims = &len};
    ov_tensor_t *weights = NULL;
    ov_status_e status = OK;
    void *copy = NULL;

    if (m->format == KERF_FORMAT_ONNX && m->path != NULL) {
        status = ov_core_read_model(e->core, m->path, NULL, out);
        return status == OK ? KERF_OK : explain(m, why);
    }
    if (m->weights != NULL && m->weights_len > 0) {
        if (m->format == KERF_FORMAT_IR) {
            status = ov_tensor_create(U8, shape, &weights);
            if (status == OK)
                status = ov_tensor_data(weights, &copy);
            if (status == OK)
                memcpy(copy, m->weights, m->weights_len);
        } else {
            union { /* only read: the frontends copy */
                const void *in;
                void *out;
            } borrowed = {.in = m->weights};

            status = ov_tensor_create_from_host_ptr(U8, shape, borrowed.out,
                                                    &weights);
        }
    }
    if (status == OK)
        status = ov_core_read_model_from_memory_buffer(
            e->core, m->graph, m->graph_len, weights, out);
    if (weights != NULL)
        ov_tensor_free(weights);
    return status == OK ? KERF_OK : explain(m, why);
}

/* In our words. */
static kerf_err
explain(const kerf_model_bytes *m, kerf_detail *why)
{
    kerf_detail said = {0};
    kerf_err err = kerf_openvino_fail(&said, KERF_ECORRUPT,
                                      "OpenVINO cannot read the model");

    return kerf_openvino_explain(m, err, &said, why);
}

static kerf_err
read_port(const ov_output_const_port_t *port, const char *side, size_t i,
          kerf_port *out, ov_element_type_e *type, kerf_detail *why)
{
    ov_partial_shape_t shape = {0};
    char *name = NULL;
    char text[KERF_PORT_TEXT];
    kerf_err err = KERF_OK;

    *out = (kerf_port){0};
    if (ov_port_get_any_name(port, &name) == OK) { /* it may have none */
        (void)snprintf(out->name, sizeof out->name, "%s", name);
        ov_free(name);
    }
    if (ov_port_get_element_type(port, type) != OK ||
        ov_port_get_partial_shape(port, &shape) != OK)
        return kerf_openvino_fail(why, KERF_EENGINE, "read a port");
    if (!kerf_openvino_dtype(*type, &out->dtype)) {
        err = kerf_fail(why, KERF_ENOTSUP,
                        "%s has element type %d, which no tensor here has",
                        kerf_port_text(text, side, i, out), (int)*type);
        goto out;
    }
    if (shape.rank.min != shape.rank.max) { /* even the rank is free */
        out->shape = (kerf_shape){.rank = 1, .dims = {-1}};
        goto out;
    }
    if (!read_shape(&shape, &out->shape))
        err = kerf_fail(why, KERF_ENOTSUP, "%s has %lld dims; the limit is %d",
                        kerf_port_text(text, side, i, out),
                        (long long)shape.rank.min, KERF_RANK_MAX);
out:
    ov_partial_shape_free(&shape);
    return err;
}

/* A shape of fixed rank; false when it has too many dims. */
static bool
read_shape(const ov_partial_shape_t *from, kerf_shape *out)
{
    if (from->rank.min < 0 || from->rank.min > KERF_RANK_MAX)
        return false;
    out->rank = (uint32_t)from->rank.min;
    for (uint32_t d = 0; d < out->rank; d++) {
        bool fixed = from->dims[d].min == from->dims[d].max;

        out->dims[d] = fixed ? from->dims[d].min : -1;
    }
    return true;
}

static kerf_err
read_ports(const ov_model_t *model, kerf_graph_read *read, kerf_detail *why)
{
    ov_output_const_port_t *port = NULL;
    ov_element_type_e type;
    kerf_err err = KERF_OK;

    if (ov_model_inputs_size(model, &read->in.count) != OK ||
        ov_model_outputs_size(model, &read->out_count) != OK)
        return kerf_openvino_fail(why, KERF_EENGINE, "count the ports");
    if (read->in.count > KERF_PORTS_MAX)
        return kerf_fail(why, KERF_ENOTSUP, "%zu inputs: the limit is %d",
                         read->in.count, KERF_PORTS_MAX);
    if (read->out_count <= KERF_PORTS_MAX)
        read->out.count = read->out_count;
    for (size_t i = 0; err == KERF_OK && i < read->in.count; i++) {
        if (ov_model_const_input_by_index(model, i, &port) != OK)
            return kerf_openvino_fail(why, KERF_EENGINE, "read an input");
        err = read_port(port, "input", i, &read->in.port[i], &type, why);
        ov_output_const_port_free(port);
    }
    for (size_t i = 0; err == KERF_OK && i < read->out.count; i++) {
        if (ov_model_const_output_by_index(model, i, &port) != OK)
            return kerf_openvino_fail(why, KERF_EENGINE, "read an output");
        err = read_port(port, "output", i, &read->out.port[i], &type, why);
        ov_output_const_port_free(port);
    }
    return err;
}

/* Replaces *model by one whose port takes the u8 image. */
static kerf_err
add_prep(ov_model_t **model, const kerf_card *card, size_t port,
         ov_element_type_e type, kerf_detail *why)
{
    struct prep p = {0};
    ov_model_t *built = NULL;
    ov_status_e status = ov_preprocess_prepostprocessor_create(*model, &p.ppp);

    if (status == OK)
        status = ov_preprocess_prepostprocessor_get_input_info_by_index(
            p.ppp, port, &p.info);
    if (status == OK)
        status = describe(&p, card);
    if (status == OK)
        status = add_steps(&p, card, type);
    if (status == OK)
        status = ov_preprocess_prepostprocessor_build(p.ppp, &built);

    ov_layout_free(p.tensor_layout);
    ov_layout_free(p.model_layout);
    ov_preprocess_input_model_info_free(p.model);
    ov_preprocess_preprocess_steps_free(p.steps);
    ov_preprocess_input_tensor_info_free(p.tensor);
    ov_preprocess_input_info_free(p.info);
    ov_preprocess_prepostprocessor_free(p.ppp);
    if (status != OK)
        return kerf_openvino_fail(why, KERF_EENGINE, "add the image rules");
    ov_model_free(*model);
    *model = built;
    return KERF_OK;
}

static ov_status_e
describe(struct prep *p, const kerf_card *card)
{
    const char *layout = card->layout == KERF_LAYOUT_NCHW ? "NCHW" : "NHWC";
    ov_status_e status = ov_layout_create("NHWC", &p->tensor_layout);

    if (status == OK)
        status = ov_layout_create(layout, &p->model_layout);
    if (status == OK)
        status = ov_preprocess_input_info_get_tensor_info(p->info, &p->tensor);
    if (status == OK)
        status =
            ov_preprocess_input_tensor_info_set_element_type(p->tensor, U8);
    if (status == OK)
        status = ov_preprocess_input_tensor_info_set_layout(p->tensor,
                                                            p->tensor_layout);
    if (status == OK)
        status = ov_preprocess_input_info_get_model_info(p->info, &p->model);
    if (status == OK)
        status = ov_preprocess_input_model_info_set_layout(p->model,
                                                           p->model_layout);
    return status;
}

/* (pixel * scale - mean) / std, in this order; steps that change nothing are
 * left out. OpenVINO's "scale" divides. */
static ov_status_e
add_steps(struct prep *p, const kerf_card *card, ov_element_type_e type)
{
    int channels = kerf_card_channels(card);
    bool has_mean = false, has_std = false;
    ov_status_e status =
        ov_preprocess_input_info_get_preprocess_steps(p->info, &p->steps);

    for (int c = 0; c < channels; c++) {
        has_mean |= card->mean[c] != 0.0f;
        has_std |= card->std[c] != 1.0f;
    }
    if (status == OK)
        status =
            ov_preprocess_preprocess_steps_convert_element_type(p->steps, F32);
    if (status == OK && card->scale != 1.0f)
        status =
            ov_preprocess_preprocess_steps_scale(p->steps, 1.0f / card->scale);
    if (status == OK && has_mean)
        status = ov_preprocess_preprocess_steps_mean_multi_channels(
            p->steps, card->mean, channels);
    if (status == OK && has_std)
        status = ov_preprocess_preprocess_steps_scale_multi_channels(
            p->steps, card->std, channels);
    if (status == OK && type != F32)
        status =
            ov_preprocess_preprocess_steps_convert_element_type(p->steps, type);
    return status;
}

/* Both are one tensor in OpenVINO when they have one name. */
static bool
is_same_tensor(const ov_output_const_port_t *a, const ov_output_const_port_t *b)
{
    char *names[2] = {NULL, NULL};
    bool same = ov_port_get_any_name(a, &names[0]) == OK &&
                ov_port_get_any_name(b, &names[1]) == OK &&
                strcmp(names[0], names[1]) == 0;

    ov_free(names[0]);
    ov_free(names[1]);
    return same;
}

/* The input that this output is, unchanged, as n->passed says it. */
static size_t
find_passed(const struct ov_net *n, const ov_output_const_port_t *port,
            const kerf_port *out)
{
    for (size_t i = 0; i < n->base.in.count; i++) {
        const kerf_port *in = &n->base.in.port[i];
        ov_output_const_port_t *other = NULL;
        bool same;

        if (in->dtype != out->dtype ||
            !kerf_shape_equal(&in->shape, &out->shape) ||
            ov_compiled_model_input_by_index(n->compiled, i, &other) != OK)
            continue;
        same = is_same_tensor(port, other);
        ov_output_const_port_free(other);
        if (same)
            return i + 1;
    }
    return 0;
}

static kerf_err
fill_net(struct ov_net *n, kerf_detail *why)
{
    kerf_ports *in = &n->base.in, *out = &n->base.out;
    ov_output_const_port_t *port = NULL;
    kerf_err err = KERF_OK;

    if (ov_compiled_model_inputs_size(n->compiled, &in->count) != OK ||
        ov_compiled_model_outputs_size(n->compiled, &out->count) != OK)
        return kerf_openvino_fail(why, KERF_EENGINE, "count the ports");
    for (size_t i = 0; err == KERF_OK && i < in->count; i++) {
        if (ov_compiled_model_input_by_index(n->compiled, i, &port) != OK)
            return kerf_openvino_fail(why, KERF_EENGINE, "read an input");
        err = read_port(port, "input", i, &in->port[i], &n->in_type[i], why);
        ov_output_const_port_free(port);
    }
    for (size_t i = 0; err == KERF_OK && i < out->count; i++) {
        if (ov_compiled_model_output_by_index(n->compiled, i, &port) != OK)
            return kerf_openvino_fail(why, KERF_EENGINE, "read an output");
        err = read_port(port, "output", i, &out->port[i], &n->out_type[i], why);
        if (err == KERF_OK)
            n->passed[i] = find_passed(n, port, &out->port[i]);
        ov_output_const_port_free(port);
    }
    return err;
}
