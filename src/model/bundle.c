#include "model/bundle.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/bytes.h"
#include "base/text.h"
#include "model/probe_json.h"
#include "model/units.h"
#include "trust/json_load.h"

enum {
    MANIFEST_FORM = 1 /* of the JSON; "kerf_manifest" */
};

static const char *const role_names[KERF_ROLE_COUNT] = {
    [KERF_ROLE_CARD] = "card",
    [KERF_ROLE_HEAD_GRAPH] = "head_graph",
    [KERF_ROLE_HEAD_WEIGHTS] = "head_weights",
    [KERF_ROLE_TAIL_GRAPH] = "tail_graph",
    [KERF_ROLE_TAIL_WEIGHTS] = "tail_weights",
};

bool
kerf_role_is_shipped(kerf_role role, bool tails)
{
    return tails || role == KERF_ROLE_CARD || role == KERF_ROLE_HEAD_GRAPH ||
           role == KERF_ROLE_HEAD_WEIGHTS;
}

bool
kerf_role_file(char out[KERF_PART_NAME], kerf_role role, kerf_format format,
               const char *name)
{
    bool onnx = format == KERF_FORMAT_ONNX;
    bool tail = role == KERF_ROLE_TAIL_GRAPH || role == KERF_ROLE_TAIL_WEIGHTS;
    bool graph = role == KERF_ROLE_HEAD_GRAPH || role == KERF_ROLE_TAIL_GRAPH;

    out[0] = '\0';
    if (!onnx && format != KERF_FORMAT_PADDLE)
        return false;
    if (role == KERF_ROLE_CARD)
        (void)snprintf(out, KERF_PART_NAME, "%s.kerf.json", name);
    else if (graph) {
        (void)snprintf(out, KERF_PART_NAME, "%s_infer_%s.%s",
                       tail ? "server" : "client", name,
                       onnx ? "onnx" : "pdmodel");
    } else if (onnx) {
        return false;
    } else {
        (void)snprintf(out, KERF_PART_NAME, "%s_infer_%s.pdiparams",
                       tail ? "server" : "client", name);
    }
    return true;
}

void
kerf_manifest_fini(kerf_manifest *m)
{
    for (size_t i = 0; i < KERF_PARTS_MAX; i++)
        kerf_units_drop(&m->file[i]);
    kerf_probes_free(m->probe, m->probe_count);
    *m = (kerf_manifest){0};
}

const kerf_file *
kerf_manifest_file(const kerf_manifest *m, kerf_role role)
{
    for (size_t i = 0; i < m->file_count; i++) {
        if (m->file[i].role == role)
            return &m->file[i];
    }
    return NULL;
}

kerf_err
kerf_manifest_seal(kerf_manifest *m)
{
    static const char title[] = "kerf-bundle-1\n";
    kerf_sha256 *hash = NULL;
    kerf_err err = kerf_sha256_new(&hash);

    if (err != KERF_OK)
        return err;
    kerf_sha256_add(hash, title, sizeof title - 1);
    for (size_t i = 0; i < m->file_count; i++) {
        const kerf_file *f = &m->file[i];
        uint8_t bytes[1 + 2 + sizeof f->name + 8 + KERF_SHA256_LEN];
        kerf_wr w = {.at = bytes, .left = sizeof bytes};

        kerf_wr_u8(&w, (uint8_t)f->role);
        kerf_wr_str(&w, f->name);
        kerf_wr_u64(&w, f->size);
        kerf_wr_bytes(&w, f->sha256, KERF_SHA256_LEN);
        kerf_sha256_add(hash, bytes, (size_t)(w.at - bytes));
    }
    kerf_sha256_end(hash, m->id);
    kerf_sha256_free(hash);
    return KERF_OK;
}

static json_t *
file_to_json(const kerf_file *f)
{
    char hex[KERF_SHA256_HEX];
    char *units = NULL;
    json_t *object;

    kerf_hex(hex, f->sha256, KERF_SHA256_LEN);
    if (f->unit_count > 0) {
        units = kerf_units_text(f);
        if (units == NULL)
            return NULL;
    }
    object = json_pack("{s:s, s:s, s:I, s:s, s:s*}", "role",
                       role_names[f->role], "name", f->name, "size",
                       (json_int_t)f->size, "sha256", hex, "units", units);
    free(units);
    return object;
}

