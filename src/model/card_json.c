#include "kerf/card.h"

#include "base/text.h"
#include "model/probe_json.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* In the order of the enums. */
static const char *const task_names[] = {"raw", "classify", NULL};
static const char *const layout_names[] = {"NCHW", "NHWC", NULL};
static const char *const resize_names[] = {"stretch", "letterbox", "crop",
                                           NULL};
static const char *const colour_names[] = {"rgb", "bgr", "gray", NULL};

static kerf_err
fail_at(kerf_detail *why, const char *member, const char *expected)
{
    return kerf_fail(why, KERF_ECORRUPT, "card: \"%s\": expected %s", member,
                     expected);
}

/* *out stays as it is when the member is absent. */
static kerf_err
read_choice(const json_t *in, const char *key, const char *const *names,
            int *out, bool *given, kerf_detail *why)
{
    const json_t *v = json_object_get(in, key);
    char list[128] = "one of";

    *given = v != NULL;
    if (v == NULL)
        return KERF_OK;
    for (int i = 0; names[i] != NULL; i++) {
        if (json_is_string(v) &&
            strcasecmp(json_string_value(v), names[i]) == 0) {
            *out = i;
            return KERF_OK;
        }
        strncat(list, i == 0 ? " " : ", ", sizeof list - strlen(list) - 1);
        strncat(list, names[i], sizeof list - strlen(list) - 1);
    }
    return fail_at(why, key, list);
}

static bool
to_float(const json_t *v, float *out)
{
    double d = json_number_value(v);

    if (!json_is_number(v) || !isfinite((float)d))
        return false;
    *out = (float)d;
    return true;
}

/* One number for all channels, or three. */
static kerf_err
read_triple(const json_t *in, const char *key, float out[3], bool *given,
            kerf_detail *why)
{
    const json_t *v = json_object_get(in, key);
    float t[3] = {0};
    size_t n = json_is_array(v) ? json_array_size(v) : 1;

    *given = v != NULL;
    if (v == NULL)
        return KERF_OK;
    if (n != 1 && n != 3)
        return fail_at(why, key, "1 or 3 numbers");
    for (size_t i = 0; i < n; i++) {
        if (!to_float(json_is_array(v) ? json_array_get(v, i) : v, &t[i]))
            return fail_at(why, key, "1 or 3 numbers");
    }
    for (size_t i = 0; i < 3; i++)
        out[i] = t[n == 3 ? i : 0];
    return KERF_OK;
}

static kerf_err
read_size(kerf_card *card, const json_t *in, bool *given, kerf_detail *why)
{
    const json_t *v = json_object_get(in, "size");
    json_int_t side[2] = {0};

    *given = v != NULL;
    if (v == NULL)
        return KERF_OK;
    for (size_t i = 0; i < 2 && json_array_size(v) == 2; i++)
        side[i] = json_integer_value(json_array_get(v, i));
    if (side[0] < 1 || side[0] > KERF_CARD_SIDE_MAX || side[1] < 1 ||
        side[1] > KERF_CARD_SIDE_MAX)
        return fail_at(why, "size", "[height, width] in pixels");
    card->height = (int)side[0];
    card->width = (int)side[1];
    return KERF_OK;
}

static void
note(kerf_card *card, bool given, unsigned bit)
{
    if (given)
        card->given |= bit;
}

static kerf_err
read_values(kerf_card *card, const json_t *in, kerf_detail *why)
{
    const json_t *scale = json_object_get(in, "scale");
    const json_t *pad = json_object_get(in, "pad");
    json_int_t grey = json_integer_value(pad);
    bool given = scale != NULL;
    kerf_err err;

    if (given && !to_float(scale, &card->scale))
        return fail_at(why, "scale", "a number");
    note(card, given, KERF_GIVEN_SCALE);
    if (pad != NULL && (!json_is_integer(pad) || grey < 0 || grey > 255))
        return fail_at(why, "pad", "0..255");
    if (pad != NULL)
        card->pad = (uint8_t)grey;
    err = read_triple(in, "mean", card->mean, &given, why);
    if (err != KERF_OK)
        return err;
    note(card, given, KERF_GIVEN_MEAN);
    err = read_triple(in, "std", card->std, &given, why);
    note(card, given, KERF_GIVEN_STD);
    return err;
}

static kerf_err
read_input(kerf_card *card, const json_t *in, kerf_detail *why)
{
    static const char *const kinds[] = {"image", "tensor", NULL};
    const char *colour =
        json_object_get(in, "color") != NULL ? "color" : "colour";
    int kind = 0;
    int n = 0;
    bool given;
    kerf_err err;

    if (in == NULL)
        return KERF_OK;
    if (!json_is_object(in))
        return fail_at(why, "input", "an object");
    err = read_choice(in, "kind", kinds, &kind, &given, why);
    if (err != KERF_OK)
        return err;
    card->is_image = kind == 0;
    err = read_choice(in, "layout", layout_names, &n, &given, why);
    if (err != KERF_OK)
        return err;
    card->layout = (kerf_layout)n;
    note(card, given, KERF_GIVEN_LAYOUT);
    n = 0;
    err = read_choice(in, "resize", resize_names, &n, &given, why);
    if (err != KERF_OK)
        return err;
    card->resize = (kerf_resize)n;
    note(card, given, KERF_GIVEN_RESIZE);
    n = 0;
    err = read_choice(in, colour, colour_names, &n, &given, why);
    if (err != KERF_OK)
        return err;
    card->colour = (kerf_colour)n;
    note(card, given, KERF_GIVEN_COLOUR);
    err = read_size(card, in, &given, why);
    if (err != KERF_OK)
        return err;
    note(card, given, KERF_GIVEN_SIZE);
    return read_values(card, in, why);
}

