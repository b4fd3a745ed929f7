#include "graph/onnx_join.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_MAX 1024

/* The head's fields by what they are about: a domain, a function, a key. */
struct merge {
    kerf_onnx_joint *j;
    kerf_graph *keys;      /* owned; origin: the field */
    kerf_onnx_names loose; /* owned; other fields, whole; sorted */
};

/* What a field that may stand once for each key is about; empty: no such field.
 * Its first letter says the kind. */
static kerf_err
read_key(const struct merge *m, const kerf_wire_field *f, char key[KEY_MAX])
{
    kerf_onnx_text part[3] = {{0}};
    int n;

    key[0] = '\0';
    switch (f->number) {
    case ONNX_MODEL_OPSET:
        part[0] = kerf_onnx_field_text(f->bytes, f->len, ONNX_OPSET_DOMAIN);
        if (kerf_onnx_is(part[0], "ai.onnx"))
            part[0].len = 0;
        break;
    case ONNX_MODEL_METADATA:
        part[0] = kerf_onnx_field_text(f->bytes, f->len, 1);
        break;
    case ONNX_MODEL_FUNCTION:
        part[0] = kerf_onnx_field_text(f->bytes, f->len, ONNX_FUNCTION_DOMAIN);
        part[1] = kerf_onnx_field_text(f->bytes, f->len, ONNX_FUNCTION_NAME);
        part[2] =
            kerf_onnx_field_text(f->bytes, f->len, ONNX_FUNCTION_OVERLOAD);
        break;
    default:
        return KERF_OK;
    }
    for (size_t i = 0; i < 3; i++) {
        if (part[i].len >= KEY_MAX)
            return kerf_fail(m->j->why, KERF_ETOOBIG,
                             "a name in field %u of the model is too long",
                             f->number);
        if (part[i].at == NULL)
            part[i].at = "";
    }
    n = snprintf(key, KEY_MAX, "%u.%.*s.%.*s.%.*s", f->number, (int)part[0].len,
                 part[0].at, (int)part[1].len, part[1].at, (int)part[2].len,
                 part[2].at);
    if (n < 0 || n >= KEY_MAX)
        return kerf_fail(m->j->why, KERF_ETOOBIG,
                         "a name in field %u of the model is too long",
                         f->number);
    return KERF_OK;
}

static kerf_err
see_head(struct merge *m, uint32_t field)
{
    const kerf_wire_field *f = &m->j->head.k->model.at[field].f;
    char key[KEY_MAX];
    uint32_t v;
    kerf_err err = read_key(m, f, key);

    if (err != KERF_OK)
        return err;
    if (key[0] == '\0')
        return kerf_onnx_names_add(
            &m->loose, (kerf_onnx_text){(const char *)f->whole, f->whole_len},
            m->j->why);
    if (kerf_graph_find(m->keys, key) != KERF_GRAPH_NONE)
        return KERF_OK;
    err = kerf_graph_add_value(m->keys, key, strlen(key), KERF_VALUE_PARAM, &v);
    if (err != KERF_OK)
        return kerf_fail(m->j->why, err, "the model's fields: %s",
                         kerf_err_text(err));
    m->keys->value[v].origin = field;
    return KERF_OK;
}

static int64_t
opset_version(const kerf_wire_field *f)
{
    kerf_rd r = kerf_wire_inside(f);
    int64_t version = 0;
    kerf_wire_field at;

    while (kerf_wire_next(&r, &at)) {
        if (at.number == ONNX_OPSET_VERSION && at.wire == 0)
            memcpy(&version, &at.value, sizeof version);
    }
    return version;
}

/* Two fields about one thing. */
static kerf_err
compare(const struct merge *m, const kerf_wire_field *head,
        const kerf_wire_field *tail)
{
    char name[KERF_ONNX_SHOWN];
    bool is_same = true;
    kerf_err err = KERF_OK;

    if (tail->number == ONNX_MODEL_OPSET &&
        opset_version(head) != opset_version(tail)) {
        return kerf_fail(
            m->j->why, KERF_EMISMATCH,
            "opset of domain '%s': the head has %" PRId64 ", the tail %" PRId64,
            kerf_onnx_show(name, kerf_onnx_field_text(tail->bytes, tail->len,
                                                      ONNX_OPSET_DOMAIN)),
            opset_version(head), opset_version(tail));
    }
    if (tail->number == ONNX_MODEL_FUNCTION)
        err = kerf_onnx_equal(m->j, KERF_ONNX_FUNCTION, head, tail, &is_same);
    if (err == KERF_OK && !is_same) {
        err = kerf_fail(
            m->j->why, KERF_EMISMATCH,
            "function '%s' is one in the head and another in the tail",
            kerf_onnx_show(name, kerf_onnx_field_text(tail->bytes, tail->len,
                                                      ONNX_FUNCTION_NAME)));
    }
    return err;
}

/* Adds a field of the tail that the head has not. */
static kerf_err
put_tail(struct merge *m, kerf_rope *model, const kerf_wire_field *f)
{
    const kerf_onnx *head = m->j->head.k;
    kerf_onnx_text whole = {(const char *)f->whole, f->whole_len};
    char key[KEY_MAX];
    uint32_t v;
    kerf_err err = read_key(m, f, key);

    if (err != KERF_OK || f->number <= ONNX_MODEL_DOC ||
        f->number == ONNX_MODEL_GRAPH ||
        (key[0] == '\0' && kerf_onnx_names_has(&m->loose, whole)))
        return err;
    v = key[0] == '\0' ? KERF_GRAPH_NONE : kerf_graph_find(m->keys, key);
    if (v != KERF_GRAPH_NONE)
        return compare(m, &head->model.at[m->keys->value[v].origin].f, f);
    return kerf_onnx_put(model, m->j->tail.k,
                         kerf_onnx_inside(KERF_ONNX_MODEL, f), f, NULL,
                         m->j->why);
}

kerf_err
kerf_onnx_join_model(kerf_onnx_joint *j, kerf_rope *graph, kerf_rope *model)
{
    const kerf_onnx *head = j->head.k;
    const kerf_onnx *tail = j->tail.k;
    struct merge m = {.j = j};
    kerf_err err;

    if (head->ir_version != tail->ir_version) {
        return kerf_fail(j->why, KERF_EMISMATCH,
                         "the head's ir_version is %" PRId64
                         ", the tail's %" PRId64,
                         head->ir_version, tail->ir_version);
    }
    err = kerf_graph_new(&m.keys, KERF_FORMAT_ONNX, &kerf_graph_onnx);
    if (err != KERF_OK)
        return kerf_fail(j->why, err, "no memory to join two models");
    for (uint32_t i = 0; i < head->model.count && err == KERF_OK; i++)
        err = see_head(&m, i);
    kerf_onnx_names_sort(&m.loose);
    if (err == KERF_OK)
        err = kerf_onnx_put_model(model, head, graph,
                                  j->has_identity && !tail->has_opset, j->why);
    for (size_t i = 0; i < tail->model.count && err == KERF_OK; i++)
        err = put_tail(&m, model, &tail->model.at[i].f);
    kerf_graph_close(m.keys);
    free(m.loose.at);
    return err;
}
