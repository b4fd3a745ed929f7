/*
 * Two walks over the ops. The first finds what the table lacks, so that all of
 * it is said at once, the highest number of a value, and the names that the
 * program itself gives: parameters, inputs, outputs. The second writes.
 *
 * Constants are written when an op wants a tensor of them, and never when all
 * that read them take an attribute.
 */
#include "graph/pir.h"

#include "base/text.h"
#include "graph/pir_own.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PDMODEL_BYTES_MAX ((size_t)64 << 20)
#define NAME_BYTES_MAX 1024 /* of a name in the program */
#define LACKING_NAMED 6     /* in one message */
#define OUTPUTS_MAX 4096
#define EXPORT_OLD \
    "export with FLAGS_enable_pir_api=0 to get a .pdmodel instead"

/* Ops that are not rows: what they are for the walk. */
typedef enum special {
    NO_SPECIAL,
    PARAM,    /* "p" */
    INPUT,    /* 1.data */
    OUTPUT,   /* 1.fetch */
    CONSTANT, /* 1.full, 1.full_int_array, 1.assign_value */
    COMBINE,  /* 0.combine: tensors to a list */
    SPLIT,    /* 0.split: a list to its tensors */
    PICK,     /* 0.slice: one tensor of a list */
    UNBIND,   /* 1.unbind, 1.unstack: a tensor to a list */
} special;

typedef struct output {
    uint32_t value;
    json_int_t col;
    size_t op;
} output;

static kerf_err open_program(kerf_pir *p, const void *json, size_t len);
static kerf_err look_through(kerf_pir *p);
static kerf_err write_ops(kerf_pir *p);
static kerf_err write_outputs(kerf_pir *p);

kerf_err
kerf_pir_translate(const void *json, size_t len, uint8_t **out, size_t *out_len,
                   kerf_detail *why)
{
    kerf_pir p = {.why = why};
    kerf_rope program = {0};
    kerf_err err = open_program(&p, json, len);

    if (err == KERF_OK)
        err = look_through(&p);
    if (err == KERF_OK)
        err = write_ops(&p);
    if (err == KERF_OK)
        err = write_outputs(&p);
    if (err != KERF_OK)
        goto out;
    kerf_rope_move(&p.feeds, &p.body);
    kerf_pir_put_program(&program, &p.vars, &p.feeds);
    err = kerf_rope_flatten(&program, out);
    if (err == KERF_OK)
        *out_len = program.len;
out:
    if (err == KERF_ENOMEM)
        err = kerf_fail(why, err, "no memory for the program");
    for (size_t i = 0; i < p.value_count; i++)
        free(p.value[i].elem);
    free(p.value);
    kerf_rope_fini(&p.vars);
    kerf_rope_fini(&p.feeds);
    kerf_rope_fini(&p.body);
    kerf_rope_fini(&program);
    json_decref(p.names);
    json_decref(p.counts);
    json_decref(p.root);
    return err;
}

kerf_err
kerf_pir_fail(kerf_pir *p, kerf_err err, const char *fmt, ...)
{
    char what[256], safe[64];
    kerf_detail line;
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    (void)kerf_text_safe(line.text, sizeof line.text, what);
    return kerf_fail(p->why, err, "op %zu, %s: %s%s%s", p->op,
                     kerf_text_safe(safe, sizeof safe,
                                    kerf_pir_id(json_array_get(p->ops, p->op))),
                     line.text, err == KERF_ENOTSUP ? ": " : "",
                     err == KERF_ENOTSUP ? EXPORT_OLD : "");
}

/* ---- the frame ---------------------------------------------------------- */