static kerf_err
read_labels(kerf_card *card, const json_t *v, kerf_detail *why)
{
    size_t n = json_array_size(v);

    if (v == NULL)
        return KERF_OK;
    if (!json_is_array(v) || n > KERF_CARD_LABELS_MAX)
        return fail_at(why, "labels", "an array of at most 65536 texts");
    card->given |= KERF_GIVEN_LABELS;
    card->label = calloc(n == 0 ? 1 : n, sizeof *card->label);
    if (card->label == NULL)
        return KERF_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        const json_t *text = json_array_get(v, i);

        if (!json_is_string(text) ||
            json_string_length(text) > KERF_CARD_LABEL_BYTES_MAX)
            return fail_at(why, "labels", "texts of at most 4096 bytes");
        card->label[i] = strdup(json_string_value(text));
        if (card->label[i] == NULL)
            return KERF_ENOMEM;
        card->label_count++;
    }
    return KERF_OK;
}

static kerf_err
read_probes(kerf_card *card, const json_t *v, kerf_detail *why)
{
    if (v == NULL)
        return KERF_OK;
    return kerf_probes_from_json(&card->probe, &card->probe_count, v, why);
}

static kerf_err
read_header(kerf_card *card, const json_t *root, kerf_detail *why)
{
    static const char *const scores[] = {"probabilities", "logits", NULL};
    const json_t *version = json_object_get(root, "kerf_card");
    const json_t *name = json_object_get(root, "name");
    int n = 0;
    bool given;
    kerf_err err;

    if (!json_is_integer(version))
        return fail_at(why, "kerf_card", "the card's version, 1");
    if (json_integer_value(version) != 1)
        return kerf_fail(why, KERF_EVERSION,
                         "card: version %lld, this kerf reads version 1",
                         (long long)json_integer_value(version));
    if (name != NULL &&
        (!json_is_string(name) || json_string_length(name) >= KERF_NAME_MAX ||
         !kerf_text_is_name(json_string_value(name))))
        return fail_at(why, "name",
                       "at most 127 of letters, digits, '.', '_', '-'");
    if (name != NULL)
        memcpy(card->name, json_string_value(name),
               json_string_length(name) + 1);
    err = read_choice(root, "task", task_names, &n, &given, why);
    if (err != KERF_OK)
        return err;
    card->task = (kerf_task)n;
    note(card, given, KERF_GIVEN_TASK);
    n = 0;
    err = read_choice(root, "scores", scores, &n, &card->scores_given, why);
    card->scores_are_logits = n == 1;
    return err;
}

kerf_err
kerf_card_parse(kerf_card *card, const void *json, size_t len, kerf_detail *why)
{
    char text[JSON_ERROR_TEXT_LENGTH * 4];
    kerf_card fresh;
    json_error_t bad;
    json_t *root;
    kerf_err err;

    if (len > KERF_CARD_BYTES_MAX)
        return kerf_fail(why, KERF_ETOOBIG, "card: %zu bytes, the limit is %zu",
                         len, KERF_CARD_BYTES_MAX);
    root = json_loadb(json, len, 0, &bad);
    if (root == NULL)
        return kerf_fail(why, KERF_ECORRUPT, "card: line %d: %s", bad.line,
                         kerf_text_safe(text, sizeof text, bad.text));
    kerf_card_init(&fresh);
    err = json_is_object(root) ? read_header(&fresh, root, why)
                               : fail_at(why, "kerf_card", "an object");
    if (err == KERF_OK)
        err = read_input(&fresh, json_object_get(root, "input"), why);
    if (err == KERF_OK)
        err = read_labels(&fresh, json_object_get(root, "labels"), why);
    if (err == KERF_OK)
        err = read_probes(&fresh, json_object_get(root, "probes"), why);
    if (err == KERF_ENOMEM)
        (void)kerf_fail(why, err, "card: out of memory");
    json_decref(root);
    if (err != KERF_OK) {
        kerf_card_fini(&fresh);
        return err;
    }
    if (fresh.label_count > 0 && (fresh.given & KERF_GIVEN_TASK) == 0)
        fresh.task = KERF_TASK_CLASSIFY;
    kerf_card_fini(card);
    *card = fresh;
    return KERF_OK;
}

/* A float as the shortest decimal that reads back as the same float, so that
 * 1/255 is not written with the digits of a double. */
