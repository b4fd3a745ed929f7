/*
 * The state of rollouts as text:
 *
 *     {"kerf_rollouts": 1, "models": [
 *         {"model": "m", "old": "<id>", "new": "<id>", "state": "halted",
 *          "signed": true, "percent": 10, "why": "...",
 *          "edges": {"offered": [...], "well": ["name"], "failed": [...]}}]}
 */
#include "cloud/rollout_own.h"

#include "base/hash.h"
#include "base/text.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const trial_names[] = {"none", "offered", "well", "failed"};

kerf_rollout *
kerf_rollout_copy(const kerf_rollout *r)
{
    kerf_rollout *copy = malloc(sizeof *copy + r->count * sizeof(kerf_trial));
    kerf_trial *to;

    if (copy == NULL)
        return NULL;
    to = (kerf_trial *)(copy + 1);
    *copy = *r;
    copy->table = NULL;
    for (size_t i = 0; i < KERF_TRIALS_LISTS; i++) {
        kerf_trial **at = &copy->trials[i].first;

        for (const kerf_trial *t = r->trials[i].first; t != NULL; t = t->next) {
            *to = *t;
            *at = to++;
            at = &(*at)->next;
        }
        *at = NULL;
    }
    return copy;
}

static json_t *
id_json(const uint8_t id[KERF_ROLLOUT_ID])
{
    char hex[2 * KERF_ROLLOUT_ID + 1];

    kerf_hex(hex, id, KERF_ROLLOUT_ID);
    return json_string(hex);
}

static json_t *
edges_json(const kerf_rollout *r)
{
    json_t *o = json_object();

    for (int s = KERF_TRIAL_OFFERED; s <= KERF_TRIAL_FAILED; s++)
        (void)json_object_set_new(o, trial_names[s], json_array());
    for (size_t i = 0; i < KERF_TRIALS_LISTS; i++) {
        for (const kerf_trial *t = r->trials[i].first; t != NULL; t = t->next)
            (void)json_array_append_new(
                json_object_get(o, trial_names[t->state]),
                json_string(t->edge));
    }
    return o;
}

static json_t *
one_json(const kerf_rollout *r)
{
    return json_pack(
        "{s:s, s:o, s:o, s:s, s:b, s:f, s:s, s:o}", "model", r->name, "old",
        id_json(r->old_id), "new", id_json(r->new_id), "state",
        kerf_rollout_state_name(r->state), "signed", r->was_signed, "percent",
        r->percent, "why", r->why, "edges", edges_json(r));
}

kerf_err
kerf_rollout_format(const kerf_rollout *const *list, size_t count, char **out)
{
    json_t *models = json_array();
    json_t *o = json_pack("{s:i, s:O}", "kerf_rollouts", 1, "models", models);
    bool whole = o != NULL;

    for (size_t i = 0; whole && i < count; i++)
        whole = json_array_append_new(models, one_json(list[i])) == 0;
    *out = whole ? json_dumps(o, JSON_INDENT(1) | JSON_SORT_KEYS) : NULL;
    json_decref(models);
    json_decref(o);
    return *out != NULL ? KERF_OK : KERF_ENOMEM;
}

static kerf_err
fail(kerf_detail *why, const char *what)
{
    return kerf_fail(why, KERF_ECORRUPT, "%s is missing or wrong", what);
}

static bool
read_id(uint8_t id[KERF_ROLLOUT_ID], const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));

    return text != NULL && kerf_unhex(id, KERF_ROLLOUT_ID, text);
}

static bool
read_state(kerf_rollout *r, const json_t *o)
{
    const char *text = json_string_value(json_object_get(o, "state"));

    for (int s = KERF_ROLLOUT_OVER; text != NULL && s <= KERF_ROLLOUT_BACK;
         s++) {
        if (strcmp(text, kerf_rollout_state_name((kerf_rollout_state)s)) == 0) {
            r->state = (kerf_rollout_state)s;
            return true;
        }
    }
    return false;
}

static bool
is_shown(const char *text, size_t cap)
{
    char safe[KERF_ROLLOUT_WHY];

    return text != NULL && strlen(text) < cap &&
           strcmp(kerf_text_safe(safe, sizeof safe, text), text) == 0;
}