static kerf_err
open_program(kerf_pir *p, const void *json, size_t len)
{
    json_error_t said;
    const json_t *regions, *blocks, *block;
    const char *magic;
    char safe[JSON_ERROR_TEXT_LENGTH];

    if (len > KERF_PIR_BYTES_MAX)
        return kerf_fail(p->why, KERF_ETOOBIG,
                         "a program of %zu bytes, at most %zu are read", len,
                         KERF_PIR_BYTES_MAX);
    p->names = json_object();
    p->counts = json_object();
    if (p->names == NULL || p->counts == NULL)
        return KERF_ENOMEM;
    p->root = json_loadb(json, len, JSON_REJECT_DUPLICATES, &said);
    if (p->root == NULL && json_error_code(&said) == json_error_out_of_memory)
        return KERF_ENOMEM;
    if (p->root == NULL) {
        return kerf_fail(p->why, KERF_ECORRUPT,
                         "not whole JSON, line %d column %d: %s", said.line,
                         said.column,
                         kerf_text_safe(safe, sizeof safe, said.text));
    }
    magic = json_string_value(
        json_object_get(json_object_get(p->root, "base_code"), "magic"));
    if (magic == NULL || strcmp(magic, "pir") != 0)
        return kerf_fail(p->why, KERF_ECORRUPT, "not a Paddle 3 program");
    regions = json_object_get(json_object_get(p->root, "program"), "regions");
    blocks = json_object_get(json_array_get(regions, 0), "blocks");
    block = json_array_get(blocks, 0);
    p->ops = json_object_get(block, "ops");
    if (!json_is_array(p->ops) || json_array_size(regions) != 1 ||
        json_array_size(blocks) != 1 ||
        json_array_size(json_object_get(block, "args")) != 0)
        return kerf_fail(p->why, KERF_ECORRUPT,
                         "a Paddle 3 program with one block is expected");
    return KERF_OK;
}

/* ---- values and names --------------------------------------------------- */

kerf_err
kerf_pir_number_of(kerf_pir *p, const json_t *ref, uint32_t *out)
{
    const json_t *number = json_object_get(ref, "%");
    json_int_t n = json_integer_value(number);

    if (!json_is_integer(number) || n < 0 || n >= KERF_PIR_VALUES_MAX ||
        (p->value != NULL && (size_t)n >= p->value_count))
        return kerf_pir_fail(p, KERF_ECORRUPT, "a value without a number");
    *out = (uint32_t)n;
    return KERF_OK;
}

kerf_err
kerf_pir_add_value(kerf_pir *p, uint32_t *out)
{
    if (p->value_count >= 2 * (size_t)KERF_PIR_VALUES_MAX)
        return kerf_pir_fail(p, KERF_ETOOBIG, "too many values");
    if (p->value_count == p->value_room) {
        size_t room = p->value_room < 64 ? 64 : 2 * p->value_room;
        kerf_pir_value *bigger = realloc(p->value, room * sizeof *bigger);

        if (bigger == NULL)
            return KERF_ENOMEM;
        p->value = bigger;
        p->value_room = room;
    }
    p->value[p->value_count] = (kerf_pir_value){0};
    *out = (uint32_t)p->value_count++;
    return KERF_OK;
}

/* The name as a key of names, where it stays; NULL when it was taken already,
 * or there is no memory. */
static const char *
claim(kerf_pir *p, const char *name)
{
    if (json_object_get(p->names, name) != NULL ||
        json_object_set_new(p->names, name, json_true()) != 0)
        return NULL;
    return json_object_iter_key(json_object_iter_at(p->names, name));
}

const char *
kerf_pir_name(kerf_pir *p, const char *text)
{
    char name[KERF_PIR_NAME_MAX];
    int n = snprintf(name, sizeof name, "%s", text);

    /* Whoever has it already will hardly have all of these too. */
    while (n > 0 && n < KERF_PIR_NAME_MAX - 1 &&
           json_object_get(p->names, name) != NULL) {
        name[n++] = '_';
        name[n] = '\0';
    }
    return claim(p, name);
}

const char *
kerf_pir_name_op(kerf_pir *p, const char *type)
{
    json_int_t n = json_integer_value(json_object_get(p->counts, type));
    char name[KERF_PIR_NAME_MAX];

    if (json_object_set_new(p->counts, type, json_integer(n + 1)) != 0)
        return NULL;
    (void)snprintf(name, sizeof name, "%s_%lld", type, (long long)n);
    return kerf_pir_name(p, name);
}