static json_t *
make_real(float v)
{
    char text[32];

    for (int digits = 1; digits <= 9; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, (double)v);
        if (strtof(text, NULL) == v)
            break;
    }
    return json_real(strtod(text, NULL));
}

/* Sets a member to the value, which is consumed; false when it is missing or
 * there is no memory. */
static bool
put(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0;
}

static json_t *
make_triple(const float v[3])
{
    json_t *list = json_array();

    for (int i = 0; i < 3; i++) {
        if (json_array_append_new(list, make_real(v[i])) == 0)
            continue;
        json_decref(list);
        return NULL;
    }
    return list;
}

static bool
put_image(json_t *in, const kerf_card *c)
{
    return put(in, "kind", json_string("image")) &&
           ((c->given & KERF_GIVEN_LAYOUT) == 0 ||
            put(in, "layout", json_string(layout_names[c->layout]))) &&
           ((c->given & KERF_GIVEN_SIZE) == 0 ||
            put(in, "size", json_pack("[ii]", c->height, c->width))) &&
           ((c->given & KERF_GIVEN_RESIZE) == 0 ||
            put(in, "resize", json_string(resize_names[c->resize]))) &&
           ((c->given & KERF_GIVEN_COLOUR) == 0 ||
            put(in, "colour", json_string(colour_names[c->colour]))) &&
           (c->resize != KERF_RESIZE_LETTERBOX ||
            put(in, "pad", json_integer(c->pad))) &&
           ((c->given & KERF_GIVEN_SCALE) == 0 ||
            put(in, "scale", make_real(c->scale))) &&
           ((c->given & KERF_GIVEN_MEAN) == 0 ||
            put(in, "mean", make_triple(c->mean))) &&
           ((c->given & KERF_GIVEN_STD) == 0 ||
            put(in, "std", make_triple(c->std)));
}

static json_t *
make_input(const kerf_card *card)
{
    json_t *in = json_object();

    if (card->is_image ? put_image(in, card)
                       : put(in, "kind", json_string("tensor")))
        return in;
    json_decref(in);
    return NULL;
}

static json_t *
make_labels(const kerf_card *card)
{
    json_t *list = json_array();

    for (size_t i = 0; i < card->label_count; i++) {
        if (json_array_append_new(list, json_string(card->label[i])) == 0)
            continue;
        json_decref(list);
        return NULL;
    }
    return list;
}

/* One member of the root per line, compact inside: a person can read it and
 * long arrays stay short. NULL when out of memory. */
static char *
dump_lines(json_t *root)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    const char *comma = "";
    const char *key;
    json_t *value;
    bool bad = f == NULL;

    if (bad)
        return NULL;
    (void)fputc('{', f);
    json_object_foreach(root, key, value)
    {
        char *part =
            json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));

        bad = bad || part == NULL;
        (void)fprintf(f, "%s\n \"%s\": %s", comma, key,
                      part == NULL ? "" : part);
        comma = ",";
        free(part);
    }
    (void)fputs("\n}\n", f);
    bad = fclose(f) != 0 || bad;
    if (!bad)
        return text;
    free(text);
    return NULL;
}

/* What kerf_card_parse() would refuse, or JSON cannot hold. */
static kerf_err
check_labels(const kerf_card *card)
{
    if (card->label_count > KERF_CARD_LABELS_MAX)
        return KERF_ETOOBIG;
    for (size_t i = 0; i < card->label_count; i++) {
        if (strlen(card->label[i]) > KERF_CARD_LABEL_BYTES_MAX)
            return KERF_ETOOBIG;
        if (!kerf_text_is_utf8(card->label[i]))
            return KERF_ECORRUPT;
    }
    return KERF_OK;
}

static bool
is_finite(const kerf_card *c)
{
    bool good = isfinite(c->scale);

    for (int i = 0; i < 3; i++)
        good = good && isfinite(c->mean[i]) && isfinite(c->std[i]);
    return good;
}

static bool
put_all(json_t *root, const kerf_card *c)
{
    const char *scores = c->scores_are_logits ? "logits" : "probabilities";

    return put(root, "kerf_card", json_integer(1)) &&
           (c->name[0] == '\0' || put(root, "name", json_string(c->name))) &&
           put(root, "task", json_string(task_names[c->task])) &&
           put(root, "input", make_input(c)) &&
           (c->label_count == 0 || put(root, "labels", make_labels(c))) &&
           (!c->scores_given || put(root, "scores", json_string(scores))) &&
           (c->probe_count == 0 ||
            put(root, "probes", kerf_probes_to_json(c->probe, c->probe_count)));
}

kerf_err
kerf_card_format(const kerf_card *card, char **out)
{
    kerf_err err = check_labels(card);
    json_t *root;
    char *text = NULL;

    if (err != KERF_OK)
        return err;
    if (!is_finite(card))
        return KERF_ECORRUPT;
    root = json_object();
    if (put_all(root, card))
        text = dump_lines(root);
    json_decref(root);
    if (text == NULL)
        return KERF_ENOMEM;
    if (strlen(text) > KERF_CARD_BYTES_MAX) {
        free(text);
        return KERF_ETOOBIG;
    }
    *out = text;
    return KERF_OK;
}
