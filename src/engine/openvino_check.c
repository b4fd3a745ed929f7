#include "engine/openvino_check.h"

#include "base/text.h"
#include "engine/openvino_ops.h"
#include "graph/onnx_whole.h"
#include "graph/pdiparams.h"
#include "graph/wire.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define OLDEST_VERSION 2000000 /* Paddle 2.0.0 */
#define ONNX_GRAPH 7           /* ModelProto.graph */
#define OPS_NAMED 8            /* in one message */

static kerf_err check_json(const kerf_model_bytes *m, kerf_detail *why);
static kerf_err check_paddle(const kerf_model_bytes *m, kerf_detail *why);
static kerf_err check_names(const kerf_pdmodel *program, kerf_detail *why);
static kerf_err name_ops(const kerf_model_bytes *m, const char *first,
                         kerf_detail *why);

/* OpenVINO opens the .onnx itself, and follows what it names. */
static bool
may_name_files(const kerf_model_bytes *m)
{
    return m->format == KERF_FORMAT_ONNX && m->path != NULL;
}

kerf_err
kerf_openvino_check(const kerf_model_bytes *m, kerf_detail *why)
{
    kerf_err err = check_json(m, why);

    /* OpenVINO guesses the format of bytes by itself: what is a program to us
     * may be an ONNX model to it. Only the user's own file may name others. */
    if (err == KERF_OK && m->format == KERF_FORMAT_PADDLE)
        err = check_paddle(m, why);
    if (err == KERF_OK && m->format != KERF_FORMAT_IR && !may_name_files(m))
        err = kerf_onnx_check_whole(m->graph, m->graph_len, why);
    if (err != KERF_OK)
        return err;
    switch (m->format) {
    case KERF_FORMAT_PADDLE:
        return KERF_OK;
    case KERF_FORMAT_ONNX:
        if (!kerf_wire_has(m->graph, m->graph_len, ONNX_GRAPH))
            return kerf_fail(why, KERF_ECORRUPT,
                             "the .onnx is not a whole ONNX model");
        return KERF_OK;
    case KERF_FORMAT_IR:
        if (memmem(m->graph, m->graph_len, "<net", 4) == NULL)
            return kerf_fail(why, KERF_ECORRUPT,
                             "the .xml is not an OpenVINO network");
        return KERF_OK;
    }
    return kerf_fail(why, KERF_ENOTSUP, "model format %d", (int)m->format);
}

/* OpenVINO tells a story: where it went, what threw. Of all that, the op and
 * the end. False: it is none of those that are known. */
static bool
explain_op(kerf_err err, const char *said, kerf_detail *why)
{
    static const struct {
        const char *before_op, *before_reason;
        bool is_last; /* of the places that look like before_reason */
    } stories[] = {
        {"Fail to convert ", "; ", true},       /* Paddle's operations */
        {"END: node: ", "; ", true},            /* its control flow */
        {"; -- ", " with a message:; ", false}, /* ONNX's operations */
    };

    for (size_t i = 0; i < sizeof stories / sizeof *stories; i++) {
        const char *op = strstr(said, stories[i].before_op);
        const char *reason = NULL;
        size_t len, said_len;

        if (op == NULL)
            continue;
        op += strlen(stories[i].before_op);
        len = strcspn(op, " -;");
        for (const char *at = op;
             (at = strstr(at, stories[i].before_reason)) != NULL &&
             (reason == NULL || stories[i].is_last);)
            reason = at += strlen(stories[i].before_reason);
        if (reason == NULL)
            continue;
        said_len = strcspn(reason, ";");
        while (said_len > 0 && strchr(": ", reason[said_len - 1]) != NULL)
            said_len--;
        (void)kerf_fail(why, err, "the engine cannot take this op %.*s: %.*s",
                        (int)len, op, (int)said_len, reason);
        return true;
    }
    return false;
}

kerf_err
kerf_openvino_explain(const kerf_model_bytes *m, kerf_err err,
                      const kerf_detail *said, kerf_detail *why)
{
    static const char no_creator[] = "No creator found for ";
    static const char no_rule[] = "No conversion rule found for operations: ";
    const char *op = strstr(said->text, no_creator);
    char first[64];

    if (op != NULL) {
        op += sizeof no_creator - 1;
        (void)snprintf(first, sizeof first, "%.*s", (int)strcspn(op, " "), op);
        return name_ops(m, first, why);
    }
    op = strstr(said->text, no_rule);
    if (op != NULL) { /* ONNX: "Conv-17, Relu-17; To facilitate ..." */
        op += sizeof no_rule - 1;
        return kerf_fail(why, KERF_ENOTSUP, "the engine lacks the ops %.*s",
                         (int)strcspn(op, ";"), op);
    }
    if (!explain_op(err, said->text, why) && why != NULL)
        *why = *said;
    return err;
}