kerf_err
kerf_manifest_format(const kerf_manifest *m, char **out)
{
    char hex[2 * KERF_BUNDLE_ID_LEN + 1];
    json_t *files = json_array();
    json_t *probes = kerf_probes_to_json(m->probe, m->probe_count);
    json_t *sig = NULL;
    json_t *root = NULL;
    kerf_err err = KERF_ENOMEM;
    char *text = NULL;

    kerf_hex(hex, m->id, KERF_BUNDLE_ID_LEN);
    if (files == NULL || probes == NULL)
        goto out;
    for (size_t i = 0; i < m->file_count; i++) {
        if (json_array_append_new(files, file_to_json(&m->file[i])) != 0)
            goto out;
    }
    if (m->sig.len > 0 && (sig = kerf_signed_to_json(&m->sig)) == NULL)
        goto out;
    root = json_pack(
        "{s:i, s:s, s:s, s:s, s:O, s:O, s:f, s:o*}", "kerf_manifest",
        MANIFEST_FORM, "name", m->name, "id", hex, "format",
        m->format == KERF_FORMAT_ONNX ? "onnx" : "paddle", "files", files,
        "probes", probes, "probe_tolerance", m->probe_tolerance, "signed", sig);
    sig = NULL;
    if (root != NULL)
        text = json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(17));
    if (text == NULL)
        goto out;
    *out = text;
    err = KERF_OK;
out:
    json_decref(files);
    json_decref(probes);
    json_decref(root);
    return err;
}

/* A text member, or NULL. */
static const char *
text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static kerf_err
read_role(kerf_role *role, const char *text, kerf_detail *why)
{
    for (int i = 0; text != NULL && i < KERF_ROLE_COUNT; i++) {
        if (strcmp(text, role_names[i]) == 0) {
            *role = (kerf_role)i;
            return KERF_OK;
        }
    }
    return kerf_fail(why, KERF_ECORRUPT, "manifest: unknown file role");
}

/* An old cloud says nothing about them. */
static kerf_err
read_units(kerf_file *f, const json_t *units, kerf_detail *why)
{
    if (units == NULL)
        return KERF_OK;
    if (!json_is_string(units))
        return kerf_fail(why, KERF_ECORRUPT,
                         "manifest: %s: \"units\": expected text", f->name);
    return kerf_units_parse(f, json_string_value(units),
                            json_string_length(units), why);
}

static kerf_err
read_file(kerf_file *f, const kerf_manifest *m, const json_t *object,
          kerf_detail *why)
{
    const json_t *size = json_object_get(object, "size");
    const char *name = text_of(object, "name");
    const char *hex = text_of(object, "sha256");
    char expected[KERF_PART_NAME];
    json_int_t bytes;
    uint64_t most;
    kerf_err err;

    err = read_role(&f->role, text_of(object, "role"), why);
    if (err != KERF_OK)
        return err;
    if (!kerf_role_file(expected, f->role, m->format, m->name))
        return kerf_fail(why, KERF_ECORRUPT, "manifest: a %s in this format",
                         role_names[f->role]);
    if (name == NULL || strcmp(name, expected) != 0) {
        char safe[128];

        return kerf_fail(
            why, KERF_ECORRUPT, "manifest: the %s is named \"%s\", not \"%s\"",
            role_names[f->role],
            kerf_text_safe(safe, sizeof safe, name == NULL ? "" : name),
            expected);
    }
    (void)snprintf(f->name, sizeof f->name, "%s", name);
    bytes = json_is_integer(size) ? json_integer_value(size) : -1;
    most =
        f->role == KERF_ROLE_CARD ? KERF_CARD_BYTES_MAX : KERF_MODEL_BYTES_MAX;
    if (bytes < 0 || (uint64_t)bytes > most)
        return kerf_fail(why, KERF_ECORRUPT,
                         "manifest: %s: \"size\" missing or over %llu", f->name,
                         (unsigned long long)most);
    f->size = (uint64_t)bytes;
    if (hex == NULL || !kerf_unhex(f->sha256, KERF_SHA256_LEN, hex))
        return kerf_fail(why, KERF_ECORRUPT,
                         "manifest: %s: \"sha256\": expected 64 hex digits",
                         f->name);
    return read_units(f, json_object_get(object, "units"), why);
}

/* Every role that the format has must be there but for the card. */
static kerf_err
check_roles(const kerf_manifest *m, kerf_detail *why)
{
    char name[KERF_PART_NAME];

    for (int i = 0; i < KERF_ROLE_COUNT; i++) {
        kerf_role role = (kerf_role)i;

        if (role != KERF_ROLE_CARD &&
            kerf_role_file(name, role, m->format, m->name) &&
            kerf_manifest_file(m, role) == NULL)
            return kerf_fail(why, KERF_ECORRUPT, "manifest: no %s",
                             role_names[role]);
    }
    return KERF_OK;
}

