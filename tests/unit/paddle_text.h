/*
 * paddle_text.h - Paddle programs for tests, written as text:
 *
 *     "param w 4,4 | feed x | matmul_v2 X=x Y=w -> Out=y | fetch y"
 *     "... | while X=i,y Condition=c -> Out=i,y sub=1 | 1: relu X=y -> Out=y"
 *
 * One statement between bars. Ports are numbered from 0, or "feed x 1". "1:"
 * puts it into block 1, "var NAME [DIMS]" declares (f32), "list NAME" declares
 * a tensor array, "names=a,b" is an attribute that names variables. What is not
 * declared is, in block 0, as f32
 * [-1, 4]. Ops get an op_callstack; program, blocks, variables and ops get a
 * field 99 that nobody knows.
 */
#ifndef KERF_TESTS_PADDLE_TEXT_H
#define KERF_TESTS_PADDLE_TEXT_H

#include "graph/wire.h"
#include "kerf/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PD_BLOCKS 4
#define PD_NAMES 64
#define PD_UNKNOWN "kept as it is"
#define PD_CALLSTACK "/home/somebody/export.py"
#define PD_VERSION 2006000

struct pd_name {
    char text[48];
    int block;
    int64_t dims[4];
    uint32_t rank;
    int kind; /* VarType.Type */
    bool is_param;
};

struct pd_text {
    struct pd_name name[PD_NAMES];
    size_t count;
    kerf_rope ops[PD_BLOCKS];
    int blocks, feeds, fetches;
};

static struct pd_name *
pd_declare(struct pd_text *t, const char *text, int block)
{
    struct pd_name *n = &t->name[t->count++];

    if (t->count == PD_NAMES)
        abort();
    (void)snprintf(n->text, sizeof n->text, "%s", text);
    n->block = block;
    n->kind = 7;
    return n;
}

static void
pd_use(struct pd_text *t, const char *text)
{
    struct pd_name *n;

    for (size_t i = 0; i < t->count; i++) {
        if (strcmp(t->name[i].text, text) == 0)
            return;
    }
    n = pd_declare(t, text, 0);
    n->rank = 2;
    n->dims[0] = -1;
    n->dims[1] = 4;
}

static void
pd_dims(struct pd_name *n, char *text)
{
    char *rest = NULL;

    for (char *d = strtok_r(text, ",", &rest); d != NULL;
         d = strtok_r(NULL, ",", &rest))
        n->dims[n->rank++] = strtol(d, NULL, 10);
}

/* OpDesc.Var of "Slot=a,b". */
static void
pd_slot(struct pd_text *t, kerf_rope *op, uint32_t number, char *word)
{
    char *names = strchr(word, '=');
    char *rest = NULL;
    kerf_rope var = {0};

    *names++ = '\0';
    kerf_wire_put_text(&var, 1, word);
    for (char *name = strtok_r(names, ",", &rest); name != NULL;
         name = strtok_r(NULL, ",", &rest)) {
        kerf_wire_put_text(&var, 2, name);
        if (name[0] != '@')
            pd_use(t, name);
    }
    kerf_wire_put_rope(op, number, &var);
}

static void
pd_attr(struct pd_text *t, kerf_rope *op, const char *name, char *value)
{
    bool is_block = strcmp(name, "sub") == 0;
    bool is_stack = strcmp(name, "op_callstack") == 0;
    char *rest = NULL;
    kerf_rope attr = {0};

    kerf_wire_put_text(&attr, 1, is_block ? "sub_block" : name);
    kerf_wire_put_int(&attr, 2, is_block ? 8 : is_stack ? 5 : 14);
    if (is_block)
        kerf_wire_put_int(&attr, 12, (uint64_t)(value[0] - '0'));
    if (is_stack)
        kerf_wire_put_text(&attr, 8, value);
    for (char *v = is_block || is_stack ? NULL : strtok_r(value, ",", &rest);
         v != NULL; v = strtok_r(NULL, ",", &rest)) {
        kerf_wire_put_text(&attr, 18, v);
        pd_use(t, v);
    }
    kerf_wire_put_rope(op, 4, &attr);
}

static void
pd_col(kerf_rope *op, int col)
{
    kerf_rope attr = {0};

    kerf_wire_put_text(&attr, 1, "col");
    kerf_wire_put_int(&attr, 2, 0);
    kerf_wire_put_int(&attr, 3, (uint64_t)col);
    kerf_wire_put_rope(op, 4, &attr);
}

static void
pd_op(struct pd_text *t, int block, const char *type, char **rest)
{
    char stack[] = PD_CALLSTACK;
    bool is_out = false;
    kerf_rope op = {0};

    for (char *word; (word = strtok_r(NULL, " ", rest)) != NULL;) {
        if (strcmp(word, "->") == 0)
            is_out = true;
        else if (strncmp(word, "sub=", 4) == 0)
            pd_attr(t, &op, "sub", word + 4);
        else if (strncmp(word, "names=", 6) == 0)
            pd_attr(t, &op, "names", word + 6);
        else
            pd_slot(t, &op, is_out ? 2 : 1, word);
    }
    kerf_wire_put_text(&op, 3, type);
    pd_attr(t, &op, "op_callstack", stack);
    kerf_wire_put_text(&op, 99, PD_UNKNOWN);
    kerf_wire_put_rope(&t->ops[block], 4, &op);
}