kerf_err
kerf_pir_check_new(kerf_pir *p, uint32_t number)
{
    if (number == 0 || p->value[number].kind != KERF_PIR_NOTHING)
        return kerf_pir_fail(p, KERF_ECORRUPT, "value %u is given twice",
                             number);
    return KERF_OK;
}

kerf_err
kerf_pir_define(kerf_pir *p, uint32_t number, const char *name,
                kerf_pir_var kind, const json_t *type)
{
    kerf_pir_value *v = &p->value[number];
    kerf_err err;

    err = kerf_pir_check_new(p, number);
    if (err != KERF_OK)
        return err;
    err = kerf_pir_read_tensor(type, &v->type);
    if (err != KERF_OK)
        return kerf_pir_fail(p, err, "its result is no tensor that is known");
    v->kind = KERF_PIR_TENSOR;
    v->is_written = true;
    v->name = name;
    kerf_pir_put_var(&p->vars, name, kind, &v->type);
    return KERF_OK;
}

/* ---- the first walk ----------------------------------------------------- */

static special
special_of(const char *id)
{
    static const struct {
        const char *id;
        special what;
    } map[] = {
        {"p", PARAM},
        {"1.data", INPUT},
        {"1.fetch", OUTPUT},
        {"1.full", CONSTANT},
        {"1.full_int_array", CONSTANT},
        {"1.assign_value", CONSTANT},
        {"1.assign_value_", CONSTANT},
        {"0.combine", COMBINE},
        {"0.split", SPLIT},
        {"0.slice", PICK},
        {"1.unbind", UNBIND},
        {"1.unstack", UNBIND},
    };

    for (size_t i = 0; i < sizeof map / sizeof *map; i++) {
        if (strcmp(map[i].id, id) == 0)
            return map[i].what;
    }
    return NO_SPECIAL;
}

/* Adds the op to the line of those that the table lacks. */
static void
note_lacking(char *line, size_t room, const char *id, size_t *count)
{
    char safe[48], words[52];
    size_t used = strlen(line);

    (void)kerf_text_safe(safe, sizeof safe, id);
    (void)snprintf(words, sizeof words, "%s ", safe);
    if (strstr(line, words) != NULL || used + sizeof words > room)
        return;
    if (++*count <= LACKING_NAMED)
        (void)snprintf(line + used, room - used, "%s", words);
}

/* Room for the values of this op's results. The program may give them any
 * numbers, but not more than it has bytes. */
static kerf_err
note_results(kerf_pir *p, const json_t *results, size_t *most)
{
    size_t count = json_is_array(results) ? json_array_size(results) : 1;

    for (size_t i = 0; i < count; i++) {
        const json_t *result =
            json_is_array(results) ? json_array_get(results, i) : results;
        uint32_t number = 0;
        kerf_err err = kerf_pir_number_of(p, result, &number);

        if (err != KERF_OK)
            return err;
        if (number >= *most)
            *most = (size_t)number + 1;
    }
    return KERF_OK;
}

/* A name that the program gives. */
static kerf_err
take_name(kerf_pir *p, const char *name, const char **out)
{
    if (name == NULL || *name == '\0' || strlen(name) > NAME_BYTES_MAX)
        return kerf_pir_fail(p, KERF_ECORRUPT,
                             "a name of 1 to %d bytes is expected",
                             NAME_BYTES_MAX);
    if (json_object_get(p->names, name) != NULL)
        return kerf_pir_fail(p, KERF_ECORRUPT, "the name '%s' comes twice",
                             name);
    *out = claim(p, name);
    return *out == NULL ? KERF_ENOMEM : KERF_OK;
}

static const char *
text_attr(const json_t *op, const char *name)
{
    return json_string_value(json_object_get(kerf_pir_attr_of(op, name), "D"));
}

/* Names that the program gives: of parameters and inputs, then of what is
 * fetched and has none yet. */