static kerf_err
read_files(kerf_manifest *m, const json_t *array, kerf_detail *why)
{
    size_t n = json_array_size(array);
    kerf_err err;

    if (n == 0 || n > KERF_PARTS_MAX)
        return kerf_fail(why, KERF_ECORRUPT,
                         "manifest: \"files\": expected a list of 1 to %d",
                         KERF_PARTS_MAX);
    for (size_t i = 0; i < n; i++) {
        err = read_file(&m->file[i], m, json_array_get(array, i), why);
        if (err != KERF_OK)
            return err;
        if (i > 0 && m->file[i].role <= m->file[i - 1].role)
            return kerf_fail(why, KERF_ECORRUPT,
                             "manifest: \"files\" are not in order of role");
        m->file_count = i + 1;
    }
    return check_roles(m, why);
}

static kerf_err
read_head(kerf_manifest *m, const json_t *root, kerf_detail *why)
{
    const json_t *form = json_object_get(root, "kerf_manifest");
    const char *name = text_of(root, "name");
    const char *format = text_of(root, "format");

    if (!json_is_integer(form))
        return kerf_fail(why, KERF_ECORRUPT,
                         "not a manifest: no \"kerf_manifest\"");
    if (json_integer_value(form) != MANIFEST_FORM)
        return kerf_fail(why, KERF_EVERSION,
                         "manifest of version %lld, this kerf reads version %d",
                         (long long)json_integer_value(form), MANIFEST_FORM);
    if (name == NULL || !kerf_text_is_name(name) ||
        strlen(name) >= sizeof m->name) {
        return kerf_fail(why, KERF_ECORRUPT,
                         "manifest: \"name\": expected 1 to %zu of "
                         "A-Z a-z 0-9 . _ -, no dot first",
                         sizeof m->name - 1);
    }
    (void)snprintf(m->name, sizeof m->name, "%s", name);
    if (format != NULL && strcmp(format, "paddle") == 0)
        m->format = KERF_FORMAT_PADDLE;
    else if (format != NULL && strcmp(format, "onnx") == 0)
        m->format = KERF_FORMAT_ONNX;
    else
        return kerf_fail(why, KERF_ECORRUPT,
                         "manifest: \"format\": expected paddle or onnx");
    return KERF_OK;
}

static kerf_err
read_probes(kerf_manifest *m, const json_t *root, kerf_detail *why)
{
    const json_t *tolerance = json_object_get(root, "probe_tolerance");
    const json_t *probes = json_object_get(root, "probes");

    m->probe_tolerance = KERF_PROBE_TOLERANCE;
    if (tolerance != NULL) {
        m->probe_tolerance =
            json_is_number(tolerance) ? json_number_value(tolerance) : -1.0;
        if (!(m->probe_tolerance >= 0.0 && m->probe_tolerance <= 1.0))
            return kerf_fail(why, KERF_ECORRUPT,
                             "manifest: \"probe_tolerance\": expected 0 to 1");
    }
    if (probes == NULL)
        return KERF_OK;
    return kerf_probes_from_json(&m->probe, &m->probe_count, probes, why);
}

static kerf_err
check_id(const kerf_manifest *m, const json_t *root, kerf_detail *why)
{
    uint8_t given[KERF_BUNDLE_ID_LEN];
    const char *hex = text_of(root, "id");

    if (hex == NULL || !kerf_unhex(given, sizeof given, hex))
        return kerf_fail(why, KERF_ECORRUPT,
                         "manifest: \"id\": expected 64 hex digits");
    if (memcmp(given, m->id, sizeof given) != 0)
        return kerf_fail(why, KERF_EMISMATCH,
                         "manifest: its id is not that of its files");
    return KERF_OK;
}

kerf_err
kerf_manifest_parse(kerf_manifest *m, const void *json, size_t len,
                    kerf_detail *why)
{
    kerf_manifest new = {0};
    json_t *root = NULL;
    kerf_err err =
        kerf_json_load(&root, json, len, KERF_MANIFEST_MAX, "manifest", why);

    if (err != KERF_OK)
        return err;
    err = read_head(&new, root, why);
    if (err == KERF_OK)
        err = read_files(&new, json_object_get(root, "files"), why);
    if (err == KERF_OK)
        err = kerf_manifest_seal(&new);
    if (err == KERF_OK)
        err = check_id(&new, root, why);
    if (err == KERF_OK)
        err = read_probes(&new, root, why);
    if (err == KERF_OK)
        err = kerf_signed_from_json(&new.sig, json_object_get(root, "signed"),
                                    why);
    json_decref(root);
    if (err != KERF_OK) {
        kerf_manifest_fini(&new);
        return err;
    }
    *m = new;
    return KERF_OK;
}