static void
pd_port(struct pd_text *t, const char *type, const char *name, const char *col)
{
    bool is_feed = strcmp(type, "feed") == 0;
    char in[64], out[64];
    kerf_rope op = {0};

    (void)snprintf(in, sizeof in, "X=%s", is_feed ? "feed" : name);
    (void)snprintf(out, sizeof out, "Out=%s", is_feed ? name : "fetch");
    pd_use(t, name);
    pd_slot(t, &op, 1, in);
    pd_slot(t, &op, 2, out);
    kerf_wire_put_text(&op, 3, type);
    pd_col(&op, col != NULL ? atoi(col) : is_feed ? t->feeds++ : t->fetches++);
    kerf_wire_put_text(&op, 99, PD_UNKNOWN);
    kerf_wire_put_rope(&t->ops[0], 4, &op);
}

static void
pd_statement(struct pd_text *t, char *statement)
{
    char *rest = NULL;
    char *word = strtok_r(statement, " ", &rest);
    int block = 0;

    if (word[1] == ':') {
        block = word[0] - '0';
        word = strtok_r(NULL, " ", &rest);
    }
    if (block >= t->blocks)
        t->blocks = block + 1;
    if (strcmp(word, "param") == 0 || strcmp(word, "var") == 0 ||
        strcmp(word, "list") == 0) {
        struct pd_name *n = pd_declare(t, strtok_r(NULL, " ", &rest), block);
        char *dims = strtok_r(NULL, " ", &rest);

        n->is_param = word[0] == 'p';
        n->kind = word[0] == 'l' ? 13 : 7;
        if (dims != NULL)
            pd_dims(n, dims);
    } else if (strcmp(word, "feed") == 0 || strcmp(word, "fetch") == 0) {
        const char *name = strtok_r(NULL, " ", &rest);

        pd_port(t, word, name, strtok_r(NULL, " ", &rest));
    } else {
        pd_op(t, block, word, &rest);
    }
}

/* TensorDesc */
static void
pd_desc(const struct pd_name *n, kerf_rope *out)
{
    kerf_wire_put_int(out, 1, 5);
    for (uint32_t i = 0; i < n->rank; i++)
        kerf_wire_put_int(out, 2, (uint64_t)n->dims[i]);
}

static void
pd_var(const struct pd_name *n, kerf_rope *block)
{
    kerf_rope desc = {0}, dense = {0}, type = {0}, var = {0};

    kerf_wire_put_text(&var, 1, n->text);
    kerf_wire_put_int(&type, 1, (uint64_t)n->kind);
    if (n->kind == 7) {
        pd_desc(n, &desc);
        kerf_wire_put_rope(&dense, 1, &desc);
        kerf_wire_put_rope(&type, 3, &dense);
    }
    kerf_wire_put_rope(&var, 2, &type);
    kerf_wire_put_int(&var, 3, n->is_param || n->kind == 9 || n->kind == 10);
    kerf_wire_put_text(&var, 99, PD_UNKNOWN);
    kerf_wire_put_rope(block, 3, &var);
}

static int
pd_compare(const void *a, const void *b)
{
    return strcmp(((const struct pd_name *)a)->text,
                  ((const struct pd_name *)b)->text);
}

/* The .pdiparams: each value is one more than the last. */
static void
pd_params(struct pd_text *t, kerf_rope *out)
{
    float value = 1;

    qsort(t->name, t->count, sizeof *t->name, pd_compare);
    for (size_t i = 0; i < t->count; i++) {
        uint8_t head[20] = {0};
        size_t elements = 1;
        kerf_rope desc = {0};

        if (!t->name[i].is_param)
            continue;
        pd_desc(&t->name[i], &desc);
        head[16] = (uint8_t)desc.len;
        kerf_rope_copy(out, head, sizeof head);
        kerf_rope_move(out, &desc);
        for (uint32_t d = 0; d < t->name[i].rank; d++)
            elements *= (size_t)t->name[i].dims[d];
        for (size_t k = 0; k < elements; k++, value += 1)
            kerf_rope_copy(out, &value, sizeof value);
    }
}

/* graph and weights are new memory -> free(). */
static kerf_model_bytes
pd_program(const char *text, uint8_t **graph, uint8_t **weights)
{
    struct pd_text t = {.blocks = 1};
    kerf_model_bytes m = {.format = KERF_FORMAT_PADDLE};
    kerf_rope program = {0}, params = {0}, version = {0};
    char copy[2048], *rest = NULL;

    (void)snprintf(copy, sizeof copy, "%s", text);
    pd_declare(&t, "feed", 0)->kind = 9;
    pd_declare(&t, "fetch", 0)->kind = 10;
    for (char *s = strtok_r(copy, "|", &rest); s != NULL;
         s = strtok_r(NULL, "|", &rest))
        pd_statement(&t, s);
    for (int b = 0; b < t.blocks; b++) {
        kerf_rope block = {0};

        kerf_wire_put_int(&block, 1, (uint64_t)b);
        kerf_wire_put_int(&block, 2, (uint64_t)(int64_t)(b - 1));
        for (size_t i = 0; i < t.count; i++) {
            if (t.name[i].block == b)
                pd_var(&t.name[i], &block);
        }
        kerf_rope_move(&block, &t.ops[b]);
        kerf_wire_put_text(&block, 99, PD_UNKNOWN);
        kerf_wire_put_rope(&program, 1, &block);
    }
    kerf_wire_put_int(&version, 1, PD_VERSION);
    kerf_wire_put_rope(&program, 4, &version);
    kerf_wire_put_text(&program, 99, PD_UNKNOWN);
    pd_params(&t, &params);
    if (kerf_rope_flatten(&program, graph) != KERF_OK ||
        kerf_rope_flatten(&params, weights) != KERF_OK)
        abort();
    m.graph = *graph;
    m.graph_len = program.len;
    m.weights = *weights;
    m.weights_len = params.len;
    kerf_rope_fini(&program);
    kerf_rope_fini(&params);
    return m;
}

#endif
