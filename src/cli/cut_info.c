/*
 * `kerf cut --info`: what a model is.
 */
#include "cut/info.h"

#include "base/text.h"
#include "cli/cut_cmd.h"
#include "cli/cut_list.h"
#include "cli/json_line.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *
format_name(const kerf_cut_model *m)
{
    return m->file.format == KERF_FORMAT_ONNX ? "onnx" : "paddle";
}

/* "2.6.0" of 2006000; ONNX: the opset. */
static void
version_text(char out[32], const kerf_graph *g)
{
    long long v = (long long)g->version;

    if (g->format == KERF_FORMAT_ONNX || v <= 0)
        (void)snprintf(out, 32, "%lld", v);
    else
        (void)snprintf(out, 32, "%lld.%lld.%lld", v / 1000000, v / 1000 % 1000,
                       v % 1000);
}

static json_t *
ops_json(const kerf_cut_info *info, bool lacking)
{
    json_t *o = lacking ? json_array() : json_object();

    for (size_t i = 0; i < info->op_count; i++) {
        char safe[256];
        const kerf_op_count *op = &info->op[i];

        (void)kerf_text_safe(safe, sizeof safe, op->op);
        if (lacking && op->is_lacking)
            (void)json_array_append_new(o, json_string(safe));
        else if (!lacking)
            (void)json_object_set_new(o, safe,
                                      json_integer((json_int_t)op->count));
    }
    return o;
}

static void
print_json(const kerf_cut_model *m, const kerf_cut_info *info)
{
    const kerf_graph *g = m->graph;
    char version[32];
    json_t *opsets = json_object();
    json_t *o;

    version_text(version, g);
    for (size_t i = 0; i < info->opset_count; i++) {
        char safe[256];

        (void)json_object_set_new(
            opsets, kerf_text_safe(safe, sizeof safe, info->opset[i].domain),
            json_integer(info->opset[i].version));
    }
    o = json_pack(
        "{s:o, s:s, s:s, s:o, s:o, s:o, s:o, s:{s:I, s:I, s:I}, s:I, s:o, "
        "s:{s:o, s:b, s:o, s:o}}",
        "name", kerf_json_text(m->file.name), "format", format_name(m),
        "version", version, "opsets", opsets, "producer",
        info->producer[0] == '\0' ? json_null()
                                  : kerf_json_text(info->producer),
        "inputs", kerf_cut_tensors_json(g, g->input, g->input_count), "outputs",
        kerf_cut_tensors_json(g, g->output, g->output_count), "params",
        "tensors", (json_int_t)info->params, "elements",
        (json_int_t)info->param_elements, "bytes",
        (json_int_t)info->param_bytes, "nodes", (json_int_t)g->node_count,
        "ops", ops_json(info, false), "engine", "name",
        kerf_json_text(info->engine), "reads", info->engine_reads, "why",
        info->engine_reads ? json_null()
                           : kerf_json_text(info->engine_why.text),
        "lacks", ops_json(info, true));
    kerf_json_line(o);
}

static void
print_ports(const char *what, const kerf_graph *g, const uint32_t *value,
            size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const kerf_value *v = &g->value[value[i]];
        char shape[KERF_SHAPE_TEXT];
        char safe[512];

        (void)printf("%-12s%-32s %s %s\n", i == 0 ? what : "",
                     kerf_text_safe(safe, sizeof safe, v->name),
                     v->type == KERF_VALUE_TENSOR ? kerf_dtype_name(v->dtype)
                                                  : "?",
                     kerf_cut_shape_text(shape, v));
    }
}