static kerf_err
name_values(kerf_pir *p, bool is_output)
{
    kerf_err err = KERF_OK;

    for (p->op = 0; err == KERF_OK && p->op < json_array_size(p->ops);
         p->op++) {
        const json_t *op = json_array_get(p->ops, p->op);
        special what = special_of(kerf_pir_id(op));
        const json_t *ref = json_object_get(op, "O");
        const char *name = text_attr(op, "name");
        uint32_t number = 0;

        if (what == PARAM)
            name =
                json_string_value(json_array_get(json_object_get(op, "A"), 3));
        else if (what == INPUT)
            ref = json_array_get(ref, 0);
        else if (what == OUTPUT)
            ref = json_array_get(json_object_get(op, "I"), 0);
        else
            continue;
        if (is_output != (what == OUTPUT))
            continue;
        err = kerf_pir_number_of(p, ref, &number);
        if (err != KERF_OK)
            break;
        if (p->value[number].name == NULL)
            err = take_name(p, name, &p->value[number].name);
        else if (!is_output)
            err = kerf_pir_fail(p, KERF_ECORRUPT, "value %u is given twice",
                                number);
    }
    return err;
}

static kerf_err
look_through(kerf_pir *p)
{
    char lacking[LACKING_NAMED * 52 + 1] = "";
    size_t lacking_count = 0;
    size_t most = 1;
    kerf_err err = KERF_OK;

    for (p->op = 0; err == KERF_OK && p->op < json_array_size(p->ops);
         p->op++) {
        const json_t *op = json_array_get(p->ops, p->op);
        const char *id = kerf_pir_id(op);

        if (*id == '\0')
            return kerf_pir_fail(p, KERF_ECORRUPT, "no op");
        if (json_object_get(op, "regions") != NULL ||
            (special_of(id) == NO_SPECIAL && kerf_pir_find_rule(id) == NULL))
            note_lacking(lacking, sizeof lacking, id, &lacking_count);
        err = note_results(p, json_object_get(op, "O"), &most);
        if (err != KERF_OK)
            return err;
    }
    if (lacking_count > 0) {
        lacking[strlen(lacking) - 1] = '\0';
        return kerf_fail(p->why, KERF_ENOTSUP,
                         "no translation for the op%s %s%s: " EXPORT_OLD,
                         lacking_count > 1 ? "s" : "", lacking,
                         lacking_count > LACKING_NAMED ? " and more" : "");
    }
    p->value = calloc(most, sizeof *p->value);
    p->value_count = p->value_room = p->value == NULL ? 0 : most;
    if (p->value == NULL)
        return KERF_ENOMEM;
    err = name_values(p, false);
    return err == KERF_OK ? name_values(p, true) : err;
}

/* ---- the second walk ---------------------------------------------------- */

/* {"#": "p", "A": [.., .., .., name], "O": {"%": 3, "TT": type},
 *  "OA": [is_persistable, ..]} */
static kerf_err
take_param(kerf_pir *p, const json_t *op)
{
    const json_t *result = json_object_get(op, "O");
    const json_t *kept = json_array_get(json_object_get(op, "OA"), 0);
    kerf_pir_var kind = KERF_PIR_VAR_PARAM;
    uint32_t number = 0;
    kerf_err err = kerf_pir_number_of(p, result, &number);

    if (json_is_integer(kept) && json_integer_value(kept) == 0)
        kind = KERF_PIR_VAR_VALUE; /* not in the .pdiparams */
    if (err == KERF_OK)
        err = kerf_pir_define(p, number, p->value[number].name, kind,
                              json_object_get(result, "TT"));
    return err;
}

static kerf_err
take_input(kerf_pir *p, const json_t *op, json_int_t *col)
{
    const json_t *result = json_array_get(json_object_get(op, "O"), 0);
    kerf_rope args = {0}, attrs = {0};
    uint32_t number = 0;
    kerf_err err = kerf_pir_number_of(p, result, &number);

    if (err == KERF_OK)
        err = kerf_pir_define(p, number, p->value[number].name,
                              KERF_PIR_VAR_FEED, json_object_get(result, "TT"));
    if (err != KERF_OK)
        return err;
    kerf_pir_put_arg(&args, KERF_PIR_INPUTS, "X", "feed");
    kerf_pir_put_arg(&args, KERF_PIR_OUTPUTS, "Out", p->value[number].name);
    kerf_pir_put_attr_int(&attrs, "col", (*col)++);
    kerf_pir_put_op(&p->feeds, "feed", &args, &attrs);
    return KERF_OK;
}