static kerf_err
read_edges(kerf_rollout *r, const json_t *edges, kerf_trial_state state,
           kerf_detail *why)
{
    const json_t *list = json_object_get(edges, trial_names[state]);

    if (!json_is_array(list))
        return fail(why, "a list of edges");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *edge = json_string_value(json_array_get(list, i));

        if (!is_shown(edge, KERF_NAME_MAX) ||
            kerf_rollout_trial(r, edge) != KERF_TRIAL_NONE ||
            r->count >= KERF_ROLLOUT_EDGES)
            return fail(why, "the name of an edge");
        if (kerf_rollout_add(r, edge, state) == NULL)
            return KERF_ENOMEM;
    }
    return KERF_OK;
}

static kerf_err
read_one(kerf_rollout *r, const json_t *o, kerf_detail *why)
{
    const char *name = json_string_value(json_object_get(o, "model"));
    const char *text = json_string_value(json_object_get(o, "why"));
    const json_t *is_signed = json_object_get(o, "signed");
    const json_t *edges = json_object_get(o, "edges");
    double percent = json_number_value(json_object_get(o, "percent"));
    kerf_err err = KERF_OK;

    if (name == NULL || strlen(name) >= KERF_NAME_MAX ||
        !kerf_text_is_name(name))
        return fail(why, "the name of a model");
    kerf_rollout_init(r, name);
    if (!read_id(r->old_id, o, "old") || !read_id(r->new_id, o, "new"))
        return fail(why, "the id of a bundle");
    if (!read_state(r, o))
        return fail(why, "\"state\"");
    if (!json_is_number(json_object_get(o, "percent")) ||
        !(percent >= 0 && percent <= 100))
        return fail(why, "\"percent\"");
    r->percent = percent;
    if (is_signed != NULL && !json_is_boolean(is_signed))
        return fail(why, "\"signed\"");
    r->was_signed = json_is_true(is_signed); /* not there: of an earlier kerf */
    if (!is_shown(text, sizeof r->why))
        return fail(why, "\"why\"");
    memcpy(r->why, text, strlen(text) + 1);
    for (int s = KERF_TRIAL_OFFERED; err == KERF_OK && s <= KERF_TRIAL_FAILED;
         s++)
        err = read_edges(r, edges, (kerf_trial_state)s, why);
    return err;
}

static bool
is_known(kerf_rollout *const *list, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list[i]->name, name) == 0)
            return true;
    }
    return false;
}

static kerf_err
read_all(kerf_rollout **list, size_t most, size_t *count, const json_t *models,
         kerf_detail *why)
{
    kerf_err err = KERF_OK;

    if (!json_is_array(models) || json_array_size(models) > most)
        return fail(why, "\"models\"");
    for (size_t i = 0; err == KERF_OK && i < json_array_size(models); i++) {
        kerf_rollout *r = calloc(1, sizeof *r);

        if (r == NULL)
            return KERF_ENOMEM;
        err = read_one(r, json_array_get(models, i), why);
        if (err == KERF_OK && is_known(list, *count, r->name))
            err = fail(why, "a model stands there twice: one of them");
        list[*count] = r;
        (*count)++;
    }
    return err;
}

kerf_err
kerf_rollout_parse(kerf_rollout **list, size_t most, size_t *count,
                   const void *json, size_t len, kerf_detail *why)
{
    json_t *o = json_loadb(json, len, JSON_REJECT_DUPLICATES, NULL);
    const json_t *version = json_object_get(o, "kerf_rollouts");
    kerf_err err;

    *count = 0;
    if (!json_is_integer(version))
        err = fail(why, "\"kerf_rollouts\"");
    else if (json_integer_value(version) != 1)
        err = kerf_fail(why, KERF_EVERSION, "it is of another kerf");
    else
        err = read_all(list, most, count, json_object_get(o, "models"), why);
    json_decref(o);
    while (err != KERF_OK && *count > 0) {
        kerf_rollout *r = list[--*count];

        kerf_rollout_fini(r);
        free(r);
    }
    return err;
}