/* Paddle 3's program is JSON; OpenVINO would only say "unable to read". */
static kerf_err
check_json(const kerf_model_bytes *m, kerf_detail *why)
{
    const char *at = m->graph;
    size_t left = m->graph_len < 4096 ? m->graph_len : 4096;

    while (left > 0 && isspace((unsigned char)*at)) {
        at++;
        left--;
    }
    if (left == 0 || *at != '{')
        return KERF_OK;
    if (memmem(at, left, "base_code", 9) != NULL ||
        memmem(at, left, "\"program\"", 9) != NULL) {
        return kerf_fail(why, KERF_ENOTSUP,
                         "Paddle 3's .json program is not readable by the "
                         "engine: export with FLAGS_enable_pir_api=0, which "
                         "writes a .pdmodel");
    }
    return kerf_fail(why, KERF_ECORRUPT, "JSON text is not a network");
}

static kerf_err
check_paddle(const kerf_model_bytes *m, kerf_detail *why)
{
    kerf_pdmodel program = {0};
    kerf_err err = kerf_pdmodel_open(&program, m->graph, m->graph_len, why);

    if (err != KERF_OK)
        return err;
    if (program.version != 0 && program.version < OLDEST_VERSION) {
        err = kerf_fail(why, KERF_ENOTSUP,
                        "the program was written by Paddle %lld.%lld.%lld: the "
                        "engine reads 2.0.0 and later, export it anew",
                        (long long)program.version / 1000000,
                        (long long)program.version / 1000 % 1000,
                        (long long)program.version % 1000);
    }
    if (err == KERF_OK)
        err = check_names(&program, why);
    if (err == KERF_OK)
        err = kerf_pdiparams_check(&program, m->weights,
                                   m->weights != NULL ? m->weights_len : 0,
                                   NULL, why);
    kerf_pdmodel_close(&program);
    return err;
}

static bool
ends_with(const kerf_pd_text *text, const char *end)
{
    size_t len = strlen(end);

    return text->len >= len &&
           memcmp(text->at + text->len - len, end, len) == 0;
}

/* OpenVINO takes every name with these ends for a port and skips its record,
 * so that all later parameters would be read from the wrong place. */
static kerf_err
check_names(const kerf_pdmodel *program, kerf_detail *why)
{
    char safe[KERF_PD_SAFE];

    for (size_t i = 0; i < program->param_count; i++) {
        const kerf_pd_text *name = &program->param[i].name;

        if (!ends_with(name, "feed") && !ends_with(name, "fetch"))
            continue;
        return kerf_fail(why, KERF_ENOTSUP,
                         "parameter '%s': the engine cannot read a name that "
                         "ends in feed or fetch, rename it",
                         kerf_pd_text_safe(safe, name));
    }
    return KERF_OK;
}

static bool
is_named(const kerf_pd_text *const *named, size_t count,
         const kerf_pd_text *type)
{
    for (size_t i = 0; i < count; i++) {
        if (named[i]->len == type->len &&
            memcmp(named[i]->at, type->at, type->len) == 0)
            return true;
    }
    return false;
}

/* All op types that OpenVINO lacks, where it names the first it met. */
static kerf_err
name_ops(const kerf_model_bytes *m, const char *first, kerf_detail *why)
{
    const kerf_pd_text met = {first, strlen(first)};
    const kerf_pd_text *named[OPS_NAMED] = {&met};
    kerf_pdmodel program = {0};
    char list[320], safe[320];
    size_t count = 1;
    int used = snprintf(list, sizeof list, "%s", first);

    if (m->format == KERF_FORMAT_PADDLE &&
        kerf_pdmodel_open(&program, m->graph, m->graph_len, NULL) == KERF_OK) {
        for (size_t i = 0; i < program.op_count && count < OPS_NAMED; i++) {
            const kerf_pd_text *type = &program.op[i].type;

            if (type->len > 60 || used > 200 || kerf_openvino_has_op(type) ||
                is_named(named, count, type))
                continue;
            named[count++] = type;
            used += snprintf(list + used, sizeof list - (size_t)used, ", %.*s",
                             (int)type->len, type->at);
        }
    }
    kerf_pdmodel_close(&program);
    return kerf_fail(why, KERF_ENOTSUP, "the engine lacks the op%s %s",
                     count > 1 ? "s" : "",
                     kerf_text_safe(safe, sizeof safe, list));
}