static kerf_err
take_constant(kerf_pir *p, const json_t *op)
{
    const json_t *result = json_array_get(json_object_get(op, "O"), 0);
    uint32_t number = 0;
    kerf_pir_value *v;
    kerf_err err = kerf_pir_number_of(p, result, &number);

    if (err != KERF_OK)
        return err;
    v = &p->value[number];
    err = kerf_pir_check_new(p, number);
    if (err != KERF_OK)
        return err;
    err = kerf_pir_read_tensor(json_object_get(result, "TT"), &v->type);
    if (err != KERF_OK)
        return kerf_pir_fail(p, err, "its result is no tensor that is known");
    v->kind = KERF_PIR_CONSTANT;
    v->op = op;
    return KERF_OK;
}

static kerf_err
take_combine(kerf_pir *p, const json_t *op)
{
    const json_t *operands = json_object_get(op, "I");
    size_t count = json_array_size(operands);
    uint32_t number = 0;
    uint32_t *elem;
    kerf_err err = kerf_pir_number_of(
        p, json_array_get(json_object_get(op, "O"), 0), &number);

    if (err == KERF_OK)
        err = kerf_pir_check_new(p, number);
    if (err != KERF_OK)
        return err;
    if (count > KERF_PIR_LIST_MAX)
        return kerf_pir_fail(p, KERF_ETOOBIG, "a list of %zu tensors", count);
    elem = calloc(count + 1, sizeof *elem);
    if (elem == NULL)
        return KERF_ENOMEM;
    for (size_t i = 0; err == KERF_OK && i < count; i++)
        err = kerf_pir_number_of(p, json_array_get(operands, i), &elem[i]);
    if (err != KERF_OK) {
        free(elem);
        return err;
    }
    p->value[number] = (kerf_pir_value){
        .kind = KERF_PIR_LIST, .elem = elem, .elem_count = count};
    return KERF_OK;
}

/* Results [i] are elements [first + i] of the list that the op reads. */
static kerf_err
take_split(kerf_pir *p, const json_t *op, size_t first)
{
    const json_t *results = json_object_get(op, "O");
    uint32_t list = 0, number = 0;
    kerf_err err = kerf_pir_number_of(
        p, json_array_get(json_object_get(op, "I"), 0), &list);

    for (size_t i = 0; err == KERF_OK && i < json_array_size(results); i++) {
        const kerf_pir_value *elem;

        err = kerf_pir_number_of(p, json_array_get(results, i), &number);
        if (err != KERF_OK)
            return err;
        if (p->value[list].kind != KERF_PIR_LIST ||
            first + i >= p->value[list].elem_count)
            return kerf_pir_fail(p, KERF_ECORRUPT,
                                 "value %u has no element %zu", list,
                                 first + i);
        elem = &p->value[p->value[list].elem[first + i]];
        if (number == 0 || p->value[number].kind != KERF_PIR_NOTHING ||
            elem->kind == KERF_PIR_LIST)
            return kerf_pir_fail(p, KERF_ECORRUPT, "value %u", number);
        p->value[number] = *elem;
    }
    return err;
}

static kerf_err
take_pick(kerf_pir *p, const json_t *op)
{
    const json_t *index = json_object_get(kerf_pir_attr_of(op, "index"), "D");
    json_int_t i = json_integer_value(index);

    if (!json_is_integer(index) || i < 0 || i >= KERF_PIR_LIST_MAX)
        return kerf_pir_fail(p, KERF_ECORRUPT, "attribute 'index'");
    return take_split(p, op, (size_t)i);
}