static void
print_ops(const kerf_cut_info *info)
{
    kerf_term t;
    int column = 0;

    kerf_term_init(&t, stdout);
    for (size_t i = 0; i < info->op_count; i++) {
        char safe[256];
        char text[300];
        int has =
            snprintf(text, sizeof text, "%s %zu%s",
                     kerf_text_safe(safe, sizeof safe, info->op[i].op),
                     info->op[i].count, i + 1 < info->op_count ? ", " : "");

        if (column == 0 || column + has > t.width) {
            (void)printf("%s%-12s", column == 0 ? "" : "\n",
                         column == 0 ? "ops" : "");
            column = 12;
        }
        (void)printf("%s%s%s", info->op[i].is_lacking ? kerf_term_red(&t) : "",
                     text, info->op[i].is_lacking ? kerf_term_plain(&t) : "");
        column += has;
    }
    (void)printf("\n");
}

static void
print_engine(const kerf_cut_info *info)
{
    bool any = false;

    (void)printf("%-12s%s %s%s\n", "engine", info->engine,
                 info->engine_reads ? "reads it" : "cannot read it: ",
                 info->engine_reads ? "" : info->engine_why.text);
    for (size_t i = 0; i < info->op_count; i++) {
        char safe[256];

        if (!info->op[i].is_lacking)
            continue;
        (void)printf("%s%s", any ? ", " : "it lacks    ",
                     kerf_text_safe(safe, sizeof safe, info->op[i].op));
        any = true;
    }
    if (any)
        (void)printf("\n");
}

static void
print_text(const kerf_cut_model *m, const kerf_cut_info *info)
{
    const kerf_graph *g = m->graph;
    char version[32], elements[16], bytes[32];
    char safe[512];

    version_text(version, g);
    (void)printf("%-12s%s\n", "model",
                 kerf_text_safe(safe, sizeof safe, m->file.name));
    if (g->format == KERF_FORMAT_ONNX) {
        (void)printf("%-12sONNX, IR version %lld, opset %s", "format",
                     (long long)info->ir_version, version);
        for (size_t i = 0; i < info->opset_count; i++) {
            if (info->opset[i].domain[0] != '\0') {
                (void)printf(
                    ", %s %lld",
                    kerf_text_safe(safe, sizeof safe, info->opset[i].domain),
                    (long long)info->opset[i].version);
            }
        }
        (void)printf("\n");
    } else {
        (void)printf("%-12sPaddle program, version %s\n", "format", version);
    }
    if (info->producer[0] != '\0')
        (void)printf("%-12s%s\n", "producer",
                     kerf_text_safe(safe, sizeof safe, info->producer));
    print_ports("inputs", g, g->input, g->input_count);
    print_ports("outputs", g, g->output, g->output_count);
    (void)printf("%-12s%s in %zu tensors, %s\n", "parameters",
                 kerf_cut_count_text(elements, info->param_elements),
                 info->params,
                 kerf_text_bytes(bytes, sizeof bytes, info->param_bytes));
    (void)printf("%-12s%zu, %zu of them from parameters alone, %zu only look "
                 "at shapes\n",
                 "nodes", g->node_count, info->const_nodes, info->shape_nodes);
    print_ops(info);
    print_engine(info);
}

int
kerf_cut_cmd_info(const kerf_cut_flags *f)
{
    kerf_cut_model *m = calloc(1, sizeof *m); /* tens of KB */
    kerf_cut_info info = {.engine = ""};
    kerf_engine *engine = NULL;
    kerf_detail why = {{0}};
    kerf_err err = KERF_ENOMEM;

    if (m == NULL)
        return kerf_cmd_failed(err, &why);
    err = kerf_cut_cmd_open(f, false, m, &why);
    if (err == KERF_OK)
        err = kerf_engine_open(&engine, &f->engine, &why);
    if (err == KERF_OK)
        err = kerf_cut_info_make(&info, m, engine);
    if (err == KERF_OK && f->json)
        print_json(m, &info);
    else if (err == KERF_OK)
        print_text(m, &info);
    kerf_cut_info_fini(&info);
    kerf_cut_close(m);
    free(m);
    kerf_engine_close(engine);
    return err == KERF_OK ? 0 : kerf_cmd_failed(err, &why);
}