static kerf_err
take_op(kerf_pir *p, const json_t *op, json_int_t *inputs)
{
    switch (special_of(kerf_pir_id(op))) {
    case PARAM:
        return take_param(p, op);
    case INPUT:
        return take_input(p, op, inputs);
    case OUTPUT:
        return KERF_OK; /* write_outputs() */
    case CONSTANT:
        return take_constant(p, op);
    case COMBINE:
        return take_combine(p, op);
    case SPLIT:
        return take_split(p, op, 0);
    case PICK:
        return take_pick(p, op);
    case UNBIND:
        return kerf_pir_unbind(p, op);
    case NO_SPECIAL:
        break;
    }
    return kerf_pir_apply(p, op, kerf_pir_find_rule(kerf_pir_id(op)));
}

static kerf_err
write_ops(kerf_pir *p)
{
    json_int_t inputs = 0;
    kerf_err err = KERF_OK;

    for (p->op = 0; err == KERF_OK && p->op < json_array_size(p->ops);
         p->op++) {
        err = take_op(p, json_array_get(p->ops, p->op), &inputs);
        if (err == KERF_OK && (p->body.bad || p->vars.bad))
            err = KERF_ENOMEM;
        if (err == KERF_OK && p->body.len > PDMODEL_BYTES_MAX)
            err = kerf_pir_fail(p, KERF_ETOOBIG,
                                "the translation grows over %zu bytes",
                                PDMODEL_BYTES_MAX);
    }
    return err;
}

static int
compare_outputs(const void *a, const void *b)
{
    json_int_t x = ((const output *)a)->col, y = ((const output *)b)->col;

    return (x > y) - (x < y);
}

static kerf_err
read_outputs(kerf_pir *p, output **out, size_t *count)
{
    output *found = calloc(OUTPUTS_MAX, sizeof *found);
    size_t n = 0;
    kerf_err err = found == NULL ? KERF_ENOMEM : KERF_OK;

    for (p->op = 0; err == KERF_OK && p->op < json_array_size(p->ops);
         p->op++) {
        const json_t *op = json_array_get(p->ops, p->op);
        const json_t *col = json_object_get(kerf_pir_attr_of(op, "col"), "D");

        if (special_of(kerf_pir_id(op)) != OUTPUT)
            continue;
        if (n == OUTPUTS_MAX || !json_is_integer(col)) {
            err = kerf_pir_fail(p, KERF_ECORRUPT,
                                "one output too many, or "
                                "its 'col' is missing");
        } else {
            found[n].col = json_integer_value(col);
            found[n].op = p->op;
            err = kerf_pir_number_of(
                p, json_array_get(json_object_get(op, "I"), 0),
                &found[n++].value);
        }
    }
    if (err == KERF_OK && n > 0)
        qsort(found, n, sizeof *found, compare_outputs);
    for (size_t i = 0; err == KERF_OK && i < n; i++) {
        p->op = found[i].op;
        if (found[i].col != (json_int_t)i)
            err = kerf_pir_fail(p, KERF_ECORRUPT,
                                "outputs are not numbered 0 to %zu", n - 1);
    }
    *out = found;
    *count = n;
    return err;
}

/* In the order of their numbers: engines go by the order of the ops. */
static kerf_err
write_outputs(kerf_pir *p)
{
    output *found = NULL;
    size_t count = 0;
    kerf_err err = read_outputs(p, &found, &count);

    if (err == KERF_OK && count == 0)
        err = kerf_fail(p->why, KERF_ECORRUPT, "a program without an output");
    for (size_t i = 0; err == KERF_OK && i < count; i++) {
        kerf_rope args = {0}, attrs = {0};
        const char *name;

        p->op = found[i].op;
        err = kerf_pir_variable(p, found[i].value, &name);
        if (err != KERF_OK)
            break;
        kerf_pir_put_arg(&args, KERF_PIR_INPUTS, "X", name);
        kerf_pir_put_arg(&args, KERF_PIR_OUTPUTS, "Out", "fetch");
        kerf_pir_put_attr_int(&attrs, "col", (int64_t)i);
        kerf_pir_put_op(&p->body, "fetch", &args, &attrs);
    }
    free(found);
    return err;
}
